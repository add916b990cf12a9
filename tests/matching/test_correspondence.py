"""Matching on descriptors against the published figures, brute force and properties."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import parity
from helpers.toys import unit
from hypothesis import given
from hypothesis import strategies as st

from homolog import HomologError, matching
from homolog.features.foreground import saliency
from homolog.matching import window_soft_argmax

PARITY = parity.tensors("matching")

seeds = st.integers(0, 2**31)
sides = st.integers(1, 9)


@pytest.fixture
def parity_similarity(device) -> torch.Tensor:
    source = PARITY["source"].view(60, 60, -1).to(device)
    patch = (PARITY["points_xy"] / 14).floor().long().to(device)  # as published: whole patches
    return matching.similarity(
        source[patch[:, 1], patch[:, 0]], PARITY["target"].view(60, 60, -1).to(device)
    )


def in_pixels(cells: torch.Tensor) -> torch.Tensor:
    return cells.cpu() * 14 + 7


def test_argmax_agrees_with_the_published_one(parity_similarity):
    assert torch.equal(in_pixels(matching.argmax(parity_similarity)).float(), PARITY["argmax_xy"])
    still = window_soft_argmax(parity_similarity, window=0)
    assert torch.equal(in_pixels(still), PARITY["argmax_xy"])


@pytest.mark.parametrize("window", [5, 7])
def test_window_soft_argmax_agrees_with_the_published_one(parity_similarity, window):
    found = window_soft_argmax(parity_similarity, window, temperature=0.02)
    expected = PARITY[f"soft_argmax_window{window}_xy"]
    torch.testing.assert_close(in_pixels(found), expected, rtol=0, atol=0.05)


def test_soft_argmax_over_everything_agrees_with_the_published_one(parity_similarity):
    found = window_soft_argmax(parity_similarity, None, temperature=0.02)
    expected = PARITY["soft_argmax_window0_xy"]
    torch.testing.assert_close(in_pixels(found), expected, rtol=1e-4, atol=0)


def window_soft_argmax_by_hand(similarity, window, temperature):
    height, width = similarity.shape
    py, px = divmod(int(np.argmax(similarity)), width)
    total, x_sum, y_sum = 0.0, 0.0, 0.0
    for y in range(max(0, py - window), min(height, py + window + 1)):
        for x in range(max(0, px - window), min(width, px + window + 1)):
            weight = np.exp((similarity[y, x] - similarity[py, px]) / temperature)
            total, x_sum, y_sum = total + weight, x_sum + weight * x, y_sum + weight * y
    return x_sum / total, y_sum / total


@given(seed=seeds, height=sides, width=sides, window=st.integers(0, 12))
def test_window_soft_argmax_by_hand(seed, height, width, window):
    similarity = torch.rand(3, height, width, generator=torch.manual_seed(seed))
    found = window_soft_argmax(similarity, window, temperature=0.1)
    expected = [window_soft_argmax_by_hand(s, window, 0.1) for s in similarity.double().numpy()]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@given(seed=seeds, height=sides, width=sides)
def test_a_window_over_the_whole_grid_is_no_window(seed, height, width):
    similarity = torch.rand(2, height, width, generator=torch.manual_seed(seed))
    whole = window_soft_argmax(similarity, window=20, temperature=0.1)
    torch.testing.assert_close(whole, window_soft_argmax(similarity, None, temperature=0.1))


@pytest.mark.parametrize(("window", "temperature"), [(-1, 0.02), (3, 0.0), (3, -1.0)])
def test_impossible_windows_are_refused(window, temperature):
    with pytest.raises(HomologError, match="expected"):
        window_soft_argmax(torch.zeros(1, 3, 3), window, temperature)


def test_window_soft_argmax_is_differentiable():
    similarity = torch.rand(2, 5, 6, dtype=torch.float64, requires_grad=True)
    for window in (2, None):
        assert torch.autograd.gradcheck(
            lambda s, w=window: window_soft_argmax(s, w, 0.5), similarity
        )


@given(seed=seeds, height=st.integers(2, 9), width=st.integers(2, 9))
def test_matching_a_picture_with_itself_is_the_identity(seed, height, width):
    descriptors = unit(height, width, 16, seed=seed)
    similarity = matching.similarity(descriptors.flatten(0, 1), descriptors)
    cells = torch.stack(
        torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), dim=-1
    ).flatten(0, 1)
    assert torch.equal(matching.argmax(similarity), cells)
    index0, index1 = matching.mutual_nearest_neighbours(*[descriptors.flatten(0, 1)] * 2)
    assert torch.equal(index0, index1) and len(index0) == height * width


@given(seed=seeds, window=st.sampled_from([0, 2, None]))
def test_flipping_both_pictures_flips_the_answer(seed, window):
    source, target = unit(6, 7, 8, seed=seed), unit(5, 9, 8, seed=seed + 1)
    cells = torch.rand(4, 2) * torch.tensor([6, 5])
    found = window_soft_argmax(
        matching.similarity(matching.sample_descriptors(source, cells), target), window, 0.1
    )
    flipped = window_soft_argmax(
        matching.similarity(
            matching.sample_descriptors(
                source.flip(1), torch.stack([6 - cells[:, 0], cells[:, 1]], 1)
            ),
            target.flip(1),
        ),
        window,
        0.1,
    )
    expected = torch.stack([8 - flipped[:, 0], flipped[:, 1]], dim=1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_sampling_between_cells(device):
    descriptors = unit(6, 7, 5).to(device)
    whole = torch.tensor([[0.0, 0.0], [6.0, 5.0], [3.0, 2.0]], device=device)
    torch.testing.assert_close(
        matching.sample_descriptors(descriptors, whole), descriptors[[0, 5, 2], [0, 6, 3]]
    )
    cells = torch.rand(20, 2, device=device) * torch.tensor([6.0, 5.0], device=device)
    grid = (cells / torch.tensor([6.0, 5.0], device=device) * 2 - 1)[None, None]
    expected = F.grid_sample(descriptors.permute(2, 0, 1)[None], grid, align_corners=True)
    torch.testing.assert_close(
        matching.sample_descriptors(descriptors, cells), F.normalize(expected[0, :, 0].T, dim=1)
    )
    beyond = torch.tensor([[-4.0, 2.0], [9.0, 5.5]], device=device)
    torch.testing.assert_close(
        matching.sample_descriptors(descriptors, beyond), descriptors[[2, 5], [0, 6]]
    )


def test_answers_lie_where_they_may():
    allowed = torch.zeros(6, 6, dtype=torch.bool)
    allowed[1:3, 4:] = True
    similarity = matching.similarity(unit(50, 8), unit(6, 6, 8, seed=1), allowed)
    for window in (0, 3, None):
        x, y = window_soft_argmax(similarity, window, 0.1).unbind(1)
        assert ((x >= 4) & (x <= 5) & (y >= 1) & (y <= 2)).all()


@given(seed=seeds, count=st.integers(1, 40), other=st.integers(1, 40))
def test_nearest_neighbours_by_brute_force(seed, count, other):
    generator = torch.manual_seed(seed)
    source = torch.randn(count, 6, generator=generator) * 3
    target = torch.randn(other, 6, generator=generator)
    distances = torch.cdist(source.double(), target.double())
    forward, backward = matching.nearest_neighbours(source, target)
    assert torch.equal(forward, distances.argmin(1))
    assert torch.equal(backward, distances.argmin(0))
    index0, index1 = matching.mutual_nearest_neighbours(source, target)
    mutual = [(i, int(j)) for i, j in enumerate(forward) if distances[:, j].argmin() == i]
    assert list(zip(index0.tolist(), index1.tolist(), strict=True)) == mutual


def test_nearest_neighbours_of_some_rows():
    source, target = torch.randn(900, 6), torch.randn(700, 6)
    rows0, rows1 = torch.randperm(900)[:600], torch.randperm(700)[:550]
    distances = torch.cdist(source, target)
    forward, backward = matching.nearest_neighbours(source, target, rows0, rows1)
    assert torch.equal(forward, rows1[distances[rows0][:, rows1].argmin(1)])
    assert torch.equal(backward, rows0[distances[rows0][:, rows1].argmin(0)])


def test_coarse_search_loses_next_to_nothing(device):
    """Wide descriptors are searched in bfloat16: a neighbour may be missed, by very little."""
    source = unit(1200, 2048).to(device)
    target = F.normalize(source + 0.05 * unit(1200, 2048, seed=1).to(device), dim=1).roll(1, 0)
    noisy = F.normalize(target + torch.randn_like(target) * 0.05, dim=1)
    distances = torch.cdist(source, noisy)
    forward, _ = matching.nearest_neighbours(source, noisy)
    found = distances.gather(1, forward[:, None])[:, 0]
    assert (found - distances.amin(1)).max() < 2e-3
    assert (forward == distances.argmin(1)).float().mean() > 0.99


def test_window_mass_by_hand():
    similarity = torch.rand(3, 30, 20)
    centres = torch.tensor([[0.2, 0.0], [10.4, 14.6], [19.0, 29.0]])
    weights = (similarity / 0.05).flatten(1).softmax(1).view_as(similarity)
    windows = ((0, 0), (10, 15), (19, 29))
    expected = [
        weights[i, max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].sum()
        for i, (x, y) in enumerate(windows)
    ]
    found = matching.window_log_prob(similarity, centres).exp()
    torch.testing.assert_close(found, torch.stack(expected))
    elsewhere = matching.window_log_prob(similarity, centres[[2, 0]], torch.tensor([2, 0])).exp()
    torch.testing.assert_close(elsewhere, found[[2, 0]])


def dense(similarity, source_shape, target_shape, window, temperature):
    """There and back, as the matcher puts them together."""
    everywhere = torch.ones(target_shape, dtype=torch.bool)
    locate = functools.partial(matching.window_soft_argmax, window=window, temperature=temperature)
    peaks, targets, masses = matching.dense_matches(similarity, everywhere, locate)
    back = matching.cycle_log_prob(similarity, targets, source_shape, target_shape)
    return peaks, targets, matching.match_confidence(masses, back)


def test_dense_is_the_same_as_one_by_one():
    source, target = unit(12, 9, 8), unit(10, 14, 8, seed=1)
    similarity = source.flatten(0, 1) @ target.flatten(0, 1).T
    peaks, targets, scores = dense(similarity, (12, 9), (10, 14), 3, 0.05)
    for cell in (0, 17, 50, 107):
        y, x = divmod(cell, 9)
        forward = matching.similarity(source[y, x][None], target)
        expected = window_soft_argmax(forward, 3, 0.05)
        torch.testing.assert_close(targets[cell], expected[0])
        assert peaks[cell].tolist() == matching.argmax(forward)[0].tolist()
        column, row = expected[0].round().long().tolist()
        backward = matching.similarity(target[row, column][None], source)
        place = torch.tensor([[float(x), float(y)]])
        score = matching.match_confidence(
            matching.window_log_prob(forward, expected), matching.window_log_prob(backward, place)
        )
        torch.testing.assert_close(scores[cell], score[0])


@given(seed=seeds)
def test_scores_are_probabilities(seed):
    generator = torch.manual_seed(seed)
    similarity = torch.rand(30, 24, generator=generator)
    _, _, scores = dense(similarity, (5, 6), (4, 6), 2, 0.02)
    assert ((scores >= 0) & (scores <= 1 + 1e-6)).all()


def test_pair_score_of_a_picture_with_itself_is_one():
    descriptors, everything = unit(9, 11, 8), torch.ones(9, 11, dtype=torch.bool)
    assert matching.pair_similarity(
        descriptors, descriptors, everything, everything
    ) == pytest.approx(1)
    other = unit(6, 7, 8, seed=5)
    small = torch.ones(6, 7, dtype=torch.bool)
    assert matching.pair_similarity(descriptors, other, everything, small) < 0.95


def test_pair_score_of_things_smaller_than_two_cells():
    descriptors, one = unit(5, 5, 8), torch.zeros(5, 5, dtype=torch.bool)
    one[1, 3] = True
    everything = torch.ones(5, 5, dtype=torch.bool)
    expected = (descriptors[::2, ::2].flatten(0, 1) @ descriptors[1, 3]).max()
    assert matching.pair_similarity(descriptors, descriptors, one, everything) == pytest.approx(
        float(expected)
    )


def test_matches_are_spread_the_best_first():
    clustered = torch.tensor([[0.0, 0], [0.03, 0], [0.06, 0], [0.9, 0], [0.93, 0], [0.5, 0.8]])
    apart = torch.cdist(clustered, clustered)
    quality = torch.tensor([0.8, 0.9, 0.79, 0.88, 0.87, 0.5])
    order = matching.spread_matches(apart, quality, 99)
    # The best of each cluster, then those between them, at half the distance and at a quarter.
    assert order.tolist() == [1, 3, 5, 4, 0, 2]
    for count in range(1, 7):
        few = matching.spread_matches(apart, quality, count)
        assert few.tolist() == order[:count].tolist()
    assert matching.spread_matches(apart[:1, :1], quality[:1], 5).tolist() == [0]
    same = torch.zeros(3, 3)
    assert sorted(matching.spread_matches(same, quality[:3], 3).tolist()) == [0, 1, 2]


@given(seed=seeds, count=st.integers(1, 30))
def test_the_first_matches_are_as_far_apart_as_can_be_asked(seed, count):
    generator = torch.manual_seed(seed)
    points = torch.rand(30, 2, generator=generator)
    apart, quality = torch.cdist(points, points), torch.rand(30, generator=generator)
    order = matching.spread_matches(apart, quality, count)
    assert len(order) == len(set(order.tolist())) == count
    # Whatever was passed over is near something better that was taken.
    close = [int(i) for i in range(count) if i and apart[order[i], order[:i]].min() < 0.1]
    first = order[: close[0]] if close else order
    assert (quality[first].diff() <= 0).all()
    for other in set(range(30)) - set(order.tolist()) if close else ():
        assert apart[other, first].min() < 0.1


def test_foreground_is_what_stands_out():
    """A thing on a background of slightly varied descriptors, and a small distraction."""
    torch.manual_seed(0)
    background, thing = unit(2, 16)
    descriptors = background + 0.2 * torch.randn(20, 24, 16)
    shape = torch.zeros(20, 24, dtype=torch.bool)
    shape[5:14, 6:16] = True
    descriptors[shape] += 2 * (thing - background)
    descriptors[17:19, 20:22] += 2 * (thing - background)
    everything = torch.ones(20, 24, dtype=torch.bool)
    prominence = saliency(F.normalize(descriptors, dim=2), everything)
    assert (prominence[shape] > 0).float().mean() > 0.95
    assert (prominence[6:13, 7:15] > 0.5).all()
    assert (prominence[15:] == 0).all(), "the smaller piece is dropped"
    assert prominence.max() <= 1 and prominence.min() >= 0


def test_foreground_where_nothing_stands_out():
    allowed = torch.zeros(4, 4, dtype=torch.bool)
    allowed[1:3] = True
    assert torch.equal(saliency(torch.ones(4, 4, 3) / 3**0.5, allowed), allowed.float())
