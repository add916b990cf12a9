"""Refinement on cells: against direct interpolation, and its bounds."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.toys import unit
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from homolog.matching.refinement import (
    LOWEST,
    RefinementConfig,
    lattice,
    local_similarity,
    places_allowed,
    queries,
    refine,
    sample_maps,
)

CONFIG = RefinementConfig()
SIZE = 2 * CONFIG.steps + 1


def test_maps_are_interpolated_as_scipy_does():
    maps = torch.randn(3, 7, 9, generator=torch.manual_seed(0))
    cells = torch.rand(3, 20, 2, generator=torch.manual_seed(1)) * torch.tensor([12.0, 9.0]) - 2
    found = sample_maps(maps, cells)
    for row, values, (x, y) in zip(
        found, maps.numpy(), cells.permute(0, 2, 1).numpy(), strict=True
    ):
        expected = map_coordinates(values, [y, x], order=1, mode="nearest")
        np.testing.assert_allclose(row, expected, atol=1e-5)
    one_cell = sample_maps(torch.full((1, 1, 1), 3.0), torch.zeros(1, 4, 2))
    np.testing.assert_array_equal(one_cell, np.full((1, 4), 3.0))


def test_similarity_of_a_place_is_that_of_its_descriptors():
    """At the centres of cells, and with neighbours that are shifted alike."""
    config = dataclasses.replace(CONFIG, radius=0.2, spacing=0.1, neighbourhood_distance=0.1)
    unit_cells = 10.0  # a step of the lattice, and the way to a neighbour, are one cell
    source, target = unit(12, 11, 5, seed=0), unit(14, 13, 5, seed=1)
    allowed = torch.ones(14, 13, dtype=torch.bool)
    point, match = torch.tensor([[4.0, 6.0]]), torch.tensor([[7.0, 5.0]])
    found = local_similarity(
        queries(source, point, unit_cells, config), target, allowed, match, unit_cells, config
    )
    share = config.neighbourhood_weight
    for row, dy in enumerate(range(-2, 3)):
        for column, dx in enumerate(range(-2, 3)):
            own, *others = (
                source[6 + y, 4 + x] @ target[5 + dy + y, 7 + dx + x]
                for x, y in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
            )
            expected = (1 - share) * own + share * sum(others) / 4
            assert found[0, row, column] == pytest.approx(float(expected), abs=1e-5)


def test_places_beyond_the_grid_or_the_mask_are_not_allowed():
    allowed = torch.ones(4, 6, dtype=torch.bool)
    allowed[1, 2] = False
    cells = torch.tensor(
        [[[0.0, 0.0], [2.2, 1.3], [5.4, 3.4], [5.6, 0.0], [-0.6, 1.0], [1.0, 3.6]]]
    )
    assert places_allowed(allowed, cells)[0].tolist() == [True, False, True, False, False, False]


def peak_at(offset: tuple[float, float], width: float = 0.02) -> torch.Tensor:
    places = lattice(CONFIG, torch.zeros(1))
    return torch.exp(-((places - torch.tensor(offset)) ** 2).sum(-1) / (2 * width**2))[None]


def test_all_looks_decide_together():
    flat = torch.zeros(1, SIZE, SIZE)
    here = refine(flat, [5 * peak_at((0.03, -0.02))], CONFIG)
    np.testing.assert_allclose(here, [[0.03, -0.02]], atol=0.004)
    # Of two places that the closer look cannot tell apart, the one that the first look prefers.
    twice = 5 * torch.maximum(peak_at((0.03, 0.0), 0.01), peak_at((-0.03, 0.0), 0.01))
    for x in (0.03, -0.03):
        found = refine(peak_at((x, 0.0), 0.02), [twice], CONFIG)
        np.testing.assert_allclose(found, [[x, 0.0]], atol=0.01)


def test_a_match_that_the_closer_look_does_not_see_stays():
    unseen = torch.full((1, SIZE, SIZE), LOWEST)
    assert refine(peak_at((0.05, 0.0)), [unseen], CONFIG).tolist() == [[0.0, 0.0]]


@given(seed=st.integers(0, 10**6), radius=st.floats(0.01, 0.3), sharp=st.floats(0.1, 100))
def test_no_match_moves_farther_than_the_radius(seed, radius, sharp):
    config = dataclasses.replace(CONFIG, radius=radius)
    size = 2 * config.steps + 1
    noise = sharp * torch.randn(2, 5, size, size, generator=torch.manual_seed(seed))
    noise = F.avg_pool2d(noise, 3, 1, 1)
    moved = refine(noise[0], [noise[1]], config)
    assert moved.norm(dim=1).max() <= radius * (1 + 1e-5) + 1e-6
