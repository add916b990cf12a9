"""Files of predictions: those of any method are read, malformed ones refused by line."""

import json

import numpy as np
import pytest
from helpers.toy_evaluation import score_file

from homolog import HomologError, evaluation
from homolog.evaluation.kap import BestSimilarities
from homolog.evaluation.predictions import (
    PairDetails,
    PairPrediction,
    PredictedPairs,
    to_record,
)


def test_missing_predictions_count_as_wrong_and_are_noted(data, tmp_path):
    perfect = [
        {
            "pair": pair.name,
            "keypoint_ids": pair.keypoint_ids[::-1].tolist(),  # in any order
            evaluation.ALIGNED: pair.target.keypoints[pair.keypoint_ids[::-1]].tolist(),
        }
        for pair in data.pairs
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(perfect))
    assert np.nanmean(score_file(data, path).pck_of_pairs(0.01)) == 1
    perfect[0][evaluation.ALIGNED][0] = [float("nan"), 3]
    for key in ("keypoint_ids", evaluation.ALIGNED):
        perfect[1][key].pop()
    path.write_text("\n".join(json.dumps(line) for line in perfect[:-1]))
    predictions, notes = evaluation.read_predictions(path, data)
    assert [note.split(" ", 1)[0] for note in notes] == ["1", "1", "1"]
    assert "c-b" in notes[0] and all("counted wrong" in note for note in notes)
    found = evaluation.score(data, predictions).pck_of_pairs(0.1)
    np.testing.assert_allclose(found, [2 / 3, 1 / 2, 1, 1, 1, 0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pair": "a-z"}, "pair: expected one of toys, got 'a-z'"),
        ({"pair": None}, "pair: expected one of toys, got None"),
        (
            {"keypoint_ids": [0, 1, 7]},
            r"keypoint_ids: expected those of pair 'a-b', \[0, 1, 2\], got \[7\]",
        ),
        ({"keypoint_ids": [0, 1, 1]}, r"expected each keypoint once, got \[0, 1, 1\]"),
        ({"keypoint_ids": [0, 1]}, r"a point for each of keypoint_ids \[0, 1\], got 3"),
        ({"keypoint_ids": "x"}, "expected pair, keypoint_ids and predicted_xy"),
        ({evaluation.ALIGNED: [1, 2, 3]}, "expected pair, keypoint_ids and predicted_xy"),
        (
            {"pair": "a-c", "keypoint_ids": [0], evaluation.ALIGNED: [[1, 2]]},
            "expected each pair once, got 'a-c' again",
        ),
    ],
)
def test_wrong_predictions_are_named_with_their_line(data, tmp_path, change, reason):
    good = {"pair": "a-b", "keypoint_ids": [0, 1, 2], evaluation.ALIGNED: [[1, 2]] * 3}
    other = {"pair": "a-c", "keypoint_ids": [0, 1], evaluation.ALIGNED: [[1, 2]] * 2}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(other) + "\n" + json.dumps(good | change) + "\n")
    with pytest.raises(HomologError, match=rf"p\.jsonl, line 2: .*{reason}") as error:
        evaluation.read_predictions(path, data)
    assert "\n" not in str(error.value)


def test_files_that_are_not_predictions(data, tmp_path):
    path = tmp_path / "p.jsonl"
    with pytest.raises(HomologError, match="expected a readable file"):
        evaluation.read_predictions(path, data)
    path.write_text('{"pair": \n')
    with pytest.raises(HomologError, match="line 1: expected JSON"):
        evaluation.read_predictions(path, data)
    path.write_text('[\n{"pair": }\n]')
    with pytest.raises(HomologError, match="line 2: expected JSON"):
        evaluation.read_predictions(path, data)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HomologError, match="bytes that are not text"):
        evaluation.read_predictions(path, data)


def test_what_kap_and_n01_need_is_written_and_read(data, tmp_path):
    """Of the pair a-c, whose third keypoint is hidden in the target; others have old lines."""
    pair = data.pairs[1]
    similarities = BestSimilarities(
        np.arange(3), "box", (0.1, 0.05), np.array([[0.5, np.nan], [1, 0.25], [0, 0.125]]),
        np.array([[0.25, 0.5], [0.5, 0.5], [0.75, 1]]),
    )  # fmt: skip
    details = PairDetails(np.array([2]), np.array([[40.0, 30.0]]), similarities)
    points = pair.target.keypoints[pair.keypoint_ids]
    record = to_record(pair, PairPrediction(points, None, details))
    assert record["source_only_keypoint_ids"] == [2]
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(record, allow_nan=False))
    predictions, notes = evaluation.read_predictions(path, data)
    assert notes[0].startswith("5 pairs have no prediction, such as a-b")
    assert isinstance(predictions, PredictedPairs) and list(predictions.details) == ["a-c"]
    found = predictions.details["a-c"]
    assert found.source_only_ids.tolist() == [2]
    assert found.source_only_Q2.tolist() == [[40.0, 30.0]]
    assert found.similarities.alphas == (0.1, 0.05) and found.similarities.threshold == "box"
    np.testing.assert_array_equal(found.similarities.inside_SA, similarities.inside_SA)
    np.testing.assert_array_equal(found.similarities.outside_SA, similarities.outside_SA)
    rows = {row.kind for row in evaluation.score(data, predictions).rows()}
    assert {"kap", "kap_published", "geco_n01_mirror"} <= rows
    del record["similarities"], record["source_only_keypoint_ids"]
    del record["source_only_xy_in_target_pixels"]
    path.write_text(json.dumps(record))
    predictions, _ = evaluation.read_predictions(path, data)
    old = evaluation.score(data, predictions)
    assert not {"kap", "geco_n01_mirror"} & {row.kind for row in old.rows()} and not old.notes


SIMILARITIES = {
    "keypoint_ids": [0], "threshold": "box", "alphas": [0.1], "inside": [[0.5]],
    "outside": [[None]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source_only_keypoint_ids": [1]}, r"that only the source shows, \[2\], each once, got"),
        ({"source_only_keypoint_ids": [2, 2]}, r"each once, got \[2, 2\]"),
        ({"source_only_keypoint_ids": [2]}, r"a point for each of keypoints \[2\], got 0"),
        ({"source_only_xy_in_target_pixels": [[1, 2]]}, "a point for each of keypoints"),
        ({"source_only_keypoint_ids": 2}, "expected points"),
        ({"similarities": 3}, "expected keypoint_ids, threshold, alphas, inside and outside"),
        ({"similarities": SIMILARITIES | {"threshold": "bbox"}}, "box or image, got 'bbox'"),
        ({"similarities": SIMILARITIES | {"keypoint_ids": [7]}}, r"that the source shows, \[0, 1"),
        ({"similarities": SIMILARITIES | {"alphas": [0.1, 0.1]}}, "each alpha once"),
        ({"similarities": SIMILARITIES | {"alphas": [10]}}, "at most 1, got 10"),
        ({"similarities": SIMILARITIES | {"alphas": []}}, "expected"),
        ({"similarities": SIMILARITIES | {"inside": [[0.5, 0.5]]}}, "inside of 1 keypoints at 1"),
        ({"similarities": SIMILARITIES | {"outside": [[1.5]]}}, "outside from 0 to 1"),
        ({"similarities": SIMILARITIES | {"outside": "x"}}, "expected"),
    ],
)
def test_wrong_similarities_are_named_with_their_line(data, tmp_path, change, reason):
    line = {"pair": "a-c", "keypoint_ids": [0, 1], evaluation.ALIGNED: [[1, 2]] * 2}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(line | change) + "\n")
    with pytest.raises(HomologError, match=rf"p\.jsonl, line 1: .*{reason}") as error:
        evaluation.read_predictions(path, data)
    assert "\n" not in str(error.value)
