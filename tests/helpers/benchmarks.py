"""Small copies of benchmarks that list their pairs, in the layouts that their authors describe."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from helpers.datasets import BOX, SIZE, _points, save_image, save_json

FAMILIES = {"Felidae": ("cat", "lion"), "Ursidae": ("panda",)}
ENDINGS = {"intra-species": "", "cross-species": "_cross_species", "cross-family": "_cross_family"}
BUILT_IN = "data/ap-10k/ImageAnnotation"


def make_ap10k_pairs(folder: Path, images: int = 3, splits: tuple[str, ...] = ("test",)) -> Path:
    """AP-10K as the published builder leaves it, with all pairs within and across species."""
    rng = np.random.default_rng(0)
    paths: dict[str, list[str]] = {}
    number = 0
    for family, species in FAMILIES.items():
        for name in species:
            for _ in range(images):
                number += 1
                stem = f"{number:012}"
                points = np.column_stack([_points(rng, 17), rng.choice([0, 1, 2], 17)])
                points[:3, 2] = 2, 1, 2  # of any two images, three are visible
                points[points[:, 2] == 0] = 0
                x0, y0, x1, y1 = BOX
                entry = {
                    "id": number, "image_id": number, "category_id": 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "keypoints": points.ravel().tolist(),
                    "num_keypoints": int((points[:, 2] > 0).sum()), "file_name": f"{stem}.jpg",
                    "width": SIZE[0], "height": SIZE[1], "name": name, "supercategory": family,
                }  # fmt: skip
                save_json(folder / "ImageAnnotation" / family / name / f"{stem}.json", entry)
                save_image(folder / "JPEGImages" / family / name / f"{stem}.jpg", number)
                paths.setdefault(name, []).append(f"{BUILT_IN}/{family}/{name}/{stem}.json")
    for split in splits:
        for one, other in itertools.product(paths, repeat=2):
            families = {f for f, species in FAMILIES.items() if {one, other} & {*species}}
            family = families.pop()
            group = "all" if families else one if one == other else family
            subset = "cross-family" if families else (
                "intra-species" if one == other else "cross-species"
            )  # fmt: skip
            for source, target in itertools.product(paths[one], paths[other]):
                if source < target:
                    name = f"{Path(source).stem}-{Path(target).stem}:{group}.json"
                    content = {"src_json_path": source, "trg_json_path": target}
                    save_json(
                        folder / "PairAnnotation" / f"{split}{ENDINGS[subset]}" / name, content
                    )
    return folder


CONCEPTS = {
    "front_left_wheel": "wheel",
    "front_right_wheel": "wheel",
    "rear_left_wheel": "wheel",
    "mirror": "mirror",
}


def make_soco(folder: Path) -> Path:
    """Two categories of two images, pairs within each and one across, and the splits of one."""
    names = {"car": list(CONCEPTS), "bus": ["mirror", "front_left_wheel", "front_right_wheel"]}
    rng = np.random.default_rng(0)
    views: dict[tuple[str, int], dict[str, Any]] = {}
    for category, number in itertools.product(names, (1, 2)):
        save_image(folder / "Images" / category / f"{category}_{number}.JPEG", number)
        known = names[category][: 2 + number]  # the second image shows one more
        points = zip(known, _points(rng, len(known)).tolist(), strict=True)
        keypoints = [
            {"id": i, "name": name, "pos": point, "concept_name": CONCEPTS[name], "kind": "x"}
            for i, (name, point) in enumerate(points)
        ]
        views[category, number] = {
            "category": category, "image": f"{category}_{number}.JPEG", "imsize": list(SIZE),
            "bndbox": list(BOX), "keypoints": keypoints,
        }  # fmt: skip

    def pair(place: str, group: str, source: tuple[str, int], target: tuple[str, int]) -> None:
        entry: dict[str, Any] = {"pair_id": 1, "pair_group": group}
        for prefix, view in (("src", views[source]), ("trg", views[target])):
            entry |= {f"{prefix}_{key}": value for key, value in view.items()}
        found = [{k["name"] for k in views[each]["keypoints"]} for each in (source, target)]
        entry["semantic_overlap"] = sorted(found[0] & found[1])
        entry["concept_matches"] = []
        name = f"00001-{source[0]}_{source[1]}-{target[0]}_{target[1]}.json"
        save_json(folder / "PairAnnotations" / place / group / name, entry)

    for category in names:
        pair("intra", category, (category, 1), (category, 2))
        pair("intra", category, (category, 2), (category, 1))
    pair("cross", "car-bus", ("car", 2), ("bus", 2))
    pair("trainsplits/train", "car", ("car", 1), ("car", 2))
    pair("trainsplits/test", "car", ("car", 2), ("car", 1))
    return folder


MP100_CATEGORIES: Mapping[str, tuple[int, str, int]] = {
    "furniture": (3, "sofa", 4),
    "human_face": (7, "human_face", 6),
}


def make_mp100(folder: Path, images: int = 3) -> Path:
    """Two domains of one category each; each image hides another keypoint."""
    rng = np.random.default_rng(0)
    number = 0
    for split, (domain, (category, name, count)) in enumerate(MP100_CATEGORIES.items(), start=1):
        names = [f"k{i}" for i in range(count)] if domain == "furniture" else []
        file: dict[str, list[Any]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": category, "name": name, "keypoints": names}],
        }
        for i in range(images):
            number += 1
            file_name = f"{name}/{number:04}.jpg"
            save_image(folder / "mp100" / file_name, number)
            size = {"width": SIZE[0], "height": SIZE[1]}
            file["images"].append({"id": number, "file_name": file_name, **size})
            points = np.column_stack([_points(rng, count), np.full(count, 2)])
            points[i] = 0
            file["annotations"].append(
                {
                    "id": 10 * number,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [4, 5, 20, 30],
                    "num_keypoints": count - 1,
                    "keypoints": points.ravel().tolist(),
                }
            )
        save_json(folder / "annotations" / f"mp100_split{split}_test.json", file)
        pairs = [
            {"src_file": a["file_name"], "trg_file": b["file_name"], "category_id": category}
            for a, b in itertools.permutations(file["images"], 2)
        ]
        save_json(folder / "pairs" / f"pairs_{domain}.json", pairs)
    return folder


CUB_PARTS = (
    "back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing",
    "nape", "right eye", "right leg", "right wing", "tail", "throat",
)  # fmt: skip


def make_cub(folder: Path, species: int = 2, images: int = 4) -> Path:
    """Species of some images each, half of them for training, and a list of random pairs."""
    rng = np.random.default_rng(0)
    tables: dict[str, list[str]] = {
        name: [] for name in ("images", "train_test_split", "bounding_boxes", "parts/part_locs")
    }
    for number in range(1, species * images + 1):
        bird = (number - 1) // images + 1
        path = f"{bird:03}.Some_Bird_{bird}/Some_Bird_{number:04}.jpg"
        save_image(folder / "images" / path, number)
        tables["images"].append(f"{number} {path}")
        tables["train_test_split"].append(f"{number} {number % 2}")
        x0, y0, x1, y1 = BOX
        tables["bounding_boxes"].append(f"{number} {x0} {y0} {x1 - x0} {y1 - y0}")
        visible = rng.random(len(CUB_PARTS)) < 0.8
        visible[0] = True
        for part, ((x, y), shown) in enumerate(
            zip(_points(rng, len(CUB_PARTS)), visible, strict=True), start=1
        ):
            place = f"{x} {y} 1" if shown else "0.0 0.0 0"
            tables["parts/part_locs"].append(f"{number} {part} {place}")
    tables["parts/parts"] = [f"{i} {name}" for i, name in enumerate(CUB_PARTS, start=1)]
    tables["random_pairs"] = ["1 8", "5 2", "3 4"]
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    for name, lines in tables.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def make_spair_u(folder: Path, images: int = 3) -> Path:
    """SPair-U beside a folder `SPair-71k` that has its images; its keypoints have new numbers."""
    rng = np.random.default_rng(0)
    photos = folder.parent / "SPair-71k" / "JPEGImages"
    for category, ids in {"cat": [0, 1, 17, 29], "bus": [2, 5, 6]}.items():
        names = [f"2008_{i:06}" for i in range(images)]
        points = {name: _points(rng, len(ids)) for name in names}
        for i, name in enumerate(names):
            save_image(photos / category / f"{name}.jpg", i)
            kps = dict.fromkeys(map(str, range(30)))
            kps |= {str(k): p.tolist() for k, p in zip(ids, points[name], strict=True)}
            entry = {
                "image_width": SIZE[0], "image_height": SIZE[1], "bndbox": list(BOX), "kps": kps,
                "azimuth_id": i,
            }  # fmt: skip
            save_json(folder / "ImageAnnotation" / category / f"{name}.json", entry)
        for number, (a, b) in enumerate(itertools.permutations(names, 2)):
            entry = {
                "category": category, "src_imname": f"{a}.jpg", "trg_imname": f"{b}.jpg",
                "src_imsize": [*SIZE, 3], "trg_imsize": [*SIZE, 3], "src_bndbox": list(BOX),
                "trg_bndbox": list(BOX), "src_kps": points[a][1:].tolist(),
                "trg_kps": points[b][1:].tolist(), "kps_ids": list(map(str, ids[1:])),
            }  # fmt: skip
            name = f"{number:06}-{a}-{b}:{category}.json"
            save_json(folder / "PairAnnotation" / "test" / name, entry)
    return folder
