"""Metrics against the published implementation, against brute force, and by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers.spair_parity import PCK, lay_out
from hypothesis import given
from hypothesis import strategies as st

from homolog import KeypointSchema
from homolog.data import Annotation, DataSet, Pair, spair
from homolog.evaluation import metrics, read_predictions, score
from homolog.evaluation.report import Report

SCHEMA = KeypointSchema(
    ("nose", "left_paw", "right_paw", "left_hip", "right_hip"),
    (0, 2, 1, 4, 3),
    ((1, 2, 3, 4),),
)


@pytest.fixture(scope="module")
def parity(tmp_path_factory):
    root = lay_out(tmp_path_factory.mktemp("pck"))
    data = spair.load(root, "test")
    (root / "predictions.json").write_text(json.dumps(PCK["predictions"]))
    predictions, notes = read_predictions(root / "predictions.json", data)
    assert not notes
    return data, predictions


def test_published_values(parity):
    """Every metric to 1e-6: per image, per point, geometry-aware, by category, by azimuth."""
    data, predictions = parity
    found = Report.of(data, score(data, predictions), "published").to_dict()
    compared = 0

    def compare(expected, ours):
        nonlocal compared
        for name, value in expected.items():
            if isinstance(value, dict):
                compare(value, ours[name])
            else:
                assert ours[name] == pytest.approx(value, abs=1e-6), name
                compared += 1

    compare(PCK["expected"], found)
    assert compared == 68


def test_brute_force(parity):
    data, predictions = parity
    for alpha in (0.01, 0.05, 0.1):
        per_image, points = [], []
        for pair in data.pairs:
            x0, y0, x1, y1 = pair.target.box
            limit = alpha * max(x1 - x0, y1 - y0)
            correct = []
            for k, (x, y) in zip(pair.keypoint_ids, predictions[pair.name], strict=True):
                true_x, true_y = pair.target.keypoints[k]
                correct.append(math.hypot(x - true_x, y - true_y) <= limit)
            per_image.append(sum(correct) / len(correct))
            points += correct
        rows = {(r.kind, r.label): r.estimates for r in score(data, predictions).rows()}
        name = f"pck@{alpha:.2f}"
        assert rows["per_image", ""][name].value == pytest.approx(sum(per_image) / len(per_image))
        assert rows["per_point", ""][name].value == pytest.approx(sum(points) / len(points))


def annotation(name, keypoints, box=(0, 0, 100, 50), azimuth=None, category="toy"):
    return Annotation(
        name, Path(name), category, np.array(keypoints, float), box,
        (200, 100), azimuth,
    )  # fmt: skip


def data_of(*pairs, threshold="box"):
    return DataSet("toys", Path("."), {"toy": SCHEMA}, pairs, threshold, (0.1, 0.05))


NAN = (math.nan, math.nan)


def test_a_pair_worked_out_by_hand():
    """The target shows nose, both paws and the left hip; at alpha 0.1 ten pixels are correct."""
    source = annotation("a", [(10, 10), (20, 20), (30, 30), (40, 40), (50, 50)], azimuth=7)
    target = annotation("b", [(10, 10), (20, 10), (60, 10), (80, 10), NAN], azimuth=1)
    pair = Pair.of("a-b", source, target)
    assert pair.keypoint_ids.tolist() == [0, 1, 2, 3] and pair.azimuth_difference == 2
    # exact, ten away, at the other paw, nowhere
    predicted = np.array([(10, 10), (20, 20), (21, 10), (math.nan, 0)], float)
    scored = score(data_of(pair), {"a-b": predicted})
    rows = {(r.kind, r.label): r.estimates for r in scored.rows()}
    assert rows["per_image", ""]["pck@0.10"].value == 2 / 4
    assert rows["per_image", ""]["pck@0.05"].value == 1 / 4
    # of the group of paws and hips three are visible: all but the nose are geometry-aware
    assert rows["geometry_aware_per_image", ""]["pck@0.10"].value == 1 / 3
    assert rows["geometry_aware_per_point", ""]["pck@0.10"].count == 3
    # the paws could be mixed up, and one is; the left hip's counterpart is not in sight
    assert rows["left_right_confusion", ""]["share"].value == 1 / 2
    assert rows["per_azimuth_difference_per_image", "2"]["pck@0.10"].value == 2 / 4
    assert scored.mean_errors()[0] == pytest.approx((0 + 0.1 + 0.39 + 1) / 4)
    by_image = score(data_of(pair, threshold="image"), {"a-b": predicted})
    assert by_image.pck_of_pairs(0.05).tolist() == [2 / 4], "ten pixels of two hundred"


def test_visibility_in_the_target_decides_what_is_geometry_aware():
    visible = np.array([True, True, False, False, False])
    ids = np.array([0, 1])
    assert metrics.geometry_aware(ids, visible, SCHEMA).tolist() == [False, False]
    visible[4] = True
    assert metrics.geometry_aware(ids, visible, SCHEMA).tolist() == [False, True]


@given(st.data())
def test_per_image_and_per_point(data):
    errors = np.array(data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=40)))
    pairs = np.array(
        data.draw(st.lists(st.integers(0, 5), min_size=len(errors), max_size=len(errors)))
    )
    correct = errors <= 0.3
    assert metrics.pck_per_point(errors, 0.3) == pytest.approx(correct.mean())
    expected = np.mean([correct[pairs == pair].mean() for pair in set(pairs.tolist())])
    assert metrics.pck_per_image(errors, pairs, 0.3) == pytest.approx(expected)


def test_an_error_at_the_threshold_is_correct():
    truth = np.zeros((1, 2))
    (error,) = metrics.relative_errors(np.array([[3.0, 4.0]]), truth, 50)
    assert metrics.pck_per_point(np.array([error]), 0.1) == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 9))
def test_functions_agree_with_the_accumulator(visible, seed):
    """PCK of the functions is that of the rows, for pairs with none to three keypoints."""
    rng = np.random.default_rng(seed)
    pairs, predictions = [], {}
    for number, count in enumerate([*visible, 2]):
        points = rng.uniform(0, 50, (5, 2))
        points[count:] = np.nan
        source, target = (annotation(f"{number}{name}", points) for name in "ab")
        pairs.append(Pair.of(str(number), source, target))
        predictions[str(number)] = points[:count] + rng.uniform(-9, 9, (count, 2))
    scored = score(data_of(*pairs), predictions)
    rows = {row.kind: row.estimates["pck@0.05"].value for row in scored.rows() if not row.label
            and "pck@0.05" in row.estimates}  # fmt: skip
    errors = [
        metrics.relative_errors(predictions[p.name], p.target.keypoints[p.keypoint_ids], 100)
        for p in pairs
    ]
    owner = np.repeat(np.arange(len(pairs)), [len(each) for each in errors])
    assert metrics.pck_per_point(np.concatenate(errors), 0.05) == rows["per_point"]
    assert metrics.pck_per_image(np.concatenate(errors), owner, 0.05) == pytest.approx(
        rows["per_image"], abs=1e-12
    )
