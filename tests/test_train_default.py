"""The script that makes the default's weights, from models and photos to files, with toys."""

import dataclasses
import json

import numpy as np
import pytest
import real_images
import train_default
from helpers import toy_training
from helpers.toy_adaptation import cuts, save_images
from helpers.toy_models import rigged_animal
from train_default import Plan

from homolog import Matcher
from homolog.backbones import registry
from homolog.training.adaptation import AdaptationConfig, HeadConfig, SideTuningConfig
from homolog.training.sides import SidesRecipe
from homolog.utils.tensor_files import read_tensors

pytest.importorskip("embreex", reason="renders need homolog[synth]")


@pytest.fixture
def plan(tmp_path, monkeypatch) -> Plan:
    for number, name in enumerate(("Fox", "Cow", "Wolf")):
        (tmp_path / "animals").mkdir(exist_ok=True)
        rigged_animal(tmp_path / "animals" / f"{name}.glb", stretch=(1 + 0.2 * number, 1, 1))
    save_images(tmp_path / "photos", cuts(*((x, y) for x in (0, 12, 24) for y in (0, 10, 20, 30))))
    monkeypatch.setattr(registry, "FAMILIES", dict(registry.FAMILIES))
    toy_training.register()
    config = toy_training.toy_matcher().config
    monkeypatch.setattr("homolog.model.PRESETS", {"embedded-zero-shot": lambda: config})
    bees = toy_training.toy_data(tmp_path / "bees")
    monkeypatch.setattr(real_images, "bees", lambda split: {"train": bees}[split])
    return Plan(
        tmp_path / "animals",
        (tmp_path / "photos",),
        tmp_path / "out",
        seeds=(0, 1),
        held_out=("Fox", "Cow"),
        renders=40,
        recipe=SidesRecipe(steps=3, batch_size=2),
        adaptation=AdaptationConfig(
            components=32, rotations=False, head=HeadConfig(projection_dim=16, steps=3, images=4),
            sides=SideTuningConfig(steps=2, images=2),
        ),
        count=6,
        draws=1,
        size=160,
    )  # fmt: skip


@pytest.mark.slow
def test_weights_are_made_and_a_run_goes_on(plan, monkeypatch, capsys):
    default = train_default.train_default(plan)
    found = json.loads((default / "provenance.json").read_text())
    figures = {int(seed): np.mean(list(each.values()))
               for seed, each in found["choosing_figures"].items()}  # fmt: skip
    assert found["seed"] == max(figures, key=figures.__getitem__)
    assert found["photos"]["count"] == 12 and found["renders"]["count"] == 40
    for name, digest in found["weights_sha256"].items():
        assert train_default.digest_of([default / name]) == digest
        assert {str(t.dtype) for t in read_tensors(default / name).values()} == {"torch.float16"}
    # It is a model, and says what its similarities mean.
    settings = Matcher.from_pretrained(default, device="cpu").config.post_processor
    assert settings.trained_on == "pseudo-labels" and settings.zero_shot_threshold == 0.5
    assert len(settings.calibration.keypoints) == 5
    assert "| likeness |" in capsys.readouterr().out

    # What is there is not made again.
    before = {path: path.stat().st_mtime_ns for path in plan.out.rglob("*.safetensors")
              if default not in path.parents}  # fmt: skip
    monkeypatch.setattr(train_default, "train", None)
    monkeypatch.setattr(train_default, "adapt", None)
    assert train_default.train_default(dataclasses.replace(plan)) == default
    assert json.loads((default / "provenance.json").read_text()) == found
    assert before == {path: path.stat().st_mtime_ns for path in before}
