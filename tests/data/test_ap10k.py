"""The benchmark on AP-10K against its rules by brute force."""

import hashlib
import itertools
import json
from collections import Counter

import numpy as np
import pytest
from helpers import datasets

from homolog.data import ap10k, manifest


def by_the_rules(root):
    """The images of each split, by brute force: name, species, family, visible keypoints."""
    annotations, images, categories = [], {}, {}
    for path in (root / "annotations").glob("*.json"):
        file = json.loads(path.read_text())
        annotations += file["annotations"]
        images |= {image["id"]: image["file_name"] for image in file["images"]}
        categories |= {c["id"]: (c["name"], c["supercategory"]) for c in file["categories"]}
    first = {}
    for entry in sorted(annotations, key=lambda entry: -entry["id"]):
        first[images[entry["image_id"]]] = entry
    usable = []
    for name in sorted(first):
        seen = {i for i, v in enumerate(first[name]["keypoints"][2::3]) if v > 0}
        if len(seen) >= 3:
            usable.append((name, *categories[first[name]["category_id"]], seen))
    splits = {"trn": [], "val": [], "test": []}
    for species in {image[1] for image in usable}:
        members = [image for image in usable if image[1] == species]
        for rank, image in enumerate(reversed(members)):
            splits["test" if rank < 30 else "val" if rank < 50 else "trn"].append(image)
    return {split: sorted(members) for split, members in splits.items()}


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
        datasets.refused(
            lambda: ap10k.load(root, split, subset, first_only=True),
            "subset: expected intra-species for training pairs",
        )
        return
    # Limits that the small data set reaches.
    monkeypatch.setattr(ap10k, "TRAINING_PAIRS", 1)
    per_family, per_two = {"val": (90, 20), "test": (300, 30), "trn": (0, 0)}[split]
    monkeypatch.setitem(ap10k._MAX_PAIRS, (split, "cross-species"), per_family)
    images = by_the_rules(root)[split]
    candidates, limits = {}, {}
    for a, b in itertools.combinations(images, 2):
        if len(a[3] & b[3]) < 3:
            continue
        if subset == "intra-species" and a[1] == b[1]:
            group = a[1]
            limits[group] = sum(p[1] == group for p in images) if split == "trn" else 9999
        elif subset == "cross-species" and a[2] == b[2] and a[1] != b[1]:
            limits[group := a[2]] = per_family
        elif subset == "cross-family" and a[2] != b[2]:
            limits[group := frozenset((a[2], b[2]))] = per_two
        else:
            continue
        candidates.setdefault(group, set()).add((a[0], b[0]))
    dataset = ap10k.load(root, split, subset, first_only=True)
    found = set(datasets.pair_names(dataset))
    assert len(found) == len(dataset.pairs)
    assert found <= set().union(*candidates.values())
    for group, pairs in candidates.items():
        assert found & pairs == set(sorted(pairs, key=rank)[: limits[group]])
    if subset != "intra-species" or split == "trn":
        assert any(len(pairs) > limits[group] for group, pairs in candidates.items())


def test_ap10k_splits_share_no_image(tmp_path):
    root = datasets.make_ap10k(tmp_path)
    used = {
        split: {
            annotation.name for annotation in ap10k.load(root, split, first_only=True).annotations
        }
        for split in ap10k.SPLITS
    }
    assert all(used.values())
    for a, b in itertools.combinations(used.values(), 2):
        assert not a & b
    dataset = ap10k.load(root, "val", first_only=True)
    assert "no images in split val: king cheetah" in dataset.notes
    assert "king cheetah" not in dataset.schemas


def test_ap10k_is_the_same_in_any_order(tmp_path):
    root = datasets.make_ap10k(tmp_path / "one", hidden=0.0)
    expected = {
        subset: datasets.pair_names(ap10k.load(root, "test", subset, first_only=True))
        for subset in ap10k.SUBSETS
    }
    # Written down once: the sample must be this on every machine, today and later.
    digest = manifest.digest(expected["cross-family"])
    assert digest == "141ab1ebfa8a154c44b1222b4b1a9a3c617de7c8caaa6d85de817f5735e6fd6a"
    files = [root / "annotations" / name for name in ap10k.FILES]
    contents = [json.loads(path.read_text()) for path in files]
    for file in contents:
        for section in file.values():
            np.random.default_rng(1).shuffle(section)
        for entry in file["annotations"]:
            entry["id"] = 10_000 - entry["id"]
    other = tmp_path / "other"
    for path, content in zip(reversed(files), contents, strict=True):
        datasets.save_json(other / "annotations" / path.name, content)
    for subset in ap10k.SUBSETS:
        assert (
            datasets.pair_names(ap10k.load(other, "test", subset, first_only=True))
            == expected[subset]
        )
    seeded = ap10k.load(root, "test", "cross-family", seed=1, first_only=True)
    assert datasets.pair_names(seeded) != expected["cross-family"]
    assert len(seeded.pairs) == len(expected["cross-family"])


def test_ap10k_exclusions(tmp_path):
    root = datasets.make_ap10k(tmp_path, hidden=0.0)
    names_before = {a.name for a in ap10k.load(root, first_only=True).annotations}
    gone = sorted(names_before)[:2]
    exclude = tmp_path / "crowded.txt"
    exclude.write_text(f"{gone[0]}\n\n{int(gone[1].removesuffix('.jpg'))}\nnone.jpg\n")
    dataset = ap10k.load(root, exclude=exclude, first_only=True)
    assert not {a.name for a in dataset.annotations} & set(gone)
    assert dataset.notes == (
        "images left out, named in the list of exclusions: 2",
        "exclusions that name no image: none.jpg",
    )
    datasets.refused(
        lambda: ap10k.load(root, exclude=tmp_path / "none", first_only=True),
        tmp_path / "none",
        "expected a readable file",
    )

    def change(file):
        first = file["annotations"][0]
        file["annotations"].insert(0, {**first, "id": 100_000, "bbox": [0, 0, 9, 9]})
        file["annotations"][2]["keypoints"][2::3] = [2, 1] + [0] * 15

    path = datasets.edit_json(root / "annotations" / ap10k.FILES[0], change)
    file = json.loads(path.read_text())
    twice, unseen = (f"{file['annotations'][i]['image_id']:012}.jpg" for i in (0, 2))
    every = {split: ap10k.load(root, split, first_only=True) for split in ap10k.SPLITS}
    used = {a.name: a for dataset in every.values() for a in dataset.annotations}
    assert unseen not in used and used[twice].box == datasets.BOX, "the first counts"
    assert every["test"].notes == ("images left out, fewer than 3 visible keypoints: 1",)
    alone = [ap10k.load(root, split, single=True, first_only=True) for split in ap10k.SPLITS]
    assert twice not in {a.name for dataset in alone for a in dataset.annotations}
    assert "images left out, several annotated animals: 1" in alone[0].notes


@pytest.fixture
def herds(tmp_path):
    """AP-10K with further animals in some images, a few of another species."""
    root = datasets.make_ap10k(tmp_path, hidden=0.4)
    for number, name in enumerate(ap10k.FILES):

        def change(file, number=number):
            rng = np.random.default_rng(number)
            more = []
            for entry in file["annotations"]:
                for copy in range(int(rng.integers(0, 3))):
                    category = entry["category_id"] if rng.random() < 0.8 else 1
                    # Some precede the animal that was the first, with too few keypoints to count.
                    sign = 1 if rng.random() < 0.93 else -1
                    seen = rng.random(17) > (0.4 if sign > 0 else 0.9)
                    points = np.column_stack([rng.uniform(10, 40, (17, 2)).round(1), 2 * seen])
                    more.append(
                        {**entry, "id": sign * (10_000 * (copy + 1) + entry["id"]),
                         "category_id": category, "bbox": [8, 8, 30, 30],
                         "keypoints": points.ravel().tolist()}
                    )  # fmt: skip
            file["annotations"] += more

        datasets.edit_json(root / "annotations" / name, change)
    return root


def test_every_animal_can_be_used(herds):
    """Brute force: whatever is usable, in the published splits, and no pair within an image."""
    published = {split: by_the_rules(herds)[split] for split in ap10k.SPLITS}
    split_of = {name: split for split, images in published.items() for name, *_ in images}
    every = {split: ap10k.load(herds, split) for split in ap10k.SPLITS}
    entries, names, species = {}, {}, {}
    for name in ap10k.FILES:
        file = json.loads((herds / "annotations" / name).read_text())
        names |= {image["id"]: image["file_name"] for image in file["images"]}
        species |= {category["id"]: category["name"] for category in file["categories"]}
        entries |= {entry["id"]: entry for entry in file["annotations"]}
    seen = {
        number: {i for i, v in enumerate(entry["keypoints"][2::3]) if v}
        for number, entry in entries.items()
    }
    usable = [number for number in entries if len(seen[number]) >= 3]
    counts = Counter(entry["image_id"] for entry in entries.values())
    shared = {number for number, entry in entries.items() if counts[entry["image_id"]] > 1}
    found = {}
    for split, data in every.items():
        assert data.name == f"AP-10K intra-species {split}, every animal"
        assert len({a.name for a in data.annotations}) == len(data.annotations)
        for annotation in data.annotations:
            found.setdefault(annotation.path.name, set()).add(split)
            assert annotation.shares_image == ("#" in annotation.name)
        assert all(pair.source.path < pair.target.path for pair in data.pairs)
    assert all(len(splits) == 1 for splits in found.values()), "splits share no image"
    assert all(found[name] == {split_of[name]} for name in found if name in split_of)
    assert any(name not in split_of for name in found), "images that the published rules drop"
    test = [n for n in usable if found.get(names[entries[n]["image_id"]]) == {"test"}]

    def name(number):
        file_name = names[entries[number]["image_id"]]
        return f"{file_name}#{number}" if number in shared else file_name

    expected = {
        (name(a), name(b))
        for a, b in itertools.permutations(test, 2)
        if names[entries[a]["image_id"]] < names[entries[b]["image_id"]]
        and entries[a]["category_id"] == entries[b]["category_id"]
        and len(seen[a] & seen[b]) >= 3
    }
    assert set(datasets.pair_names(every["test"])) == expected


def test_a_manifest_says_whether_every_animal_is_used(herds, tmp_path):
    data = ap10k.load(herds)
    path = tmp_path / "pairs.json"
    manifest.write(path, data, ap10k.rules())
    assert manifest.read(path).rules["all_objects"] is True
    assert datasets.pair_names(ap10k.load(herds, manifest=path)) == datasets.pair_names(data)
    assert "all_objects" not in ap10k.rules(first_only=True)
    single = ap10k.load(herds, single=True)
    assert single.pairs and not any(a.shares_image for a in single.annotations)


def test_an_animal_whose_box_cannot_be_right_is_left_out(herds):
    def change(file):
        counts = Counter(entry["image_id"] for entry in file["annotations"])
        for entry in file["annotations"]:
            if counts[entry["image_id"]] > 1:
                entry["bbox"] = [0, 0, 500, 500]

    before = ap10k.load(herds, first_only=True)
    for name in ap10k.FILES:
        datasets.edit_json(herds / "annotations" / name, change)
    data = ap10k.load(herds)
    assert not any(a.shares_image for a in data.annotations)
    assert any("animals left out, boxes that cannot be right" in note for note in data.notes)
    assert datasets.pair_names(ap10k.load(herds, first_only=True)) == datasets.pair_names(before)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            datasets.change_first("categories", keypoints=[f"k{i}" for i in range(17)]),
            "category 1: expected AP-10K's keypoints",
        ),
        (lambda file: file["categories"][1].pop("supercategory"), "category 2: expected 'super"),
        (
            datasets.change_first("annotations", keypoints=[1, 2, 2]),
            "annotation 7: keypoints: expected",
        ),
        (
            datasets.change_first("annotations", id=14),
            "annotation 14: expected an id that no other file has",
        ),
    ],
)
def test_ap10k_that_is_wrong(change, reason, tmp_path):
    root = datasets.make_ap10k(tmp_path)
    path = datasets.edit_json(root / "annotations" / ap10k.FILES[1], change)
    message = datasets.refused(lambda: ap10k.load(root), reason)
    assert message.startswith(str(path)) or "other file" in message


def test_ap10k_that_is_not_there(tmp_path):
    root = datasets.make_ap10k(tmp_path)
    path = root / "annotations" / ap10k.FILES[2]
    path.unlink()
    datasets.refused(lambda: ap10k.load(root), path, ap10k.HOMEPAGE)
