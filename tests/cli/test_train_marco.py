"""`homolog train --recipe marco`, from a small DINO model to one that is matched with."""

import pytest
from helpers import datasets, toy_marco
from helpers.command import run
from PIL import Image

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
