"""SOCO: keypoints by name, groups by concept, averaged by groups of pairs."""

import json

import numpy as np
import pytest
from helpers import benchmarks, datasets

from homolog.data import registry, soco
from homolog.data.check import check


def test_pairs_within_categories(tmp_path):
    root = benchmarks.make_soco(tmp_path)
    data = soco.load(root)
    assert data.name == "SOCO intra" and data.alphas == (0.1,) and len(data.pairs) == 4
    assert [pair.name.partition("/")[0] for pair in data.pairs] == ["bus", "bus", "car", "car"]
    pair = data.pairs[2]
    path = root / "PairAnnotations" / "intra" / f"{pair.name}.json"
    entry = json.loads(path.read_text())
    schema = data.schemas["car"]
    assert [schema.names[i] for i in pair.keypoint_ids] == entry["semantic_overlap"]
    for keypoint in entry["trg_keypoints"]:  # all that are visible, to be found or not
        index = schema.names.index(keypoint["name"])
        assert pair.target.keypoints[index].tolist() == keypoint["pos"]
    assert pair.target.visible.sum() == 4 and len(pair.keypoint_ids) == 3
    assert pair.source.path.is_file() and pair.source.size == datasets.SIZE
    assert pair.target.box == datasets.BOX and pair.group == "car"
    # An image is described once, however many pairs it is in.
    assert pair.source is data.pairs[3].target


def test_concepts_are_groups_and_names_tell_sides(tmp_path):
    data = soco.load(benchmarks.make_soco(tmp_path))
    schema = data.schemas["car"]
    wheels = {i for i, name in enumerate(schema.names) if name.endswith("wheel")}
    assert [set(group) for group in schema.groups] == [wheels] and len(wheels) == 3
    left, right = (schema.names.index(f"front_{side}_wheel") for side in ("left", "right"))
    assert schema.sides_known and schema.mirror[left] == right


def test_pairs_across_categories_share_names(tmp_path):
    data = soco.load(benchmarks.make_soco(tmp_path), subset="cross")
    (pair,) = data.pairs
    assert pair.source.category == "car" and pair.target.category == "bus"
    assert pair.group == "car-bus" and data.schemas["car"] == data.schemas["bus"]
    names = [data.schemas["bus"].names[i] for i in pair.keypoint_ids]
    assert names == ["front_left_wheel", "front_right_wheel", "mirror"]
    assert np.isfinite(pair.source.keypoints[pair.keypoint_ids]).all()
    assert np.isfinite(pair.target.keypoints[pair.keypoint_ids]).all()


@pytest.mark.parametrize(("split", "first"), [("trn", 1), ("test", 2)])
def test_splits(tmp_path, split, first):
    data = soco.load(benchmarks.make_soco(tmp_path), split)
    (pair,) = data.pairs
    assert data.name == f"SOCO intra {split}" and pair.source.path.stem == f"car_{first}"


def test_everything_that_is_there_is_checked(tmp_path):
    root = benchmarks.make_soco(tmp_path)
    report = check(root)
    assert report.title == "SOCO" and report.problems == ()
    assert report.pairs == {"intra": 4, "cross": 1, "trn": 1, "test": 1}
    checksums = [note for note in report.notes if "SHA-256" in note]
    assert len(checksums) == 4
    assert registry.load("soco", root, split="test").name == "SOCO intra test"


def test_archives_are_to_be_unpacked(tmp_path):
    for name in soco.ARCHIVES:
        (tmp_path / name).write_bytes(b"PK")
    hint = "try unpacking Images.zip and PairAnnotations.zip"
    datasets.refused(lambda: soco.load(tmp_path), hint)
    assert all(hint in line for line in check(tmp_path).problems)


def test_a_view_without_a_box_is_measured_by_its_image(tmp_path):
    root = benchmarks.make_soco(tmp_path)
    path = next((root / "PairAnnotations" / "trainsplits" / "test").rglob("*.json"))
    datasets.edit_json(path, lambda entry: entry.update(trg_bndbox=None))
    (pair,) = soco.load(root, "test").pairs
    assert pair.target.reference_length("box") == max(datasets.SIZE)


def test_soco_that_is_wrong(tmp_path):
    datasets.refused(lambda: soco.load(tmp_path), "Images", soco.HOMEPAGE)
    root = benchmarks.make_soco(tmp_path / "SOCOv1")
    datasets.refused(lambda: soco.load(root, subset="all"), "subset: expected intra or cross")
    datasets.refused(lambda: soco.load(root, "val"), "split: expected trn or test, got 'val'")
    datasets.refused(lambda: soco.load(root, "trn", "cross"), "subset: expected intra with a split")
    path = next((root / "PairAnnotations" / "intra").rglob("*.json"))
    good = path.read_text()

    def refused(change, *parts):
        datasets.edit_json(path, change)
        datasets.refused(lambda: soco.load(root), path, "expected a pair of SOCO", *parts)
        path.write_text(good)

    refused(lambda entry: entry["semantic_overlap"].append("horn"), "got 'horn'")
    refused(lambda entry: entry["semantic_overlap"].extend(entry["semantic_overlap"]), "once")
    refused(
        lambda entry: entry["src_keypoints"].append(entry["src_keypoints"][0]), "each name once"
    )
    refused(lambda entry: entry["trg_keypoints"][0].update(pos=[1]), "expected")
    refused(lambda entry: entry.update(trg_bndbox=[1, 2, 3]), "expected")
    refused(lambda entry: entry.pop("src_image"), "src_image")
    path.write_text("[1]")
    datasets.refused(lambda: soco.load(root), path)
    assert len(check(root).problems) == 1
