"""Bootstrap intervals cover the truth, whatever the memory at hand."""

import numpy as np

from homolog.utils import stats


def test_intervals_cover_the_truth():
    """Of pairs correct by a coin's throw, about 95 in 100 intervals contain one half."""
    covered = 0
    for seed in range(100):
        throws = np.random.default_rng(seed).random(60) < 0.5
        low, high = stats.bootstrap_ci(throws[:, None].astype(float), np.ones((60, 1)))[0]
        covered += low <= 0.5 <= high
    assert 88 <= covered <= 99


def test_intervals_do_not_depend_on_the_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    correct, counts = rng.random((50, 3)), np.ones((50, 3))
    whole = stats.bootstrap_ci(correct, counts)
    monkeypatch.setattr(stats, "_CELLS", 70 * 50)
    np.testing.assert_allclose(stats.bootstrap_ci(correct, counts), whole)
