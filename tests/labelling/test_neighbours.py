"""Cells shared out among objects: brute force, properties, masks, boxes that lie in one another."""

import numpy as np
import torch
from helpers.toys import unit
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.descriptors import DescriptorMap
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY
from homolog.image.regions import Region
from homolog.labelling import neighbours
from homolog.labelling.neighbours import Territories, overlap

SIZE = (200, 160)
GRID = Grid.from_patches(96, 8)


def transform(box=None):
    region = None if box is None else Region.around(box, SIZE)
    return CanvasTransform(*SIZE, IDENTITY, 96, GRID, region)


@st.composite
def boxes(draw, least=1):
    found = []
    for _ in range(draw(st.integers(least, 5))):
        width, height = draw(st.integers(8, 120)), draw(st.integers(8, 100))
        x, y = draw(st.integers(0, SIZE[0] - width)), draw(st.integers(0, SIZE[1] - height))
        found.append((float(x), float(y), float(width), float(height)))
    return found


def density(point, box):
    """Of a normal distribution at the box's centre, as wide and high as it; 0 beyond it."""
    centre, half = np.array(box[:2]) + np.array(box[2:]) / 2, np.array(box[2:]) / 2
    offset = (np.array(point) - centre) / half
    if np.abs(offset).max() > 1:
        return 0.0
    return np.exp(-(offset**2).sum() / (2 * neighbours._SPREAD**2)) / half.prod()


@given(boxes())
@settings(deadline=None, max_examples=60)
def test_each_cell_belongs_to_the_box_that_is_densest_there(found):
    territories = Territories(found)
    for index, box in enumerate(found):
        there = transform(box)
        cells = territories.cells(there, index)
        assert cells.any() and not (cells & ~there.valid_cells).any()
        others = [o for n, o in enumerate(found) if n != index and overlap(o, box) < 0.8]
        points = there.to_points(there.grid.cells).reshape(*GRID.shape, 2)
        expected = np.array([
            [
                valid and max((density(p, o) for o in others), default=0) <= density(p, box) + 1e-12
                for p, valid in zip(row, valid_row, strict=True)
            ]
            for row, valid_row in zip(points, there.valid_cells, strict=True)
        ])  # fmt: skip
        if expected.any():
            assert (cells == expected).mean() > 0.99  # but for ties


@given(boxes(2))
@settings(deadline=None, max_examples=60)
def test_a_cell_of_several_boxes_belongs_to_one_of_them(found):
    """Unless one has none of its own, and keeps its box."""
    distinct: list = []
    for box in found:
        if all(overlap(box, other) < 0.8 for other in distinct):
            distinct.append(box)
    territories, whole = Territories(distinct), transform()
    points = whole.to_points(whole.grid.cells)
    dense = np.array([[density(p, box) for p in points] for box in distinct])
    first = dense.max(0)
    tied = (dense >= first - 1e-12).sum(0) > 1
    for number, box in enumerate(dense):
        cells = territories.cells(whole, number).ravel()
        own = (box > 0) & (box >= first - 1e-12)
        if (own & ~tied).any():
            assert not (cells & (first > 0) & ~own & ~tied).any()
            assert cells[own & ~tied & whole.valid_cells.ravel()].all()


@given(boxes(), st.floats(-30, 30), st.floats(0.5, 2))
@settings(deadline=None, max_examples=30)
def test_moved_and_scaled_boxes_have_the_same_cells(found, shift, scale):
    """The densities of points and boxes that are moved and scaled together keep their order."""
    points = np.random.default_rng(0).uniform(0, 150, (50, 2))
    for box in found:
        other = (np.array(box) * scale) + (shift, shift, 0, 0)
        before = neighbours._log_density(points, np.array(box))
        after = neighbours._log_density(points * scale + shift, other)
        inside = np.isfinite(before) & np.isfinite(after)
        np.testing.assert_allclose(before[inside], after[inside] + 2 * np.log(scale), atol=1e-6)


def test_two_beside_each_other_share_what_lies_between():
    """Of two boxes of one size, pixels of both belong to the nearer centre."""
    territories = Territories([(20, 40, 80, 80), (80, 40, 80, 80)])
    there = transform()
    x = there.to_points(there.grid.cells)[:, 0].reshape(GRID.shape)
    left, right = (territories.cells(there, index) for index in (0, 1))
    inside = territories._inside(there, 0) & territories._inside(there, 1)
    assert (left[inside] == (x[inside] < 90)).all() and (right[inside] == (x[inside] > 90)).all()
    assert not (left & territories._inside(there, 1) & (x > 100)).any()


def test_a_small_object_in_front_of_a_large_one():
    """It has what it covers, though both have one centre; the large one has the rest."""
    small, large = (85.0, 65.0, 30.0, 30.0), (40.0, 20.0, 120.0, 120.0)
    territories = Territories([small, large])
    assert territories.cells(transform(small), 0)[3:9, 3:9].all()
    around = territories.cells(transform(large), 1)
    assert not around[5:7, 5:7].any() and around.mean() > 0.8


def test_boxes_of_one_object_twice():
    """A detector that proposes one object twice has both labelled, in whole."""
    box = (40.0, 30.0, 90.0, 80.0)
    twice = Territories([box, (41.0, 30.0, 90.0, 82.0)])
    alone = Territories([box])
    np.testing.assert_array_equal(twice.cells(transform(box), 0), alone.cells(transform(box), 0))


def test_masks_win():
    """Pixels on a mask are its object's; others have none of them, and keep the rest of their box.

    Where masks overlap, the smaller object is in front.
    """
    boxes = [(20.0, 20.0, 160.0, 120.0), (60.0, 40.0, 60.0, 60.0), (100.0, 20.0, 80.0, 120.0)]
    masks = [np.zeros(SIZE[::-1], bool) for _ in range(2)]
    masks[0][20:140, 20:180] = True
    masks[1][40:100, 60:120] = True
    territories = Territories(boxes, [lambda: masks[0], lambda: masks[1], None])
    there = transform()
    large, small, without = (territories.cells(there, n) for n in range(3))
    np.testing.assert_array_equal(small, there.mask_cells(masks[1]))
    np.testing.assert_array_equal(large, there.mask_cells(masks[0] & ~masks[1]))
    assert not (without & (large | small)).any() and without.any()


def test_an_object_behind_all_others_keeps_its_box():
    box = (50.0, 50.0, 40.0, 40.0)
    mask = np.zeros(SIZE[::-1], bool)
    mask[40:100, 40:100] = True
    territories = Territories([box, (40.0, 40.0, 60.0, 60.0)], [None, lambda: mask])
    assert territories.cells(transform(box), 0).any()


def test_matches_lie_on_what_is_the_objects_own():
    boxes = [(20.0, 20.0, 80.0, 80.0), (90.0, 20.0, 80.0, 80.0)]
    there = transform(boxes[0])
    valid = torch.from_numpy(there.valid_cells)
    saliency = torch.zeros(GRID.shape)
    saliency[:, -2:] = 1  # nothing but the neighbour is salient
    found = DescriptorMap(there, unit(*GRID.shape, 4), valid, valid, saliency)
    restricted, shares = Territories(boxes).restrict(found, 0)
    cells = torch.from_numpy(Territories(boxes).cells(there, 0))
    assert torch.equal(restricted.matchable_HW, cells) and torch.equal(restricted.valid_HW, valid)
    assert restricted.saliency_HW.any() and not restricted.saliency_HW[~cells].any()
    points = there.to_points(there.grid.cells)
    for share, point, own in zip(shares.flatten(), points, cells.flatten(), strict=True):
        if own:
            mine, other = density(point, boxes[0]), density(point, boxes[1])
            expected = np.log(mine / (mine + other)) if mine and other else 0
            assert abs(float(share) - expected) < 1e-5
    alone, shares = Territories(boxes[:1]).restrict(found, 0)
    assert torch.equal(alone.saliency_HW, saliency * valid) and not shares.any()
