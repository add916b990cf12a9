"""Shares, macro means and average precisions in the same resamples."""

import numpy as np
import pytest

from homolog import HomologError
from homolog.evaluation import estimates
from homolog.evaluation.estimates import MacroMean, Share, as_alphas, metric_name, resample
from homolog.utils.stats import bootstrap_ci, resampled_weights


def test_macro_means_are_resampled_with_the_pairs():
    """Each category's mean in a resample, of categories that the resample has."""
    rng = np.random.default_rng(0)
    in_category = np.arange(8) < 2
    correct = rng.random(8)
    shares = [
        Share(("k", name, "x"), correct * rows, rows.astype(float))
        for name, rows in (("a", in_category), ("b", ~in_category))
    ]
    macro = MacroMean(("macro", "", "x"), [share.key for share in shares])
    found = resample([*shares, macro], 8)
    means = correct[:2].mean(), correct[2:].mean()
    assert found["macro", "", "x"].value == pytest.approx(np.mean(means))
    assert found["macro", "", "x"].count == 2
    (weights,) = resampled_weights(8)
    for row, mean in zip(weights, found["macro", "", "x"].resamples_B, strict=True):
        drawn = [
            np.average(correct[rows], weights=row[rows])
            for rows in (in_category, ~in_category) if row[rows].any()
        ]  # fmt: skip
        assert mean == pytest.approx(np.mean(drawn), abs=1e-5)
    terms = [np.stack([getattr(s, f) for s in shares], axis=1)
             for f in ("numerators_N", "denominators_N")]  # fmt: skip
    rows = {row.label: row.estimates["x"] for row in estimates.to_rows(found) if row.label}
    np.testing.assert_allclose([rows["a"].interval, rows["b"].interval], bootstrap_ci(*terms))


def test_pairs_without_keypoints_are_refused():
    nothing = Share(("per_image", "", "x"), np.zeros(3), np.zeros(3))
    with pytest.raises(HomologError, match="expected keypoints visible in both images"):
        resample([nothing], 3)


def test_alphas_are_sorted_and_have_names_of_their_own():
    assert as_alphas([0.05, 0.1, 0.1, 0.005]) == (0.1, 0.05, 0.005)
    names = [metric_name("pck", alpha) for alpha in (0.1, 0.005, 0.004, 1)]
    assert names == ["pck@0.10", "pck@0.005", "pck@0.004", "pck@1.00"]


@pytest.mark.parametrize("alphas", [[], [0.0], [-0.1], [10.0], [float("nan")], ["x"], 3, None])
def test_other_alphas_are_refused(alphas):
    with pytest.raises(HomologError, match=r"alphas: expected numbers above 0 and at most 1, got"):
        as_alphas(alphas)
