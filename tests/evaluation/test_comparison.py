"""Two methods on the same pairs: differences, paired intervals, tables and a chart."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_evaluation import make_data
from rich.console import Console

from homolog import HomologError, evaluation
from homolog.data import DataSet
from homolog.evaluation.comparison import Comparison
from homolog.evaluation.kap import BestSimilarities
from homolog.evaluation.metrics import PCKAccumulator
from homolog.evaluation.predictions import PairDetails
from homolog.utils.stats import resampled_weights


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A method that is right in half of the pairs, and one that is right in one more of them."""
    data = make_data(tmp_path_factory.mktemp("data"))
    methods = []
    for right in (3, 4):
        predictions = {}
        for number, pair in enumerate(data.pairs):
            truth = pair.target.keypoints[pair.keypoint_ids]
            predictions[pair.name] = truth + (0 if number < right else 200)
        methods.append(evaluation.score(data, predictions))
    return tuple(methods)


def compare(scored, names=("old", "new"), notes=()):
    return Comparison.of("toys", scored, names, notes)


def test_differences_are_taken_pair_by_pair(scored):
    first, second, difference = compare(scored).metrics["per_image", "", "pck@0.10"]
    assert (first.value, second.value) == (3 / 6, 4 / 6)
    assert difference.value == pytest.approx(1 / 6)
    (weights,) = resampled_weights(6)
    expected = np.quantile(weights[:, 3] / 6, (0.025, 0.975))
    np.testing.assert_allclose(difference.interval, expected, atol=1e-6)
    assert difference.interval[0] == 0, "never worse, whichever pairs are drawn"
    apart = second.interval[0] - first.interval[1]
    assert apart < 0 <= difference.interval[0], "intervals of both by themselves overlap"


def test_a_method_is_as_good_as_itself(scored):
    found = compare((scored[0], scored[0])).metrics
    assert {(d.value, *d.interval) for _, _, d in found.values()} == {(0.0, 0.0, 0.0)}


def test_tables(scored):
    comparison = compare(scored, ("a:cat:b", "new"), ["a note"])
    text = io.StringIO()
    comparison.print(Console(file=text, width=80))
    lines = text.getvalue().splitlines()
    assert lines[0] == "toys, 6 pairs: a:cat:b (A) and new (B)" and lines[-1] == "note: a note"
    assert max(len(line) for line in lines if not line.startswith("PCK@alpha:")) <= 80
    (row,) = [line.split() for line in lines if line.startswith("PCK, per image @0.10")]
    assert row[-7:-4] == ["50.0", "66.7", "+16.7"] and row[-1] == "6"
    markdown, latex = comparison.to_markdown(), comparison.to_latex()
    assert "| PCK, per image @0.10 | 50.0 | 66.7 | +16.7 | +0.0 to +50.0 | 6 |" in markdown
    assert r"PCK, per image @0.10 & 50.0 & 66.7 & $+16.7$ & $+0.0$ to $+50.0$ & 6 \\" in latex
    assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 5
    plain = json.loads(comparison.to_json())
    assert plain["per_image"]["pck@0.10"]["difference"] == pytest.approx(1 / 6)
    assert plain["per_category_per_image"]["toy"]["pck@0.05"]["values"] == [3 / 6, 4 / 6]
    rows = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert len(rows) == len(comparison.metrics)
    assert min(comparison.plot().size) > 500


def test_what_cannot_be_compared(scored, tmp_path):
    data = make_data(tmp_path)
    predictions = {p.name: p.target.keypoints[p.keypoint_ids] for p in data.pairs}
    for other, reason in (
        (evaluation.score(data.select([0, 1]), predictions), "on the same pairs, got 6 and 2"),
        (evaluation.score(data, predictions, strict=True), "scored alike"),
        (evaluation.score(data, predictions, alphas=[0.2]), "scored alike"),
    ):
        with pytest.raises(HomologError, match=f"scored: expected two methods .*{reason}"):
            compare((scored[0], other))


def test_what_only_one_method_has_is_noted(scored):
    """A method with similarities beside one without: KAP is left out, which is said."""
    data = DataSet("toys", Path("."), scored[0].schemas, scored[0].pairs, "box", (0.1, 0.05))
    detailed = PCKAccumulator(data)
    for index, pair in enumerate(scored[0].pairs):
        detailed.add(pair, pair.target.keypoints[pair.keypoint_ids], details_of(pair, index))
    notes = compare((scored[0], detailed)).notes
    assert "KAP: only one of the two has it, left out" in notes


def details_of(pair, index):
    ids = np.flatnonzero(pair.source.visible)
    values = np.full((len(ids), 1), index / 10)
    similarities = BestSimilarities(ids, "box", (0.1,), values, values)
    return PairDetails(np.empty(0, int), np.empty((0, 2)), similarities)
