"""Logistic regression finds the mode; bootstrap intervals cover the truth, in any memory."""

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
    monkeypatch.setattr(stats, "_MAX_ENTRIES", 70 * 50)
    np.testing.assert_allclose(stats.bootstrap_ci(correct, counts), whole)


def log_posterior(slope, offset, feature, positive, weights, prior, prior_std):
    probability = stats.sigmoid(slope * feature + offset)
    likelihood = weights * np.log(np.where(positive, probability, 1 - probability))
    deviations = (np.array([slope, offset]) - prior) / prior_std
    return likelihood.sum() - (deviations**2).sum() / 2


def test_logistic_regression_finds_the_posterior_mode():
    rng = np.random.default_rng(0)
    feature = rng.normal(size=300)
    positive = rng.random(300) < stats.sigmoid(2 * feature - 0.5)
    weights = rng.uniform(0.5, 1.5, 300)
    slope, offset = stats.fit_logistic(feature, positive, weights, (1.0, 0.0), (100.0, 100.0))
    assert abs(slope - 2) < 0.5 and abs(offset + 0.5) < 0.4
    samples, prior = (feature, positive, weights), ((1.0, 0.0), (0.5, 0.2))
    mode = stats.fit_logistic(*samples, *prior)
    best = log_posterior(*mode, *samples, *prior)
    for change in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        assert log_posterior(*np.add(mode, change), *samples, *prior) < best
    # A tight prior wins over the samples.
    assert np.allclose(stats.fit_logistic(*samples, (1.0, 0.0), (1e-6, 1e-6)), (1, 0), atol=1e-3)
