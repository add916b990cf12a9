"""One entry of the registry adds a family of backbones; the presets come from there."""

import json
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
import torch
from helpers.command import run
from helpers.toys import ColourBackbone, random_image

import homolog
from homolog import HomologError, Matcher, MatcherConfig, backbones
from homolog.backbones import (
    BackboneConfig,
    BackboneFamily,
    DinoConfig,
    FusedConfig,
    Preset,
    StableDiffusionConfig,
    licences,
    registry,
)
from homolog.backbones.registry import licences_of
from homolog.presets import PRESETS
from homolog.utils.serialization import to_plain

CPU = torch.device("cpu")


@dataclass(frozen=True)
class ColourConfig(BackboneConfig):
    """The toy backbone's, with a tuple so that JSON makes a list of it."""

    shades: tuple[int, ...] = (1, 2)
    family: Literal["colour"] = field(default="colour", init=False)


def load_colours(config: ColourConfig, device: torch.device) -> ColourBackbone:
    assert config.shades == (1, 2) and device == CPU
    return ColourBackbone()


FAMILY = BackboneFamily(
    "colour",
    loader=load_colours,
    description="colours of patches",
    config=ColourConfig,
    extra="colours",
    presets={
        "colour-small": Preset(
            ColourConfig(), "none at all", "public domain", "12 x 12 x 66", groups=((0,), (1,))
        )
    },
)


@pytest.fixture
def families(monkeypatch):
    """The registry, as it was again after the test."""
    known = dict(registry.FAMILIES)
    yield registry.FAMILIES
    registry.FAMILIES.clear()
    registry.FAMILIES.update(known)


def test_one_entry_adds_a_family(families, capsys):
    backbones.register_family(FAMILY)
    assert isinstance(backbones.create(ColourConfig(), CPU), ColourBackbone)

    config = PRESETS["colour-small"]()
    assert config.backbone == ColourConfig() and config.fusion.groups == ((0,), (1,))
    plain = json.loads(json.dumps(to_plain(config)))
    assert MatcherConfig.from_dict(plain) == config
    both = FusedConfig((ColourConfig(), ColourConfig()))
    assert backbones.backbone_from_dict(json.loads(json.dumps(to_plain(both)))) == both
    assert backbones.create(both, CPU).canvas_size == ColourBackbone.canvas_size

    matcher = Matcher.from_pretrained("colour-small", device="cpu")
    image = random_image(96, 96)
    found = matcher.transfer(image, image, [(40, 40)])
    np.testing.assert_allclose(found.keypoints1, [(40, 40)], atol=8)

    status, out, _ = run(capsys, "backbones")
    (line,) = (line for line in out.splitlines() if "colour-small" in line)
    assert status == 0
    for cell in ("homolog[colours]", "none at all", "public domain", "12 x 12 x 66"):
        assert cell in line
    assert "colour: colours of patches" in out


def test_an_entry_may_name_its_functions(families):
    preset = Preset("embedded-colours", "", "", "", matcher=f"{__name__}:a_matcher")
    homolog.backbones.register_family(
        BackboneFamily("embedded-colours", f"{__name__}:load_by_name", presets={"named": preset})
    )
    with pytest.MonkeyPatch.context() as patch:
        module = type("module", (), {"a_matcher": a_matcher, "load_by_name": load_by_name})
        patch.setitem(__import__("sys").modules, __name__, module)
        assert PRESETS["named"]() == a_matcher()
        assert isinstance(backbones.create("embedded-colours", CPU), ColourBackbone)


def a_matcher() -> MatcherConfig:
    return PRESETS["embedded-zero-shot"]()


def load_by_name(device: torch.device) -> ColourBackbone:
    return ColourBackbone()


def test_a_backbone_registers_under_a_name(families):
    made = ColourBackbone()
    with pytest.raises(
        HomologError, match=r"^backbone: expected .*efficientnet-lite, got 'colour'"
    ):
        backbones.create("colour", CPU)
    backbones.register("colour", lambda device: made)
    assert backbones.create("colour", CPU) is made


def test_what_is_not_registered(families):
    with pytest.raises(
        HomologError, match=r"^backbone: expected the configuration .* ColourConfig"
    ):
        backbones.create(ColourConfig(), CPU)
    for family in ("colour", "efficientnet-lite"):
        with pytest.raises(HomologError, match=f"^backbone: expected a family of dino, .*{family}"):
            backbones.backbone_from_dict({"family": family})
    with pytest.raises(HomologError, match=r"^backbone: expected one of .* got 'dino'"):
        backbones.create("dino", CPU)  # a family that takes a configuration is no name for one
    with pytest.raises(KeyError):
        PRESETS["colour-small"]


def test_every_preset_is_listed(capsys):
    status, out, _ = run(capsys, "backbones")
    assert status == 0 and "homolog[dino]" in out and len(PRESETS) == len(list(PRESETS)) == 18
    for name in PRESETS:
        assert f" {name} " in out
        assert isinstance(PRESETS[name](), MatcherConfig)
    for family in registry.FAMILIES.values():
        for name, preset in family.presets.items():
            found = licences_of(preset.backbone)
            assert found and all(each.name in preset.licence for each in found), name
            assert all(f"{each.name}: {each.url}" in out for each in found)


def test_licences_are_those_of_the_architecture_where_it_is_known(tmp_path):
    """Of a folder by what its own file says; of a name on the hub by the name."""
    from helpers.foundation import save_dino

    assert DinoConfig("someone/dinov3-finetuned").licences == (licences.DINOV3,)
    assert DinoConfig("someone/model").licences == DinoConfig("no such name!").licences == ()
    pytest.importorskip("transformers")
    for kind, expected in (("dinov3_vit", licences.DINOV3), ("dinov2", licences.APACHE_2)):
        (tmp_path / "mine").mkdir(exist_ok=True)
        save_dino(tmp_path / "mine", kind)
        assert DinoConfig(str(tmp_path / "mine")).licences == (expected,)
    (tmp_path / "mine" / "config.json").write_text("[]")
    assert DinoConfig(str(tmp_path / "mine")).licences == ()
    assert licences_of("nobody") == ()
    assert StableDiffusionConfig(str(tmp_path)).licences == ()
