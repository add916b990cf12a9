"""`homolog train --recipe marco`, from a small DINO model to one that is matched with."""

import json

import pytest
from helpers import datasets, marco_parity, toy_marco
from helpers.command import run
from PIL import Image
from safetensors.torch import load_file

from homolog.data import coco
from homolog.presets import PRESETS
from homolog.training import recipes
from homolog.utils import progress

pytest.importorskip("transformers")
RECIPE = ("--recipe", "marco", "--model", "tiny")


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A preset of a small random model, and a recipe for it."""
    matcher = toy_marco.marco_matcher(tmp_path)
    presets = {"tiny": lambda: matcher.config, "embedded": PRESETS["embedded"]}
    monkeypatch.setattr("homolog.model.PRESETS", presets)
    monkeypatch.setattr(recipes, "RECIPES", {"marco": lambda: toy_marco.MARCO})
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    monkeypatch.chdir(tmp_path)
    return datasets.make_coco(tmp_path / "coco", images=12)


@pytest.mark.slow  # 10 s: an evaluation, and what is salient by the embedded model
def test_from_keypoints_to_matches(tiny, capsys):
    train = ("train", "coco", str(tiny), *RECIPE, "--out", "run")
    status, out, err = run(capsys, *train, "--steps", "2", "--tune-blocks", "1")
    assert status == 0 and "held out, run" in out, err
    assert "note: objects without a mask in the data set, found by what is salient: " in err
    # The same command again changes nothing, more steps resume.
    assert run(capsys, *train, "--steps", "3", "--tune-blocks", "1")[0] == 0
    images = [str(annotation.path) for annotation in coco.load(tiny).annotations[:2]]
    status, out, err = run(capsys, "match", *images, "--model", "run", "--grid", "3")
    assert status == 0 and "pair score" in out, err
    status, out, err = run(capsys, "evaluate", "coco", str(tiny), "--model", "run", "--limit", "3")
    assert status == 0, err


@marco_parity.needs_figures
@pytest.mark.slow  # 10 s: a conversion, two runs, matches and an evaluation
def test_a_converted_model_is_trained_further(tiny, capsys, tmp_path):
    weights = str(marco_parity.FOLDER / "dinov2_tiny")
    checkpoint = str(marco_parity.FOLDER / "checkpoint.pth")
    status, _, err = run(
        capsys, "convert", checkpoint, "model", "--weights", weights, "--size", "140"
    )
    assert status == 0, err
    data = datasets.make_coco(tmp_path / "few", images=3)
    train = ("train", "coco", str(data), "--recipe", "marco", "--model", "model", "--out", "run")
    assert run(capsys, *train, "--steps", "2")[0] == 0
    assert run(capsys, *train, "--steps", "3")[0] == 0
    given, trained = (load_file(tmp_path / f / "model.safetensors") for f in ("model", "run"))
    for name, tensor in given.items():
        assert 0 < (tensor - trained[name]).abs().max() < 0.01, "a few steps from where it was"
    config = json.loads((tmp_path / "run" / "config.json").read_text())["matcher"]
    assert config["post_processor"]["tuning"]["blocks"] == [2, 3]
    images = [str(annotation.path) for annotation in coco.load(data).annotations[:2]]
    status, out, err = run(capsys, "match", *images, "--model", "run", "--grid", "3")
    assert status == 0 and "pair score" in out, err
    line = refused(capsys, *train[1:-2], "--tune-blocks", "2")
    assert line == "tune_blocks: expected none for a model with trained blocks, model, got 2"
    line = refused(capsys, *train[1:-2], "--start", "run")
    assert line == "start: expected none for a model that is trained already, model, got run"


def refused(capsys, *command: str) -> str:
    """The one line by which a command is refused."""
    status, _, err = run(capsys, "train", *command, "--out", "run")
    assert status == 2 and "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("homolog: ")]
    return line.removeprefix("homolog: ")


def test_what_is_refused(tiny, capsys, tmp_path):
    data = ("coco", str(tiny))
    reason = (
        "model: expected a DINO transformer, in whose blocks marco trains adapters, got {}; try "
        "dinov2-large-registers"
    )
    for preset in ("sd15", "sd15+dinov2-base", "embedded"):
        line = refused(capsys, *data, "--recipe", "marco", "--model", preset)
        assert line == reason.format(preset)
    line = refused(capsys, *data, *RECIPE, "--steps", "1", "--tune-blocks", "9")
    assert line == "tuning: expected 1 to 3 blocks, got 9"
    line = refused(capsys, *data, *RECIPE, "--tune-rank", "4")
    assert line == "tune_rank: expected none for marco, which has no LoRA, got 4"
    line = refused(capsys, *data, *RECIPE, "--rotation", "20")
    assert line.startswith("rotation: expected a recipe that rotates images, got marco")
    masks = tmp_path / "masks"
    masks.mkdir()
    line = refused(capsys, *data, *RECIPE, "--steps", "1", "--masks", "masks")
    assert line.startswith("masks: expected masks with the names of the images, such as ")
    name = coco.load(tiny).annotations[0].path.stem
    Image.new("L", (9, 9), 255).save(masks / f"{name}.png")
    line = refused(capsys, *data, *RECIPE, "--steps", "1", "--masks", "masks")
    assert "expected the size of its image, 64 x 48 pixels, got 9 x 9" in line
