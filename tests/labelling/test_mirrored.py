"""Images that seem mirrored, where keypoints do not tell their sides."""

import json

import numpy as np
import pytest
import real_images
from helpers.toy_training import SCHEMA, toy_data, toy_matcher
from PIL import Image

from homolog import KeypointSchema, cli
from homolog.data.exemplars import ExemplarSet, read
from homolog.data.pairs import Annotation
from homolog.example import pair
from homolog.image.poses import FLIP, POSE_SETS, PoseVariant
from homolog.labelling.exemplars import EXEMPLAR_POSES, Exemplars
from homolog.labelling.mirrored import poses_of
from homolog.labelling.propagate import annotate

NUMBERED = KeypointSchema.numbered(5)


def test_exemplars_are_looked_at_flipped_but_do_not_serve_so():
    assert poses_of(SCHEMA, EXEMPLAR_POSES) == list(EXEMPLAR_POSES)
    assert poses_of(NUMBERED, POSE_SETS["flip"]) == list(POSE_SETS["flip"])
    assert set(poses_of(NUMBERED, POSE_SETS["rotations"])) == set(EXEMPLAR_POSES) | {
        PoseVariant(rotation=180)
    }
    assert poses_of(NUMBERED, [FLIP]) == []


@pytest.fixture(scope="module")
def fox(matcher):
    """The fox of the bundled example, as an exemplar; and the example's images."""
    with pair() as example:
        images = [Image.open(path).convert("RGB") for path in (example.image0, example.image1)]
        size = images[0].size
        exemplar = Annotation(
            "fox.jpg",
            example.image0,
            "fox",
            example.keypoints0,
            (0.0, 0.0, *map(float, size)),
            size,
        )
        numbered = {"fox": KeypointSchema.numbered(len(example.keypoints0))}
        yield (
            exemplar,
            numbered,
            Exemplars(matcher, [exemplar], numbered, POSE_SETS["none"]),
            images,
        )


def test_a_mirrored_photo_is_marked(matcher, fox):
    _, _, exemplars, (image, _) = fox
    assert not any(each.pose.flip for each in exemplars.posed)
    straight = exemplars.find(matcher.extract(image))
    mirrored = exemplars.find(matcher.extract(FLIP.apply(image)))
    assert not straight.mirrored and mirrored.mirrored
    assert straight.exemplars == mirrored.exemplars == (("fox.jpg", "identity"),)


def test_nothing_is_marked_where_sides_are_told(matcher, fox):
    exemplar, numbered, _, (image, _) = fox
    told = {name: schema.with_sides("none") for name, schema in numbered.items()}
    exemplars = Exemplars(matcher, [exemplar], told, POSE_SETS["flip"])
    found = exemplars.find(matcher.extract(FLIP.apply(image)))
    assert found.exemplars[0] == ("fox.jpg", "flip") and not found.mirrored
    expected = FLIP.points(exemplar.keypoints, image.size)
    errors = np.linalg.norm(found.points - expected, axis=1)[exemplar.visible]
    assert np.median(errors) < 0.02 * image.width


def test_the_marks_are_in_the_labels_and_said(tmp_path, monkeypatch):
    """Whatever tells that an image is mirrored, its labels say so, and one line names it."""
    folder = tmp_path / "images"
    folder.mkdir()
    data = toy_data(tmp_path / "toys", 2)
    for annotation in data.annotations:
        (folder / f"new {annotation.path.name}").write_bytes(annotation.path.read_bytes())
    category = {"id": 1, "name": "toy", "keypoints": ["p", "q", "r", "s", "t"]}
    monkeypatch.setattr("homolog.labelling.mirrored.NEARER", -10.0)
    out = tmp_path / "labels.json"
    summary = annotate(toy_matcher(), ExemplarSet(data.annotations, [category]), folder, out)
    (line,) = [note for note in summary.notes if "mirrored" in note]
    assert line.startswith("seem mirrored") and "--sides" in line and "new " in line
    marks = [each["homolog"].get("mirrored") for each in json.loads(out.read_text())["annotations"]]
    assert marks == [True, True]


def test_sides_told_to_the_command(tmp_path, monkeypatch, capsys, matcher):
    """Unknown sides: flips are refused if asked for, left out and said if not; --sides tells."""
    from homolog import Matcher

    monkeypatch.setattr(Matcher, "from_pretrained", classmethod(lambda cls, *_, **__: matcher))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    with pair() as example:
        Image.open(example.image0).save("fox.png")
        mirrored = FLIP.apply(Image.open(example.image0).convert("RGB"))
        mirrored.save("images/mirrored.png")
        points, visible = example.keypoints0, example.visible
    names = [f"k{index}" for index in range(len(points))]
    rows = [f"fox.png,{n},{x},{y}" for n, (x, y) in zip(names, points, strict=True)]
    (tmp_path / "fox.csv").write_text("\n".join(["image,keypoint,x,y", *rows]))
    command = ["annotate", "--exemplars", "fox.csv", "--images", "images", "--out", "labels.json"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--poses", "flip"])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert "poses: expected none with a flip" in error and "--sides" in error
    cli.main(command)
    error = capsys.readouterr().err
    assert "note: flips are left out" in error
    assert "seem mirrored against the exemplars" in error and "mirrored.png" in error
    assert json.loads((tmp_path / "labels.json").read_text())["annotations"][0]["homolog"][
        "mirrored"
    ]
    cli.main([*command, "--overwrite", "--sides", "none"])
    error = capsys.readouterr().err
    assert "flips are left out" not in error and "mirrored" not in error
    document = json.loads((tmp_path / "labels.json").read_text())
    assert document["categories"][0]["flip_indices"] == list(range(len(names)))
    (annotation,) = document["annotations"]
    found = np.reshape(annotation["keypoints"], (-1, 3))[:, :2]
    errors = np.linalg.norm(found - FLIP.points(points, mirrored.size), axis=1)[visible]
    assert np.median(errors) < 0.02 * mirrored.width
    with pytest.raises(SystemExit):
        cli.main([*command, "--overwrite", "--sides", "k0:tail"])
    assert "sides: expected names of keypoints, k0, k1" in capsys.readouterr().err


DOG = real_images.ROOT / "dogs" / "images" / "n02087394_681.jpg"
CASES = real_images.ROOT.parent / "cases"


@pytest.mark.parametrize("case", ["30_sides_openpose", "30_sides_sleap", "30_sides_numbers"])
def test_a_real_dog_and_its_mirror_image(tmp_path, matcher, case):
    """Where names tell sides, no side is exchanged; where they do not, the image is marked."""
    if not DOG.is_file() or not (CASES / case).is_dir():
        pytest.skip(f"{DOG} or {CASES / case} is not there (HOMOLOG_DATA)")
    (tmp_path / "images").mkdir()
    (tmp_path / "new").mkdir()
    with Image.open(DOG) as image:
        image.save(tmp_path / "images" / DOG.name)
        FLIP.apply(image.convert("RGB")).save(tmp_path / "new" / "mirrored.png")
    (tmp_path / "few.json").write_bytes((CASES / case / "few.json").read_bytes())
    labelled = read(tmp_path / "few.json")
    annotate(matcher, labelled, tmp_path / "new", tmp_path / "labels.json")
    (annotation,) = json.loads((tmp_path / "labels.json").read_text())["annotations"]
    known = labelled.schemas["dog"].sides_known
    assert known == (case != "30_sides_numbers")
    assert annotation["homolog"].get("mirrored", False) == (not known)
    if known:
        (exemplar,) = labelled.annotations
        mirror = np.array(labelled.schemas["dog"].mirror)
        expected = FLIP.points(exemplar.keypoints[mirror], exemplar.size)
        found = np.reshape(annotation["keypoints"], (-1, 3))
        both = np.isfinite(expected[:, 0]) & (found[:, 2] > 0)
        errors = np.linalg.norm(found[:, :2] - expected, axis=1)[both]
        assert both.sum() >= 12 and (errors < 0.05 * exemplar.size[0]).mean() > 0.9
