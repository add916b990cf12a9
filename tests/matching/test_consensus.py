"""Guided similarity against a literal reading of its definition, and what each part is for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from homolog import matching
from homolog.matching.consensus import Consensus, ConsensusConfig


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.manual_seed(seed)), dim=-1)


def everywhere(height: int, width: int) -> torch.Tensor:
    return torch.ones(height, width, dtype=torch.bool)


def literal(source, target, weight0, weight1, allowed0, allowed1, cells, config):
    """Cell by cell, in double precision."""
    source, target = source.double().numpy(), target.double().numpy()
    (h0, w0), (h1, w1) = source.shape[:2], target.shape[:2]
    temperature = config.temperature
    thin0 = [(y, x) for y in range(0, h0, 2) for x in range(0, w0, 2) if allowed0[y, x]]
    thin1 = [(y, x) for y in range(0, h1, 2) for x in range(0, w1, 2) if allowed1[y, x]]
    popularity = np.zeros((h1, w1))
    for y in range(h1):
        for x in range(w1):
            likes = [np.exp(source[c] @ target[y, x] / temperature) for c in thin0]
            popularity[y, x] = temperature / 2 * np.log(np.sum(likes))
    # The layout: weighted least squares over all pairs of thinned cells.
    s = np.array([[source[a] @ target[b] for b in thin1] for a in thin0]) / temperature
    rows = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    columns = np.exp(s) / np.exp(s).sum(0, keepdims=True)
    weights = rows * columns * np.outer([weight0[c] for c in thin0], [weight1[c] for c in thin1])
    weights /= weights.sum()
    side = max(h1, w1) - 1
    a = np.repeat([[x / side, y / side] for y, x in thin0], len(thin1), 0)
    b = np.tile([[x / side, y / side] for y, x in thin1], (len(thin0), 1))
    w = weights.ravel()[:, None]
    mean_a, mean_b = (w * a).sum(0), (w * b).sum(0)
    a, b = a - mean_a, b - mean_b
    affine = np.linalg.solve(a.T @ (w * a) + 0.002 * np.eye(2), a.T @ (w * b))
    # Without the ridge's second-order term, as the spread is what the map explains of it.
    variance = max(0, ((w * b**2).sum() - (affine * (a.T @ (w * b))).sum()) / 2) + 0.05**2

    def at(x, y):
        """The source's descriptor between cells, clamped to the grid."""
        x, y = np.clip(x, 0, w0 - 1), np.clip(y, 0, h0 - 1)
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, w0 - 1), min(y0 + 1, h0 - 1)
        fx, fy = x - x0, y - y0
        mixed = (
            source[y0, x0] * (1 - fx) * (1 - fy) + source[y0, x1] * fx * (1 - fy)
            + source[y1, x0] * (1 - fx) * fy + source[y1, x1] * fx * fy
        )  # fmt: skip
        return mixed / np.linalg.norm(mixed)

    found = np.full((len(cells), h1, w1), -np.inf)
    for k, (px, py) in enumerate(cells.tolist()):
        for y in range(h1):
            for x in range(w1):
                if not allowed1[y, x]:
                    continue
                own = at(px, py) @ target[y, x] - popularity[y, x]
                around = 0.0
                for dx, dy in ((2, 0), (-2, 0), (0, 2), (0, -2)):
                    ty, tx = np.clip(y + dy, 0, h1 - 1), np.clip(x + dx, 0, w1 - 1)
                    around += at(px + dx, py + dy) @ target[ty, tx] - popularity[ty, tx]
                place = (np.array([px, py]) / side - mean_a) @ affine + mean_b
                off = ((np.array([x, y]) / side - place) ** 2).sum()
                likelihood = np.log(np.exp(-off / (2 * variance)) + 0.05)
                share = config.neighbourhood_weight
                found[k, y, x] = (1 - share) * own + share * around / 4
                found[k, y, x] += config.affine_weight * likelihood
    return found


@pytest.mark.parametrize("masked", [False, True])
def test_the_definition(device, masked):
    rng = np.random.default_rng(0)
    source, target = unit(7, 6, 5), unit(6, 8, 5, seed=1)
    weight0, weight1 = (torch.tensor(rng.random(shape)).float() for shape in ((7, 6), (6, 8)))
    allowed0, allowed1 = everywhere(7, 6), everywhere(6, 8)
    if masked:
        allowed0[:2], allowed1[:, 5:] = False, False
    cells = torch.tensor([[0.0, 0], [2.3, 4.7], [5, 6], [3, 2]])
    config = ConsensusConfig(temperature=0.2, neighbourhood_weight=0.4, affine_weight=0.1)
    parts = (source, target, weight0, weight1, allowed0, allowed1)
    guide = Consensus(*(part.to(device) for part in parts), config)
    found = guide.similarity(cells.to(device)).cpu().numpy()
    expected = literal(*parts, cells, config)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_what_everything_resembles_counts_less():
    """One target cell shows what all have in common and draws every point, until that is taken off.

    In the source each cell is the common part and something of its own, in the target that and
    something else: similarity 0.79 to its own counterpart, 0.86 to what all have in common.
    """
    common, *parts = torch.eye(73).unbind(0)
    own, other = torch.stack(parts[:36]).view(6, 6, 73), torch.stack(parts[36:]).view(6, 6, 73)
    source = F.normalize(common + 0.6 * own, dim=-1)
    target = F.normalize(common + 0.6 * own + 0.9 * other, dim=-1)
    target[0, 5] = common
    guide = Consensus(
        source, target, torch.ones(6, 6), torch.ones(6, 6), everywhere(6, 6), everywhere(6, 6),
        ConsensusConfig(neighbourhood_weight=0, affine_weight=0),
    )  # fmt: skip
    cells = torch.tensor([[1.0, 4], [2, 2], [4, 0]])
    plain = matching.argmax(matching.similarity(matching.sample_descriptors(source, cells), target))
    assert plain.tolist() == [[5, 0]] * 3
    assert matching.argmax(guide.similarity(cells)).tolist() == cells.tolist()


def test_surroundings_tell_twins_apart():
    """Two target cells look like the point; one has its neighbours, too."""
    source = unit(9, 9, 32)
    target = source.clone()
    target[1, 1] = source[5, 5]
    guide = Consensus(
        source, target, torch.ones(9, 9), torch.ones(9, 9), everywhere(9, 9), everywhere(9, 9),
        ConsensusConfig(affine_weight=0),
    )  # fmt: skip
    assert matching.argmax(guide.similarity(torch.tensor([[5.0, 5]]))).tolist() == [[5, 5]]


def test_layout_tells_twins_apart():
    """The thing is moved by two cells; one of two alike cells is where the rest says."""
    source = unit(11, 11, 32)
    target = unit(11, 11, 32, seed=1)
    target[:, 2:] = source[:, :-2]
    target[0, 0] = target[6, 8]
    guide = Consensus(
        source, target, torch.ones(11, 11), torch.ones(11, 11), everywhere(11, 11),
        everywhere(11, 11), ConsensusConfig(neighbourhood_weight=0),
    )  # fmt: skip
    assert matching.argmax(guide.similarity(torch.tensor([[6.0, 6]]))).tolist() == [[8, 6]]
    assert guide.affine_prior.affine.diagonal().min() > 0.75, "about a shift"


def test_a_thing_of_no_weight_has_no_layout():
    source = unit(4, 4, 3)
    nothing = torch.zeros(4, 4)
    guide = Consensus(
        source, source, nothing, nothing, everywhere(4, 4), everywhere(4, 4), ConsensusConfig()
    )
    assert guide.affine_prior is None
    assert torch.isfinite(guide.similarity(torch.tensor([[1.0, 1]]))).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2)])
def test_grids_smaller_than_the_surroundings(shape):
    source = unit(*shape, 3)
    weight = torch.ones(shape)
    allowed = everywhere(*shape)
    guide = Consensus(source, source, weight, weight, allowed, allowed, ConsensusConfig())
    found = guide.similarity(torch.zeros(1, 2))
    assert found.shape == (1, *shape) and torch.isfinite(found).all()


def test_rows_of_the_whole_similarity_are_the_same(device):
    rng = np.random.default_rng(0)
    source, target = unit(7, 6, 5), unit(6, 8, 5, seed=1)
    weight0, weight1 = (torch.tensor(rng.random(shape)).float() for shape in ((7, 6), (6, 8)))
    allowed1 = everywhere(6, 8)
    allowed1[:, 6:] = False
    parts = (source, target, weight0, weight1, everywhere(7, 6), allowed1)
    guide = Consensus(*(part.to(device) for part in parts), ConsensusConfig())
    similarity = (source.flatten(0, 1) @ target.flatten(0, 1).T).to(device)
    rows = torch.tensor([0, 5, 17, 41], device=device)
    cells = torch.stack([rows % 6, rows // 6], dim=1).float()
    torch.testing.assert_close(guide.rows(similarity, rows), guide.similarity(cells))
