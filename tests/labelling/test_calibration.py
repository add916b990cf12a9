"""Probabilities of predictions against a general optimiser, and on made-up predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

from homolog.labelling.calibration import (
    TYPICAL_RESIDUAL,
    Calibration,
    LeftOut,
    adapt,
    review_threshold,
    series,
    shape_residuals,
)
from homolog.labelling.review import mark_doubtful

MIRROR = (0, 2, 1, 3)


def left_out(seed: int, count: int = 20, shift: float = -1.0) -> list[LeftOut]:
    """Exemplars whose predictions are less often correct than the default says."""
    rng = np.random.default_rng(seed)
    found = []
    for image in range(count):
        features = rng.uniform(0, 1, (4, 5)) * [1, 1, 1, 1, 0.2]
        chance = expit(logit(Calibration(adapted=True).probability(features)) + shift)
        found.append(
            LeftOut(
                image, "bee", features, rng.uniform(size=4) < 0.8, rng.uniform(size=4) < chance,
                bool(image % 2), image % 5 > 0,
            )
        )  # fmt: skip
    return found


@given(st.integers(0, 50))
def test_adapting_finds_the_greatest_posterior_probability(seed):
    """Without what is known of single keypoints: each has a category of its own."""
    samples = [
        LeftOut(s.image, str(s.image), s.features, s.labelled, s.correct, s.same_series, True)
        for s in left_out(seed)
    ]
    found = adapt(samples, {str(s.image): MIRROR for s in samples})

    def negative_log_posterior(at):
        total = (at**2 / (2 * np.square([2.0, 1.5, 0.5]))).sum()
        for sample in samples:
            base = logit(Calibration(adapted=True).probability(sample.features))
            belongs = 0.5 if sample.same_series else -0.5
            chance = expit(base + at[0] * (sample.features[:, 3] - 0.6) + at[1] * belongs + at[2])
            right = np.where(sample.correct, chance, 1 - chance)[sample.labelled]
            total -= np.log(right).sum()  # of four keypoints at most
        return total

    best = minimize(negative_log_posterior, np.zeros(3), method="BFGS").x
    np.testing.assert_allclose([found.similarity, found.same_series, found.offset], best, atol=1e-3)


def test_probabilities_follow_what_exemplars_say_of_each_other():
    default, rows = Calibration(adapted=True), np.full((4, 5), 0.5)
    samples = left_out(0, 60)
    found = adapt(samples, {"bee": MIRROR})
    assert (found.probability(rows, "bee") < default.probability(rows)).all()
    everything = np.concatenate([s.features for s in samples])
    predicted = np.concatenate([found.probability(s.features, "bee", s.same_series)
                                for s in samples])  # fmt: skip
    correct, labelled = (
        np.concatenate([getattr(s, name) for s in samples]) for name in ("correct", "labelled")
    )
    assert len(everything) == len(predicted)
    assert predicted[labelled].mean() == pytest.approx(correct[labelled].mean(), abs=0.06)


def test_keypoints_that_exemplars_get_wrong_are_less_probable():
    rng = np.random.default_rng(0)
    samples = []
    for image in range(10):
        features = rng.uniform(0.4, 0.6, (4, 5))
        correct = np.array([True, False, True, True])
        samples.append(LeftOut(image, "bee", features, np.ones(4, bool), correct, True, True))
    found = adapt(samples, {"bee": MIRROR})
    scores = found.probability(np.full((4, 5), 0.5), "bee", True)
    assert scores[1] == scores[2] < scores[0] == scores[3], "counterparts are as hard"
    assert found.keypoints["bee"][1] == found.keypoints["bee"][2] < 0


def test_the_default_without_exemplars():
    """As it was before there were shapes and series."""
    rows = np.linspace(0, 1, 5)[:, None] * np.ones(5)
    found = Calibration().probability(rows)
    assert np.allclose(found, expit(rows[:, :4] @ [3.5, 1.7, 0.9, 1.25] - 4.1))
    assert np.array_equal(found, Calibration().probability(rows, "bee", True))


def test_shape_residuals():
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 100, (8, 2))
    turned = shape @ np.array([[0.0, 2.0], [-2.0, 0.0]]) + [30, 40]
    assert np.allclose(shape_residuals(turned, [shape, shape], 200.0), 0, atol=1e-9)
    moved = turned.copy()
    moved[3] += [50, 0]
    found = shape_residuals(moved, [shape], 200.0)
    assert found[3] == pytest.approx(50 / 200, rel=0.1) and np.delete(found, 3).max() < 0.02
    # Keypoints that no exemplar has, or too few, say nothing.
    shape[3] = np.nan
    assert shape_residuals(moved, [shape], 200.0)[3] == TYPICAL_RESIDUAL
    few = np.where(np.arange(8)[:, None] < 3, shape, np.nan)
    assert (shape_residuals(moved, [few], 200.0) == TYPICAL_RESIDUAL).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pose/video_32_bee_id26911_f0725.png", "video_32_bee_id26911"),
        ("IMG_0012.JPG", "IMG"), ("bee3.png", "bee"), ("C:\\bees\\day 2 (7).png", "day 2 (7)"),
        ("clip-frame00012.jpg", "clip"), ("0007.png", ""), ("queen.png", "queen"),
    ],
)  # fmt: skip
def test_series(name, expected):
    assert series(name) == expected


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 1))
def test_the_threshold_leaves_as_many_points_as_it_may(scores, errors):
    threshold = review_threshold(scores, errors)
    kept = [score for score in scores if score >= threshold]
    assert not kept or np.mean([1 - score for score in kept]) <= errors + 1e-9
    lower = [score for score in scores if score < threshold]
    if lower:  # with the next one there would be too many errors
        more = [*kept, *(score for score in lower if score == max(lower))]
        assert np.mean([1 - score for score in more]) > errors - 1e-9


def test_points_are_marked_in_all_images_together():
    def record(scores: list[float], doubtful: list[int], v: list[int]) -> dict:
        keypoints = [value for each in v for value in (1.0, 2.0, each)]
        extra = {"scores": scores, "doubtful": doubtful, "reviewed": []}
        return {"keypoints": keypoints, "homolog": extra}

    records = {
        "a": {"annotation": record([0.99, 0.4, 0.96], [], [2, 2, 2])},
        "b": {"annotations": [record([0.97, 0.97, 0.98], [1], [2, 2, 0])]},
        "c": {"failed": "cannot be read"},
    }
    marked = mark_doubtful(records, 0.05)
    assert marked["a"]["annotation"]["homolog"]["doubtful"] == [1]
    assert marked["b"]["annotations"][0]["homolog"]["doubtful"] == [1], "nobody knows if it shows"
    assert records["a"]["annotation"]["homolog"]["doubtful"] == [], "the log stays"
    assert mark_doubtful(records, 0.0)["a"]["annotation"]["homolog"]["doubtful"] == [0, 1, 2]
