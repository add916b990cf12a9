"""`homolog annotate` from its arguments to its file."""

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from homolog import Matcher, cli
from homolog.data.labels import Labels
from homolog.example import ExamplePair, pair
from homolog.labelling.annotator import Annotator


@pytest.fixture
def example(tmp_path, monkeypatch, matcher) -> Iterator[ExamplePair]:
    """The bundled pair, with its fox and a table of the fox's keypoints in the working folder."""
    monkeypatch.setattr(
        Matcher, "from_pretrained", classmethod(lambda cls, *_, **__: matcher.with_config())
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    with pair() as found:
        (tmp_path / "fox.jpg").write_bytes(found.image0.read_bytes())
        rows = [f"fox.jpg,{k},{x},{y}" for k, (x, y) in enumerate(found.keypoints0)]
        (tmp_path / "fox.csv").write_text("\n".join(["image,keypoint,x,y", *rows]))
        yield found


def test_the_command(tmp_path, capsys, example):
    """Keypoints of the bundled example's fox predicted for its husky."""
    (tmp_path / "images" / "husky.jpg").write_bytes(example.image1.read_bytes())
    truth, visible = example.keypoints1, example.visible
    command = "annotate --exemplars fox.csv --images images --out labels.json"
    cli.main([*command.split(), "--adapt"])
    printed = capsys.readouterr()
    assert printed.out.startswith("1 image, ") and "homolog serve images --labels" in printed.err
    assert "note: not adapted: expected at least 50 images, got 1 in images\n" in printed.err
    (annotation,) = Labels.read(tmp_path / "labels.json").annotations
    points = np.array(annotation["keypoints"]).reshape(-1, 3)[:, :2]
    errors = np.linalg.norm(points - truth, axis=1)[visible]
    length = np.ptp(truth[visible], axis=0).max()
    assert (errors <= 0.1 * length).mean() > 0.5
    for options, reason in (
        ("", "--overwrite"),
        ("--overwrite --review 2", "review: expected a number from 0 to 1, got 2"),
        ("--overwrite --errors 1.5", "errors: expected a number from 0 to 1, got 1.5"),
        ("--overwrite --errors 0.1 --review 0.8", "errors: expected no --review with it, got both"),
        ("--overwrite --workers 2", "workers: expected --engine ray with it, got --engine local"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(f"{command} {options}".split())
        assert stop.value.code == 2
        error = capsys.readouterr().err
        (line,) = [each for each in error.splitlines() if not each.startswith("note: ")]
        assert reason in line
    with pytest.raises(SystemExit):
        cli.main(command.replace("--images images", "--images nowhere").split())
    assert "images: expected a folder, got nowhere" in capsys.readouterr().err


def test_two_animals_in_one_image(tmp_path, capsys, example):
    """The bundled example's fox and husky side by side, each in its box, from the fox alone."""
    views = [Image.open(path).convert("RGB") for path in (example.image0, example.image1)]
    known, truth, visible = example.keypoints0, example.keypoints1, example.visible
    (width, height), (width1, height1) = (view.size for view in views)
    both = Image.new("RGB", (width + width1 + 400, max(height, height1)), (120, 130, 110))
    both.paste(views[0], (0, 0))
    both.paste(views[1], (width, 0))
    both.save("images/both.png")
    boxes = [
        "image,instance,x,y,width,height", f"both.png,fox,0,0,{width},{height}",
        f"both.png,dog,{width},0,{width1},{height1}",
        f"both.png,wall,{width + width1 + 60},20,300,300",
        "nowhere.png,1,0,0,10,10", "both.png,bad,5,5,-3,2",
    ]  # fmt: skip
    (tmp_path / "boxes.csv").write_text("\n".join(boxes))
    command = "annotate --exemplars fox.csv --images images --boxes boxes.csv --out labels.json"
    cli.main(command.split())
    printed = capsys.readouterr()
    assert "1 image, 2 objects, " in printed.out
    assert "not labelled: both.png: object wall is like no exemplar" in printed.err
    assert printed.err.count("nowhere.png") == 1 and printed.err.count("empty or flipped") == 1
    found = {a["instance_id"]: a for a in Labels.read(tmp_path / "labels.json").annotations}
    assert found.keys() == {"fox", "dog"}
    assert found["dog"]["bbox"] == [width, 0, width1, height1]
    for name, expected in (("fox", known), ("dog", truth + np.array([width, 0]))):
        points = np.array(found[name]["keypoints"]).reshape(-1, 3)[:, :2]
        errors = np.linalg.norm(points - expected, axis=1)[visible]
        assert (errors <= 0.1 * np.ptp(expected[visible], axis=0).max()).mean() > 0.5
    for options, reason in (
        ("--overwrite --max-objects 2", "max_objects: expected no --boxes with it, got both"),
        ("--overwrite --boxes nowhere.json", "boxes: expected an existing file or folder"),
    ):
        given = command.replace("--boxes boxes.csv ", "") if "--boxes" in options else command
        with pytest.raises(SystemExit) as stop:
            cli.main(f"{given} {options}".split())
        assert stop.value.code == 2
        error = capsys.readouterr().err
        (line,) = [each for each in error.splitlines() if not each.startswith("note: ")]
        assert reason in line
    cli.main(command.replace("labels.json", "labels.csv").split())
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0] == "image,instance,category,keypoint,x,y,v,score"
    assert {line.split(",")[1] for line in lines[1:]} == {"fox", "dog"}


def test_an_interrupted_command_says_how_to_resume(tmp_path, capsys, monkeypatch, example):
    """One line, once there is something to resume; the same command then does the rest."""
    for name in ("husky.jpg", "again.jpg"):
        (tmp_path / "images" / name).write_bytes(example.image1.read_bytes())
    command = ["annotate", "--exemplars", "fox.csv", "--images", "images", "--out", "labels.tps"]
    record = Annotator.record

    def stops(self, name, image):
        if name == "husky.jpg":
            raise KeyboardInterrupt
        return record(self, name, image)

    with monkeypatch.context() as patch:
        patch.setattr(Annotator, "record", stops)
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
    assert stop.value.code == 130
    (line,) = [row for row in capsys.readouterr().err.splitlines() if row.startswith("homolog:")]
    assert line.endswith("the same command resumes where it stopped, from labels.tps.partial")
    assert not (tmp_path / "labels.tps").exists() and not list(tmp_path.glob(".labels*"))
    cli.main(command)
    printed = capsys.readouterr()
    assert printed.out.startswith("2 images, ") and "review:" not in printed.err
    assert (tmp_path / "labels.tps").read_text().count("LM=") == 3 - 1
    assert "note: " in printed.err
