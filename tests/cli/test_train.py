"""Training from the command line, of post-processors and of side heads."""

import dataclasses
import json

import numpy as np
import pytest
from helpers import crowds, datasets, toy_training
from helpers.command import run
from helpers.toy_sides import rendered

from homolog import Matcher
from homolog.backbones import registry
from homolog.data import coco
from homolog.training import recipes
from homolog.utils import progress


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    """A toy backbone in place of the embedded one, and a recipe that is done in a second."""
    monkeypatch.setattr(registry, "FAMILIES", dict(registry.FAMILIES))
    toy_training.register()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    monkeypatch.setattr(
        "homolog.model.PRESETS", {"embedded": lambda: toy_training.toy_matcher().config}
    )
    small = dataclasses.replace(toy_training.CONTEXT, recipe="small-set")
    monkeypatch.setattr(recipes, "RECIPES", {"small-set": lambda: small})


def test_one_command_from_images_to_a_model(capsys, tmp_path):
    path = datasets.make_coco(tmp_path / "coco", images=12)
    train = ("train", "coco", str(path), "--out", "runs/toys", "--steps", "4")
    status, out, err = run(capsys, *train)
    assert status == 0, err
    # At the end, the tables of the best weights on the images held out, and what to do next.
    assert "held out, runs/toys" in out and "per image" in out and "pck@0.10" in out
    assert err.splitlines()[-3:] == [
        "trained: runs/toys",
        "next: homolog match A B --model runs/toys",
        "      homolog evaluate coco TEST_SET --model runs/toys",
    ]
    assert "step 4: validation pck" in err and "warning" not in err
    assert not (tmp_path / "runs" / "toys" / "features").exists()
    matcher = Matcher.from_pretrained("runs/toys")
    assert matcher.config.post_processor is not None
    status, out, err = run(
        capsys, "evaluate", "coco", str(path), "--model", "runs/toys", "--limit", "5"
    )
    assert status == 0 and "runs/toys" in out, err
    images = [str(annotation.path) for annotation in coco.load(path).annotations[:2]]
    status, out, err = run(capsys, "match", *images, "--model", "runs/toys", "--grid", "3")
    assert status == 0 and "pair score" in out, err
    # Done already: nothing changes.
    before = (tmp_path / "runs" / "toys" / "log.jsonl").read_bytes()
    status, out, _ = run(capsys, *train)
    assert status == 0 and "held out, runs/toys" in out
    assert (tmp_path / "runs" / "toys" / "log.jsonl").read_bytes() == before


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


def test_objects_that_share_images_are_trained_on(capsys, tmp_path):
    path = crowds.make_crowds(tmp_path / "herd", [2, 1, 3])
    train = ("train", "coco", str(path), "--out", "run", "--steps", "1", "--validation", str(path))
    status, out, err = run(capsys, *train)
    assert status == 0, err
    assert "note: images with several annotated objects: 2, with 5 objects" in out
    assert "5 of 6 objects share their image with others; each of these is matched" in out
    status, _, err = run(capsys, *train[:4], "alone", *train[5:], "--single")
    *notes, error = err.splitlines()
    assert status == 2 and "expected two images of herd crowds" in error
    assert notes and all(line.startswith("note: ") for line in notes)
    # The photos on which it is chosen how much sides count may show several, too.
    status, _, err = run(
        capsys, "train-sides", rendered(tmp_path / "set", 4), "--out", "sides", "--steps", "1",
        "--validation", str(path),
    )  # fmt: skip
    assert status == 0, err


def test_options_have_better_names_besides(capsys, tmp_path):
    path = datasets.make_coco(tmp_path / "a", images=4)
    for option in ("--pictures", "--images-per-group"):
        out = f"run{option}"
        status, _, err = run(
            capsys, "train", "coco", str(path), "--out", out, "--steps", "1", option, "3",
            "--hold-out", "0",
        )  # fmt: skip
        assert status == 0, err
        described = json.loads((tmp_path / out / "run.json").read_text())
        assert described["config"]["pictures"] == 3


def test_training_on_a_test_set_is_warned_of(capsys, tmp_path, monkeypatch):
    published = dataclasses.replace(toy_training.PUBLISHED, steps=1)
    monkeypatch.setattr(recipes, "RECIPES", {"published-spair": lambda: published})
    datasets.make_spair(tmp_path / "spair")
    for split, warned in (("test", True), ("trn", False)):
        status, _, err = run(
            capsys, "train", "spair", "spair", "--out", split, "--recipe", "published-spair",
            "--split", split,
        )  # fmt: skip
        assert status == 0, err
        assert ("warning: SPair-71k test is a test set" in err) == warned


def test_other_processes_than_the_first_print_nothing(capsys, tmp_path, monkeypatch):
    path = datasets.make_coco(tmp_path / "coco", images=4)
    monkeypatch.setenv("RANK", "1")
    status, out, err = run(
        capsys, "train", "coco", str(path), "--out", "run", "--steps", "1", "--hold-out", "0"
    )
    assert (status, out, err) == (0, "", "")


def test_sides_are_trained(capsys, tmp_path):
    folder = rendered(tmp_path / "set", 4)
    train = ("train-sides", folder, "--out", "sides", "--steps", "2", "--hold-out", "Cow")
    status, out, err = run(capsys, *train)
    assert status == 0, err
    assert out.startswith("sides of 2 keypoints on Cow, held out: ")
    assert err.splitlines()[-3:] == [
        "trained: sides",
        "next: homolog sides PHOTO --model sides",
        "      homolog match A B --model sides",
    ]
    image = folder / "pictures" / "000000.jpg"
    status, _, err = run(capsys, "sides", image, "--model", "sides", "--json", "found.json")
    assert status == 0, err
    # Done already: the same model, and the same score.
    before = (tmp_path / "sides" / "sides.safetensors").read_bytes()
    status, again, _ = run(capsys, *train)
    assert status == 0 and again == out
    assert (tmp_path / "sides" / "sides.safetensors").read_bytes() == before


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
        (("--recipe", "large"), "recipe: expected one of small-set, got 'large'"),
        (("--hold-out", "1.5"), "hold_out: expected a fraction of at least 0 and less than 1, got"),
        (("--pictures", "1"), "pictures: expected at least 2, got 1"),
        (("--steps", "0"), "steps: expected at least 1, got 0"),
        (("--prompt", "a cat"), "prompt: expected none, for colour brings its own weights"),
        (("--weights", "here"), "weights: expected none, for colour brings its own weights"),
        (("--start", "nowhere", "--steps", "1"), "name: expected one of embedded"),
    ],
)
def test_what_cannot_be_trained(capsys, tmp_path, options, reason):
    path = datasets.make_coco(tmp_path / "coco")
    status, _, err = run(capsys, "train", "coco", str(path), "--out", "run", *options)
    assert status == 2 and reason in err and err.count("\n") == 1


@pytest.mark.parametrize("option", ["weights", "prompt"])
def test_sides_take_options_of_foundation_models(capsys, tmp_path, option):
    folder = rendered(tmp_path / "set", 2)
    status, _, err = run(capsys, "train-sides", folder, "--out", "out", f"--{option}", "some")
    assert status == 2 and f"{option}: expected none, for colour brings its own weights" in err


def test_one_image_only(capsys, tmp_path):
    path = datasets.make_coco(tmp_path / "coco", images=1)
    status, _, err = run(capsys, "train", "coco", str(path), "--out", "run")
    *notes, error = err.splitlines()
    assert status == 2 and "with a keypoint in common, got none" in error
    assert all(line.startswith("note: ") for line in notes)


def test_sides_that_names_do_not_tell(capsys, tmp_path):
    """Images are not mirrored then, which is said; --sides tells, here and to evaluate."""
    path = datasets.make_coco(tmp_path / "coco", images=6)
    document = json.loads(path.read_text())
    document["categories"][0]["keypoints"] = ["p", "q", "r", "s"]
    path.write_text(json.dumps(document))
    train = ("train", "coco", str(path), "--steps", "2", "--hold-out", "0", "--out")
    status, _, err = run(capsys, *train, "runs/unknown")
    assert status == 0, err
    (note,) = [line for line in err.splitlines() if line.startswith("note")]
    assert "flips are left out" in note and "'fox'" in note and "ant" not in note
    config = json.loads((tmp_path / "runs" / "unknown" / "run.json").read_text())
    assert '"flip": false' in json.dumps(config)
    status, _, err = run(capsys, *train, "runs/told", "--sides", "q:r")
    assert status == 0 and "note" not in err
    config = json.loads((tmp_path / "runs" / "told" / "run.json").read_text())
    assert '"flip": true' in json.dumps(config)
    evaluate = ("evaluate", "coco", str(path), "--limit", "4", "--poses", "flip", "--out", "e")
    status, _, err = run(capsys, *evaluate)
    assert status == 2 and "which keypoints of 'fox' are left and right" in err
    status, _, err = run(capsys, *evaluate, "--sides", "q:r")
    assert status == 0, err
    assert json.loads((tmp_path / "e" / "run.json").read_text())["sides"] == ["q:r"]
