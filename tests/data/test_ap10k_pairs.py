"""AP-10K's pairs as others list them: read as they are, with a checksum of what they are."""

import hashlib
import json

import numpy as np
import pytest
from helpers import benchmarks, datasets

from homolog.data import ap10k, ap10k_pairs, registry
from homolog.data.check import check
from homolog.evaluation import score


def test_listed_pairs(tmp_path):
    root = benchmarks.make_ap10k_pairs(tmp_path)
    data = ap10k_pairs.load(root)
    files = sorted((root / "PairAnnotation" / "test").iterdir())
    assert [pair.name for pair in data.pairs] == [path.stem for path in files]
    assert len(data.pairs) == 9 and data.name == "AP-10K intra-species test, listed pairs"
    pair = data.pairs[0]
    assert pair.source.path.is_file() and pair.source.size == datasets.SIZE
    assert pair.source.box == datasets.BOX and pair.category == pair.group == "cat"
    annotation = root / "ImageAnnotation" / "Felidae" / "cat" / f"{pair.source.path.stem}.json"
    points = np.array(json.loads(annotation.read_text())["keypoints"]).reshape(-1, 3)
    # As they are annotated: occluded keypoints (1) count, and stay where they are.
    assert np.array_equal(pair.source.visible, points[:, 2] > 0)
    assert np.array_equal(pair.source.keypoints[1], points[1, :2]) and pair.source.occluded[1]
    assert set(pair.keypoint_ids) >= {0, 1, 2}
    both = pair.source.visible & pair.target.visible
    assert pair.keypoint_ids.tolist() == np.flatnonzero(both).tolist()


def test_checksums_tell_whether_two_people_have_the_same_pairs(tmp_path):
    root = benchmarks.make_ap10k_pairs(tmp_path)
    (note,) = ap10k_pairs.load(root).notes
    names = "\n".join(sorted(path.stem for path in (root / "PairAnnotation" / "test").iterdir()))
    assert hashlib.sha256(names.encode()).hexdigest() in note and "pairs as listed: 9" in note
    assert check(root).notes[0] == f"test intra-species: {note}"
    next((root / "PairAnnotation" / "test").iterdir()).unlink()
    assert ap10k_pairs.load(root).notes != (note,)


@pytest.mark.parametrize(
    ("subset", "pairs", "groups"),
    [("cross-species", 9, ["Felidae"]), ("cross-family", 18, ["all"])],
)
def test_pairs_across_species_are_averaged_by_what_their_names_say(tmp_path, subset, pairs, groups):
    data = ap10k_pairs.load(benchmarks.make_ap10k_pairs(tmp_path), subset=subset)
    assert len(data.pairs) == pairs and sorted({pair.group for pair in data.pairs}) == groups
    assert {pair.source.category for pair in data.pairs} <= {"cat", "lion"}
    truth = {pair.name: pair.target.keypoints[pair.keypoint_ids] for pair in data.pairs}
    rows = score(data, truth).rows()
    assert [row.label for row in rows if row.kind == "per_category_per_image"] == groups


def test_paths_of_other_machines(tmp_path):
    root = benchmarks.make_ap10k_pairs(tmp_path)
    pair = next((root / "PairAnnotation" / "test").iterdir())
    expected = ap10k_pairs.load(root).fingerprint()

    def elsewhere(entry):
        for key, path in entry.items():
            entry[key] = "C:\\somebody\\" + path.replace("/", "\\")

    datasets.edit_json(pair, elsewhere)
    assert ap10k_pairs.load(root).fingerprint() == expected
    datasets.edit_json(
        pair, lambda entry: entry.update(src_json_path="ImageAnnotation/a/../b.json")
    )
    datasets.refused(
        lambda: ap10k_pairs.load(root), pair, "expected a path ImageAnnotation/<family>"
    )


def test_what_is_there_is_recognised(tmp_path):
    root = benchmarks.make_ap10k_pairs(tmp_path / "a")
    report = check(root)
    assert report.title == "AP-10K" and report.problems == ()
    assert report.pairs == {
        "test intra-species": 9, "test cross-species": 9, "test cross-family": 18,
    }  # fmt: skip
    assert report.images["test intra-species"] == 9
    spair = datasets.make_spair(tmp_path / "b")
    assert registry.detect_layout(spair)[0].title == "SPair-71k"


def test_listed_pairs_that_are_wrong(tmp_path):
    root = benchmarks.make_ap10k_pairs(tmp_path)
    missing = root / "PairAnnotation" / "val"
    datasets.refused(lambda: ap10k_pairs.load(root, "val"), missing, ap10k_pairs.HOMEPAGE)
    datasets.refused(lambda: ap10k_pairs.load(root, subset="all"), "subset: expected intra-species")
    # AP-10K's own files are not enough where the images have been moved.
    datasets.refused(lambda: ap10k.load(root), "try ap10k-pairs")
    pair = next((root / "PairAnnotation" / "test").iterdir())
    for content in ("[]", "{}", '{"src_json_path": 3, "trg_json_path": 4}'):
        good = pair.read_text()
        pair.write_text(content)
        datasets.refused(lambda: ap10k_pairs.load(root), pair, "expected a pair of AP-10K")
        pair.write_text(good)
    annotation = next((root / "ImageAnnotation").rglob("*.json"))
    good = annotation.read_text()
    for change in ({"keypoints": [1, 2]}, {"bbox": [1, 2]}, {"width": "wide"}):
        datasets.edit_json(annotation, lambda entry, change=change: entry.update(change))
        datasets.refused(lambda: ap10k_pairs.load(root), annotation, "expected an annotated image")
        annotation.write_text(good)
    datasets.edit_json(annotation, lambda entry: entry.update(keypoints=[0] * 51))
    data = ap10k_pairs.load(root)
    assert "pairs without a keypoint in both images, left out: 2" in data.notes
    annotation.unlink()
    datasets.refused(lambda: ap10k_pairs.load(root), annotation, "expected a readable file")
    assert sum(str(annotation) in line for line in check(root).problems) == 1
