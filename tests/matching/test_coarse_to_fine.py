"""Nearest neighbours of all cells: chunks and coarse to fine, against the whole similarity."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from homolog import matching
from homolog.matching import coarse_to_fine
from homolog.matching.coarse_to_fine import CellMap, CellMatcher
from homolog.matching.consensus import Consensus, ConsensusConfig
from homolog.matching.soft_argmax import products

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def random_map(generator, shape, factor=3, channels=6, lengths=False):
    descriptors = F.normalize(torch.randn(*shape, channels, generator=generator), dim=-1)
    allowed = torch.rand(shape, generator=generator) < 0.8
    allowed[shape[0] // 2, shape[1] // 2] = True
    factors = torch.rand(shape, generator=generator) + 0.5 if lengths else None
    return CellMap(descriptors, allowed, factor, factors)


def smooth_map(generator, shape, factor, coarse, noise=0.0):
    fields = F.interpolate(coarse, shape, mode="bicubic", align_corners=True)[0].permute(1, 2, 0)
    fields = fields + noise * torch.randn(fields.shape, generator=generator)
    return CellMap(F.normalize(fields, dim=-1), torch.ones(shape, dtype=torch.bool), factor)


def consensus_of(source, target, generator, radius=1):
    weights = [torch.rand(each.shape, generator=generator) + 0.1 for each in (source, target)]
    config = ConsensusConfig(neighbourhood_radius=radius)
    return Consensus(
        source.descriptors_HWC, target.descriptors_HWC, *weights, source.allowed_HW,
        target.allowed_HW, config,
    )  # fmt: skip


def whole_similarity(source, target):
    """Of all cells to all cells, as it is written down."""
    rows = [each.rows(torch.arange(each.allowed_HW.numel())) for each in (source, target)]
    return rows[0] @ rows[1].T


def brute_force(one):
    """Similarity maps of all source cells."""
    similarity = whole_similarity(one.source, one.target)
    if one.consensus is not None:
        return one.consensus.rows(similarity, torch.arange(len(similarity)))
    maps = similarity.unflatten(1, one.target.shape)
    return maps.masked_fill(~one.target.allowed_HW, -torch.inf)


def matcher(seed, shape0, shape1, lengths, consensus):
    generator = torch.manual_seed(seed)
    source = random_map(generator, shape0, lengths=lengths)
    target = random_map(generator, shape1, lengths=lengths)
    own = None if not consensus or lengths else consensus_of(source, target, generator)
    return CellMatcher(source, target, own)


def agrees(found, one):
    """Every cell has a best match; those off the mask have none. Equal ones may be exchanged."""
    maps = brute_force(one).flatten(1)
    inside = one.source.allowed_HW.flatten()
    assert (found[~inside] == -1).all()
    best = maps[inside].amax(1)
    torch.testing.assert_close(maps[inside, found[inside]], best, atol=1e-5, rtol=1e-5)


@given(seed=seeds, shape0=sizes, shape1=sizes, lengths=st.booleans(), consensus=st.booleans())
def test_chunks_find_what_the_whole_similarity_says(seed, shape0, shape1, lengths, consensus):
    one = matcher(seed, shape0, shape1, lengths, consensus)
    agrees(one.exhaustive(), one)


@given(seed=seeds, shape0=sizes, shape1=sizes, lengths=st.booleans(), consensus=st.booleans())
def test_with_all_blocks_as_candidates_nothing_is_missed(seed, shape0, shape1, lengths, consensus):
    one = matcher(seed, shape0, shape1, lengths, consensus)
    # At most 3 x 3 blocks of 3 x 3 cells: a little more than are looked at.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coarse_to_fine, "CANDIDATES", 9)
        agrees(one.coarse_to_fine(), one)


@pytest.mark.parametrize("consensus", [False, True])
def test_smooth_maps_have_the_same_neighbours_coarse_to_fine(consensus, monkeypatch):
    monkeypatch.setattr(coarse_to_fine, "CANDIDATES", 8)
    generator = torch.manual_seed(0)
    coarse = torch.randn(1, 24, 7, 7, generator=generator)
    source = smooth_map(generator, (43, 46), 4, coarse, noise=0.05)
    target = smooth_map(generator, (47, 40), 4, coarse + 0.2 * torch.randn(coarse.shape))
    own = consensus_of(source, target, generator, radius=2) if consensus else None
    one = CellMatcher(source, target, own)
    same = one.coarse_to_fine() == one.exhaustive()
    assert same.float().mean() > 0.99
    assert len(target.blocks) > 10 * 8  # most are never looked at


@pytest.mark.parametrize("reach", [0, 3, None])
@pytest.mark.parametrize("consensus", [False, True])
def test_positions_are_those_of_the_whole_maps(reach, consensus):
    one = matcher(3, (9, 8), (7, 9), lengths=False, consensus=consensus)

    def locate(maps, peaks):
        assert (maps[torch.arange(len(maps)), peaks[:, 1], peaks[:, 0]] > -torch.inf).all()
        return matching.window_soft_argmax(maps, reach, 0.05)

    best = one.exhaustive()
    found = one.positions(best, reach, locate)
    inside = one.source.allowed_HW.flatten()
    expected = matching.window_soft_argmax(brute_force(one)[inside], reach, 0.05)
    torch.testing.assert_close(found[inside], expected, atol=1e-4, rtol=1e-4)


def test_the_mean_of_a_block_is_that_of_its_cells_that_take_part():
    generator = torch.manual_seed(1)
    found = random_map(generator, (7, 8), factor=3, lengths=True)
    assert found.coarse_shape == (3, 3)
    scaled = found.descriptors_HWC * found.lengths_HW[..., None]
    own = found.allowed_HW[3:6, 6:8]
    torch.testing.assert_close(found.coarse[1, 2], scaled[3:6, 6:8][own].mean(0))
    unit = random_map(generator, (7, 8), factor=3).coarse.norm(dim=-1)
    torch.testing.assert_close(unit, torch.ones_like(unit))


def test_no_more_than_a_chunk_is_held_in_single_precision(monkeypatch):
    generator = torch.manual_seed(2)
    source, target = (random_map(generator, (24, 20), factor=4, channels=32) for _ in range(2))
    source, target = (
        CellMap(each.descriptors_HWC.half(), each.allowed_HW, 4) for each in (source, target)
    )
    limit, largest = 2**16, []
    monkeypatch.setattr(coarse_to_fine, "CHUNK_BYTES", limit)
    rows = CellMap.rows

    def counted(self, cells):
        found = rows(self, cells)
        assert found.dtype == torch.float32
        largest.append(found.nbytes)
        return found

    monkeypatch.setattr(CellMap, "rows", counted)
    one = CellMatcher(source, target)
    one.positions(one.coarse_to_fine(), 2, lambda maps, _: matching.window_soft_argmax(maps, 2))
    assert max(largest) <= limit < sum(largest)
    maps = one.maps_at_once * target.allowed_HW.numel() * 4
    assert maps <= limit


def test_half_precision_is_widened_and_not_computed_in():
    generator = torch.manual_seed(4)
    kept = F.normalize(torch.randn(50, 60, 16, generator=generator), dim=-1).half()
    rows = torch.randn(5, 16, generator=generator)
    torch.testing.assert_close(
        products(rows, kept.flatten(0, 1)), rows @ kept.flatten(0, 1).float().T
    )
    places = torch.rand(9, 2, generator=generator) * 48
    torch.testing.assert_close(
        matching.sample_descriptors(kept, places),
        matching.sample_descriptors(kept.float(), places),
    )


@given(seed=seeds, count=st.integers(1, 25))
def test_distances_may_be_computed_when_they_are_asked_for(seed, count):
    points = torch.rand(25, 2, generator=torch.manual_seed(seed))
    apart, quality = torch.cdist(points, points), points[:, 0]
    expected = matching.spread_matches(apart, quality, count)
    found = matching.spread_matches(lambda match: apart[match], quality, count)
    assert found.tolist() == expected.tolist()
