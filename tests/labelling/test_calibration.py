"""Probabilities of predictions against a general optimiser, and on made-up predictions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

from homolog.labelling.calibration import Calibration


def predictions(seed: int, count: int = 200):
    rng = np.random.default_rng(seed)
    features = rng.uniform(0, 1, (count, 4))
    chance = expit(2.0 * logit(Calibration().probability(features)) - 1.0)
    return features, rng.uniform(size=count) < chance, rng.integers(0, 20, count)


@given(st.integers(0, 1000))
def test_refitting_finds_the_greatest_posterior_probability(seed):
    features, correct, images = predictions(seed)
    logits = logit(Calibration().probability(features))
    counts = np.bincount(images, minlength=20)
    weights = np.minimum(1, 4 / counts[images])

    def negative_log_posterior(at):
        chance = expit(at[0] * logits + at[1])
        log_likelihood = weights * np.log(np.where(correct, chance, 1 - chance))
        return -log_likelihood.sum() + (at[0] - 1) ** 2 / (2 * 0.5**2) + at[1] ** 2 / (2 * 1.5**2)

    best = minimize(negative_log_posterior, [1.0, 0.0], method="BFGS").x
    found = Calibration().refit(features, correct, images)
    np.testing.assert_allclose([found.slope, found.offset], best, atol=1e-3)


def test_wrong_predictions_lower_all_probabilities():
    features, _, images = predictions(0)
    wrong = Calibration().refit(features, np.zeros(200, bool), images)
    assert (wrong.probability(features) < Calibration().probability(features)).all()
    assert wrong.slope > 0  # the order stays


def test_larger_features_are_more_probable():
    rows = np.linspace(0, 1, 5)[:, None] * np.ones(4)
    found = Calibration().probability(rows)
    assert (np.diff(found) > 0).all() and 0 < found[0] < 0.1 and 0.9 < found[-1] < 1
