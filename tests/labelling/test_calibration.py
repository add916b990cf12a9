"""Probabilities of labels against a general optimiser, and on made-up answers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

from homolog.labelling.calibration import Calibration


def answers(seed: int, count: int = 200):
    rng = np.random.default_rng(seed)
    evidence = rng.uniform(0, 1, (count, 4))
    chance = expit(2.0 * logit(Calibration().probability(evidence)) - 1.0)
    return evidence, rng.uniform(size=count) < chance, rng.integers(0, 20, count)


@given(st.integers(0, 1000))
def test_adapted_is_the_most_probable(seed):
    evidence, right, pictures = answers(seed)
    logits = logit(Calibration().probability(evidence))
    counts = np.bincount(pictures, minlength=20)
    weights = np.minimum(1, 4 / counts[pictures])

    def unlikely(at):
        chance = expit(at[0] * logits + at[1])
        said = weights * np.log(np.where(right, chance, 1 - chance))
        return -said.sum() + (at[0] - 1) ** 2 / (2 * 0.5**2) + at[1] ** 2 / (2 * 1.5**2)

    best = minimize(unlikely, [1.0, 0.0], method="BFGS").x
    found = Calibration().adapted(evidence, right, pictures)
    np.testing.assert_allclose([found.slope, found.offset], best, atol=1e-3)


def test_answers_that_are_mostly_wrong_lower_all_probabilities():
    evidence, _, pictures = answers(0)
    wrong = Calibration().adapted(evidence, np.zeros(200, bool), pictures)
    assert (wrong.probability(evidence) < Calibration().probability(evidence)).all()
    assert wrong.slope > 0  # the order stays


def test_more_evidence_is_more_probable():
    rows = np.linspace(0, 1, 5)[:, None] * np.ones(4)
    found = Calibration().probability(rows)
    assert (np.diff(found) > 0).all() and 0 < found[0] < 0.1 and 0.9 < found[-1] < 1
