"""SPair-71k: its layout is read as published, and errors name their file."""

import json

from helpers import datasets

from homolog.data import spair


def test_spair(tmp_path):
    root = datasets.make_spair(tmp_path)
    dataset = spair.load(root)
    assert len(dataset.pairs) == 2 * 3 * 2 and set(dataset.schemas) == {"cat", "bus"}
    assert dataset.threshold == "box" and dataset.pairs[0].source.size == datasets.SIZE
    pair = dataset.pairs[0]
    entry = json.loads((root / "PairAnnotation" / "test" / f"{pair.name}.json").read_text())
    assert pair.source.keypoints[pair.keypoint_ids].tolist() == entry["src_kps"]
    assert [str(i) for i in pair.keypoint_ids] == entry["kps_ids"]
    assert len(spair.load(root, category="cat").pairs) == 6


def test_spair_that_is_wrong(tmp_path):
    root = datasets.make_spair(tmp_path / "set")
    datasets.refused(lambda: spair.load(tmp_path), "PairAnnotation", spair.HOMEPAGE)
    datasets.refused(
        lambda: spair.load(root, category="dog"), "category: expected bus or cat, got 'dog'"
    )
    layout = root / "Layout" / "large" / "test.txt"
    first = layout.read_text().split()[0]
    layout.write_text(layout.read_text() + first)
    datasets.refused(
        lambda: spair.load(root), f"{layout}, line 13", first, "expected each pair once"
    )
    layout.unlink()
    pair = root / "PairAnnotation" / "test" / f"{first}.json"
    good = pair.read_text()
    datasets.edit_json(pair, lambda entry: entry["src_kps"].pop())
    datasets.refused(lambda: spair.load(root), pair, "src_kps: expected")
    datasets.edit_json(pair, lambda entry: entry.pop("trg_imname"))
    datasets.refused(lambda: spair.load(root), pair)
    pair.write_text(good.replace(",", ",\n", 1).replace(":", "", 1))
    datasets.refused(lambda: spair.load(root), pair, "line 1")
    pair.write_text(good)
    annotation = next((root / "ImageAnnotation" / "bus").glob("2008_2*.json"))
    datasets.edit_json(annotation, lambda entry: entry["kps"].update({"99": [1, 2]}))
    datasets.refused(
        lambda: spair.load(root), annotation, "expected an annotated image of SPair-71k"
    )
    annotation.unlink()
    datasets.refused(lambda: spair.load(root), annotation, "expected a readable file")
