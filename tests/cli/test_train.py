"""Training from the command line."""

import dataclasses

import numpy as np
import pytest
from helpers import datasets, toy_training
from helpers.command import run

from homolog import Matcher
from homolog.backbones import base
from homolog.data import coco
from homolog.training import recipes
from homolog.utils import progress


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    """A toy backbone in place of the embedded one, and a recipe that is done in a second."""
    monkeypatch.setattr(base, "_loaders", dict(base._loaders))
    toy_training.register()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    monkeypatch.setattr(
        "homolog.matcher.PRESETS", {"embedded": lambda: toy_training.toy_matcher().config}
    )
    small = dataclasses.replace(toy_training.CONTEXT, recipe="small-set")
    monkeypatch.setattr(recipes, "RECIPES", {"small-set": lambda: small})


def test_one_command_from_pictures_to_a_model(capsys, tmp_path):
    path = datasets.make_coco(tmp_path / "coco", images=12)
    train = ("train", "coco", str(path), "--out", "runs/things", "--steps", "4")
    status, _, err = run(capsys, *train)
    assert status == 0 and err.splitlines()[-1] == "trained: runs/things", err
    assert "step 4: validation pck" in err
    assert not (tmp_path / "runs" / "things" / "features").exists()
    matcher = Matcher.from_pretrained("runs/things")
    assert matcher.config.post_processor is not None
    status, out, err = run(
        capsys, "evaluate", "coco", str(path), "--model", "runs/things", "--limit", "5"
    )
    assert status == 0 and "runs/things" in out, err
    pictures = [str(annotation.path) for annotation in coco.load(path).annotations[:2]]
    status, out, err = run(capsys, "match", *pictures, "--model", "runs/things", "--grid", "3")
    assert status == 0 and "pair score" in out, err
    # Done already: nothing changes.
    before = (tmp_path / "runs" / "things" / "log.jsonl").read_bytes()
    assert run(capsys, *train)[0] == 0
    assert (tmp_path / "runs" / "things" / "log.jsonl").read_bytes() == before


def test_validation_and_caches_can_be_given(capsys, tmp_path):
    path = datasets.make_coco(tmp_path / "a", images=4)
    other = datasets.make_coco(tmp_path / "b", images=3)
    status, _, err = run(
        capsys, "train", "coco", str(path), "--out", "run", "--steps", "2", "--cache", "kept",
        "--validation", str(other), "--rotation", "20", "--training-seed", "3", "--pictures", "3",
    )  # fmt: skip
    assert status == 0 and "step 2: validation pck" in err, err
    assert np.sum([1 for _ in (tmp_path / "kept").rglob("*.safetensors")]) >= 4
    status, _, err = run(
        capsys, "train", "coco", str(path), "--out", "more", "--steps", "1", "--start", "run"
    )
    assert status == 0 and "validation" not in err, err


def test_benchmarks_bring_their_validation(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(
        recipes,
        "RECIPES",
        {"published-spair": lambda: dataclasses.replace(toy_training.PUBLISHED, epochs=0.2)},
    )
    datasets.make_spair(tmp_path / "spair")
    status, _, err = run(
        capsys, "train", "spair", "spair", "--out", "run", "--recipe", "published-spair"
    )
    assert status == 0 and "validation pck" in err, err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--recipe", "large"), "recipe: 'large' is none of small-set"),
        (("--hold-out", "1.5"), "hold_out: got 1.5, takes a share from 0 to 1"),
        (("--pictures", "1"), "pictures: got 1, takes at least 2"),
        (("--steps", "0"), "steps: got 0, takes at least 1"),
        (("--start", "nowhere", "--steps", "1"), "name: 'nowhere' is none of embedded"),
    ],
)
def test_what_cannot_be_trained(capsys, tmp_path, options, reason):
    path = datasets.make_coco(tmp_path / "coco")
    status, _, err = run(capsys, "train", "coco", str(path), "--out", "run", *options)
    assert status == 2 and reason in err and err.count("\n") == 1


def test_one_picture_only(capsys, tmp_path):
    path = datasets.make_coco(tmp_path / "coco", images=1)
    status, _, err = run(capsys, "train", "coco", str(path), "--out", "run")
    assert status == 2 and "no two pictures" in err and err.count("\n") == 1
