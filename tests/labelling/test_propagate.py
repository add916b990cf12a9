"""Labels carried to a folder: runs that stop and go on, hand-made labels, formats, two engines."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import toy_annotate
from helpers.toy_training import SCHEMA, toy_data, toy_matcher

from homolog import HomologError, Matcher, cli
from homolog.data import coco
from homolog.data.exemplars import read
from homolog.data.labels import EXTRA, Labels
from homolog.example import pair
from homolog.image.geometry import IDENTITY
from homolog.labelling.propagate import AnnotateConfig, Annotator, annotate

PICTURES = 6


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six toys, of which one lies in a folder below."""
    data = toy_data(tmp_path / "pictures", PICTURES)
    (tmp_path / "pictures" / "below").mkdir()
    last = data.annotations[-1].path
    last.rename(last.parent / "below" / last.name)
    return tmp_path / "pictures"


@pytest.fixture
def exemplars(tmp_path):
    return toy_annotate.exemplars(tmp_path / "exemplars")


def run(folder, exemplars, **options):
    matcher = toy_matcher()
    found = annotate(matcher, exemplars, folder, folder.parent / "labels.json", **options)
    return matcher.backbone.seen, found


def test_a_folder(folder, exemplars):
    seen, found = run(folder, exemplars)
    assert seen == PICTURES + 2 * 8  # once a picture, and the exemplars in all poses
    out = folder.parent / "labels.json"
    assert not Path(f"{out}.partial").exists()
    labels = Labels.read(out)
    assert labels.categories == [toy_annotate.CATEGORY]
    names = [image["file_name"] for image in labels.images]
    assert names == ["below/toy5.png", *(f"toy{i}.png" for i in range(5))]
    for image, annotation in zip(labels.images, labels.annotations, strict=True):
        assert (image["width"], image["height"]) == (96, 80)
        assert annotation["image_id"] == image["id"] and annotation["category_id"] == 4
        points = np.array(annotation["keypoints"]).reshape(5, 3)
        assert annotation["num_keypoints"] == (points[:, 2] == 2).sum()
        x, y, width, height = annotation["bbox"]
        assert 0 <= x < x + width <= 96 and 0 <= y < y + height <= 80
        extra = annotation[EXTRA]
        low = {k for k, s in enumerate(extra["scores"]) if s < 0.8 and points[k, 2] == 2}
        assert low <= set(extra["doubtful"])
        assert extra["predicted"] == annotation["keypoints"]
    assert found.pictures == PICTURES and found.failed == []
    assert found.points == sum(a["num_keypoints"] for a in labels.annotations)
    assert found.doubtful == len(labels.doubtful()) and found.by_hand == 0
    # Anybody who reads COCO can take it; here, the loader of benchmarks.
    data = coco.load(out, images=folder)
    assert len(data.annotations) == PICTURES and data.schemas["toy"] == SCHEMA


def test_the_same_twice(folder, exemplars):
    run(folder, exemplars)
    first = (folder.parent / "labels.json").read_bytes()
    run(folder, exemplars, overwrite=True)
    assert (folder.parent / "labels.json").read_bytes() == first


def test_a_stopped_run_goes_on(folder, exemplars, tmp_path):
    """Whatever is written down is not done again; a line half written is."""
    run(folder, exemplars)
    expected = (tmp_path / "labels.json").read_bytes()
    (tmp_path / "labels.json").unlink()

    matcher = toy_matcher()
    annotator = Annotator(matcher, exemplars, AnnotateConfig())

    def stops(files, name_of):
        for path in files[:3]:
            yield annotator.line(name_of(path), annotator.read(path))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, exemplars, engine=stops)
    journal = tmp_path / "labels.json.partial"
    assert len(journal.read_bytes().splitlines()) == 1 + 3
    journal.write_bytes(journal.read_bytes()[:-20])
    seen, _ = run(folder, exemplars)
    assert seen == PICTURES - 2 + 2 * 8
    assert (tmp_path / "labels.json").read_bytes() == expected


def test_a_killed_process_loses_the_picture_in_hand(folder, exemplars, tmp_path):
    run(folder, exemplars)
    expected = (tmp_path / "labels.json").read_bytes()
    out = tmp_path / "killed.json"
    command = [sys.executable, str(Path(toy_annotate.__file__)), str(folder), str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "0.5"], env=environment)
    journal = Path(f"{out}.partial")
    until = time.monotonic() + 60
    while not (journal.exists() and len(journal.read_bytes().splitlines()) >= 3):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = journal.read_bytes().count(b"\n") - 1
    assert 2 <= done < PICTURES and not out.exists()
    annotated = annotate(toy_matcher(), exemplars, folder, out)
    assert annotated.pictures == PICTURES and out.read_bytes() == expected


def test_another_run_is_not_gone_on_with(folder, exemplars, tmp_path):
    journal = tmp_path / "labels.json.partial"
    journal.write_text("{}\n")
    with pytest.raises(HomologError, match=r"is of a run with other exemplars or settings"):
        run(folder, exemplars)
    assert journal.read_text() == "{}\n"
    run(folder, exemplars, overwrite=True)


def test_nothing_is_overwritten_unasked(folder, exemplars, tmp_path):
    out = tmp_path / "labels.json"
    out.write_text("mine")
    with pytest.raises(HomologError, match=r"out: .*labels.json is there; --overwrite"):
        run(folder, exemplars)
    assert out.read_text() == "mine"
    with pytest.raises(HomologError, match="expected JSON"):  # nor is a file that holds no labels
        run(folder, exemplars, overwrite=True)
    assert out.read_text() == "mine"


def test_what_was_done_by_hand_survives(folder, exemplars, tmp_path):
    """A point reviewed, a point moved by another tool, and an annotation of another tool."""
    run(folder, exemplars)
    out = tmp_path / "labels.json"
    labels = Labels.read(out)
    first, second, third = labels.annotations[:3]
    labels.correct(first["id"], 2, (11.5, 12.5))
    second["keypoints"][:3] = [33, 44, 2]
    del third[EXTRA]
    third["keypoints"] = [1, 2, 2] + [0, 0, 0] * 4
    labels.write(out)
    _, found = run(folder, exemplars, overwrite=True)
    assert found.by_hand == 1 + 1 + 5
    again = Labels.read(out)
    assert again.annotations[0]["keypoints"][6:9] == [11.5, 12.5, 2]
    assert again.annotations[0][EXTRA]["reviewed"] == [2]
    assert again.annotations[1]["keypoints"][:3] == [33, 44, 2]
    assert again.annotations[2] == third
    # And they are exemplars, by themselves, of what somebody has seen to.
    carried = read(out, folder)
    assert [a.visible.sum() for a in carried.annotations] == [1, 1, 1]


def test_pictures_that_cannot_be_read_are_named(folder, exemplars):
    (folder / "broken.png").write_bytes(b"not a picture")
    _, found = run(folder, exemplars)
    assert found.pictures == PICTURES
    ((name, why),) = found.failed
    assert name == "broken.png" and "expected an image in a known format" in why
    labels = Labels.read(folder.parent / "labels.json")
    assert labels.data["info"]["failed"] == [{"file_name": name, "failed": why}]


def test_exemplars_keep_their_labels(tmp_path):
    """Those in the folder are not labelled anew."""
    labelled = toy_annotate.exemplars(tmp_path / "pictures", 3)
    toy_data(tmp_path / "pictures", 4)
    seen, found = run(tmp_path / "pictures", labelled)
    assert seen == 1 + 3 * 8 and found.pictures == 4
    labels = Labels.read(tmp_path / "labels.json")
    for annotation, expected in zip(labels.annotations, labelled.annotations, strict=False):
        points = np.array(annotation["keypoints"], dtype=float).reshape(-1, 3)
        points[points[:, 2] == 0] = np.nan
        np.testing.assert_array_equal(points[:, :2], expected.keypoints)
    assert [EXTRA in a for a in labels.annotations] == [False] * 3 + [True]


def test_no_pictures(tmp_path, exemplars):
    (tmp_path / "empty").mkdir()
    with pytest.raises(HomologError, match=r"images: .*empty has no pictures"):
        run(tmp_path / "empty", exemplars)


# The command.


def test_the_command(tmp_path, capsys, monkeypatch, matcher):
    """A fox's points carried to a husky, with the packaged pictures."""
    monkeypatch.setattr(
        Matcher, "from_pretrained", classmethod(lambda cls, *_, **__: matcher.with_config())
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    with pair() as example:
        (tmp_path / "fox.jpg").write_bytes(example.image0.read_bytes())
        (tmp_path / "pictures" / "husky.jpg").write_bytes(example.image1.read_bytes())
        rows = ["image,keypoint,x,y"]
        rows += [f"fox.jpg,{k},{x},{y}" for k, (x, y) in enumerate(example.keypoints0)]
        truth, visible = example.keypoints1, example.visible
    (tmp_path / "fox.csv").write_text("\n".join(rows))
    command = "annotate --exemplars fox.csv --images pictures --out labels.json"
    cli.main(command.split())
    printed = capsys.readouterr()
    assert "1 pictures" in printed.out and "homolog serve pictures --labels" in printed.err
    (annotation,) = Labels.read(tmp_path / "labels.json").annotations
    points = np.array(annotation["keypoints"]).reshape(-1, 3)[:, :2]
    errors = np.linalg.norm(points - truth, axis=1)[visible]
    side = np.ptp(truth[visible], axis=0).max()
    assert (errors <= 0.1 * side).mean() > 0.5
    for options, reason in (
        ("", "--overwrite"),
        ("--overwrite --review 2", "review: got 2"),
        ("--overwrite --workers 2", "workers: is for --engine ray"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(f"{command} {options}".split())
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert reason in said and said.count("\n") == 1
    with pytest.raises(SystemExit):
        cli.main(command.replace("pictures", "nowhere").split())
    assert "images: there is no folder nowhere" in capsys.readouterr().err


# Ray.


def test_two_workers_one_of_which_is_killed(folder, exemplars, tmp_path, monkeypatch):
    """Both engines make the same file, though a worker dies on the way; what cannot be read is
    named by both."""
    (folder / "broken.png").write_bytes(b"not a picture")
    _, expected = run(folder, exemplars)
    local = (tmp_path / "labels.json").read_bytes()
    from homolog.labelling.ray import ray_executor

    # Workers find the tests' modules, and say who they are.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    (tmp_path / "pids").mkdir()
    make = partial(toy_annotate.slow_matcher, tmp_path / "pids")
    work = ray_executor(make, exemplars, AnnotateConfig(), workers=2)
    killed = []

    def watched(files, name_of):
        for line in work(files, name_of):
            pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
            if not killed and len(pids) == 2:
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])
            yield line

    out = tmp_path / "ray.json"
    found = annotate(toy_matcher(), exemplars, folder, out, engine=watched)
    import ray

    ray.shutdown()
    assert killed and found == expected
    assert out.read_bytes() == local
    assert len(list((tmp_path / "pids").iterdir())) >= 3  # another took its place


def test_poses_can_be_chosen(folder, exemplars):
    seen, _ = run(folder, exemplars, settings=AnnotateConfig(poses=(IDENTITY,)))
    assert seen == PICTURES + 2
