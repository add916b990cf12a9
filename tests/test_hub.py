"""Model folders and matchers on a hub that is not there: what would be pushed, and its card."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from helpers import toy_training
from helpers.foundation import save_dino
from helpers.hub import Hub

from homolog import HomologError, Matcher, checkpoints, model_cards
from homolog.backbones import DinoConfig, TuningConfig, create
from homolog.config import PostProcessorConfig
from homolog.hub import push_to_hub
from homolog.networks.post_processor import PostProcessor
from homolog.presets import PRESETS, zero_shot
from homolog.training import train

pytest.importorskip("transformers")
CPU = torch.device("cpu")
FIXTURES = Path(__file__).parent / "fixtures" / "before_move"
DINOV3 = "https://ai.meta.com/resources/models-and-libraries/dinov3-license/"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr("homolog.hub.HfApi", lambda: made)
    return made


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of an earlier version, whose backbone has adapters."""
    shutil.copytree(FIXTURES / "trained", tmp_path / "trained")
    shutil.copytree(FIXTURES / "dino", tmp_path / "dino")
    monkeypatch.chdir(tmp_path)
    return Path("trained")


@pytest.fixture(scope="module")
def dinov3(tmp_path_factory):
    return str(save_dino(tmp_path_factory.mktemp("dinov3"), "dinov3_vit"))


def matcher_of(folder: str, canvas_size: int = 64) -> Matcher:
    config = zero_shot(DinoConfig(folder, canvas_size, debias=2), (0,))
    return Matcher(create(config.backbone, CPU), config)


def test_a_run_is_pushed_with_its_figures(hub, run):
    (run / "state.safetensors").touch()
    address = push_to_hub(run, "me/bees", private=True)
    assert address == "https://hub/me/bees/commit/1"
    assert hub.created == {"repo_id": "me/bees", "private": True, "exist_ok": True}
    assert sorted(hub.files) == [
        "LICENSE-backbone.txt", "README.md", "backbone.safetensors", "config.json",
        "model.safetensors",
    ]  # fmt: skip
    for name in ("config.json", "model.safetensors", "backbone.safetensors"):
        assert hub.files[name] == (run / name).read_bytes()
    report = json.loads((run / "report/results.json").read_text())
    assert report["protocol"] in hub.card and "data validation (poses none)" in hub.card
    (line,) = (line for line in hub.card.splitlines() if line.startswith("| per image"))
    assert "| 50.0 (40.0 to 60.0) |" in line and line.endswith("| 2 |")
    assert 'Matcher.from_pretrained("me/bees")' in hub.card and "weights=" in hub.card
    assert "adapters of rank 2 (LoRA) in its last block" in hub.card
    assert hub.metadata["license"] == "apache-2.0" and hub.metadata["library_name"] == "homolog"
    assert "base_model" not in hub.metadata  # it is a folder on this machine
    assert str(run.resolve().parent) not in hub.card


def test_a_matcher_of_an_unchanged_run_has_its_figures(hub, run, tmp_path):
    matcher = Matcher.from_pretrained("trained", device="cpu")
    matcher.push_to_hub("me/bees")
    assert "| per image |" in hub.card
    own, pushed = (
        safetensors.torch.load(data)
        for data in ((run / "backbone.safetensors").read_bytes(), hub.files["backbone.safetensors"])
    )
    assert own.keys() == pushed.keys() and all(pushed[n].equal(t) for n, t in own.items())
    # What is pushed is a model folder that finds the same.
    for name, data in hub.files.items():
        (tmp_path / "hub" / name).write_bytes(data)
    again = Matcher.from_pretrained(str(tmp_path / "hub"), device="cpu")
    assert again.config == matcher.config and again.weights_digest == matcher.weights_digest
    matcher.with_config(window=2).push_to_hub("me/bees")
    assert "None are known" in hub.card
    matcher.with_config(window=2).push_to_hub("me/bees", results=run / "report")
    assert "| per image |" in hub.card


def test_weights_tuned_from_dinov3_carry_its_licence(hub, dinov3, tmp_path):
    data = toy_training.toy_data(tmp_path / "images", 3)
    config = dataclasses.replace(toy_training.PUBLISHED, steps=1, tuning=TuningConfig(1, rank=2))
    folder = train(data, tmp_path / "run", matcher_of(dinov3), config)
    for each in (folder, folder / "last"):
        text = (each / "LICENSE-backbone.txt").read_text()
        assert "DINOv3 License" in text and DINOV3 in text and "copy" in text
        with safetensors.safe_open(each / "backbone.safetensors", "pt") as file:
            assert file.metadata()["DINOv3 License"] == DINOV3
    push_to_hub(folder, "me/tuned")
    assert hub.files["LICENSE-backbone.txt"].decode() == text
    assert hub.metadata["license"] == "other" and hub.metadata["license_name"] == "dinov3-license"
    assert hub.metadata["license_link"] == DINOV3 and "Built with DINOv3" in hub.card
    assert "holds weights that were fine-tuned" in hub.card and "None are known" in hub.card
    assert Matcher.from_pretrained(str(folder), device="cpu").config.backbone.debias == 2


def test_a_head_on_a_frozen_backbone_holds_none_of_its_weights(hub, tmp_path):
    for preset, licences, metadata in (
        ("sd15+dinov2-base", ["CreativeML OpenRAIL-M", "Apache-2.0"], "creativeml-openrail-m"),
        ("dinov2-base+dinov3-base", ["Apache-2.0", "DINOv3 License"], "other"),
        ("dinov2-base", ["Apache-2.0"], "apache-2.0"),
    ):
        settings = PostProcessorConfig("maps", trained_on="pseudo-labels")
        config = dataclasses.replace(PRESETS[preset](), post_processor=settings)
        checkpoints.save(tmp_path / preset, PostProcessor((128, 128), 128), config)
        assert not (tmp_path / preset / "LICENSE-backbone.txt").exists()
        push_to_hub(tmp_path / preset, "me/head")
        assert hub.metadata["license"] == metadata
        assert all(f"[{name}](https://" in hub.card for name in licences)
        assert "does not hold them" in hub.card and ", without labels." in hub.card
        assert any("dinov2-base" in name for name in hub.metadata["base_model"])


def test_an_adaptation_says_that_consistency_is_no_accuracy():
    results = {
        "images": {"held_aside": 12},
        "consistency": {"before": 0.41, "after": 0.525, "better": True},
    }
    card = model_cards.model_card("me/x", PRESETS["embedded"](), None, results)
    assert "12 images" in card and "52.5 %" in card and "41.0 %" in card
    assert "not how accurate" in card and "side head" in card
    assert "Backbone: efficientnet-lite, frozen." in card


def test_what_somebody_wrote_is_kept(hub, run):
    push_to_hub(run, "me/bees")
    assert model_cards.is_generated(hub.card)
    assert model_cards.is_generated(hub.card.replace("\n", "\r\n"))
    push_to_hub(run, "me/bees", results=run / "report/results.json")  # its own card it replaces
    mine = hub.card.replace("## Figures", "My bees.\n\n## Figures")
    assert not model_cards.is_generated(mine)
    hub.files["README.md"] = mine.encode()
    with pytest.warns(UserWarning, match="me/bees keeps the model card that somebody wrote"):
        push_to_hub(run, "me/bees")
    assert hub.card == mine
    (run / "README.md").write_text("By hand.")
    push_to_hub(run, "me/bees")
    assert hub.card == "By hand."


def test_what_cannot_be_pushed(hub, run, dinov3, tmp_path, monkeypatch):
    for name in ("bees", "a/b/c", "/bees", "me/my bees"):
        with pytest.raises(HomologError, match=r"^repo_id: expected owner/name, got"):
            push_to_hub(run, name)
    with pytest.raises(HomologError, match=r"^folder: expected a model folder, got nowhere"):
        push_to_hub("nowhere", "me/x")
    with pytest.raises(HomologError, match="expected the configuration of a trained model"):
        push_to_hub(tmp_path / "dino", "me/x")
    with pytest.raises(HomologError, match=r"^results: cannot read"):
        push_to_hub(run, "me/x", results=tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(HomologError, match=r"^results: expected a report in JSON"):
        push_to_hub(run, "me/x", results=tmp_path / "bad.json")
    with pytest.raises(HomologError, match=r"^model: expected a trained network to push, got"):
        matcher_of(dinov3).push_to_hub("me/x")

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("401 Client Error.\nInvalid username")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(HomologError, match=r"^repo_id: cannot write me/x on the hub: 401 Client"):
        push_to_hub(run, "me/x")
    assert not hub.files


def test_rounded_weights_are_not_pushed(hub, dinov3, tmp_path):
    """Whole blocks in half precision are not what was trained."""
    data = toy_training.toy_data(tmp_path / "images", 3)
    matcher = matcher_of(dinov3)
    config = dataclasses.replace(toy_training.PUBLISHED, steps=1, tuning=TuningConfig(1, rank=None))
    folder = train(data, tmp_path / "run", matcher, config)
    trained = Matcher.from_pretrained(str(folder), device="cpu")
    trained.push_to_hub("me/x")
    pushed = safetensors.torch.load(hub.files["backbone.safetensors"])
    own = safetensors.torch.load_file(folder / "backbone.safetensors")
    assert own.keys() == pushed.keys() and all(pushed[n].equal(t) for n, t in own.items())
    trained.backbone.bfloat16()
    with pytest.raises(HomologError, match=r"^precision: expected float32 weights to save"):
        trained.push_to_hub("me/x")
