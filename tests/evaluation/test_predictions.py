"""Files of predictions: those of any method are read, malformed ones refused by line."""

import json

import numpy as np
import pytest
from helpers.toy_evaluation import score_file

from homolog import HomologError, evaluation


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
