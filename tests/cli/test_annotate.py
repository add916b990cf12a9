"""`homolog annotate` from its arguments to its file."""

import numpy as np
import pytest

from homolog import Matcher, cli
from homolog.data.labels import Labels
from homolog.example import pair


def test_the_command(tmp_path, capsys, monkeypatch, matcher):
    """Keypoints of the bundled example's fox predicted for its husky."""
    monkeypatch.setattr(
        Matcher, "from_pretrained", classmethod(lambda cls, *_, **__: matcher.with_config())
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    with pair() as example:
        (tmp_path / "fox.jpg").write_bytes(example.image0.read_bytes())
        (tmp_path / "images" / "husky.jpg").write_bytes(example.image1.read_bytes())
        rows = ["image,keypoint,x,y"]
        rows += [f"fox.jpg,{k},{x},{y}" for k, (x, y) in enumerate(example.keypoints0)]
        truth, visible = example.keypoints1, example.visible
    (tmp_path / "fox.csv").write_text("\n".join(rows))
    command = "annotate --exemplars fox.csv --images images --out labels.json"
    cli.main(command.split())
    printed = capsys.readouterr()
    assert "1 images" in printed.out and "homolog serve images --labels" in printed.err
    (annotation,) = Labels.read(tmp_path / "labels.json").annotations
    points = np.array(annotation["keypoints"]).reshape(-1, 3)[:, :2]
    errors = np.linalg.norm(points - truth, axis=1)[visible]
    length = np.ptp(truth[visible], axis=0).max()
    assert (errors <= 0.1 * length).mean() > 0.5
    for options, reason in (
        ("", "--overwrite"),
        ("--overwrite --review 2", "review: expected a probability from 0 to 1, got 2"),
        ("--overwrite --workers 2", "workers: expected --engine ray with it, got --engine local"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(f"{command} {options}".split())
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1
    with pytest.raises(SystemExit):
        cli.main(command.replace("--images images", "--images nowhere").split())
    assert "images: expected a folder, got nowhere" in capsys.readouterr().err
