"""SPair-U: SPair-71k's form with other keypoints, which is not taken for SPair-71k."""

import json

from helpers import benchmarks, datasets

from homolog.data import registry, spair, spair_u
from homolog.data.check import check


def test_spair_u(tmp_path):
    root = benchmarks.make_spair_u(tmp_path / "SPair-U")
    data = spair_u.load(root)
    assert data.name == "SPair-U test" and len(data.pairs) == 12
    names = sorted(path.stem for path in (root / "PairAnnotation" / "test").iterdir())
    assert [pair.name for pair in data.pairs] == names
    pair = next(pair for pair in data.pairs if pair.category == "cat")
    entry = json.loads((root / "PairAnnotation" / "test" / f"{pair.name}.json").read_text())
    assert pair.keypoint_ids.tolist() == [1, 17, 29]
    assert pair.source.keypoints[pair.keypoint_ids].tolist() == entry["src_kps"]
    assert pair.source.visible.sum() == 4  # with the one that is not to be found
    # What the numbers mean is not known, so neither are sides.
    assert len(data.schemas["cat"]) == 30 and not data.schemas["cat"].sides_known
    assert "pairs as listed: 12, with 30 keypoints" in data.notes[0]
    assert len(spair_u.load(root, category="bus").pairs) == 6


def test_images_are_those_of_spair(tmp_path):
    root = benchmarks.make_spair_u(tmp_path / "SPair-U")
    assert spair_u.load(root).pairs[0].source.path.is_file()
    photos = tmp_path / "photos"
    (tmp_path / "SPair-71k" / "JPEGImages").rename(photos)
    assert not spair_u.load(root).pairs[0].source.path.is_file()
    assert spair_u.load(root, images=photos).pairs[0].source.path.is_file()
    report = check(root, photos)
    assert report.title == "SPair-U" and report.problems == () and report.pairs == {"test": 12}
    (root / "JPEGImages").symlink_to(photos)
    assert spair_u.load(root).pairs[0].source.path.is_file()


def test_the_two_are_told_apart(tmp_path):
    root = benchmarks.make_spair_u(tmp_path / "SPair-U")
    assert registry.detect_layout(root)[0].title == "SPair-U"
    datasets.refused(lambda: spair.load(root), root, "got SPair-U; try spair-u")
    other = datasets.make_spair(tmp_path / "SPair-71k")
    datasets.refused(lambda: spair_u.load(other), other, "got SPair-71k; try spair")
    assert registry.detect_layout(other)[0].title == "SPair-71k"


def test_spair_u_that_is_wrong(tmp_path):
    datasets.refused(lambda: spair_u.load(tmp_path), "PairAnnotation", spair_u.HOMEPAGE)
    root = benchmarks.make_spair_u(tmp_path / "SPair-U")
    datasets.refused(
        lambda: spair_u.load(root, category="dog"), "category: expected bus or cat, got 'dog'"
    )
    pair = next((root / "PairAnnotation" / "test").iterdir())
    datasets.edit_json(pair, lambda entry: entry["kps_ids"].pop())
    datasets.refused(lambda: spair_u.load(root), pair, "expected a pair of SPair-U", "src_kps")
    assert len(check(root).problems) == 1
    pair.unlink()
    annotation = next((root / "ImageAnnotation").rglob("*.json"))
    datasets.edit_json(annotation, lambda entry: entry["kps"].update({"30": [1, 2]}))
    datasets.refused(lambda: spair_u.load(root), annotation, "an annotated image of SPair-U")
