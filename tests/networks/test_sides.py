"""Sides: the network, what becomes of descriptors, the matcher, drawing, the command, saving."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers.toys import ColourBackbone, random_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError, KeypointSchema, Matcher, Sides, checkpoints
from homolog.cli import main
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY
from homolog.networks.sides import (
    SideHead,
    SideMaps,
    SidesConfig,
    append_sides,
    objectness_confidence,
)
from homolog.viz.pairs import plot_sides

SMALL = SidesConfig(
    12, components=8, widths=(8, 8, 16), layers=1, side_weight=0.3, coordinate_weight=0.2
)


def network(config: SidesConfig = SMALL) -> SideHead:
    torch.manual_seed(0)
    made = SideHead(config).eval()
    for parameter in made.parameters():  # layers of attention start as nothing
        torch.nn.init.normal_(parameter, std=0.3)
    return made.requires_grad_(False)


def maps(objectness, side, place=None, facing=(1.0, 0.0, 0.0)) -> SideMaps:
    objectness, side = torch.as_tensor(objectness).float(), torch.as_tensor(side).float()
    place = torch.zeros(*objectness.shape, 3) if place is None else torch.as_tensor(place).float()
    return SideMaps(objectness, side, place, torch.tensor(facing).expand(*objectness.shape, 3))


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


@pytest.mark.parametrize("shape", [(8, 8), (41, 41), (5, 9), (1, 3)])
def test_maps_have_the_shape_of_the_grid(shape):
    found = network()(torch.randn(2, *shape, 12))
    assert found.objectness.shape == found.side.shape == (2, *shape)
    assert found.canonical_xyz.shape == found.heading.shape == (2, *shape, 3)
    assert bool(((found.objectness > 0) & (found.objectness < 1) & (found.side.abs() < 1)).all())
    assert torch.equal(found[1].side, found.side[1])


def test_every_cell_depends_on_the_whole_image():
    given_ = torch.randn(1, 21, 21, 12, requires_grad=True)
    network()(given_).side[0, 0, 0].backward()
    assert float(given_.grad[0, -1, -1].abs().sum()) > 0


@given(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1))
def test_similarity_of_cells_with_sides_in_closed_form(thing0, side0, thing1, side1):
    config = dataclasses.replace(SMALL, side_weight=0.3, coordinate_weight=0.0)
    cells = unit(1, 2, 6)
    found = append_sides(cells, maps([[thing0, thing1]], [[side0, side1]]), config)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(1, 2))
    agreement = 0.3 * (thing0 * thing1) ** 0.25 * side0 * side1
    lengths = [(1 + 0.3 * t**0.5 * s**2) ** 0.5 for t, s in ((thing0, side0), (thing1, side1))]
    expected = (float(cells[0, 0] @ cells[0, 1]) + agreement) / (lengths[0] * lengths[1])
    assert float(found[0, 0] @ found[0, 1]) == pytest.approx(expected, abs=1e-5)


@given(st.floats(0.01, 1), st.integers(1, 35))
def test_certainty_is_of_the_thing_and_not_of_its_size(probability, cells):
    objectness = torch.zeros(36)
    objectness[:cells] = probability
    objectness = objectness.reshape(4, 9)
    assert float(objectness_confidence(objectness)) == pytest.approx(probability, rel=1e-4)
    both = objectness_confidence(torch.stack([objectness, torch.zeros(4, 9)]))
    assert both.tolist() == pytest.approx([probability, 0], rel=1e-4)


def test_images_that_may_show_no_such_object_count_less():
    cells = unit(1, 2, 6)
    gained = []
    for surely in (0.9, 0.5):  # the logits of these images are 4 and 0
        told = maps(torch.full((1, 2), surely), torch.ones(1, 2))
        config = dataclasses.replace(
            SMALL, side_weight=0.3, coordinate_weight=0.0, presence_calibration=(10.0, -5.0)
        )
        found = append_sides(cells, told, config)
        cosine, before = float(found[0, 0] @ found[0, 1]), float(cells[0, 0] @ cells[0, 1])
        gained.append((cosine - before) / (1 - cosine))  # (c + a) / (1 + a), solved for a
    chance = 1 / (1 + np.exp(-4))
    expected = [0.3 * chance * 0.9**0.5, 0.3 * 0.5 * 0.5**0.5]
    assert gained == pytest.approx(expected, rel=1e-4)


def test_places_agree_by_a_gaussian_kernel():
    config = dataclasses.replace(
        SMALL, side_weight=0.0, coordinate_weight=1.0, coordinate_bandwidth=0.5
    )
    along = torch.linspace(0, 1.5, 7)
    place = torch.stack([torch.zeros(7), along, torch.zeros(7)], dim=-1)[None]
    same = torch.tensor([1.0, 0.0]).expand(1, 7, 2)
    found = append_sides(same, maps(torch.ones(1, 7), torch.zeros(1, 7), place), config)
    kernel = 2 * (found[0, :1] @ found[0].T)[0] - 1  # half of a cell is its looks, which are alike
    expected = (-(along**2) / (2 * 0.5**2)).exp()
    torch.testing.assert_close(kernel, expected, atol=0.25, rtol=0)  # of 64 random waves
    assert float(kernel[0]) == pytest.approx(1, abs=1e-5)


def test_what_is_no_known_thing_is_left_alone():
    cells = unit(3, 4, 6)
    found = append_sides(cells, maps(torch.zeros(3, 4), torch.rand(3, 4) * 2 - 1), SMALL)
    before, after = (x.flatten(0, 1) @ x.flatten(0, 1).T for x in (cells, found))
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)


# The result.


@pytest.fixture
def wide() -> CanvasTransform:
    return CanvasTransform(96, 48, IDENTITY, 96, Grid.from_patches(96, 8))


def test_sides_of_a_wide_image(wide):
    side = torch.zeros(12, 12)
    side[:, :6], side[:, 6:] = 1.0, -0.5
    found = Sides.from_maps(maps(torch.full((12, 12), 0.9), side, facing=(0.0, 0.0, -2.0)), wide)
    np.testing.assert_allclose(found.left + found.right, 1)
    left, right, confidence = found.at(np.array([[12.0, 24.0]]))[0]
    assert (left, right) == (1, 0)
    assert confidence == pytest.approx(0.9)
    assert found.at(np.array([[80.0, 24.0]]))[0, :2] == pytest.approx([0.25, 0.75])
    assert not found.confidence[0].any()  # black above the image
    assert found.centre == pytest.approx([48, 24])
    assert found.heading == pytest.approx((0, 0, -1), abs=1e-6)
    assert found.describe() == "faces the camera (confidence 1.00)"
    assert found.dense((48, 24)).shape == (24, 48, 3)
    plain = json.loads(json.dumps(found.to_dict()))
    assert len(plain["points"]) == len(plain["left"]) == 12 * 6
    assert min(y for _, y in plain["points"]) == pytest.approx(4)


def test_an_image_of_nothing_known(wide):
    found = Sides.from_maps(maps(torch.full((12, 12), 0.1), torch.zeros(12, 12)), wide)
    assert found.centre is None
    assert found.describe() == "no object whose sides are known"


def test_drawing_paints_left_blue_and_right_orange(wide):
    side = torch.zeros(12, 12)
    side[:, :4], side[:, 8:] = 1.0, -1.0
    grey = Image.new("RGB", (96, 48), (128, 128, 128))
    painted = np.asarray(
        plot_sides(grey, Sides.from_maps(maps(torch.ones(12, 12), side), wide))
    ).astype(int)
    height, width = painted.shape[:2]
    left, middle, right = (painted[height // 5, width * i // 10] for i in (1, 5, 9))
    assert left[2] > left[0] + 60
    assert right[0] > right[2] + 60
    assert np.ptp(middle) < 12


# The matcher.


@pytest.fixture
def sided(colour_matcher) -> Matcher:
    channels = colour_matcher.extract(random_image(96, 96, 0)).descriptors.shape[2]
    config = dataclasses.replace(SMALL, feature_dim=channels, presence_calibration=(9.0, -4.5))
    whole = dataclasses.replace(colour_matcher.config, sides=config)
    return Matcher(ColourBackbone(), whole, side_head=network(config))


def test_a_model_without_sides_says_so(colour_matcher):
    with pytest.raises(HomologError, match="sides: expected a model that tells them"):
        colour_matcher.sides(random_image(96, 96, 0))


def test_sides_are_those_of_the_network_and_cost_no_further_pass(sided, colour_matcher):
    image = random_image(96, 64, 3)
    features = sided.extract(image)
    seen = sided.backbone.seen
    found = sided.sides(features)
    assert sided.backbone.seen == seen
    expected = sided.side_head(colour_matcher.extract(image).descriptors[None])
    np.testing.assert_allclose(found.left, (1 + expected.side[0].double().numpy()) / 2, atol=1e-6)


def test_facing_decides_on_a_flip_without_a_pass(sided, monkeypatch):
    right, left = random_image(96, 96, 1), random_image(96, 96, 2)
    schema = KeypointSchema(("left_eye", "right_eye"), (1, 0))
    points = [[20.0, 30.0], [70.0, 40.0]]
    first, second = sided.extract(right), sided.extract(left)
    ways = {id(first): 0.9, id(second): -0.9}
    for features in (first, second):
        posed = features.by_pose[IDENTITY]
        known = maps(torch.ones(12, 12), torch.zeros(12, 12), facing=(ways[id(features)], 0.0, 0.1))
        features.by_pose[IDENTITY] = dataclasses.replace(posed, sides=known)
    seen = sided.backbone.seen
    assert sided.transfer(first, first, points, schema, poses="flip").pose == "identity"
    assert sided.backbone.seen == seen
    assert sided.transfer(first, second, points, schema, poses="flip").pose == "flip"
    assert sided.backbone.seen == seen + 1
    free = sided.transfer(first, second, points, poses="flip")
    assert free.pose == "identity"
    assert "face opposite ways" in free.warning


# Saving, and the command.


def test_saved_and_loaded(sided, monkeypatch, tmp_path):
    monkeypatch.setattr("homolog.checkpoints.create", lambda config, device: ColourBackbone())
    checkpoints.save(tmp_path, None, sided.config, side_head=sided.side_head)
    loaded = Matcher.from_pretrained(str(tmp_path), device="cpu")
    assert loaded.config == sided.config
    image = random_image(96, 96, 5)
    np.testing.assert_array_equal(loaded.sides(image).left, sided.sides(image).left)

    out = tmp_path / "sides.png"
    random_image(96, 96, 5).save(tmp_path / "photo.png")
    arguments = ["sides", str(tmp_path / "photo.png"), "--model", str(tmp_path), "--device", "cpu"]
    main([*arguments, "--out", str(out), "--json", str(tmp_path / "sides.json")])
    with Image.open(out) as drawn:
        assert drawn.width > 500
    assert len(json.loads((tmp_path / "sides.json").read_text())["left"]) == 144

    (tmp_path / checkpoints.SIDES).write_bytes(b"nothing")
    with pytest.raises(HomologError, match=r"sides\.safetensors, which is damaged"):
        Matcher.from_pretrained(str(tmp_path), device="cpu")
    (tmp_path / checkpoints.SIDES).unlink()
    with pytest.raises(HomologError, match=r"sides\.safetensors"):
        Matcher.from_pretrained(str(tmp_path), device="cpu")
    (tmp_path / checkpoints.CONFIG).write_text("{}")
    with pytest.raises(HomologError, match="no network is named"):
        Matcher.from_pretrained(str(tmp_path), device="cpu")
