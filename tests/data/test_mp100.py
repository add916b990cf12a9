"""MP-100-SC: pair lists of domains; keypoints are matched by index, whichever image hides some."""

import json

import numpy as np
from helpers import benchmarks, datasets

from homolog.data import mp100
from homolog.data.check import check


def test_keypoints_are_matched_by_index_where_each_image_hides_another(tmp_path):
    root = benchmarks.make_mp100(tmp_path)
    data = mp100.load(root, "furniture")
    assert data.name == "MP-100-SC furniture" and len(data.pairs) == 6
    file = json.loads((root / "annotations" / "mp100_split1_test.json").read_text())
    labelled = {
        image["file_name"]: np.array(entry["keypoints"]).reshape(-1, 3)
        for image, entry in zip(file["images"], file["annotations"], strict=True)
    }
    listed = json.loads((root / "pairs" / "pairs_furniture.json").read_text())
    for pair, entry in zip(data.pairs, listed, strict=True):
        source, target = labelled[entry["src_file"]], labelled[entry["trg_file"]]
        # One hides keypoint i, the other j: taken without those, all between would slip by one.
        both = np.flatnonzero((source[:, 2] > 0) & (target[:, 2] > 0))
        assert pair.keypoint_ids.tolist() == both.tolist() and len(both) == 2
        assert np.array_equal(pair.source.keypoints[both], source[both, :2])
        assert np.array_equal(pair.target.keypoints[both], target[both, :2])
        assert pair.target.reference_length("box") == 30  # the longer side
        assert pair.category == pair.group == "sofa" and pair.source.path.is_file()
    assert data.schemas["sofa"].names == ("k0", "k1", "k2", "k3")


def test_all_domains_are_averaged_by_domain(tmp_path):
    data = mp100.load(benchmarks.make_mp100(tmp_path))
    assert data.name == "MP-100-SC" and len(data.pairs) == 12
    assert {(pair.group, pair.category) for pair in data.pairs} == {
        ("furniture", "sofa"), ("human_face", "human_face"),
    }  # fmt: skip
    # Without names, keypoints are numbered, and nothing is known of sides.
    assert data.schemas["human_face"].names == tuple("012345")
    assert not data.schemas["human_face"].sides_known
    assert len({pair.name for pair in data.pairs}) == 12


def test_domains_that_are_there_are_checked(tmp_path):
    root = benchmarks.make_mp100(tmp_path)
    report = check(root)
    assert report.title == "MP-100-SC" and report.problems == ()
    assert report.pairs == {"furniture": 6, "human_face": 6}
    assert sum("SHA-256" in note for note in report.notes) == 2
    image = next((root / "mp100" / "sofa").iterdir())
    image.unlink()
    assert len(check(root).problems) == 1


def test_several_objects_and_pairs_apart(tmp_path):
    root = benchmarks.make_mp100(tmp_path)
    path = root / "annotations" / "mp100_split1_test.json"

    def more(file):
        first = file["annotations"][0]
        file["annotations"].append({**first, "id": 1, "bbox": [1, 1, 50, 9]})
        file["annotations"].append({**first, "id": 2, "keypoints": [0] * 12})
        file["annotations"][1]["keypoints"] = [0] * 9 + [1, 2, 2]
        file["annotations"][2]["keypoints"][9:] = [0] * 3

    datasets.edit_json(path, more)
    data = mp100.load(root, "furniture")
    assert len(data.pairs) == 4
    apart, several, _ = data.notes
    assert apart == "pairs without a keypoint in both images, left out: 2"
    assert "images with several objects of their category: 1" in several
    first = data.pairs[0].source
    assert first.shares_image and first.box == (1, 1, 51, 10)
    # The same file by another name adds nothing.
    (root / "annotations" / "mp100_split2_test-dev-2017.json").write_text(path.read_text())
    assert mp100.load(root, "furniture").notes == data.notes


def test_mp100_that_is_wrong(tmp_path):
    datasets.refused(lambda: mp100.load(tmp_path), "pairs_<domain>.json", mp100.HOMEPAGE)
    root = benchmarks.make_mp100(tmp_path / "mp100_all")
    datasets.refused(lambda: mp100.load(root, "birds"), "subset: expected animal_body_unseen or")
    missing = root / "pairs" / "pairs_clothing.json"
    datasets.refused(lambda: mp100.load(root, "clothing"), missing, "expected a readable file")
    listed = root / "pairs" / "pairs_furniture.json"
    good = listed.read_text()

    def refused(change, *parts):
        datasets.edit_json(listed, change)
        datasets.refused(lambda: mp100.load(root, "furniture"), listed, "pair 0", *parts)
        listed.write_text(good)

    refused(lambda pairs: pairs[0].pop("trg_file"), "trg_file")
    refused(lambda pairs: pairs[0].update(src_file="sofa/9.jpg"), "sofa/9.jpg, got none")
    refused(lambda pairs: pairs[0].update(category_id="x"), "invalid")
    refused(lambda pairs: pairs.insert(0, 3), "int")
    listed.write_text("{}")
    datasets.refused(lambda: mp100.load(root, "furniture"), listed, "expected a list of pairs")
    listed.write_text(good)
    path = root / "annotations" / "mp100_split1_test.json"
    datasets.edit_json(path, lambda file: file["annotations"][0].update(keypoints=[1, 2, 2]))
    datasets.refused(lambda: mp100.load(root, "furniture"), listed, "keypoints")
    datasets.edit_json(path, lambda file: file["annotations"][1].pop("image_id"))
    datasets.refused(lambda: mp100.load(root, "furniture"), path, "annotations, entry 1: expected")
    for file in (root / "annotations").iterdir():
        file.unlink()
    datasets.refused(lambda: mp100.load(root), "expected mp100_split*_test.json, got none")
