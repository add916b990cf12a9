"""Adaptation from the command line."""

import dataclasses

import numpy as np
import pytest
from helpers import toy_adapt, toy_training
from helpers.command import run
from PIL import Image

from homolog import Matcher
from homolog.backbones import registry
from homolog.training import adaptation
from homolog.training.adaptation import report
from homolog.training.adaptation import run as adaptation_run
from homolog.utils import progress


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    """A toy backbone in place of the embedded one, and a run that takes a second."""
    monkeypatch.setattr(registry, "FAMILIES", dict(registry.FAMILIES))
    toy_training.register()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    monkeypatch.setattr(
        "homolog.model.PRESETS", {"embedded": lambda: toy_training.toy_matcher().config}
    )
    monkeypatch.setattr(
        adaptation,
        "AdaptationConfig",
        lambda **given: dataclasses.replace(toy_adapt.CONFIG, **given),
    )
    monkeypatch.setattr(report, "_draw", lambda *_: {})


def test_one_command_from_images_to_a_model(capsys, tmp_path):
    paths = toy_adapt.save_objects(tmp_path / "photos")
    Image.open(paths[2]).save(tmp_path / "photos" / "again.png")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    status, out, err = run(capsys, "adapt", "photos", "--out", "model", "--steps", "3")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("14 images used, 2 left out; zero-shot weight ")
    assert "of the points are led to another image and back to themselves" in lines[1]
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2 and "again.png" in err and "broken.jpg" in err
    assert err.splitlines()[-2:] == ["adapted: model", "next: homolog match A B --model model"]
    assert ("warning: model is no better than embedded" in err) == (
        not adaptation.AdaptationResult.read(tmp_path / "model").improved
    )
    assert "of another" not in err and (tmp_path / "model" / "report" / "report.md").exists()
    assert Matcher.from_pretrained("model").network is not None
    status, again, err = run(capsys, "adapt", "photos", "--out", "model", "--steps", "3")
    assert status == 0 and again == out, err
    status, _, err = run(capsys, "adapt", "photos", "--out", "model", "--steps", "4")
    assert status == 2 and err.startswith("homolog: out: expected a folder for this run")


def test_lists_several_folders_masks_and_rounds_are_taken(capsys, tmp_path):
    paths = toy_adapt.save_objects(tmp_path / "photos")
    (tmp_path / "list.txt").write_text("\n".join(str(path) for path in paths))
    status, out, err = run(
        capsys, "adapt", "list.txt", "--out", "a", "--rounds", "2", "--training-seed", "1"
    )
    assert status == 0 and out.startswith("14 images used, 0 left out"), err
    (tmp_path / "more").mkdir()
    (tmp_path / "masks").mkdir()
    for path in paths[:4]:
        path.rename(tmp_path / "more" / path.name)
        mask = np.full((96, 96), 255, dtype=np.uint8)
        Image.fromarray(mask).save(tmp_path / "masks" / path.name)
    status, out, err = run(
        capsys, "adapt", "photos", "more", "--out", "b", "--masks", "masks", "--steps", "2"
    )
    assert status == 0 and out.startswith("14 images used, 0 left out"), err
    assert "note: images without a mask, in which saliency finds the object: 10 (" in err


def test_a_model_that_is_no_better_is_said_to_be(capsys, tmp_path, monkeypatch):
    toy_adapt.save_objects(tmp_path / "photos")
    result = adaptation.AdaptationResult(tmp_path / "model", 14, 0, 0.5, 0.4, 0.4)
    monkeypatch.setattr(adaptation, "adapt", lambda *_, **__: result)
    status, _, err = run(capsys, "adapt", "photos", "--out", "model")
    assert status == 0 and "warning: model is no better than embedded" in err


def test_ctrl_c_says_that_the_same_command_resumes(capsys, tmp_path, monkeypatch):
    toy_adapt.save_objects(tmp_path / "photos")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adaptation_run.Rounds, "_mine", interrupted)
        status, _, err = run(capsys, "adapt", "photos", "--out", "model")
    assert status == 130 and err.splitlines()[-1] == "stopped; the same command resumes"
    status, _, err = run(capsys, "adapt", "photos", "--out", "model")
    assert status == 0, err


def test_what_cannot_be_adapted_to_is_one_line(capsys, tmp_path):
    paths = toy_adapt.save_objects(tmp_path / "photos", 6)
    for index in range(20):
        Image.open(paths[0]).save(tmp_path / "photos" / f"copy{index}.png")
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (["photos"], "images: expected at least 12 images"),
        (["empty"], "images: expected a folder of at least 12 images"),
        (["nowhere"], "images: expected"),
        ([], "images: expected a folder or images, got none"),
        (["photos", "--rounds", "0"], "rounds: expected a whole number of at least 1, got 0"),
        (["photos", "--masks", "nowhere"], "masks: expected a folder of masks"),
    ):
        status, out, err = run(capsys, "adapt", *arguments, "--out", "model")
        assert status == 2 and out == ""
        assert err.startswith(f"homolog: {message}") and err.count("\n") == 1, err
