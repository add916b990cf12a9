"""DINO backbones against the models' own hidden states and closed forms."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from helpers.foundation import save_dino
from helpers.toys import random_image

from homolog import HomologError, Matcher, MatcherConfig
from homolog.backbones import DinoConfig, create
from homolog.image.geometry import CanvasTransform
from homolog.image.poses import FLIP, IDENTITY, PoseVariant
from homolog.presets import PRESETS
from homolog.presets import dino as preset
from homolog.utils.serialization import to_plain

transformers = pytest.importorskip("transformers")
CPU = torch.device("cpu")
KINDS = ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")
PATCH = {"dinov2": 14, "dinov2_with_registers": 14, "dinov3_vit": 16, "dinov3_convnext": 32}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = str(save_dino(tmp_path_factory.mktemp(kind), kind))
        return made[kind]

    return folder


def canvases(side: int, count: int = 1) -> torch.Tensor:
    images = [np.array(random_image(side, side, seed)) for seed in range(count)]
    return torch.from_numpy(np.stack(images))


def own_states(folder: str, canvas: torch.Tensor):
    """What the model itself says, on an image normalised here."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    images = canvas.permute(0, 3, 1, 2) / 255.0
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = (images - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        return model, model(pixel_values=images, output_hidden_states=True)


def as_map(tokens: torch.Tensor, count: int) -> torch.Tensor:
    return tokens[:, -count * count :].transpose(1, 2).unflatten(2, (count, count))


def test_maps_are_the_models_own_hidden_states(kind, folders):
    side = 5 * PATCH[kind]
    config = DinoConfig(folders(kind), side, layers=(1, -1))
    backbone = create(config, CPU)
    first, last = backbone(canvases(side))
    _, states = own_states(folders(kind), canvases(side))
    if kind == "dinov3_convnext":
        assert [grid.stride for grid in backbone.grids] == [8, 32]
        assert first.shape == (1, 12, 20, 20) and last.shape == (1, 24, 5, 5)
        torch.testing.assert_close(first, states.hidden_states[-3], rtol=1e-4, atol=1e-5)
    else:
        assert [grid.shape for grid in backbone.grids] == [(5, 5), (5, 5)]
        torch.testing.assert_close(first, as_map(states.hidden_states[2], 5))
    torch.testing.assert_close(last, as_map(states.last_hidden_state, 5), rtol=1e-4, atol=1e-5)


def test_keys_are_those_of_the_attention(folders):
    side = 70
    backbone = create(DinoConfig(folders("dinov2"), side, layers=(1,), facet="keys"), CPU)
    model, states = own_states(folders("dinov2"), canvases(side))
    block = model.encoder.layer[1] if hasattr(model.encoder, "layer") else model.encoder.layers[1]
    (key,) = [m for n, m in block.named_modules() if n.endswith(("k_proj", ".key"))]
    with torch.no_grad():
        expected = key(block.norm1(states.hidden_states[1]))
    torch.testing.assert_close(backbone(canvases(side))[0], as_map(expected, 5))


def cubic(x: float) -> float:
    """Keys' kernel with a = -0.75."""
    a, x = -0.75, abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


@pytest.mark.parametrize(("positions", "size"), [("published", 6.1), ("exact", 6.0)])
def test_positions_are_interpolated_in_closed_form(folders, positions, size):
    """Bicubic, sampled at (i + 0.5) * 4 / size - 0.5, clamped at the border."""
    backbone = create(DinoConfig(folders("dinov2"), 84, pos_embed_mode=positions), CPU)
    embeddings = backbone.model.embeddings
    own = embeddings.position_embeddings.detach()
    found = embeddings.interpolate_pos_encoding(torch.zeros(1, 37, 16), 84, 84).detach()
    weights = torch.zeros(6, 4)
    for i in range(6):
        centre = (i + 0.5) * 4 / size - 0.5
        for tap in range(math.floor(centre) - 1, math.floor(centre) + 3):
            weights[i, min(max(tap, 0), 3)] += cubic(centre - tap)
    expected = torch.einsum("yi,xj,ijc->yxc", weights, weights, own[0, 1:].unflatten(0, (4, 4)))
    torch.testing.assert_close(found[0, 1:], expected.flatten(0, 1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0, 0], own[0, 0])


def test_published_positions_matter_away_from_their_own_size(folders):
    config = DinoConfig(folders("dinov2"), 84, pos_embed_mode="published")
    backbone = create(config, CPU)
    exact = create(dataclasses.replace(config, pos_embed_mode="exact"), CPU)
    assert (exact(canvases(84))[0] - backbone(canvases(84))[0]).abs().max() > 1e-3
    same = create(
        dataclasses.replace(config, canvas_size=56), CPU
    )  # no interpolation at its own size
    plain = create(dataclasses.replace(config, canvas_size=56, pos_embed_mode="exact"), CPU)
    torch.testing.assert_close(same(canvases(56))[0], plain(canvases(56))[0])


def test_batches_and_repetitions_agree(kind, folders):
    side = 4 * PATCH[kind]
    backbone = create(DinoConfig(folders(kind), side), CPU)
    (four,), (again,) = backbone(canvases(side, 4)), backbone(canvases(side, 4))
    assert four.equal(again)
    for index in range(4):
        (one,) = backbone(canvases(side, 4)[index : index + 1])
        torch.testing.assert_close(one[0], four[index], rtol=1e-4, atol=1e-4)


def test_half_precision_is_near(folders):
    side = 56
    single = create(DinoConfig(folders("dinov2"), side), CPU)(canvases(side))[0]
    half = create(DinoConfig(folders("dinov2"), side, precision="bfloat16"), CPU)(canvases(side))[0]
    assert half.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(single, half, dim=1)
    assert cosine.min() > 0.99 and not half.equal(single)


def test_crop_padding_shows_the_image_in_its_own_shape(folders):
    """An image letterboxed to 70 x 70 is seen as the 70 x 42 that it fills."""
    config = DinoConfig(folders("dinov2"), 70, crop_padding=True)
    backbone = create(config, CPU)
    canvas = canvases(70).clone()
    canvas = canvas.clamp_min(1)
    canvas[:, :14] = canvas[:, 56:] = 0
    (found,) = backbone(canvas)
    assert found[:, :, 0].abs().max() == 0 and found[:, :, 4].abs().max() == 0
    images = canvas[:, 14:56]
    _, states = own_states(folders("dinov2"), images)
    expected = states.last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, (3, 5))
    torch.testing.assert_close(found[:, :, 1:4], expected, rtol=1e-4, atol=1e-5)
    (black,) = backbone(torch.zeros(1, 70, 70, 3, dtype=torch.uint8))
    assert black.isfinite().all()


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (70, 70)])
@pytest.mark.parametrize(
    ("pose", "turned"),
    [
        (FLIP, lambda canvas: canvas[:, ::-1]),
        (PoseVariant(rotation=90), np.rot90),
        (PoseVariant(rotation=180), lambda canvas: canvas[::-1, ::-1]),
    ],
)
def test_poses_commute_with_the_letterbox(folders, size, pose, turned):
    """The canvas of a turned image is the turned canvas, but for rounding of the resize."""
    image = random_image(*size)
    grid = create(DinoConfig(folders("dinov2"), 70), CPU).grid
    plain, posed = (
        np.array(CanvasTransform(*size, p, 70, grid).apply(image)).astype(int)
        for p in (IDENTITY, pose)
    )
    # An image whose height leaves an odd number of rows lies half a pixel off the middle.
    shifts = [np.roll(turned(plain), (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert min(np.abs(posed - shifted).max() for shifted in shifts) <= 2


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("dinov2", {"canvas_size": 75}, "canvas_size: expected a multiple of 14, got 75"),
        ("dinov2", {"layers": (3,)}, "layers: expected numbers from 0 to 2 for .*, got [3]"),
        ("dinov2", {"layers": ()}, "layers: expected numbers from 0 to 2 for .*, got []"),
        (
            "dinov3_vit",
            {"canvas_size": 64, "pos_embed_mode": "published"},
            "^pos_embed_mode: expected 'exact'",
        ),
        (
            "dinov3_convnext",
            {"canvas_size": 64, "facet": "keys"},
            "^facet: expected 'tokens', for a ConvNeXt",
        ),
        ("dinov3_convnext", {"canvas_size": 64, "crop_padding": True}, "^crop_padding: expected"),
        ("dinov3_convnext", {"canvas_size": 70}, "expected a multiple of 32, got 70"),
    ],
)
def test_settings_that_do_not_fit(folders, kind, changes, reason):
    config = DinoConfig(folders(kind), 70)
    with pytest.raises(HomologError, match=reason.replace("[", r"\[")):
        create(dataclasses.replace(config, **changes), CPU)


def test_models_that_cannot_be_had(tmp_path, monkeypatch):
    with pytest.raises(HomologError, match="expected a folder or a hub's owner/name, got nowhere"):
        create(DinoConfig("nowhere"), CPU)
    with pytest.raises(HomologError, match=r"expected the model of .*empty, got none"):
        (tmp_path / "empty").mkdir()
        create(DinoConfig(str(tmp_path / "empty")), CPU)
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(HomologError, match=r"expected one of dinov2.*bert, a bert"):
        create(DinoConfig(str(tmp_path / "bert")), CPU)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HomologError, match=r"the hub cannot be reached.*give the folder"):
        create(DinoConfig("nobody/nothing-at-all"), CPU)


def test_shapes_at_the_real_size():
    """Without computing: 60 x 60 x 768 at 840 pixels."""
    from homolog.backbones.dino import DinoBackbone

    with torch.device("meta"):
        model = transformers.Dinov2Model(transformers.Dinov2Config(image_size=518, patch_size=14))
    backbone = DinoBackbone(model, DinoConfig("x", 840, pos_embed_mode="published"))
    (found,) = backbone(torch.empty(1, 840, 840, 3, dtype=torch.uint8, device="meta"))
    assert found.shape == (1, 768, 60, 60) and backbone.grid.shape == (60, 60)


def test_the_whole_way(kind, folders, tmp_path):
    """Extract, transfer, evaluate, train two steps, and use what was trained."""
    from helpers import toy_training

    from homolog import evaluation, training

    side = 4 * PATCH[kind]
    config = dataclasses.replace(preset(folders(kind), side), window=1)
    matcher = Matcher(create(config.backbone, CPU), config)
    data = toy_training.toy_data(tmp_path / "images", 4)
    paths = [annotation.path for annotation in data.annotations]
    features = matcher.extract(paths[0])
    assert torch.linalg.vector_norm(features.descriptors, dim=-1).min() > 0.999
    found = matcher.transfer(features, paths[1], [(40, 40), (20, 60)])
    assert (found.keypoints1 >= 0).all() and (found.keypoints1 <= found.size1).all()
    predictions = evaluation.predict(matcher, data, tmp_path / "evaluation")
    assert len(predictions.read_text().splitlines()) == len(data.pairs)
    run = dataclasses.replace(
        toy_training.RESIDUAL, steps=2, network=training.NetworkConfig("published", 128)
    )
    folder = training.train(data, tmp_path / "run", matcher, run)
    trained = Matcher.from_pretrained(str(folder))
    assert trained.config.backbone == config.backbone
    assert trained.transfer(*paths[:2], [(40, 40)]).keypoints1.shape == (1, 2)


def test_configurations_survive_json(folders):
    for name, make in PRESETS.items():
        config = make()
        plain = json.loads(json.dumps(to_plain(config)))
        assert MatcherConfig.from_dict(plain) == config, name
    odd = dataclasses.replace(
        PRESETS["sd15"](), backbone=DinoConfig(layers=(2, 5), crop_padding=True)
    )
    assert MatcherConfig.from_dict(json.loads(json.dumps(to_plain(odd)))) == odd


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("GatedRepoError", "its licence is not accepted yet; try accepting it"),
        ("RepositoryNotFoundError", "the hub has no model of that name"),
    ],
)
def test_what_the_hub_says_is_passed_on(kind, reason):
    from huggingface_hub import errors

    from homolog.backbones.hub import from_pretrained

    error = getattr(errors, kind)
    cause = error.__new__(error)  # made by hand, without a response

    class Model:
        @staticmethod
        def from_pretrained(name, **options):
            raise OSError("cannot load") from cause

    with pytest.raises(HomologError, match=reason):
        from_pretrained(Model, "owner/name")


def test_a_library_that_is_not_there_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(HomologError, match=r"^transformers: .*pip install 'homolog\[dino\]'"):
        create(DinoConfig(), CPU)
