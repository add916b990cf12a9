"""The teacher: on stored descriptors it matches as the matcher itself does."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.toy_adaptation import CHANNELS, RuledSides, cuts, save_images, toy_store
from helpers.toy_training import toy_matcher
from helpers.toys import random_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from homolog import Matcher, example
from homolog.config import PostProcessorConfig
from homolog.image.poses import FLIP, IDENTITY, PoseVariant
from homolog.matching.consensus import ConsensusConfig
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.training.adaptation.mining import PointMatcher
from homolog.training.adaptation.store import ImageStore
from homolog.training.adaptation.teacher import Teacher, at_cells, object_size

POSES = [IDENTITY, FLIP, PoseVariant(rotation=90), PoseVariant(rotation=-30)]


def ellipse(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask


def networks(kind: str) -> torch.nn.Module:
    torch.manual_seed(3)
    network = (
        AttentionHead(CHANNELS, 32, 16, 32)
        if kind == "context"
        else PostProcessor([CHANNELS], 128, residual=True)
    )
    for parameter in network.parameters():  # those that begin at zero, too, have an effect
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval().requires_grad_(False)


def toy_with(network=None, share=0.0, side_head=None, consensus=None) -> Matcher:
    """The toy matcher with trained networks."""
    plain = toy_matcher()
    settings = None if network is None else PostProcessorConfig("descriptors", zero_shot=share)
    config = dataclasses.replace(
        plain.config, post_processor=settings, consensus=consensus,
        sides=None if side_head is None else side_head.config,
    )  # fmt: skip
    return Matcher(plain.backbone, config, network=network, side_head=side_head)


def teacher_of(matcher: Matcher, store: ImageStore, masks=None) -> Teacher:
    return Teacher(store, matcher.config, matcher.network, matcher.side_head, masks)


def similarity(one, other):
    return torch.einsum("hwc,yxc->hwyx", one.descriptors_HWC, other.descriptors_HWC)


@pytest.mark.parametrize(
    "matcher",
    [
        toy_with(),
        toy_with(networks("context"), 0.0),
        toy_with(networks("context"), 0.5),
        toy_with(networks("residual"), 0.0),
        toy_with(networks("residual"), 0.5, RuledSides(sides_weight=0.3)),
        toy_with(None, 0.0, RuledSides(sides_weight=0.3)),
    ],
    ids=["zero-shot", "context", "context, half", "residual", "residual, half, sides", "sides"],
)
def test_similarities_are_the_matchers(tmp_path, matcher):
    images = [random_image(120, 100, 0), random_image(96, 96, 1)]
    store = toy_store(tmp_path, images, matcher=matcher)
    teacher = teacher_of(matcher, store)
    expected = matcher.descriptor_map(store.paths[1])
    found = teacher.descriptor_map(1)
    inside = expected.valid_HW
    for pose in POSES:
        ours, theirs = teacher.descriptor_map(0, pose), matcher.descriptor_map(store.paths[0], pose)
        assert ours.transform == theirs.transform
        assert torch.equal(ours.valid_HW, theirs.valid_HW)
        torch.testing.assert_close(ours.saliency_HW, theirs.saliency_HW)
        shown = theirs.valid_HW
        torch.testing.assert_close(
            similarity(ours, found)[shown][:, inside],
            similarity(theirs, expected)[shown][:, inside], rtol=0, atol=4e-3,
        )  # fmt: skip
        if matcher.side_head is not None:
            names = ("objectness", "side", "canonical_xyz", "heading")
            for name in names:
                pair = (getattr(each.sides, name)[shown] for each in (ours, theirs))
                torch.testing.assert_close(*pair, rtol=0, atol=1e-2)


def test_the_mix_is_of_both_similarities(tmp_path):
    """With a share of s the similarity is s times the zero-shot one, and the learned one's rest."""
    network = networks("context")
    parts = {}
    for share in (0.0, 0.25, 1.0):
        matcher = toy_with(network if share < 1 else None, share)
        store = toy_store(tmp_path, cuts((0, 0), (50, 30)), matcher=matcher)
        maps = [teacher_of(matcher, store).descriptor_map(index) for index in (0, 1)]
        parts[share] = similarity(*maps)
    expected = 0.75 * parts[0.0] + 0.25 * parts[1.0]
    torch.testing.assert_close(parts[0.25], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("consensus", [None, ConsensusConfig()], ids=["plain", "consensus"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("pose", [IDENTITY, PoseVariant(rotation=90)], ids=lambda pose: pose.name)
def test_points_are_matched_as_by_a_pair(tmp_path, consensus, masked, pose):
    matcher = toy_with(networks("context"), 0.5, RuledSides(sides_weight=0.2), consensus)
    sizes = [(120, 100), (96, 96)]
    store = toy_store(tmp_path, [random_image(*size, seed=5) for size in sizes], matcher=matcher)
    paths = store.paths
    masks = [ellipse(size, (20, 10, 70, 90)) for size in sizes] if masked else [None, None]
    files = save_images(tmp_path / "masks", [mask for mask in masks if mask is not None])
    teacher = teacher_of(matcher, store, dict(zip(paths, files, strict=False)))
    pair = matcher.pair(
        *paths, poses=[pose],
        mask0=None if masks[0] is None else np.array(masks[0]),
        mask1=None if masks[1] is None else np.array(masks[1]),
    )  # fmt: skip
    source, target = teacher.descriptor_map(0, pose), teacher.descriptor_map(1)
    assert torch.equal(source.matchable_HW, pair.source_map(pose).matchable_HW)
    assert torch.equal(target.matchable_HW, pair.target_map.matchable_HW)
    points = np.random.default_rng(0).uniform((20, 10), (100, 90), (60, 2))
    cells = torch.from_numpy(source.transform.to_cells(points)).float()
    found = PointMatcher(source, target, matcher.config)(cells)
    ours = target.transform.to_points(found.double().numpy(), clip=True)
    # A cell is 8 pixels wide; where two cells are as like, either may be found.
    away = np.linalg.norm(ours - pair.transfer_points(points), axis=1)
    assert np.mean(away < 0.4) >= 0.98, np.sort(away)[-5:]


def test_with_the_default_model_the_example_is_matched_as_by_a_pair(tmp_path, matcher):
    with example.pair() as pair:
        paths = [pair.image0, pair.image1]
        store = ImageStore(tmp_path / "store", matcher, paths, 384)
        teacher = teacher_of(matcher, store)
        source, target = teacher.descriptor_map(0), teacher.descriptor_map(1)
        assert teacher.recognises(source) and teacher.recognises(target)
        cells = teacher.object_cells(source).nonzero().flip(1).float()[::5]
        points = source.transform.to_points(cells.double().numpy())
        found = PointMatcher(source, target, matcher.config)(cells)
        ours = target.transform.to_points(found.double().numpy(), clip=True)
        theirs = matcher.pair(*paths).transfer_points(points)
    assert len(cells) > 50
    cell = target.transform.grid.stride / target.transform.letterbox.scale
    away = np.linalg.norm(ours - theirs, axis=1) / cell
    assert np.median(away) < 0.05 and np.mean(away < 0.5) >= 0.95, np.sort(away)[-9:]


def test_the_object_is_what_a_mask_says_or_the_side_head_or_saliency(tmp_path):
    images = [random_image(96, 96, seed) for seed in range(2)]
    store = toy_store(tmp_path, images)
    (mask,) = save_images(tmp_path / "masks", [ellipse((96, 96), (10, 10, 60, 80))])
    y, x = np.mgrid[:12, :12] * 8 + 4
    inside = torch.from_numpy(((x - 35) / 25) ** 2 + ((y - 45) / 35) ** 2 < 1)

    config = store.matcher.config
    plain = Teacher(store, config, None, None, {store.paths[0]: mask})
    assert (plain.object_cells(plain.descriptor_map(0)) ^ inside).sum() <= 4
    salient = plain.descriptor_map(1)
    assert torch.equal(plain.object_cells(salient), salient.saliency_HW > 0)
    assert not plain.recognises(salient)

    for objectness, known in ((0.9, True), (0.1, False)):
        head = RuledSides(objectness)
        teacher = Teacher(
            store, dataclasses.replace(config, sides=head.config), None, head,
            {store.paths[0]: mask},
        )  # fmt: skip
        masked, whole = teacher.descriptor_map(0), teacher.descriptor_map(1)
        assert torch.equal(teacher.object_cells(masked), masked.matchable_HW)
        assert teacher.recognises(whole) == known
        expected = whole.valid_HW if known else whole.saliency_HW > 0
        assert torch.equal(teacher.object_cells(whole), expected)


def test_a_description_is_made_once(tmp_path):
    store = toy_store(tmp_path, cuts((0, 0)))
    teacher = teacher_of(store.matcher, store)
    assert teacher.descriptor_map(0, FLIP) is teacher.descriptor_map(0, FLIP)
    assert teacher.descriptor_map(0) is not teacher.descriptor_map(0, FLIP)


@given(cells=st.sets(st.tuples(st.integers(0, 8), st.integers(0, 5)), min_size=1))
def test_the_size_of_an_object_is_the_longer_side_of_its_box(cells):
    grid = torch.zeros(6, 9, dtype=torch.bool)
    for x, y in cells:
        grid[y, x] = True
    width, height = (
        1 + max(each[axis] for each in cells) - min(each[axis] for each in cells) for axis in (0, 1)
    )
    assert object_size(grid) == max(width, height)


@given(seed=st.integers(0, 1000))
def test_values_are_those_of_the_nearest_cells(seed):
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=(4, 6, 3)))
    cells = rng.uniform((-2, -2), (8, 6), (20, 2))
    found = at_cells(values, torch.from_numpy(cells))
    centres = np.stack(np.meshgrid(np.arange(6), np.arange(4)), axis=-1).reshape(-1, 2)
    for row, cell in zip(found, cells, strict=True):
        x, y = centres[np.linalg.norm(centres - cell, axis=1).argmin()]
        assert torch.equal(row, values[y, x])


def test_unit_length(tmp_path):
    """Descriptors are of unit length, as everything that compares them takes for granted."""
    for matcher in (toy_with(networks("residual"), 0.5, RuledSides(sides_weight=1.0)), toy_with()):
        store = toy_store(tmp_path, cuts((0, 0)), 20, matcher)
        found = teacher_of(matcher, store).descriptor_map(0).descriptors_HWC
        torch.testing.assert_close(found, F.normalize(found, dim=-1), rtol=0, atol=1e-5)
