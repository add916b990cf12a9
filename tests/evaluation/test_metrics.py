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
from homolog.evaluation.kap import BestSimilarities
from homolog.evaluation.predictions import PairDetails
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


def shares_of(scored):
    """The values of all metrics over all keypoints, by kind and name."""
    return {
        (row.kind, name): estimate.value
        for row in scored.rows()
        for name, estimate in row.estimates.items()
        if not row.label
    }


def test_figures_beside_pck_by_hand():
    """The target shows nose, paws and left hip of a group of four, ten pixels are alpha 0.1."""
    source = annotation("a", [(10, 10), (20, 20), (30, 30), (40, 40), (50, 50)])
    target = annotation("b", [(10, 10), (20, 10), (38, 10), (80, 10), NAN])
    pair = Pair.of("a-b", source, target)
    # exact; within ten of both paws; at the left paw; within ten of the hip, but nearer to no other
    predicted = np.array([(10, 10), (29, 10), (21, 10), (80, 19)], float)
    details = PairDetails(np.array([4]), np.array([(80.0, 15.0)]))  # at the hip of the other side
    scored = metrics.PCKAccumulator(data_of(pair))
    scored.add(pair, predicted, details)
    found = shares_of(scored)
    assert found["per_point", "pck@0.10"] == 3 / 4
    # the left paw is nine away, the right one, too: a tie is right
    assert found["pck_dagger_per_point", "pck@0.10"] == 3 / 4
    assert found["cc_per_point", "cc@0.10"] == 1
    assert found["cc_confusion_per_point", "cc@0.10"] == 1 / 4
    assert found["soc_geo_per_point", "share"] == 2 / 3
    assert found["soc_geo_chance_per_point", "share"] == pytest.approx(1 / 3)
    assert found["geco_n11", "share@0.10"] == 1 / 2
    assert found["geco_n11_mirror", "share@0.10"] == 1 / 2
    assert found["geco_n11_both", "share@0.10"] == 1 / 2
    assert found["geco_n10", "share@0.10"] == found["geco_n1x", "share@0.10"] == 1
    assert found["geco_n01_mirror", "share@0.10"] == 1
    assert found["geco_n01_mirror", "share@0.05"] == 1


def test_pck_dagger_demands_the_nearest_keypoint():
    source = annotation("a", [(10, 10), (20, 20), (30, 30), NAN, NAN])
    target = annotation("b", [(10, 10), (20, 10), (60, 10), NAN, NAN])
    pair = Pair.of("a-b", source, target)
    predicted = np.array([(16.0, 10), (20, 10), (61, 10)])  # the first is nearer to the second
    found = shares_of(score(data_of(pair), {"a-b": predicted}))
    assert found["per_point", "pck@0.10"] == 1
    assert found["pck_dagger_per_point", "pck@0.10"] == 2 / 3


def test_macro_means_weigh_categories_alike():
    """Three pairs of one category, one of another, whose keypoints differ in number."""
    pairs, predictions = [], {}
    for number, (category, count, right) in enumerate(
        [("toy", 2, 2), ("toy", 4, 1), ("toy", 2, 0), ("other", 3, 3)]
    ):
        points = np.full((5, 2), np.nan)
        points[:count] = np.arange(2 * count).reshape(count, 2) * 10
        source, target = (annotation(f"{number}{name}", points, category=category) for name in "ab")
        pairs.append(Pair.of(str(number), source, target))
        predictions[str(number)] = points[:count] + 99 * (np.arange(count) >= right)[:, None]
    data = data_of(*pairs)
    data = DataSet(data.name, data.root, {"toy": SCHEMA, "other": SCHEMA}, pairs, "box", (0.1,))
    found = shares_of(score(data, predictions))
    assert found["per_image", "pck@0.10"] == pytest.approx((1 + 1 / 4 + 0 + 1) / 4)
    assert found["macro_per_image", "pck@0.10"] == pytest.approx(((1 + 1 / 4 + 0) / 3 + 1) / 2)
    assert found["per_point", "pck@0.10"] == pytest.approx(6 / 11)
    assert found["macro_per_point", "pck@0.10"] == pytest.approx((3 / 8 + 1) / 2)


def test_a_strict_protocol_leaves_out_the_threshold_itself():
    points = [(0, 0), (50, 0), NAN, NAN, NAN]
    pair = Pair.of("a-b", annotation("a", points), annotation("b", points))
    predicted = {"a-b": np.array([(0.0, 10.0), (50, 9.9)])}  # ten pixels are alpha 0.1
    for strict, expected in ((False, 1.0), (True, 0.5)):
        scored = score(data_of(pair), predicted, strict=strict)
        assert shares_of(scored)["per_image", "pck@0.10"] == expected
        protocol = Report.of(data_of(pair), scored, "toy").protocol
        assert ("nearer than alpha" if strict else "at most alpha") in protocol


@given(st.integers(0, 99))
def test_how_figures_relate(seed):
    """PCK† <= PCK <= CC; each class of GECO is part of PCK; chance is at least one in four."""
    rng = np.random.default_rng(seed)
    pairs, predictions = [], {}
    for number in range(3):
        points = rng.uniform(0, 50, (2, 5, 2))
        points[rng.random((2, 5)) < 0.3] = np.nan
        points[:, 0] = 25.0
        source, target = (annotation(f"{number}{n}", p) for n, p in zip("ab", points, strict=True))
        pairs.append(Pair.of(str(number), source, target))
        predictions[str(number)] = rng.uniform(0, 50, (len(pairs[-1].keypoint_ids), 2))
    scored = score(data_of(*pairs), predictions)
    rows = {(r.kind, name): e for r in scored.rows() if not r.label
            for name, e in r.estimates.items()}  # fmt: skip
    value = {key: estimate.value for key, estimate in rows.items()}
    pck, cc = value["per_point", "pck@0.10"], value["cc_per_point", "cc@0.10"]
    assert value["pck_dagger_per_point", "pck@0.10"] <= pck + 1e-12 and pck <= cc + 1e-12
    assert value["cc_confusion_per_point", "cc@0.10"] == pytest.approx(cc - pck)
    classes = [rows[kind, "share@0.10"] for kind in ("geco_n11", "geco_n10", "geco_n1x")
               if (kind, "share@0.10") in rows]  # fmt: skip
    assert sum(e.count for e in classes) == rows["per_point", "pck@0.10"].count
    correct = sum(e.value * e.count for e in classes)
    assert correct == pytest.approx(pck * rows["per_point", "pck@0.10"].count)
    assert value.get(("soc_geo_chance_per_point", "share"), 0.3) >= 0.25


def test_notes_say_what_kap_is_of():
    points = [(0, 0), (50, 0), (20, 30), NAN, NAN]
    pairs = [Pair.of(n, annotation("a", points), annotation("b", points)) for n in ("one", "two")]
    similarities = BestSimilarities(
        np.arange(3), "box", (0.1,), np.full((3, 1), 0.9), np.full((3, 1), 0.3)
    )
    details = PairDetails(np.empty(0, int), np.empty((0, 2)), similarities)
    scored = metrics.PCKAccumulator(data_of(*pairs))
    scored.add(pairs[0], np.array(points[:3], float), details)
    scored.add(pairs[1], np.array(points[:3], float))
    assert [note.split(":")[0] for note in scored.notes] == [
        "KAP and n01 are of 1 of 2 pairs", "no KAP at 0.05 of the box",
    ]  # fmt: skip
    assert shares_of(scored)["kap", "kap@0.10"] == 1
    other = metrics.PCKAccumulator(data_of(*pairs), "image")
    other.add(pairs[0], np.array(points[:3], float), details)
    assert not any(row.kind.startswith("kap") for row in other.rows())
    assert "no KAP at 0.1, 0.05 of the image" in other.notes[0]
    assert not score(data_of(*pairs), {p.name: np.zeros((3, 2)) for p in pairs}).notes
