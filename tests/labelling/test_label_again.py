"""Label, review, label again: whatever people do in between, nothing of it is ever lost."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_training import toy_matcher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError
from homolog.data import exemplars as readers
from homolog.data.exemplars import ExemplarSet
from homolog.data.labels import EXTRA, Labels, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.labelling.annotator import AnnotateConfig
from homolog.labelling.edits import with_wider_box
from homolog.labelling.propagate import annotate
from homolog.labelling.provenance import own_objects
from homolog.serve.instances import Instances

SIZE = (40, 30)
NAMES = ["a.png", "b.png", "c.png"]
CATEGORIES = [
    {
        "id": 1, "name": "bee", "keypoints": ["head", "left wing", "right wing", "tail"],
        "flip_indices": [0, 2, 1, 3],
    },
    {
        "id": 2, "name": "fly", "keypoints": ["head", "wing", "tail"], "curves": [[0, 1, 2]],
        "flip_indices": [0, 1, 2],
    },
]  # fmt: skip


class Predictor:
    """Predicts anything: other points, boxes and objects in every run."""

    def __init__(self, seed: int, several: bool):
        self.random, self.several = random.Random(seed), several
        self.exemplars: ExemplarSet | None = None

    def __call__(self, files, name_of):
        own = own_objects(self.exemplars)
        for path in files:
            record = {"file_name": name_of(path), "width": SIZE[0], "height": SIZE[1]}
            if self.random.random() < 0.1:
                yield {"file_name": name_of(path), "failed": "it cannot be read"}
            elif self.several:
                known = [each.instance for each in own.get(path.resolve(), [])]
                found = [*known, *range(50, 50 + self.random.randint(0, 2))]
                found = [number for number in found if self.random.random() < 0.8]
                yield record | {
                    "annotations": [{"instance_id": n, **self.annotation()} for n in found],
                    "unlabelled": [],
                    **({"exemplars": known} if known else {}),
                }
            else:
                yield record | {"annotation": self.annotation()}

    def annotation(self):
        category = self.random.choice(self.exemplars.categories)
        points = []
        for _ in category["keypoints"]:
            v = self.random.choice([0, 1, 2, 2])
            x, y = self.random.uniform(0, 40), self.random.uniform(0, 30)
            points += [round(x, 2), round(y, 2), v] if v else [0, 0, 0]
        x, y = self.random.randint(0, 20), self.random.randint(0, 15)
        box = [x, y, self.random.randint(5, 20), self.random.randint(5, 15)]
        shown = [k for k, v in enumerate(points[2::3]) if v]
        return {
            "category_id": category["id"], "bbox": box, "area": box[2] * box[3], "iscrowd": 0,
            "num_keypoints": len(shown), "keypoints": points, "score": 0.5,
            EXTRA: {
                "scores": [0.5] * len(category["keypoints"]), "doubtful": shown, "reviewed": [],
                "predicted": list(points), "exemplars": [["e.png", "identity"]],
            },
        }  # fmt: skip


def first_exemplars(folder: Path, in_folder: bool) -> ExemplarSet:
    """Two labelled images, outside the folder that is annotated, or in it."""
    annotations = []
    for name, category in zip(NAMES, CATEGORIES, strict=False):
        path = folder / "images" / name if in_folder else folder / f"other_{name}"
        points = np.random.default_rng(0).uniform(3, 25, (len(category["keypoints"]), 2))
        points[1] = np.nan
        annotations.append(
            Annotation(name, path, category["name"], points, (2.0, 2.0, 28.0, 27.0), SIZE)
        )
    return ExemplarSet(annotations, CATEGORIES)


def edit(page: Instances, choice: random.Random) -> None:
    """What a person does on the page, or another tool in the file."""
    labels = page.labels
    if not labels.annotations:
        return
    entry = choice.choice(labels.annotations)
    keypoint = choice.randrange(max(1, len(entry["keypoints"]) // 3))
    shown = entry["keypoints"] and entry["keypoints"][3 * keypoint + 2] > 0
    what = choice.choice(
        ["move", "accept", "hide", "occlude", "all", "delete", "add", "box", "tool", "member"]
    )
    if what in ("move", "occlude"):
        point = choice.uniform(0, 40), choice.uniform(0, 30)
        page.correct(entry["id"], keypoint, point, True, what == "occlude")
    elif what == "accept" and shown:
        page.correct(entry["id"], keypoint, None, True, None)
    elif what == "hide":
        page.correct(entry["id"], keypoint, None, False, None)
    elif what == "all":
        for k in range(len(entry["keypoints"]) // 3):
            visible = entry["keypoints"][3 * k + 2] > 0
            page.correct(entry["id"], k, None, visible, None)
    elif what == "delete":
        page.delete(entry["id"])
    elif what == "add":
        image = choice.choice(labels.images)
        page.add(image["id"], choice.choice(labels.categories)["id"], (3.0, 4.0, 12.0, 9.0))
    elif what == "box":
        page.set_box(entry["id"], (choice.uniform(0, 20), 3.0, 15.0, 20.0))
    elif what == "tool" and any(entry["keypoints"][2::3]):
        entry.pop(EXTRA, None)
        entry["keypoints"][:2] = [5.5, 6.5]
    elif what == "member":
        entry["attributes"] = {"track": choice.randint(1, 9)}


def by_image(document):
    """Annotations by the names of their images and their own ids."""
    names = {image["id"]: image["file_name"] for image in document["images"]}
    return {(names[a["image_id"]], a["id"]): a for a in document["annotations"]}


def check_nothing_is_lost(before, after) -> None:
    """That a document has all that one before it had."""
    ids = [a["id"] for a in (*after["annotations"], *after.get(EXTRA, {}).get("deleted", []))]
    assert len(set(ids)) == len(ids)
    old_images = {image["file_name"]: image["id"] for image in before["images"]}
    new_images = {image["file_name"]: image["id"] for image in after["images"]}
    assert old_images.items() <= new_images.items()
    known = by_image(after)
    for key, old in by_image(before).items():
        new = known[key]
        rows = np.reshape(new["keypoints"], (-1, 3)).tolist()
        labelled = {k for k, v in enumerate(old["keypoints"][2::3]) if v > 0}
        found = {k for k, v in enumerate(new["keypoints"][2::3]) if v > 0}
        if EXTRA in old and EXTRA not in new:  # now an exemplar: its maker says what is not visible
            labelled &= manual_keypoints(old)
        assert len(labelled) <= len(found)
        if old["category_id"] == new["category_id"]:
            assert labelled <= found
        # An exemplar may have what an annotation of another tool lacks.
        for keypoint in manual_keypoints(old) if EXTRA in old else labelled:
            assert rows[keypoint] == old["keypoints"][3 * keypoint : 3 * keypoint + 3]
        assert old.get("attributes") == new.get("attributes")
        if old.get(EXTRA, {}).get("box_reviewed"):
            assert new["bbox"] == old["bbox"]
        assert with_wider_box(new) == new
    gone = {a["id"] for a in before.get(EXTRA, {}).get("deleted", [])}
    assert gone <= {a["id"] for a in after.get(EXTRA, {}).get("deleted", [])}
    assert not gone & {a["id"] for a in after["annotations"]}
    old_categories = {c["name"]: c for c in before["categories"]}
    assert old_categories == {c["name"]: c for c in after["categories"]}


@pytest.fixture(scope="module")
def matcher():
    return toy_matcher()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), in_folder=st.booleans())
def test_nothing_is_ever_lost(tmp_path, matcher, seed, in_folder):
    """Any edits on the page or by other tools, exemplars from anywhere, images that go and come."""
    choice = random.Random(seed)
    folder = tmp_path / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    for name in NAMES:
        Image.new("RGB", SIZE).save(folder / "images" / name)
        Image.new("RGB", SIZE).save(folder / f"other_{name}")
    first, out = first_exemplars(folder, in_folder), folder / "labels.json"

    def run(exemplars: ExemplarSet, out: Path, several: bool):
        predictor = Predictor(choice.randint(0, 10**6), several)
        predictor.exemplars = exemplars
        annotate(
            matcher, exemplars, folder / "images", out, executor=predictor, overwrite=True,
            config=AnnotateConfig(review=0.8, max_objects=3 if several else None),
        )  # fmt: skip
        return json.loads(out.read_text())

    run(first, out, choice.random() < 0.5)
    for _ in range(3):
        page = Instances(Labels.read(out))
        for _ in range(choice.randint(0, 5)):
            edit(page, choice)
        page.labels.write(out)
        before = json.loads(out.read_text())
        away = choice.choice(NAMES)
        moved = choice.random() < 0.3 and not in_folder
        if moved:
            (folder / "images" / away).rename(folder / "away.png")
        again = first
        if choice.random() < 0.7:
            try:
                again = readers.read(out, folder / "images")
            except HomologError as error:
                assert "expected objects with visible keypoints" in str(error)
        several = choice.random() < 0.5
        if again is not first and choice.random() < 0.3:
            # To another file: all that is known of the images that are there.
            other = run(again, folder / "other.json", several)
            there = {path.name for path in (folder / "images").iterdir()}
            keep = {i["id"] for i in before["images"] if i["file_name"] in there}
            expected = {**before, "images": [i for i in before["images"] if i["id"] in keep]}
            expected["annotations"] = [a for a in before["annotations"] if a["image_id"] in keep]
            deleted = before.get(EXTRA, {}).get("deleted", [])
            expected[EXTRA] = {"deleted": [a for a in deleted if a["image_id"] in keep]}
            check_nothing_is_lost(expected, other)
            (folder / "other.json").unlink()
        check_nothing_is_lost(before, run(again, out, several))
        if moved:
            (folder / "away.png").rename(folder / "images" / away)
