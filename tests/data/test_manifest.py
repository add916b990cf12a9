"""Manifests give the same pairs, and those that were changed are refused."""

import pytest
from helpers import datasets

from homolog.data import ap10k, manifest


@pytest.fixture
def written(tmp_path):
    root = datasets.make_ap10k(tmp_path)
    dataset = ap10k.load(root, "test", "cross-family", seed=3)
    path = tmp_path / "pairs.json"
    manifest.write(path, dataset, ap10k.rules("test", "cross-family", seed=3))
    return root, path, dataset


def test_a_manifest_gives_the_same_pairs(written):
    root, path, dataset = written
    found = manifest.read(path)
    assert found.rules == {
        "split": "test",
        "subset": "cross-family",
        "seed": 3,
        "single": False,
        "all_objects": True,
        "excluded": [],
    }
    again = ap10k.load(root, "test", "cross-family", manifest=path)
    assert datasets.pair_names(again) == datasets.pair_names(dataset)
    assert again.notes == ("pairs as listed in pairs.json",)
    for a, b in zip(again.pairs, dataset.pairs, strict=True):
        assert a.keypoint_ids.tolist() == b.keypoint_ids.tolist()
    assert again.schemas == dataset.schemas


def _rehashed(change):
    def changed(document):
        change(document)
        document["sha256"] = manifest.digest(document["pairs"])

    return changed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["pairs"].pop(), "SHA-256 of its pairs: expected"),
        (lambda d: d.update(sha256="0"), "SHA-256 of its pairs: expected 0, got"),
        (lambda d: d["pairs"][2].append("x"), "pair 2: expected two names"),
        (
            _rehashed(lambda d: d["pairs"][4].__setitem__(1, "x.jpg")),
            "pair 4: expected images of the data set, got x.jpg",
        ),
        (lambda d: d.update(version=2), "version: expected 1, got 2"),
        (lambda d: d.pop("rules"), "expected a manifest with rules"),
        (lambda d: d["rules"].update(split="val"), "split: expected test, got val"),
        (lambda d: d.pop("format"), "expected a manifest"),
    ],
)
def test_manifests_that_do_not_fit(change, reason, written):
    root, path, _ = written
    datasets.edit_json(path, change)
    datasets.refused(lambda: ap10k.load(root, "test", "cross-family", manifest=path), path, reason)
