"""Exemplars keep their labels, and everything else that their file says of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import real_images
from helpers import crowds, toy_annotate
from helpers.toy_training import SCHEMA, toy_data, toy_matcher
from PIL import Image

from homolog import HomologError
from homolog.data import label_files
from homolog.data.exemplars import ExemplarSet, read
from homolog.data.formats.document import ReadOptions
from homolog.data.labels import EXTRA, Labels
from homolog.image.poses import IDENTITY
from homolog.labelling.annotator import AnnotateConfig, Annotator
from homolog.labelling.exemplars import Exemplars
from homolog.labelling.propagate import annotate

CONFIG = AnnotateConfig(review=0.8, poses=(IDENTITY,))
EXTRAS = {"attributes": {"occluded": True}, "segmentation": [[1, 1, 5, 1, 5, 5]], "area": 1234.5}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five images, the first two of which are labelled in `few.json`, one keypoint occluded."""
    data = toy_data(tmp_path / "images", 5)
    images, annotations = [], []
    for number, each in enumerate(data.annotations[:2], start=7):
        image = {"id": number, "file_name": f"images/{each.path.name}", "width": 96, "height": 80}
        images.append(image | {"license": 1})
        points = np.nan_to_num(each.keypoints)
        v = np.where(each.visible, 2, 0)
        v[1] = 1
        annotations.append(
            {
                "id": 900 + number, "image_id": number, "category_id": 18,
                "bbox": [4, 4, 86, 72], "iscrowd": 0, "num_keypoints": int((v > 0).sum()),
                "keypoints": np.column_stack([points, v]).ravel().tolist(), **EXTRAS,
            }
        )  # fmt: skip
    category = {
        "id": 18, "name": "toy", "keypoints": list(SCHEMA.names), "supercategory": "animal",
        "curves": [[0, 1, 2]],
    }  # fmt: skip
    document = {
        "images": images, "annotations": annotations,
        "categories": [category, {"id": 3, "name": "leaf"}],
        "info": {"description": "mine", "contributor": "x"}, "licenses": [{"id": 1}], "mine": [1],
    }  # fmt: skip
    (tmp_path / "few.json").write_text(json.dumps(document))
    return tmp_path


def run(folder: Path, exemplars: str = "few.json", out: str = "labels.json", **options):
    options = {"config": CONFIG, **options}
    matcher = options.pop("matcher", None) or toy_matcher()
    given = read(folder / exemplars, folder / "images")
    return annotate(matcher, given, folder / "images", folder / out, **options)


def document(folder: Path, name: str = "labels.json"):
    return json.loads((folder / name).read_text())


def by_id(data):
    return {annotation["id"]: annotation for annotation in data["annotations"]}


def test_everything_comes_back(folder):
    """Ids, occlusion, attributes, outlines, areas, licences and members on every level."""
    run(folder)
    given, found = document(folder, "few.json"), document(folder)
    for annotation in given["annotations"]:
        kept = by_id(found)[annotation["id"]]
        assert {k: kept[k] for k in annotation} == annotation
    leaf = {**given["categories"][1], "keypoints": []}
    assert found["categories"] == [given["categories"][0], leaf]
    assert found["info"] == {**given["info"], "failed": []}
    assert found["licenses"] == [{"id": 1}] and found["mine"] == [1]
    names = {image["file_name"]: image for image in found["images"]}
    assert names["toy0.png"]["id"] == 7 and names["toy0.png"]["license"] == 1
    assert [names[f"toy{k}.png"]["id"] for k in (2, 3, 4)] == [1, 2, 3]
    assert len({a["id"] for a in found["annotations"]}) == 5
    run(folder, overwrite=True)
    assert document(folder) == found


def test_ids_of_labels_that_are_written_over_come_first(folder):
    """An exemplar that is new in the file gets another id where its own is taken."""
    data = document(folder, "few.json")
    first = {**data, "images": data["images"][:1], "annotations": data["annotations"][:1]}
    (folder / "first.json").write_text(json.dumps(first))
    run(folder, "first.json")
    before = by_id(document(folder))
    (image,) = (i for i in document(folder)["images"] if i["file_name"] == "toy1.png")
    data["annotations"][1]["id"] = taken = next(
        a["id"] for a in before.values() if a["image_id"] not in (image["id"], 7)
    )
    (folder / "few.json").write_text(json.dumps(data))
    run(folder, overwrite=True)
    after = by_id(document(folder))
    assert after.keys() == before.keys()
    (found,) = (a for a in after.values() if a["image_id"] == image["id"])
    assert found["id"] != taken and found["keypoints"] == data["annotations"][1]["keypoints"]
    assert EXTRA not in found and found["attributes"] == {"occluded": True}


def test_two_annotations_of_one_image_stay_two(folder):
    """Even where they are at the same place, so that neither can be an exemplar of its own."""
    data = document(folder, "few.json")
    twin = {**data["annotations"][1], "id": 5, "attributes": {"n": 2}}
    data["annotations"].append(twin)
    (folder / "few.json").write_text(json.dumps(data))
    for _ in range(2):
        run(folder, overwrite=True)
        found = [a for a in document(folder)["annotations"] if a["image_id"] == 8]
        assert [a["id"] for a in found] == [908, 5]
        assert [a["attributes"] for a in found] == [{"occluded": True}, {"n": 2}]
        assert [a["keypoints"] for a in found] == [twin["keypoints"]] * 2


def test_occluded_keypoints_are_predicted(folder):
    """As in the exemplars that have them, by a vote of the nearest by their weights."""
    run(folder)
    predicted = [a for a in document(folder)["annotations"] if EXTRA in a]
    assert len(predicted) == 3
    for annotation in predicted:
        shown = np.array(annotation["keypoints"][2::3])
        assert (shown[[0, 2, 3]] == 2).all() and shown[1] == 1
        assert annotation["num_keypoints"] == (shown > 0).sum()
        assert annotation[EXTRA]["predicted"] == annotation["keypoints"]


@pytest.mark.parametrize("occluded", [(0,), (0, 1), (0, 1, 2)])
def test_the_vote_on_occlusion(tmp_path, occluded):
    """The share is that of brute force, over those exemplars in which the keypoint is labelled."""
    data = toy_data(tmp_path, 4)
    known = [
        type(each)(
            each.name, each.path, each.category, each.keypoints, each.box, each.size,
            occluded=np.array([index in occluded] * 5),
        )
        for index, each in enumerate(data.annotations[:3])
    ]  # fmt: skip
    toy = toy_matcher()
    exemplars = Exemplars(toy, known, data.schemas, [IDENTITY])
    features = toy.extract(data.annotations[3].path)
    found = exemplars.find(features)
    alone = {each.name: Exemplars(toy, [each], data.schemas, [IDENTITY]) for each in known}
    assert (alone[known[0].name].find(features).occlusion == 1).all()
    if len(occluded) == 3:
        np.testing.assert_allclose(found.occlusion, 1, atol=1e-6)
    else:
        assert ((found.occlusion >= 0) & (found.occlusion <= 1)).all()
        # The chin is not labelled in the second: it has no vote.
        none = Exemplars(toy, [known[1]], data.schemas, [IDENTITY]).find(features)
        assert none.visibility[4] == 0


def test_boxes_contain_what_was_labelled(folder):
    """An exemplar's box is widened, which is said; no box is flat."""
    data = document(folder, "few.json")
    data["annotations"][0]["bbox"] = [30, 30, 20, 20]
    (folder / "few.json").write_text(json.dumps(data))
    summary = run(folder)
    assert "boxes that did not contain all labelled keypoints are widened in toy0.png" in (
        summary.notes
    )
    for annotation in document(folder)["annotations"]:
        x, y, width, height = annotation["bbox"]
        points = np.reshape(annotation["keypoints"], (-1, 3))
        if EXTRA not in annotation:
            shown = points[points[:, 2] > 0, :2]
            assert (shown >= (x, y)).all() and (shown <= (x + width, y + height)).all()
        assert width > 0 and height > 0
    assert by_id(document(folder))[907]["area"] == 1234.5


def test_another_tool_says_that_a_keypoint_is_occluded(folder):
    """It counts as edited, as a moved one does."""
    run(folder)
    data = document(folder)
    changed = next(a for a in data["annotations"] if EXTRA in a)
    changed["keypoints"][2] = 1
    (folder / "labels.json").write_text(json.dumps(data))
    run(folder, overwrite=True)
    after = by_id(document(folder))[changed["id"]]
    assert after["keypoints"][2] == 1 and after[EXTRA]["reviewed"] == [0]


def test_one_keypoint_an_image(tmp_path):
    """What is written can be read again, as exemplars, too."""
    data = toy_data(tmp_path / "images", 4)
    x, y = data.annotations[0].keypoints[0]
    (tmp_path / "few.csv").write_text(f"image,keypoint,x,y\ntoy0.png,nose,{x},{y}\n")
    given = read(tmp_path / "few.csv", tmp_path / "images")
    annotate(toy_matcher(), given, tmp_path / "images", tmp_path / "out.json", config=CONFIG)
    labels = Labels.read(tmp_path / "out.json")
    assert all(min(a["bbox"][2:]) > 0 for a in labels.annotations)
    for annotation in labels.annotations:
        labels.correct(annotation["id"], 0, None)
    labels.write(tmp_path / "out.json")
    assert len(read(tmp_path / "out.json", tmp_path / "images").annotations) == 4


def test_labels_again_with_one_reviewed_point(folder):
    """The reviewed point stays; the others are predicted, or kept where nothing can be."""
    data = document(folder, "few.json")
    data["images"][0]["file_name"] = "toy0.png"
    (folder / "first").mkdir()
    (folder / "images" / "toy0.png").rename(folder / "first" / "toy0.png")
    one = {**data, "images": data["images"][:1], "annotations": data["annotations"][:1]}
    (folder / "first" / "few.json").write_text(json.dumps(one))
    run(folder, "first/few.json")
    labels = Labels.read(folder / "labels.json")
    first = labels.annotations[0]
    labels.correct(first["id"], 1, (44.5, 33.5))
    labels.write(folder / "labels.json")
    before = by_id(document(folder))
    count = sum(v > 0 for a in before.values() for v in a["keypoints"][2::3])
    (folder / "copy.json").write_bytes((folder / "labels.json").read_bytes())
    for exemplars, out in (("labels.json", "labels.json"), ("copy.json", "new.json")):
        summary = run(folder, exemplars, out, overwrite=True)
        assert (summary.points, summary.manual, summary.kept) == (count, 1, [])
        after = by_id(document(folder, out))
        assert after.keys() == before.keys()
        assert after[first["id"]]["keypoints"] == before[first["id"]]["keypoints"]
        assert after[first["id"]][EXTRA]["reviewed"] == [1]
        for number, annotation in after.items():
            kept = {k for k in range(5) if k != 1 and before[number]["keypoints"][3 * k + 2]}
            assert number == first["id"] or kept <= set(annotation[EXTRA]["doubtful"])
    # With other exemplars its other points are predicted, from these alone.
    labels = Labels.read(folder / "labels.json")
    second = labels.annotations[1]
    for keypoint in range(5):
        if second["keypoints"][3 * keypoint + 2]:
            labels.correct(second["id"], keypoint, None)
    labels.write(folder / "labels.json")
    run(folder, "labels.json", overwrite=True)
    after = by_id(document(folder))[first["id"]]
    assert after["keypoints"][3:6] == [44.5, 33.5, 1] and after[EXTRA]["reviewed"] == [1]
    (image,) = (i for i in document(folder)["images"] if i["id"] == second["image_id"])
    assert {name for name, _ in after[EXTRA]["exemplars"]} == {image["file_name"]}


def test_partly_labelled_exemplars_have_no_vote_on_other_keypoints(tmp_path):
    """A keypoint that nobody has looked for is neither visible nor hidden."""
    data = toy_data(tmp_path, 5)
    *known, last = data.annotations
    partial = [
        type(each)(
            each.name, each.path, each.category,
            np.where(np.arange(5)[:, None] < 2, each.keypoints, np.nan), each.box, each.size,
        )
        for each in known[:3]
    ]  # fmt: skip
    masks = {each: np.arange(5) < 2 for each in partial}
    toy = toy_matcher()
    features = toy.extract(last.path)
    given = [*partial, known[3]]
    blind = Exemplars(toy, given, data.schemas, [IDENTITY]).find(features)
    found = Exemplars(toy, given, data.schemas, [IDENTITY], known=masks).find(features)
    assert (blind.visibility[2:] < 0.5).any() and (found.visibility == 1).all()
    assert known[3].name in {name for name, _ in found.exemplars}
    x0, y0, x1, y1 = found.box
    assert 0 <= x0 < x1 <= 96 and 0 <= y0 < y1 <= 80
    whole = Exemplars(toy, known, data.schemas, [IDENTITY])
    same = Exemplars(toy, known, data.schemas, [IDENTITY], known={})
    np.testing.assert_array_equal(whole.find(features).points, same.find(features).points)


def test_several_objects_given_again(tmp_path):
    """Each is predicted in its own box, without a file of boxes; the reviewed one keeps its own."""
    known, path = crowds.make_crowds(tmp_path / "known", (2, 1)), crowds.make_crowds(tmp_path, (3,))
    exemplars, images = read(known), tmp_path / "images"
    data = json.loads(path.read_text())
    for annotation in data["annotations"]:
        del annotation["keypoints"]
    (tmp_path / "boxes.json").write_text(json.dumps(data))
    from homolog.data.boxes import read_boxes

    out = tmp_path / "labels.json"
    boxes = read_boxes(tmp_path / "boxes.json", images)
    annotate(toy_matcher(), exemplars, images, out, config=CONFIG, boxes=boxes)
    labels = Labels.read(out)
    first, *others = labels.annotations
    for keypoint in range(5):
        labels.correct(first["id"], keypoint, None)
    labels.correct(others[0]["id"], 0, (20.5, 21.5))
    labels.write(out)
    before = by_id(document(tmp_path))
    matcher = toy_matcher()
    annotate(matcher, read(out, images), images, out, config=CONFIG, overwrite=True)
    after = by_id(document(tmp_path))
    assert after.keys() == before.keys()
    assert matcher.backbone.seen == 2 + 2  # two exemplars, and the two that are not complete
    assert after[first["id"]] == before[first["id"]]
    assert after[others[0]["id"]]["keypoints"][:3] == [20.5, 21.5, 2]
    for other in others:
        assert after[other["id"]]["bbox"] == before[other["id"]]["bbox"] or other is others[0]
        assert {n.split("#")[0] for n, _ in after[other["id"]][EXTRA]["exemplars"]} == {
            "crowd01.png"
        }


def test_reviewed_images_that_are_gone_or_broken(folder):
    """Their labels are no exemplars, which is said, and stay; the others are."""
    run(folder)
    labels = Labels.read(folder / "labels.json")
    for annotation in labels.annotations:
        labels.correct(annotation["id"], 0, (30.5, 31.5))
    labels.write(folder / "labels.json")
    before = document(folder)
    (folder / "images" / "toy3.png").unlink()
    (folder / "images" / "toy4.png").write_bytes(b"no image")
    given = read(folder / "labels.json", folder / "images")
    assert [note for note in given.notes if "toy3.png" in note and "not there any more" in note]
    summary = run(folder, "labels.json", overwrite=True)
    assert any("toy4.png" in note and "no exemplar" in note for note in summary.notes)
    after = by_id(document(folder))
    for number, annotation in by_id(before).items():
        assert after[number]["keypoints"][:3] == annotation["keypoints"][:3]
        assert after[number]["num_keypoints"] == annotation["num_keypoints"]


@pytest.mark.parametrize("suffix", [".csv", ".tps", ".yaml", ".xml", ".nts"])
def test_every_format_by_its_ending(folder, suffix):
    out = folder / f"labels{suffix}"
    summary = run(folder, out=out.name)
    assert out.exists() and summary.points > 15
    found = label_files.read(out, ReadOptions(folder / "images")).document
    counts = [sum(v > 0 for v in a["keypoints"][2::3]) for a in found["annotations"]]
    assert sum(counts) == summary.points
    with pytest.raises(HomologError, match="out: expected a file that does not exist"):
        run(folder, out=out.name, overwrite=True)


def test_an_unknown_ending(folder):
    with pytest.raises(HomologError, match=r"out: expected a name in .*\.json, .* got "):
        run(folder, out="labels.doc")


def test_labels_reviewed_while_a_run_goes_on(folder):
    """What somebody does on the page in the meantime is kept."""
    run(folder)
    annotator = Annotator(toy_matcher(), read(folder / "few.json", folder / "images"), CONFIG)

    def reviews(files, name_of):
        for path in files:
            yield annotator.record(name_of(path), annotator.load(path))
        labels = Labels.read(folder / "labels.json")
        labels.correct(1, 2, (12.5, 13.5))
        labels.write(folder / "labels.json")

    run(folder, overwrite=True, executor=reviews)
    assert by_id(document(folder))[1]["keypoints"][6:8] == [12.5, 13.5]


def test_other_boxes_are_said(folder):
    """A log of a run with other settings names what differs."""

    def stops(files, name_of):
        yield {"file_name": name_of(files[0]), "failed": "x"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, executor=stops)
    config = AnnotateConfig(review=0.8, poses=(IDENTITY,), max_objects=2)
    with pytest.raises(HomologError, match=r"with other settings \(max objects\)"):
        run(folder, config=config)


def test_one_process_a_file(folder):
    """The second is refused with one line, and a lock leaves nothing behind."""
    code = (
        "import sys; from pathlib import Path; from homolog.utils.locks import lock_file\n"
        "with lock_file(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", code, str(folder / "labels.json")]
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        match = rf"no other process writes.* process {process.pid} is at work"
        with pytest.raises(HomologError, match=match):
            run(folder)
        process.communicate("\n")
    run(folder)
    assert not list(folder.glob(".labels.json*"))


@pytest.mark.slow
@pytest.mark.skipif(not real_images.ROOT.is_dir(), reason="needs the dogs")
def test_dogs_given_again(matcher, tmp_path):
    """With the shipped model: reviewed points stay, and the others become better."""
    root = real_images.ROOT / "dogs"
    data = json.loads((root / "annotations.json").read_text())
    (tmp_path / "images").mkdir()
    for image in data["images"][:6]:
        name = Path(image["file_name"]).name
        Image.open(root / "images" / name).save(tmp_path / "images" / name, quality=95)
        image["file_name"] = name
    few = {**data, "images": data["images"][:1]}
    few["annotations"] = [
        a for a in data["annotations"] if a["image_id"] == data["images"][0]["id"]
    ]
    (tmp_path / "few.json").write_text(json.dumps(few))
    options = {"matcher": matcher, "config": AnnotateConfig(review=0.8, poses=(IDENTITY,))}
    first = run(tmp_path, **options)
    labels = Labels.read(tmp_path / "labels.json")
    truth = {a["image_id"]: a["keypoints"] for a in data["annotations"]}
    names = {i["file_name"]: i["id"] for i in data["images"]}
    files = {i["id"]: i["file_name"] for i in labels.images}
    reviewed = {}
    for annotation in [a for a in labels.annotations if EXTRA in a][:3]:
        right = truth[names[files[annotation["image_id"]]]]
        for keypoint in annotation[EXTRA]["doubtful"]:
            x, y, v = right[3 * keypoint : 3 * keypoint + 3]
            labels.correct(annotation["id"], keypoint, (x, y) if v else None, bool(v))
            row = annotation["keypoints"][3 * keypoint : 3 * keypoint + 3]
            reviewed[annotation["id"], keypoint] = list(row)
    hidden = sum(not row[2] for row in reviewed.values())
    labels.write(tmp_path / "labels.json")
    again = run(tmp_path, "labels.json", overwrite=True, **options)
    assert again.points >= first.points - hidden
    after = by_id(document(tmp_path))
    for (number, keypoint), row in reviewed.items():
        assert after[number]["keypoints"][3 * keypoint : 3 * keypoint + 3] == row


def test_exemplars_of_python(tmp_path):
    """Those that come from no file are written with what they have."""
    given = toy_annotate.exemplars(tmp_path / "images", 2)
    occluded = np.array([True, False, False, False, False])
    annotations = [
        type(each)(
            each.name, each.path, each.category, each.keypoints, each.box, each.size,
            occluded=occluded,
        )
        for each in given.annotations
    ]  # fmt: skip
    out = tmp_path / "out.json"
    exemplars = ExemplarSet(annotations, given.categories)
    annotate(toy_matcher(), exemplars, tmp_path / "images", out, config=CONFIG)
    labels = Labels.read(out)
    assert [a["keypoints"][2] for a in labels.annotations] == [1, 1]
    assert [a["id"] for a in labels.annotations] == [1, 2]
