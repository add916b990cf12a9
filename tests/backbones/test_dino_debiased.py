"""DINOv3 without the directions that a black canvas shows, against the recipe step by step."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.foundation import save_dino
from helpers.toys import random_image

from homolog import HomologError, Matcher
from homolog.backbones import DinoConfig, FusedConfig, TuningConfig, adapters, create
from homolog.backbones.dino import DinoBackbone
from homolog.presets import PRESETS, zero_shot

transformers = pytest.importorskip("transformers")
CPU, SIZE = torch.device("cpu"), 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_dino(tmp_path_factory.mktemp("dinov3"), "dinov3_vit"))


def canvas(size: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.array(random_image(size, size, seed)))[None]


def own_features(folder: str, image: torch.Tensor, count: int) -> np.ndarray:
    """What the model itself says: a row for each position."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    given = (image.permute(0, 3, 1, 2) / 255.0 - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        tokens = model(pixel_values=given).last_hidden_state[0]
    return tokens[-count:].double().numpy()


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 5])
def test_it_is_the_recipe_step_by_step(folder, count):
    black = unit(own_features(folder, torch.zeros(1, SIZE, SIZE, 3), 25))
    centred = black - black.mean(axis=0)
    _, _, directions = np.linalg.svd(centred)
    basis = directions[:count]
    image = unit(own_features(folder, canvas(SIZE), 25))
    expected = unit(image - image @ basis.T @ basis)

    (found,) = create(DinoConfig(folder, SIZE, debias=count), CPU)(canvas(SIZE))
    rows = found[0].flatten(1).T.double().numpy()
    np.testing.assert_allclose(rows, expected, atol=2e-5)
    np.testing.assert_allclose(rows @ basis.T, 0, atol=2e-5)
    (raw,) = create(DinoConfig(folder, SIZE), CPU)(canvas(SIZE))
    assert np.abs(unit(raw[0].flatten(1).T.double().numpy()) - rows).max() > 0.01


def test_each_canvas_size_and_each_map_has_a_basis_of_its_own(folder, tmp_path):
    sizes = [create(DinoConfig(folder, size, debias=2), CPU) for size in (SIZE, 112)]
    bases = [backbone.positional_bases[0] for backbone in sizes]
    assert bases[0].shape == bases[1].shape == (2, 16)
    assert not torch.allclose(bases[0].T @ bases[0], bases[1].T @ bases[1], atol=1e-3)
    convnext = str(save_dino(tmp_path / "convnext", "dinov3_convnext"))
    backbone = create(DinoConfig(convnext, 128, layers=(1, -1), debias=3), CPU)
    first, last = backbone(canvas(128))
    assert first.shape == (1, 12, 16, 16) and last.shape == (1, 24, 4, 4)
    for features, basis in zip((first, last), backbone.positional_bases, strict=True):
        torch.testing.assert_close(features.norm(dim=1), torch.ones(1, *features.shape[2:]))
        assert torch.einsum("kc,bchw->bkhw", basis, features).abs().max() < 1e-5


def test_the_basis_is_computed_once_at_load(folder, monkeypatch):
    backbone = create(DinoConfig(folder, SIZE, debias=3), CPU)
    passes = []
    backbone.model.register_forward_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(torch.linalg, "svd", None)
    four = torch.cat([canvas(SIZE, seed) for seed in range(4)])
    (together,) = backbone(four)
    assert len(passes) == 1
    torch.testing.assert_close(backbone(four[2:3])[0], together[2:3], rtol=1e-4, atol=1e-5)


def test_without_it_nothing_changes(folder):
    plain = DinoConfig(folder, SIZE)
    assert plain.debias == 0
    backbone = create(plain, CPU)
    assert "positional_bases" not in vars(backbone)
    (found,) = backbone(canvas(SIZE))
    raw = own_features(folder, canvas(SIZE), 25)
    np.testing.assert_allclose(found[0].flatten(1).T.numpy(), raw, atol=1e-4)


def test_a_model_that_is_fine_tuned_keeps_the_basis(folder):
    """So that what is loaded again is what was trained."""
    config, tuning = DinoConfig(folder, SIZE, debias=3), TuningConfig(1, rank=None)
    model = transformers.AutoModel.from_pretrained(folder)
    tuned = DinoBackbone(model, config).eval()  # has not computed it yet
    parameters = adapters.prepare(tuned, tuning)
    for parameter in parameters.values():
        torch.nn.init.normal_(parameter.data, std=0.3)
    (found,) = tuned.feature_maps(canvas(SIZE))
    assert found.requires_grad
    again = create(config, CPU)
    adapters.apply(again, tuning, adapters.tuned_state(tuned), "here")
    torch.testing.assert_close(again(canvas(SIZE))[0], found.detach(), rtol=1e-4, atol=1e-5)
    frozen = create(config, CPU)
    assert frozen.positional_bases[0].equal(again.positional_bases[0])
    assert not torch.allclose(frozen(canvas(SIZE))[0], found.detach(), atol=1e-2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"debias": 16}, "debias: expected fewer than 16 directions .* at 80 pixels, got 16"),
        ({"debias": 9, "canvas_size": 48}, "debias: expected fewer than 9 directions"),
        ({"debias": -1}, "debias: expected fewer"),
        ({"debias": 2, "crop_padding": True}, "crop_padding: expected False with debias"),
    ],
)
def test_settings_that_do_not_fit(folder, changes, reason):
    with pytest.raises(HomologError, match=reason):
        create(dataclasses.replace(DinoConfig(folder, SIZE), **changes), CPU)


def test_presets_take_the_published_number_of_directions():
    for size in ("small", "base", "large"):
        assert PRESETS[f"dinov3-{size}"]().backbone.debias == 20
        assert PRESETS[f"dinov2-{size}"]().backbone.debias == 0
    both = PRESETS["dinov2-base+dinov3-base"]()
    assert isinstance(both.backbone, FusedConfig)
    assert both.backbone.parts == tuple(
        PRESETS[name]().backbone for name in ("dinov2-base", "dinov3-base")
    )
    assert both.fusion.groups == ((0,), (1,)) and both.fusion.weights == (1, 1)


def test_both_dinos_together(folder, tmp_path):
    """The preset on a small canvas: similarities are the mean of the two models' own."""
    dinov2 = str(save_dino(tmp_path / "dinov2", "dinov2"))
    preset = PRESETS["dinov2-base+dinov3-base"]().with_weights([dinov2, folder], None)
    parts = [
        dataclasses.replace(part, canvas_size=size, **changes)
        for part, size, changes in zip(
            preset.backbone.parts, (84, 96), ({}, {"debias": 3}), strict=True
        )
    ]
    config = dataclasses.replace(preset, backbone=FusedConfig(tuple(parts)))
    image = random_image(96, 96)
    found = Matcher(create(config.backbone, CPU), config).extract(image).descriptors
    assert found.shape == (6, 6, 32)
    assert Matcher(create(config.backbone, CPU), config).transfer(
        image, image, [(40, 40)]
    ).keypoints1.shape == (1, 2)
    alone = zero_shot(parts[1], (0,))
    other = Matcher(create(alone.backbone, CPU), alone).extract(image).descriptors
    torch.testing.assert_close(found[..., 16:] * 2**0.5, other, rtol=1e-4, atol=1e-5)
