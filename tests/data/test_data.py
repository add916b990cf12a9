"""Data sets: official layouts are read as they are, and what is wrong is named."""

import hashlib
import itertools
import json
import re
import sys

import numpy as np
import pytest
import real_images
from helpers import datasets
from scipy.io import loadmat, savemat

from homolog import HomologError, KeypointSchema
from homolog.data import ap10k, coco, manifest, pf_pascal, pf_willow, spair
from homolog.data.check import check
from homolog.data.pairs import ErrorCollector

real = pytest.mark.skipif(
    not real_images.ROOT.is_dir(), reason=f"no real photos at {real_images.ROOT}"
)

LOADERS = {
    "spair": (datasets.make_spair, spair.load),
    "ap10k": (datasets.make_ap10k, ap10k.load),
    "pf_pascal": (datasets.make_pf_pascal, pf_pascal.load),
    "pf_pascal trn": (datasets.make_pf_pascal, lambda root: pf_pascal.load(root, "trn")),
    "pf_willow": (datasets.make_pf_willow, pf_willow.load),
    "coco": (datasets.make_coco, coco.load),
}


def names(dataset):
    return [(pair.source.name, pair.target.name) for pair in dataset.pairs]


def refused(load, *parts):
    """The loader raises one line that has all the parts."""
    with pytest.raises(HomologError) as error:
        load()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message
    return message


def edit(path, change):
    """Rewrites a JSON file with what `change` makes of its content."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("kind", LOADERS)
def test_what_holds_for_every_data_set(kind, tmp_path):
    make, load = LOADERS[kind]
    dataset = load(make(tmp_path / "set"))
    assert len(dataset.pairs) > 0
    assert len({pair.name for pair in dataset.pairs}) == len(dataset.pairs)
    annotations = dataset.annotations
    assert len({annotation.name for annotation in annotations}) == len(annotations)
    for annotation in annotations:
        assert len(annotation.keypoints) == len(dataset.schemas[annotation.category])
        assert kind == "ap10k" or annotation.path.is_file()
        assert annotation.reference_length(dataset.threshold) > 0
    for schema in dataset.schemas.values():
        assert all(schema.mirror[schema.mirror[i]] == i for i in range(len(schema)))
    for pair in dataset.pairs:
        assert pair.source.path != pair.target.path
        assert len(pair.keypoint_ids) > 0
        for side in (pair.source, pair.target):
            assert np.isfinite(side.keypoints[pair.keypoint_ids]).all()
    assert names(dataset) == names(load(tmp_path / "set" if kind != "coco" else dataset.root))


# SPair-71k


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
    refused(lambda: spair.load(tmp_path), "PairAnnotation", spair.WHERE)
    refused(lambda: spair.load(root, category="dog"), "'dog' is none of bus, cat")
    layout = root / "Layout" / "large" / "test.txt"
    first = layout.read_text().split()[0]
    layout.write_text(layout.read_text() + first)
    refused(lambda: spair.load(root), f"{layout}, line 13", first, "twice")
    layout.unlink()
    pair = root / "PairAnnotation" / "test" / f"{first}.json"
    good = pair.read_text()
    edit(pair, lambda entry: entry["src_kps"].pop())
    refused(lambda: spair.load(root), pair, "src_kps for")
    edit(pair, lambda entry: entry.pop("trg_imname"))
    refused(lambda: spair.load(root), pair)
    pair.write_text(good.replace(",", ",\n", 1).replace(":", "", 1))
    refused(lambda: spair.load(root), pair, "line 1")
    pair.write_text(good)
    picture = next((root / "ImageAnnotation" / "bus").glob("2008_2*.json"))
    edit(picture, lambda entry: entry["kps"].update({"99": [1, 2]}))
    refused(lambda: spair.load(root), picture, "is not a picture of SPair-71k")
    picture.unlink()
    refused(lambda: spair.load(root), picture, "cannot be read")


# PF-WILLOW


def test_pf_willow(tmp_path):
    dataset = pf_willow.load(datasets.make_pf_willow(tmp_path, images=4))
    assert len(dataset.pairs) == 2 * 4 * 3 and len(set(names(dataset))) == 24
    for pair in dataset.pairs:
        assert pair.source.category == pair.target.category
        assert pair.keypoint_ids.tolist() == list(range(10))
    points = dataset.pairs[0].target.keypoints
    assert dataset.pairs[0].target.reference_length("box") == np.ptp(points, axis=0).max()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"points": np.ones((2, 10))}, "lacks 'pts_coord'"),
        ({"pts_coord": np.ones((2, 9))}, "2 x 9"),
        ({"pts_coord": np.ones((1, 10))}, "1 x 10"),
        ({"pts_coord": np.full((2, 10), np.nan)}, "NaN"),
        ({"pts_coord": "words"}, "not a matrix of numbers"),
        (None, "is not a Matlab file"),
    ],
)
def test_pf_willow_that_is_wrong(content, reason, tmp_path):
    root = datasets.make_pf_willow(tmp_path)
    path = root / "duck(S)" / "duck(S)_001.mat"
    if content is None:
        path.write_bytes(b"no matrix")
    else:
        savemat(path, content)
    refused(lambda: pf_willow.load(root), path, reason)


def test_pf_willow_that_is_not_there(tmp_path, monkeypatch):
    refused(lambda: pf_willow.load(tmp_path), tmp_path, pf_willow.WHERE)
    root = datasets.make_pf_willow(tmp_path)
    (root / "car(G)" / "car(G)_000.png").unlink()
    refused(lambda: pf_willow.load(root), "car(G)_000.mat", "no picture")
    (root / "car(G)" / "car(G)_000.mat").unlink()
    assert len(pf_willow.load(root).pairs) == 2 + 6
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    refused(lambda: pf_willow.load(root), "pip install 'homolog[data]'")


# PF-PASCAL


def test_pf_pascal(tmp_path):
    root = datasets.make_pf_pascal(tmp_path / "PF-dataset-PASCAL")
    dataset = pf_pascal.load(root)
    assert len(dataset.pairs) == 2 * 3 and set(dataset.schemas) == {"aeroplane", "tvmonitor"}
    assert dataset.threshold == "image" and dataset.notes == ()
    assert {pair.target.reference_length("image") for pair in dataset.pairs} == {max(datasets.SIZE)}
    training = pf_pascal.load(root, "trn")
    assert len(training.pairs) == 6, "flipped copies are left out"
    assert training.notes == ("flipped copies of pairs, left out: 6",)
    for listed, annotated in zip(dataset.pairs, training.pairs, strict=True):
        for a, b in ((listed.source, annotated.source), (listed.target, annotated.target)):
            np.testing.assert_array_equal(
                a.keypoints[listed.keypoint_ids], b.keypoints[annotated.keypoint_ids]
            )


def test_pf_pascal_lists_and_pictures_in_other_places(tmp_path):
    root = datasets.make_pf_pascal(tmp_path / "elsewhere")
    assert len(pf_pascal.load(root).pairs) == 6, "found in JPEGImages by their names"
    (root / "image_pairs").mkdir()
    (root / "test_pairs_pf_pascal.csv").rename(root / "image_pairs" / "test_pairs.csv")
    assert len(pf_pascal.load(root).pairs) == 6
    (root / "image_pairs" / "test_pairs.csv").unlink()
    refused(lambda: pf_pascal.load(root), root, "test_pairs.csv", pf_pascal.WHERE)


def test_pf_pascal_points_that_are_not_there(tmp_path):
    root = datasets.make_pf_pascal(tmp_path)
    picture = "JPEGImages/2008_000000_aeroplane.jpg"
    row = {"source_image": picture, "target_image": picture.replace("0_", "1_"), "class": "1.0"}
    points = {"XA": "1;2;;4", "YA": "1;2;3;4", "XB": "5;nan;7;8", "YB": "5;6;7;8"}
    datasets.save_csv(root / "test_pairs.csv", [{**row, **points}])
    (pair,) = pf_pascal.load(root).pairs
    assert pair.keypoint_ids.tolist() == [0, 3]
    assert pair.source.keypoints[3].tolist() == [4, 4]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"class": "21"}, "class 21 is not within 1..20"),
        ({"class": "cat"}, "class cat is not within 1..20"),
        ({"class": ""}, "no class"),
        ({"source_image": "none.jpg"}, "there is no picture none.jpg"),
        ({"XA": "1;2"}, "x for"),
        ({"XA": "a"}, "XA is not a list of numbers"),
        ({"XA": "1", "YA": "1"}, "1 source points for"),
        ({"XA": ";;", "YA": ";;", "XB": "1;2;3", "YB": "1;2;3"}, "no point is there in both"),
    ],
)
def test_pf_pascal_that_is_wrong(change, reason, tmp_path):
    root = datasets.make_pf_pascal(tmp_path)
    path = root / "test_pairs_pf_pascal.csv"
    lines = path.read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    rows[2].update(change)
    datasets.save_csv(path, rows)
    refused(lambda: pf_pascal.load(root), f"{path}, line 4: ", reason)


def test_pf_pascal_files_that_are_wrong(tmp_path):
    root = datasets.make_pf_pascal(tmp_path)
    path = root / "Annotations" / "tvmonitor" / "2008_000001_tvmonitor.mat"
    savemat(path, {"kps": np.ones((3, 4))})
    refused(lambda: pf_pascal.load(root, "trn"), "line 8", path, "3 x 4")
    path.unlink()
    refused(lambda: pf_pascal.load(root, "trn"), path)
    path = root / "test_pairs_pf_pascal.csv"
    path.write_text("source_image,class\n")
    refused(lambda: pf_pascal.load(root), f"{path}, line 1", "no column target_image")
    path.write_text("source_image,target_image,class,XA,YA,XB,YB\n")
    refused(lambda: pf_pascal.load(root), path, "no pairs")
    path.write_bytes(b"\xff\xff")
    refused(lambda: pf_pascal.load(root), path, "not a list of pairs")


# COCO


def test_coco(tmp_path):
    path = datasets.make_coco(tmp_path / "set")
    file = json.loads(path.read_text())
    seen = {}
    for entry in file["annotations"]:
        points = np.array(entry["keypoints"]).reshape(-1, 3)
        seen[entry["image_id"]] = set(np.flatnonzero(points[:, 2]))
    of = {image["id"]: image["file_name"] for image in file["images"]}
    expected = {
        (of[a], of[b])
        for a, b in itertools.permutations(seen, 2)
        if a // 10 == b // 10 and seen[a] & seen[b]
    }
    dataset = coco.load(path)
    assert set(names(dataset)) == expected and len(dataset.pairs) == len(expected)
    assert names(dataset) == sorted(names(dataset)), "ant before fox"
    first = dataset.annotations[0]
    entry = next(e for e in file["annotations"] if of[e["image_id"]] == first.name)
    points = np.array(entry["keypoints"]).reshape(-1, 3)
    for (x, y, v), found in zip(points, first.keypoints, strict=True):
        assert found.tolist() == [x, y] if v else np.isnan(found).all(), "v of 1 is visible"
    assert first.box == datasets.BOX
    assert dataset.schemas["fox"].mirror == (0, 2, 1, 3)
    assert dataset.schemas["ant"].mirror == (0, 2, 1)


def test_coco_does_not_depend_on_the_order_of_the_file(tmp_path):
    path = datasets.make_coco(tmp_path, images=6)
    before = coco.load(path)

    def shuffle(file):
        for section in file.values():
            np.random.default_rng(1).shuffle(section)

    edit(path, shuffle)
    after = coco.load(path)
    assert names(before) == names(after) and list(before.schemas) == list(after.schemas)


def test_coco_in_blocks(tmp_path, monkeypatch):
    path = datasets.make_coco(tmp_path, images=7)
    whole = coco.load(path)
    monkeypatch.setattr(coco, "_ROWS", 3)
    assert names(coco.load(path)) == names(whole)


@pytest.mark.parametrize("place", ["", "images", "data", "../images", "../data", ".."])
def test_coco_finds_pictures(place, tmp_path):
    path = datasets.make_coco(tmp_path / "one" / "annotations")
    pictures = path.parent / "images"
    expected = names(coco.load(path))
    elsewhere = path.parent / "moved"
    pictures.rename(elsewhere)
    assert names(coco.load(path, images=elsewhere)) == expected
    refused(lambda: coco.load(path), path, "annotation 350: there is no picture ant_0.jpg")
    (path.parent / place).mkdir(exist_ok=True)
    for picture in elsewhere.iterdir():
        picture.rename(path.parent / place / picture.name)
    assert names(coco.load(path)) == expected


def test_coco_notes_what_is_left_out(tmp_path):
    path = datasets.make_coco(tmp_path)

    def change(file):
        again = {**file["annotations"][0], "id": 1000}
        unseen = {**file["annotations"][1], "id": 1001, "keypoints": [0] * 12}
        boxed = {"id": 1002, "image_id": 32, "category_id": 3, "bbox": [1, 2, 3, 4]}
        file["annotations"] += [again, unseen, boxed]
        file["categories"].append({"id": 8, "name": "rock"})
        file["categories"].append({"id": 9, "name": "owl", "keypoints": ["beak"]})

    dataset = coco.load(edit(path, change))
    assert dataset.notes == (
        "pictures with several annotated things, left out: 1",
        "categories without keypoints: rock",
        "categories with fewer than two pictures: owl",
    )
    assert "fox_0.jpg" not in {name for pair in names(dataset) for name in pair}
    assert "fox_1.jpg" in {name for pair in names(dataset) for name in pair}


def _first(section, **change):
    return lambda file: file[section][0].update(change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_first("annotations", keypoints=[1, 2, 2]), "annotation 210: 3 numbers in keypoints"),
        (_first("annotations", keypoints=[float("nan")] * 12), "annotation 210: keypoints hold"),
        (_first("annotations", keypoints=[1, 2, None] * 4), "annotation 210: keypoints hold NaN"),
        (_first("annotations", keypoints="words"), "annotation 210: could not"),
        (_first("annotations", image_id=77), "annotation 210: image_id 77 is none"),
        (_first("annotations", category_id=77), "annotation 210: category_id 77 is none"),
        (_first("annotations", bbox=[1, 2, 3]), "annotation 210: bbox is [1, 2, 3], takes"),
        (_first("annotations", bbox=[1, 2, 0, 3]), "annotation 210: bbox is"),
        (_first("annotations", id=217), "annotation 217: is there twice"),
        (lambda file: file["annotations"][0].pop("bbox"), "annotation 210: lacks 'bbox'"),
        (lambda file: file["annotations"][1].pop("id"), "annotation number 1: lacks 'id'"),
        (lambda file: file["annotations"].append(3), "annotation number 8: is not an object"),
        (lambda file: file["images"][0].pop("file_name"), "image 30: lacks 'file_name'"),
        (_first("images", file_name="fox_1.jpg"), "image 31: is there twice (fox_1.jpg)"),
        (_first("categories", name="ant"), "category 5: is there twice (ant)"),
        (_first("categories", flip_pairs=[[0, 9]]), "category 3: flip_pairs"),
    ],
)
def test_coco_that_is_wrong(change, reason, tmp_path):
    path = edit(datasets.make_coco(tmp_path), change)
    refused(lambda: coco.load(path), f"{path}: {reason}")
    problems = ErrorCollector(collect=True)
    coco.load(path, problems=problems)
    assert any(reason in line for line in problems.found)


def test_coco_files_that_are_no_json(tmp_path):
    path = tmp_path / "a.json"
    refused(lambda: coco.load(path), path, "No such file")
    path.write_text('{"images": [],\n "annotations": }')
    refused(lambda: coco.load(path), f"{path}, line 2")
    for content in ("[]", '{"images": [], "annotations": []}', '{"images": {}}'):
        path.write_text(content)
        refused(lambda: coco.load(path), path, "is not a COCO file", coco.WHERE)


# AP-10K


def by_the_rules(root):
    """Pictures with their rank from the end of their species, by brute force."""
    things, images, categories = [], {}, {}
    for path in (root / "annotations").glob("*.json"):
        file = json.loads(path.read_text())
        things += file["annotations"]
        images |= {image["id"]: image["file_name"] for image in file["images"]}
        categories |= {c["id"]: (c["name"], c["supercategory"]) for c in file["categories"]}
    first = {}
    for thing in sorted(things, key=lambda thing: -thing["id"]):
        first[images[thing["image_id"]]] = thing
    pictures = []
    for name in sorted(first):
        seen = {i for i, v in enumerate(first[name]["keypoints"][2::3]) if v > 0}
        if len(seen) >= 3:
            pictures.append((name, *categories[first[name]["category_id"]], seen))
    splits = {"trn": [], "val": [], "test": []}
    for species in {picture[1] for picture in pictures}:
        some = [picture for picture in pictures if picture[1] == species]
        for rank, picture in enumerate(reversed(some)):
            splits["test" if rank < 30 else "val" if rank < 50 else "trn"].append(picture)
    return {split: sorted(some) for split, some in splits.items()}


def rank(pair, seed=0):
    """SplitMix64 of two hashes, in Python's own whole numbers."""
    first, second = (
        int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big")
        for name in pair
    )
    x = (first * 0x9E3779B97F4A7C15 + second) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


@pytest.mark.parametrize("subset", ap10k.SUBSETS)
@pytest.mark.parametrize("split", ap10k.SPLITS)
def test_ap10k_follows_the_rules(split, subset, tmp_path, monkeypatch):
    root = datasets.make_ap10k(tmp_path)
    if split == "trn" and subset != "intra-species":
        refused(lambda: ap10k.load(root, split, subset), "training pairs are intra-species")
        return
    # Limits that the small data set reaches.
    monkeypatch.setattr(ap10k, "TRAINING_PAIRS", 1)
    per_family, per_two = {"val": (90, 20), "test": (300, 30), "trn": (0, 0)}[split]
    monkeypatch.setitem(ap10k._LIMITS, (split, "cross-species"), per_family)
    pictures = by_the_rules(root)[split]
    candidates, limits = {}, {}
    for a, b in itertools.combinations(pictures, 2):
        if len(a[3] & b[3]) < 3:
            continue
        if subset == "intra-species" and a[1] == b[1]:
            group = a[1]
            limits[group] = sum(p[1] == group for p in pictures) if split == "trn" else 9999
        elif subset == "cross-species" and a[2] == b[2] and a[1] != b[1]:
            limits[group := a[2]] = per_family
        elif subset == "cross-family" and a[2] != b[2]:
            limits[group := frozenset((a[2], b[2]))] = per_two
        else:
            continue
        candidates.setdefault(group, set()).add((a[0], b[0]))
    dataset = ap10k.load(root, split, subset)
    found = set(names(dataset))
    assert len(found) == len(dataset.pairs)
    assert found <= set().union(*candidates.values())
    for group, pairs in candidates.items():
        assert found & pairs == set(sorted(pairs, key=rank)[: limits[group]])
    if subset != "intra-species" or split == "trn":
        assert any(len(pairs) > limits[group] for group, pairs in candidates.items())


def test_ap10k_splits_share_no_picture(tmp_path):
    root = datasets.make_ap10k(tmp_path)
    used = {
        split: {annotation.name for annotation in ap10k.load(root, split).annotations}
        for split in ap10k.SPLITS
    }
    assert all(used.values())
    for a, b in itertools.combinations(used.values(), 2):
        assert not a & b
    dataset = ap10k.load(root, "val")
    assert "no pictures in split val: king cheetah" in dataset.notes
    assert "king cheetah" not in dataset.schemas


def test_ap10k_is_the_same_in_any_order(tmp_path):
    root = datasets.make_ap10k(tmp_path / "one", hidden=0.0)
    expected = {subset: names(ap10k.load(root, "test", subset)) for subset in ap10k.SUBSETS}
    # Written down once: the sample must be this on every machine, today and later.
    digest = manifest.digest(expected["cross-family"])
    assert digest == "141ab1ebfa8a154c44b1222b4b1a9a3c617de7c8caaa6d85de817f5735e6fd6a"
    files = [root / "annotations" / name for name in ap10k.FILES]
    contents = [json.loads(path.read_text()) for path in files]
    for file in contents:
        for section in file.values():
            np.random.default_rng(1).shuffle(section)
        for thing in file["annotations"]:
            thing["id"] = 10_000 - thing["id"]
    other = tmp_path / "other"
    for path, content in zip(reversed(files), contents, strict=True):
        datasets.save_json(other / "annotations" / path.name, content)
    for subset in ap10k.SUBSETS:
        assert names(ap10k.load(other, "test", subset)) == expected[subset]
    seeded = ap10k.load(root, "test", "cross-family", seed=1)
    assert names(seeded) != expected["cross-family"]
    assert len(seeded.pairs) == len(expected["cross-family"])


def test_ap10k_leaves_out_what_it_is_told_to(tmp_path):
    root = datasets.make_ap10k(tmp_path, hidden=0.0)
    names_before = {a.name for a in ap10k.load(root).annotations}
    gone = sorted(names_before)[:2]
    exclude = tmp_path / "crowded.txt"
    exclude.write_text(f"{gone[0]}\n\n{int(gone[1].removesuffix('.jpg'))}\nnone.jpg\n")
    dataset = ap10k.load(root, exclude=exclude)
    assert not {a.name for a in dataset.annotations} & set(gone)
    assert dataset.notes == (
        "pictures left out, named in the list of exclusions: 2",
        "exclusions that name no picture: none.jpg",
    )
    refused(lambda: ap10k.load(root, exclude=tmp_path / "none"), tmp_path / "none", "cannot be")

    def change(file):
        first = file["annotations"][0]
        file["annotations"].insert(0, {**first, "id": 100_000, "bbox": [0, 0, 9, 9]})
        file["annotations"][2]["keypoints"][2::3] = [2, 1] + [0] * 15

    path = edit(root / "annotations" / ap10k.FILES[0], change)
    file = json.loads(path.read_text())
    twice, unseen = (f"{file['annotations'][i]['image_id']:012}.jpg" for i in (0, 2))
    every = {split: ap10k.load(root, split) for split in ap10k.SPLITS}
    used = {a.name: a for dataset in every.values() for a in dataset.annotations}
    assert unseen not in used and used[twice].box == datasets.BOX, "the first counts"
    assert every["test"].notes == ("pictures left out, fewer than 3 visible keypoints: 1",)
    alone = [ap10k.load(root, split, single=True) for split in ap10k.SPLITS]
    assert twice not in {a.name for dataset in alone for a in dataset.annotations}
    assert "pictures left out, several annotated animals: 1" in alone[0].notes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            _first("categories", keypoints=[f"k{i}" for i in range(17)]),
            "category 1: its keypoints are not those",
        ),
        (lambda file: file["categories"][1].pop("supercategory"), "category 2: lacks 'super"),
        (_first("annotations", keypoints=[1, 2, 2]), "annotation 7: 3 numbers"),
        (_first("annotations", id=14), "annotation 14: is in another file, too"),
    ],
)
def test_ap10k_that_is_wrong(change, reason, tmp_path):
    root = datasets.make_ap10k(tmp_path)
    path = edit(root / "annotations" / ap10k.FILES[1], change)
    message = refused(lambda: ap10k.load(root), reason)
    assert message.startswith(str(path)) or "another file" in message


def test_ap10k_that_is_not_there(tmp_path):
    root = datasets.make_ap10k(tmp_path)
    path = root / "annotations" / ap10k.FILES[2]
    path.unlink()
    refused(lambda: ap10k.load(root), path, ap10k.WHERE)


# Manifests


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
        "excluded": [],
    }
    again = ap10k.load(root, "test", "cross-family", manifest=path)
    assert names(again) == names(dataset)
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
        (lambda d: d["pairs"].pop(), "SHA-256 of its pairs is"),
        (lambda d: d.update(sha256="0"), "it says 0"),
        (lambda d: d["pairs"][2].append("x"), "pair 2: "),
        (_rehashed(lambda d: d["pairs"][4].__setitem__(1, "x.jpg")), "pair 4: there is no picture"),
        (lambda d: d.update(version=2), "version 2, takes 1"),
        (lambda d: d.pop("rules"), "without rules"),
        (lambda d: d["rules"].update(split="val"), "its split is val, not test"),
        (lambda d: d.pop("format"), "is not a manifest"),
    ],
)
def test_manifests_that_do_not_fit(change, reason, written):
    root, path, _ = written
    edit(path, change)
    refused(lambda: ap10k.load(root, "test", "cross-family", manifest=path), path, reason)


# Checks


@pytest.mark.parametrize(
    ("make", "kind", "pictures", "pairs"),
    [
        (datasets.make_spair, "SPair-71k", dict.fromkeys(spair.SPLITS, 6), 12),
        (datasets.make_pf_pascal, "PF-PASCAL", dict.fromkeys(pf_pascal.SPLITS, 6), 6),
        (datasets.make_pf_willow, "PF-WILLOW", {"test": 6}, 12),
    ],
)
def test_checks_find_nothing(make, kind, pictures, pairs, tmp_path):
    report = check(make(tmp_path))
    assert report.kind == kind and report.pictures == pictures
    assert report.pairs == dict.fromkeys(pictures, pairs) and report.problems == ()


def test_checks_of_coco_and_ap10k(tmp_path):
    path = datasets.make_coco(tmp_path / "coco")
    report = check(path)
    assert report.kind == "COCO" and report.problems == ()
    assert report.pairs == {"annotations": len(coco.load(path).pairs)}
    root = datasets.make_ap10k(
        tmp_path / "ap10k", {"cat": ("Felidae", 60), "bison": ("Bovidae", 33)}, pictures=True
    )
    report = check(root)
    assert report.kind == "AP-10K" and len(report.pairs) == 7
    assert report.pairs["test cross-family"] == 30
    # Neither family has two species, so there are no pairs of two species.
    assert report.problems == tuple(
        f"{root}: no cross-species pairs in split {split}" for split in ("val", "test")
    )


def test_checks_list_everything_at_once(tmp_path):
    root = datasets.make_spair(tmp_path)
    pictures = root / "JPEGImages" / "cat"
    (pictures / "2008_000000.jpg").unlink()
    broken = pictures / "2008_000001.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    (pictures / "2008_000002.jpg").write_text("no picture")
    annotations = root / "ImageAnnotation" / "bus"
    edit(annotations / "2008_100000.json", lambda entry: entry.update(image_width=65))
    edit(annotations / "2008_100001.json", lambda entry: entry.pop("bndbox"))
    pair = next((root / "PairAnnotation" / "test").glob("*:cat.json"))
    layout = root / "Layout" / "large" / "test.txt"
    again = f"999999-{pair.name.split('-', 1)[1]}"
    pair.with_name(again).write_bytes(pair.read_bytes())
    layout.write_text(layout.read_text() + again.removesuffix(".json"))
    (root / "Layout" / "large" / "val.txt").write_text("000000-a-b:cat\n")

    found = check(root).problems
    for reason in (
        "there is no file .*2008_000000.jpg",
        "2008_000001.jpg cannot be read",
        "2008_000002.jpg is not a picture",
        "000000-a-b:cat.json: cannot be read",
        "no pairs in split val",
        "are a pair 2 times",
    ):
        assert len([line for line in found if re.search(reason, line)]) == 1, reason


def test_checks_note_what_is_odd(tmp_path):
    root = datasets.make_pf_willow(tmp_path)
    points = np.tile([[10.0], [20.0]], 10)
    points[:, 4] = 1000, 5
    savemat(root / "car(G)" / "car(G)_000.mat", {"pts_coord": points})
    (note,) = check(root).notes
    assert "keypoint 4 at (1000, 5) lies outside the picture of 64 x 48" in note

    root = datasets.make_spair(tmp_path / "spair")
    edit(
        root / "ImageAnnotation" / "bus" / "2008_100000.json",
        lambda entry: entry.update(image_width=65),
    )
    (problem,) = check(root).problems
    assert "2008_100000.jpg: is 64x48 pixels, annotated as 65x48" in problem
    layout = root / "Layout" / "large" / "val.txt"
    lines = layout.read_text().split()
    layout.write_text("\n".join(line for line in lines if line.endswith("cat")))
    assert check(root).notes == ("val: no pairs of bus",)


def test_checks_of_nothing_known(tmp_path):
    message = refused(lambda: check(tmp_path), tmp_path, spair.WHERE, ap10k.WHERE, coco.WHERE)
    assert all(kind in message for kind in ("SPair-71k", "AP-10K", "PF-PASCAL", "PF-WILLOW"))
    refused(lambda: check(tmp_path / "none"), "there is no such file or folder")


# Real files


@real
@pytest.mark.parametrize(
    ("file", "pairs"),
    [
        ("dogs/annotations.json", 240),
        ("bees/test.json", 1406),
        ("bees/train.json", 166 * 165),
        ("coco_samples/ap10k/test_ap10k.json", 0),
        ("coco_samples/animalpose/test_animalpose.json", 2),
    ],
)
def test_real_coco_files(file, pairs):
    report = check(real_images.ROOT / file)
    assert sum(report.pairs.values()) == pairs and report.problems == ()


@real
def test_animal_kingdom():
    """The sample does not list the category of its own annotations; all that it lists are alike."""
    path = real_images.ROOT / "coco_samples" / "ak" / "test_animalkingdom.json"
    dataset = coco.load(path)
    assert len(dataset.pairs) == 2 and "not listed" in dataset.notes[0]
    schema = dataset.schemas["category 4"]
    assert schema == KeypointSchema.from_names(schema.names) and "Ankle_Left" in schema.names
    assert check(path).problems == ()


@real
def test_real_pf_willow():
    report = check(real_images.ROOT / "PF-WILLOW")
    assert report.pairs == {"test": 900} and report.problems == ()
    for annotation in real_images.willow().annotations:
        points = loadmat(annotation.path.with_suffix(".mat"))["pts_coord"].T[:, :2]
        np.testing.assert_array_equal(annotation.keypoints, points)
        assert annotation.reference_length("box") == np.ptp(points, axis=0).max()
