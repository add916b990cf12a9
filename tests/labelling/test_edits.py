"""What people do on the page outlives `annotate --overwrite`; files of other categories."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import crowds, toy_annotate
from helpers.toy_training import toy_data, toy_matcher

from homolog import HomologError
from homolog.data.boxes import read_boxes
from homolog.data.exemplars import ExemplarSet, read
from homolog.data.labels import EXTRA, Labels
from homolog.image.poses import IDENTITY
from homolog.labelling.annotator import AnnotateConfig
from homolog.labelling.edits import merge
from homolog.labelling.propagate import annotate
from homolog.serve.review import Review
from homolog.serve.uploads import ImageStore

CONFIG = AnnotateConfig(poses=(IDENTITY,))
FOREIGN = {"licenses": [{"id": 3, "name": "CC0"}], "other": {"kept": [1, 2]}}


class Project:
    """A folder of images, its labels, and the page that shows them."""

    def __init__(self, folder: Path, exemplars: ExemplarSet, boxes: Path | None = None):
        self.folder, self.exemplars, self.boxes = folder, exemplars, boxes
        self.out = folder.parent / "labels.json"

    def annotate(self, exemplars=None):
        boxes = None if self.boxes is None else read_boxes(self.boxes, self.folder)
        return annotate(
            toy_matcher(), exemplars or self.exemplars, self.folder, self.out,
            config=CONFIG, boxes=boxes, overwrite=True,
        )  # fmt: skip

    def page(self) -> Review:
        store = ImageStore(self.folder.parent / "uploads", 10**6, 10, 10**6)
        return Review(self.out, self.folder, None, store)

    def labels(self) -> Labels:
        return Labels.read(self.out)

    def of(self, image: str) -> list[dict]:
        labels = self.labels()
        (number,) = (i["id"] for i in labels.images if i["file_name"] == image)
        return [a for a in labels.annotations if a["image_id"] == number]

    def image(self, name: str) -> int:
        return next(i["id"] for i in self.labels().images if i["file_name"] == name)

    def edit(self, change) -> None:
        """Change the document as another tool may do."""
        data = json.loads(self.out.read_text())
        change(data)
        self.out.write_text(json.dumps(data))


@pytest.fixture
def single(tmp_path) -> Project:
    """Four images of one object each."""
    toy_data(tmp_path / "images", 4)
    project = Project(tmp_path / "images", toy_annotate.exemplars(tmp_path / "exemplars"))
    project.annotate()
    return project


@pytest.fixture
def several(tmp_path) -> Project:
    """Images of three, one, five and two objects, whose boxes are given with ids."""
    known = crowds.make_crowds(tmp_path / "known", (2, 1))
    path = crowds.make_crowds(tmp_path, (3, 1, 5, 2))
    data = json.loads(path.read_text())
    for annotation in data["annotations"]:
        del annotation["keypoints"]
        annotation["track_id"] = f"beetle {annotation['id']}"
    (tmp_path / "boxes.json").write_text(json.dumps(data))
    project = Project(tmp_path / "images", read(known), tmp_path / "boxes.json")
    project.annotate()
    return project


def without_ids(annotation):
    return {k: v for k, v in annotation.items() if k not in ("id", "image_id")}


def test_a_drawn_box_of_an_image_of_one_object(single):
    """It stays without points: the image's object is another."""
    before = single.of("toy1.png")
    page = single.page()
    drawn = page.add(single.image("toy1.png"), 4, (1, 2, 9, 8))["annotation"]
    summary = single.annotate()
    assert [without_ids(a) for a in single.of("toy1.png")] == [
        without_ids(before[0]), without_ids(drawn)
    ]  # fmt: skip
    assert summary.kept == [("toy1.png", None)] and summary.objects == 5 and summary.manual == 0
    # It is not lost the second time either, and can still be labelled.
    single.annotate()
    found = single.of("toy1.png")[1]
    assert without_ids(found) == without_ids(drawn)
    single.page().correct(found["id"], 2, (5.5, 6.5), True)
    single.annotate()
    assert single.of("toy1.png")[1]["keypoints"][6:9] == [5.5, 6.5, 2]


def test_a_changed_box_of_an_image_of_one_object(single):
    """It keeps its box and the points that were reviewed; the others are predicted."""
    (before,) = single.of("toy2.png")
    page = single.page()
    page.correct(before["id"], 0, (30.5, 31.5), True)
    page.set_box(before["id"], (5, 5, 30, 30))
    page.set_box(before["id"], (20, 10, 40.5, 50.25))
    single.edit(lambda data: _of(data, before["id"])[EXTRA].update(scores=[0.1] * 5))
    single.annotate()
    (after,) = single.of("toy2.png")
    assert after["bbox"] == [20, 10, 40.5, 50.25] and after["area"] == 40.5 * 50.25
    assert after[EXTRA]["box_reviewed"] is True and after[EXTRA]["reviewed"] == [0]
    assert after["keypoints"][:3] == [30.5, 31.5, 2]
    assert after["keypoints"][3:] == before["keypoints"][3:]
    assert after[EXTRA]["scores"] == before[EXTRA]["scores"]  # anew
    assert after[EXTRA]["predicted_bbox"] == before["bbox"]


def _of(data, annotation):
    return next(a for a in data["annotations"] if a["id"] == annotation)


def test_a_deleted_object_of_an_image_of_one_object(single):
    (before,) = single.of("toy0.png")
    single.page().delete(before["id"])
    for _ in range(2):
        summary = single.annotate()
        assert single.of("toy0.png") == [] and summary.objects == 3 and summary.images == 4
    page = single.page()
    (deleted,) = page.state()["deleted"]
    assert deleted["image_id"] == single.image("toy0.png")
    page.restore(deleted["id"])
    assert [without_ids(a) for a in single.of("toy0.png")] == [without_ids(before)]
    single.annotate()
    assert [without_ids(a) for a in single.of("toy0.png")] == [without_ids(before)]
    assert EXTRA not in single.labels().data


def test_a_deleted_object_and_one_drawn_in_its_place(single):
    """What is drawn where the prediction lies gets its points."""
    (before,) = single.of("toy0.png")
    x, y, width, height = before["bbox"]
    page = single.page()
    page.delete(before["id"])
    box = (x + 1, y, width - 1, height)
    page.add(single.image("toy0.png"), 4, box)
    single.annotate()
    (found,) = single.of("toy0.png")
    assert found["bbox"] == list(box) and found["keypoints"] == before["keypoints"]
    assert len(single.labels().deleted) == 1


def test_page_edits_of_several_objects(several):
    """Drawn, changed far, deleted, reviewed, each in an image with others that stay as they are."""
    before = several.of("crowd03.png")
    moved, gone, reviewed, *rest = before
    page = several.page()
    page.correct(moved["id"], 1, (33.5, 44.5), True)
    page.set_box(moved["id"], (400, 250, 60, 45))
    page.delete(gone["id"])
    page.correct(reviewed["id"], 3, None, False)
    drawn = page.add(several.image("crowd03.png"), 1, (2, 3, 20, 25))["annotation"]
    assert drawn["instance_id"] == 1
    several.edit(lambda data: data["images"].reverse())
    summary = several.annotate()
    after = {a["instance_id"]: a for a in several.of("crowd03.png")}
    assert len(after) == 5 and gone["instance_id"] not in after
    assert after[moved["instance_id"]]["bbox"] == [400, 250, 60, 45]
    assert after[moved["instance_id"]]["keypoints"][3:6] == [33.5, 44.5, 2]
    assert after[moved["instance_id"]][EXTRA]["reviewed"] == [1]
    assert after[reviewed["instance_id"]]["keypoints"][9:12] == [0, 0, 0]
    assert without_ids(after[1]) == without_ids(drawn)
    for each in rest:
        assert without_ids(after[each["instance_id"]]) == without_ids(each)
    assert summary.kept == [("crowd03.png", 1)] and summary.manual == 2
    ids = [a["id"] for a in several.labels().annotations]
    page = several.page()
    (deleted,) = page.state()["deleted"]
    assert deleted["id"] not in ids and deleted["image_id"] == several.image("crowd03.png")
    assert without_ids(deleted) == without_ids(gone)
    page.restore(deleted["id"])
    several.annotate()
    found = [a["instance_id"] for a in several.of("crowd03.png")]
    assert sorted(map(str, found)) == sorted(str(a["instance_id"]) for a in [*before, drawn])


def test_a_drawn_box_whose_object_is_given_later(several):
    """It keeps its box, and gets the id and the points of the object that was labelled."""
    data = json.loads(several.boxes.read_text())
    *others, late = data["annotations"]
    several.out.unlink()
    several.boxes.write_text(json.dumps(data | {"annotations": others}))
    several.annotate()
    x, y, width, height = late["bbox"]
    box = (x + 3, y + 2, width - 4, height - 1)
    page = several.page()
    id = page.add(several.image("crowd04.png"), 1, box)["id"]
    page.correct(id, 0, (x + 5.5, y + 4.5), True)
    several.boxes.write_text(json.dumps(data))
    summary = several.annotate()
    (found,) = (a for a in several.of("crowd04.png") if a["instance_id"] == late["track_id"])
    assert len(several.of("crowd04.png")) == 2 and summary.kept == []
    assert found["bbox"] == list(box) and found[EXTRA]["box_reviewed"] is True
    assert found["keypoints"][:3] == [x + 5.5, y + 4.5, 2] and found[EXTRA]["reviewed"] == [0]
    assert found["num_keypoints"] > 1 and len(found[EXTRA]["scores"]) == 5


def test_a_deleted_object_comes_again_under_another_id(several):
    before = several.of("crowd03.png")
    several.page().delete(before[2]["id"])
    data = json.loads(several.boxes.read_text())
    for number, annotation in enumerate(data["annotations"]):
        annotation["track_id"] = f"new {number}"
        annotation["bbox"][0] += 5
    several.boxes.write_text(json.dumps(data))
    several.annotate()
    assert len(several.of("crowd03.png")) == 4 and len(several.labels().deleted) == 1


def test_an_id_of_a_deleted_object_given_to_another_place():
    """Detectors number anew: what lies elsewhere is another object, and ids stay unique."""
    entry = {"instance_id": 1, "bbox": [0, 0, 10, 10]}
    old = {"id": 4, "image_id": 1, "instance_id": 1, "bbox": [50, 0, 10, 10], "category_id": 1}
    found = merge([entry], [], [old])
    assert found.entries == [entry]
    (gone,) = found.deleted
    assert gone == {"id": 4, "instance_id": 2, "bbox": [50, 0, 10, 10], "category_id": 1}
    # Two boxes of one object, of which somebody deleted one: the other stays.
    extra = {"scores": [], "reviewed": [], "doubtful": [], "predicted": [], "box_reviewed": True}
    kept = {"id": 5, "image_id": 1, "category_id": 1, "keypoints": [], "homolog": extra}
    first, twin = ({**kept, "instance_id": n, "bbox": [n, 0, 10, 10]} for n in (1, 2))
    again = merge([{**first, "bbox": [1, 1, 10, 9]}, twin], [first], [twin])
    assert [(e["instance_id"], e["bbox"]) for e in again.entries] == [(1, [1, 0, 10, 10])]
    assert [e["instance_id"] for e in again.deleted] == [2]


def test_members_of_other_tools(several):
    """Of the document, its images, categories, annotations, and what somebody deleted."""
    first, second = several.of("crowd01.png")[:2]

    def change(data):
        data.update(FOREIGN)
        data["info"].update(year=2026, description="Beetles")
        data["images"][0]["license"] = 3
        data["categories"][0]["colour"] = "red"
        for annotation in data["annotations"]:
            annotation["attributes"] = {"sex": "f"}
            annotation["segmentation"] = [[1, 2, 3, 4, 5, 6]]
            annotation["area"] = 7.5

    several.edit(change)
    page = several.page()
    page.correct(first["id"], 1, (10.5, 11.5), True)
    page.delete(second["id"])
    several.edit(lambda data: data["homolog"].update(more="x"))
    several.annotate()
    data = several.labels().data
    assert {member: data[member] for member in FOREIGN} == FOREIGN
    assert data["info"] == {"description": "Beetles", "failed": [], "year": 2026}
    assert data["images"][0]["license"] == 3 and data["categories"][0]["colour"] == "red"
    assert data["homolog"]["more"] == "x"
    for annotation in [*data["annotations"], *data["homolog"]["deleted"]]:
        assert annotation["attributes"] == {"sex": "f"}
        assert annotation["segmentation"] == [[1, 2, 3, 4, 5, 6]]
        assert annotation["area"] == 7.5 or annotation.get("instance_id") == first["instance_id"]


def test_labels_of_another_tool_that_were_corrected_on_the_page(single):
    """All of its points are somebody's, not only those that were corrected."""
    first = single.of("toy0.png")[0]
    points = [10, 11, 2, 20, 21, 2, 30, 31, 2, 40, 41, 2, 0, 0, 0]

    def change(data):
        annotation = _of(data, first["id"])
        del annotation[EXTRA], annotation["score"]
        annotation["keypoints"] = list(points)

    single.edit(change)
    single.page().correct(first["id"], 1, (25.5, 26.5), True)
    single.annotate()
    (after,) = single.of("toy0.png")
    assert after["keypoints"] == [*points[:3], 25.5, 26.5, 2, *points[6:]]


def test_points_outside_a_predicted_box(single):
    """The box contains what was corrected, as it did on the page."""
    (before,) = single.of("toy0.png")
    page = single.page()
    box = page.correct(before["id"], 0, (0.5, 79.5), True)["annotation"]["bbox"]
    single.annotate()
    (after,) = single.of("toy0.png")
    assert after["bbox"] == pytest.approx(box) and after["area"] == pytest.approx(box[2] * box[3])


@pytest.mark.parametrize("kind", ["single", "several"])
def test_images_that_cannot_be_read_any_more(kind, request):
    """They keep all their labels; and so do images that are gone."""
    project = request.getfixturevalue(kind)
    names = [image["file_name"] for image in project.labels().images]
    broken, away, gone = names[0], names[1], names[2]
    page = project.page()
    edited = project.of(gone)[0]
    page.correct(edited["id"], 0, (7.5, 8.5), True)
    page.add(project.image(broken), edited["category_id"], (3, 4, 10, 11))
    before, moved, edited = project.of(broken), project.of(gone), project.of(gone)[0]
    left = project.of(away)
    (project.folder / broken).write_bytes(b"no image")
    (project.folder / away).unlink()
    shutil.move(project.folder / gone, project.folder.parent / gone)
    summary = project.annotate()
    assert [name for name, _ in summary.failed] == [broken] == list(summary.retained)
    assert [without_ids(a) for a in project.of(broken)] == [without_ids(a) for a in before]
    assert project.of(gone) == moved and project.of(away) == left
    assert project.labels().data["info"]["failed"][0]["file_name"] == broken
    (note,) = summary.notes
    assert note.startswith("labels of images that are not in the folder are kept: ")
    assert away in note and gone in note
    # Once it can be read, it is as if nothing had been.
    shutil.move(project.folder.parent / gone, project.folder / gone)
    project.annotate()
    after = next(a for a in project.of(gone) if a.get("instance_id") == edited.get("instance_id"))
    assert without_ids(after) | {"area": 0} == without_ids(edited) | {"area": 0}
    assert after["area"] == pytest.approx(edited["area"], abs=1)


def test_exemplars_with_other_categories(single):
    """Ids are those of the exemplars, keypoints those of their names; drawn categories stay."""
    page = single.page()
    first, second = single.of("toy0.png")[0], single.of("toy1.png")[0]
    page.correct(first["id"], 1, (40.5, 41.5), True)
    page.delete(second["id"])

    def add_category(data):
        data["categories"].append({"id": 9, "name": "leaf", "keypoints": ["tip"]})

    single.edit(add_category)
    leaf = single.page().add(single.image("toy2.png"), 9, (1, 1, 8, 9))["annotation"]
    names = toy_annotate.CATEGORY["keypoints"]
    order = [4, 3, 2, 1, 0]
    category = {"id": 9, "name": "toy", "keypoints": [*(names[k] for k in order), "extra"]}
    annotations = []
    for each in single.exemplars.annotations:
        points = np.vstack([each.keypoints[order], [[np.nan, np.nan]]])
        annotations.append(type(each)(each.name, each.path, "toy", points, each.box, each.size))
    single.annotate(ExemplarSet(annotations, [category]))
    data = single.labels().data
    assert [(c["id"], c["name"]) for c in data["categories"]] == [(9, "toy"), (10, "leaf")]
    (after,) = single.of("toy0.png")
    assert after["category_id"] == 9 and after["keypoints"][9:12] == [40.5, 41.5, 2]
    assert after[EXTRA]["reviewed"] == [3]
    found = single.of("toy2.png")[1]
    assert without_ids(found) == without_ids(leaf) | {"category_id": 10}
    (deleted,) = single.labels().deleted
    assert deleted["category_id"] == 9 and len(deleted["keypoints"]) == 18
    for position, keypoint in enumerate(order):
        old = second["keypoints"][3 * keypoint : 3 * keypoint + 3]
        assert deleted["keypoints"][3 * position : 3 * position + 3] == old
    assert deleted["keypoints"][15:] == [0, 0, 0] and 5 in deleted[EXTRA]["doubtful"]


@pytest.mark.parametrize(
    ("order", "extra", "expected", "flips"),
    [
        ([0, 2, 4, 3], [], [0, 1, 2, 3, 4], [0, 1, 2, 4, 3]),
        ([4, 3, 2, 0], ["extra"], [4, 3, 2, 0, 5, 1], [1, 0, 2, 3, 4, 5]),
    ],
)
def test_keypoints_that_exemplars_lack_stay(single, order, extra, expected, flips):
    """What somebody said of a keypoint that is labelled nowhere is not lost."""
    page = single.page()
    hidden = {name: single.of(name)[0]["id"] for name in ("toy0.png", "toy1.png", "toy2.png")}
    for annotation in hidden.values():
        page.correct(annotation, 1, None, False)

    def change(data):
        """Of the last image the keypoint was not found; sides are those of the last two."""
        (last,) = (a for a in data["annotations"] if a["id"] not in hidden.values())
        last["keypoints"][3:6] = last[EXTRA]["predicted"][3:6] = [0, 0, 0]
        last[EXTRA]["scores"][1] = 0.125
        last[EXTRA]["doubtful"] = [1]
        data["categories"][0] |= {"flip_indices": [0, 1, 2, 4, 3], "skeleton": [[1, 2], [4, 5]]}

    single.edit(change)
    names = toy_annotate.CATEGORY["keypoints"]
    category = {"id": 9, "name": "toy", "keypoints": [*(names[k] for k in order), *extra]}
    annotations = []
    for each in single.exemplars.annotations:
        points = np.vstack([each.keypoints[order], *[[[np.nan, np.nan]]] * len(extra)])
        annotations.append(type(each)(each.name, each.path, "toy", points, each.box, each.size))
    for _ in range(2):
        summary = single.annotate(ExemplarSet(annotations, [category]))
        assert summary.manual == 3
        (found,) = single.labels().categories
        assert found["id"] == 9
        assert found["keypoints"] == [([*names, "extra"])[k] for k in expected]
        assert found["flip_indices"] == flips
        joined = {frozenset(found["keypoints"][k - 1] for k in edge) for edge in found["skeleton"]}
        assert joined == {frozenset([names[0], names[1]]), frozenset([names[3], names[4]])}
        place = expected.index(1)
        for image in ("toy0.png", "toy1.png", "toy2.png", "toy3.png"):
            (after,) = single.of(image)
            assert len(after["keypoints"]) == 3 * len(expected)
            assert len(after[EXTRA]["scores"]) == len(expected)
            assert after["keypoints"][3 * place : 3 * place + 3] == [0, 0, 0]
            assert after[EXTRA]["reviewed"] == ([place] if image in hidden else [])
        assert after[EXTRA]["scores"][place] == 0.125 and place in after[EXTRA]["doubtful"]


def test_keypoints_that_a_file_of_exemplars_lacks(tmp_path):
    """Also new objects, and those of the file, have the keypoints of the labels written over."""
    toy_data(tmp_path / "images", 3)
    given = toy_annotate.exemplars(tmp_path / "exemplars")
    several = [{**toy_annotate.CATEGORY, "id": 1}]
    several[0]["keypoints"] = ["first", *several[0]["keypoints"], "last"]
    document = {
        "images": [{"id": 1, "file_name": "toy0.png"}], "categories": several,
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "num_keypoints": 0,
             "keypoints": [0] * 21, "homolog": {"scores": [], "doubtful": [], "reviewed": [0, 6],
                                                "predicted": [0] * 21, "box_reviewed": True}}
        ],
    }  # fmt: skip
    project = Project(tmp_path / "images", given)
    project.out.write_text(json.dumps(document))
    annotations = []
    for each in given.annotations:
        shown = each.visible[:, None] * [[2]]
        points = np.hstack([np.nan_to_num(each.keypoints), shown]).flatten().tolist()
        x0, y0, x1, y1 = each.box
        annotations.append(
            {"id": len(annotations) + 1, "image_id": len(annotations) + 1, "category_id": 1,
             "bbox": [x0, y0, x1 - x0, y1 - y0], "keypoints": points}
        )  # fmt: skip
    files = [{"id": k, "file_name": each.path.name} for k, each in enumerate(given.annotations, 1)]
    for each in given.annotations:
        shutil.copy(each.path, project.folder / f"copy_{each.path.name}")
    for each in files:
        each["file_name"] = f"copy_{each['file_name']}"
    category = {**toy_annotate.CATEGORY, "id": 1}
    path = tmp_path / "few.json"
    path.write_text(
        json.dumps({"images": files, "annotations": annotations, "categories": [category]})
    )
    project.annotate(read(path, project.folder))
    data = project.labels().data
    assert data["categories"][0]["keypoints"] == several[0]["keypoints"]
    assert {len(each["keypoints"]) for each in data["annotations"]} == {21}
    drawn = next(each for each in data["annotations"] if each["id"] == 5)
    assert drawn[EXTRA]["reviewed"] == [0, 6]
    for each in annotations:
        assert each["keypoints"] in [found["keypoints"][3:18] for found in data["annotations"]]
    added = [each for each in project.of("toy1.png") if EXTRA in each]
    assert added and all({0, 6} <= {*each[EXTRA]["doubtful"]} for each in added)
    assert all(each[EXTRA]["scores"][::6] == [0, 0] for each in added)


def test_a_keypoint_that_was_edited_and_is_no_more(single):
    """It is said before the work begins, and the file is as it was."""
    single.page().correct(single.of("toy0.png")[0]["id"], 1, (40.5, 41.5), True)
    before = single.out.read_bytes()
    category = {"id": 4, "name": "toy", "keypoints": ["head"]}
    few = [
        type(each)(each.name, each.path, "toy", each.keypoints[:1], each.box, each.size)
        for each in single.exemplars.annotations
    ]
    with pytest.raises(HomologError, match=r"out: expected labels .* got nose, which annotation 1"):
        single.annotate(ExemplarSet(few, [category]))
    assert single.out.read_bytes() == before


@pytest.mark.parametrize(
    ("member", "value"), [("homolog", [1]), ("homolog", {"deleted": [1]}), ("info", "text")]
)
def test_members_that_are_malformed(single, member, value):
    single.edit(lambda data: data.update({member: value}))
    before = single.out.read_bytes()
    with pytest.raises(HomologError, match=member):
        single.annotate()
    assert single.out.read_bytes() == before


def test_a_deleted_object_whose_image_another_tool_took_out(single):
    """It stays in the file, and no other image gets the id."""
    deleted = single.of("toy1.png")[0]
    single.page().delete(deleted["id"])

    def change(data):
        data["images"] = [i for i in data["images"] if i["id"] != deleted["image_id"]]

    single.edit(change)
    single.annotate()
    (kept,) = single.labels().deleted
    assert kept == deleted
    assert single.image("toy1.png") != deleted["image_id"]
