"""CUB: 15 parts with sides, pairs within species, and a list of random ones."""

import itertools

import numpy as np
import pytest
from helpers import benchmarks, datasets

from homolog.data import cub
from homolog.data.check import check


def test_pairs_within_species(tmp_path):
    root = benchmarks.make_cub(tmp_path, images=6)
    data = cub.load(root)
    assert data.name == "CUB intra-species test" and len(data.pairs) == 6
    # The test images are those of even numbers; every two of a species are a pair.
    expected = [
        (f"{a:04}", f"{b:04}")
        for of_species in ((2, 4, 6), (8, 10, 12))
        for a, b in itertools.combinations(of_species, 2)
    ]
    found = [(p.source.name[-4:], p.target.name[-4:]) for p in data.pairs]
    assert found == expected and set(data.schemas) == {"001.Some_Bird_1", "002.Some_Bird_2"}
    pair = data.pairs[0]
    assert pair.source.path.is_file() and pair.source.box == datasets.BOX
    both = pair.source.visible & pair.target.visible
    assert pair.keypoint_ids.tolist() == np.flatnonzero(both).tolist()
    lines = [line.split() for line in (root / "parts" / "part_locs.txt").read_text().splitlines()]
    places = {int(part) - 1: (x, y, v) for image, part, x, y, v in lines if image == "2"}
    for part, (x, y, visible) in places.items():
        known = pair.source.keypoints[part]
        assert np.isnan(known).all() if visible == "0" else known.tolist() == [float(x), float(y)]


def test_names_tell_sides(tmp_path):
    data = cub.load(benchmarks.make_cub(tmp_path))
    (schema,) = set(data.schemas.values())
    assert schema.names == benchmarks.CUB_PARTS and schema.sides_known
    assert [schema.names[i] for i in schema.mirror[6:9]] == ["right eye", "right leg", "right wing"]
    assert schema.mirror[0] == 0 and len(schema.groups) == 3


def test_listed_pairs(tmp_path):
    root = benchmarks.make_cub(tmp_path)
    data = cub.load(root, subset="random")
    assert [pair.name for pair in data.pairs] == ["00001-1-8", "00002-5-2", "00003-3-4"]
    assert {pair.group for pair in data.pairs} == {"bird"} and "SHA-256" in data.notes[0]
    path = root / cub.PAIRS
    path.write_text("1 8\n" * (cub.LISTED + 1))
    assert len(cub.load(root, subset="random").pairs) == cub.LISTED
    path.write_text("1 8\n\n1 99\n")
    datasets.refused(lambda: cub.load(root, subset="random"), f"{path}, line 3", "got 99")


def test_everything_that_is_there_is_checked(tmp_path):
    root = benchmarks.make_cub(tmp_path)
    report = check(root)
    assert report.title == "CUB" and report.problems == ()
    assert report.pairs == {"trn": 2, "test": 2, "random": 3}
    (root / cub.PAIRS).unlink()
    assert set(check(root).pairs) == {"trn", "test"}


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("images.txt", "9", "line 9: expected 2 columns, got 1"),
        ("bounding_boxes.txt", "1 2 3 4", "line 9: expected 5 columns, got 4"),
        ("bounding_boxes.txt", "1 2 3 4 x", "line 9: could not convert"),
        ("parts/part_locs.txt", "1 16 2 3 1", "expected a part of parts.txt, got 16"),
        ("images.txt", "9 001.A/b.jpg", "image 9: expected its box, got none"),
    ],
)
def test_lines_that_are_wrong(tmp_path, file, line, message):
    root = benchmarks.make_cub(tmp_path)
    path = root / file
    path.write_text(path.read_text() + line + "\n")
    datasets.refused(lambda: cub.load(root), path, message)
    assert any(message in problem for problem in check(root).problems)


def test_cub_that_is_wrong(tmp_path):
    datasets.refused(lambda: cub.load(tmp_path), "images.txt", cub.HOMEPAGE)
    root = benchmarks.make_cub(tmp_path / "CUB_200_2011")
    datasets.refused(lambda: cub.load(root, "val"), "split: expected trn or test, got 'val'")
    datasets.refused(lambda: cub.load(root, subset="all"), "subset: expected intra-species or")
    datasets.refused(lambda: cub.load(root, "trn", "random"), "split: expected test with random")
    (root / "parts" / "parts.txt").unlink()
    datasets.refused(lambda: cub.load(root), "parts.txt: expected a readable file")
    (root / "parts" / "parts.txt").write_bytes(b"\xff\xfe\xff")
    datasets.refused(lambda: cub.load(root), "parts.txt: expected text")
