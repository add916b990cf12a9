"""Images that labels name: in which folder, and under which spelling."""

from pathlib import Path

import pytest
from helpers.toys import random_image

from homolog import HomologError
from homolog.data.reading import ImageFinder


def put(*paths: Path) -> Path:
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        random_image(20, 10, seed=seed).save(path, "PNG")
    return paths[0]


@pytest.fixture
def labels(tmp_path) -> Path:
    """Where a file of labels is, with another folder that `--images` may name."""
    (tmp_path / "project" / "labels").mkdir(parents=True)
    (tmp_path / "new").mkdir()
    return tmp_path / "project" / "labels" / "few.json"


def test_own_folder_then_the_one_given_then_the_one_above(labels):
    own, given, above = labels.parent, labels.parents[2] / "new", labels.parents[1]
    places = [own, own / "images", own / "data", given, above, above / "images", above / "data"]
    put(*(place / "a.png" for place in places))
    for place in places:
        assert ImageFinder(labels, fallback=given).find("a.png") == place / "a.png"
        (place / "a.png").unlink()
    with pytest.raises(HomologError, match=r"expected an image a.png in .*, got none"):
        ImageFinder(labels, fallback=given).find("a.png")
    # What is given for the images is the only place.
    put(own / "a.png")
    with pytest.raises(HomologError, match=f"expected an image a.png in {given}, got none"):
        ImageFinder(labels, given).find("a.png")


def test_another_image_of_the_name_is_said(labels):
    given = labels.parents[2] / "new"
    put(labels.parent / "a.png", given / "a.png", labels.parents[1] / "b.png", given / "b.png")
    (given / "c.png").write_bytes(put(labels.parent / "c.png").read_bytes())
    finder = ImageFinder(labels, fallback=given)
    assert finder.find("a.png").parent == labels.parent
    assert finder.find("b.png").parent == given and finder.find("c.png").parent == labels.parent
    (note,) = finder.notes
    assert note == (
        f"{labels}: images that are there in two folders and differ, of which the first is used: 2 "
        f"({labels.parent / 'a.png'}, not {given / 'a.png'})"
    )


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("annotations/person_keypoints_default.json", "images/default/a.png"),
        ("annotations/person_keypoints_my_set.json", "images/my_set/a.png"),
        ("annotations/person_keypoints_train2017.json", "train2017/a.png"),
        ("annotations/instances_val2017.json", "images/val2017/a.png"),
        ("annotations/few.json", "images/a.png"),
        ("person_keypoints_default.json", "images/default/a.png"),
    ],
)
def test_layouts_of_coco_and_cvat(tmp_path, file, image):
    """The folder of the subset, even where the folder given has an image of that name."""
    path, given = tmp_path / "set" / file, tmp_path / "new"
    path.parent.mkdir(parents=True, exist_ok=True)
    put(tmp_path / "set" / image, given / "a.png")
    finder = ImageFinder(path, fallback=given)
    assert finder.find("a.png").resolve() == (tmp_path / "set" / image).resolve()
    assert len(finder.notes) == 1


@pytest.mark.parametrize(
    "name",
    [
        r"images\my dog.png",
        "images/my%20dog.png",
        r"..\..\label-studio\media\upload\4\my dog.png",
        "/data/upload/4/my%20dog.png",
        "/data/upload/4/1a2b3c4d-my dog.png",
        "/data/local-files/?d=pictures/my%20dog.png",
        "https://host.example/bucket/my%20dog.png?X-Amz-Expires=3600&sig=a%2Fb",
        "s3://bucket/deep/my dog.png",
        r"C:\Users\me\my dog.png",
        "/home/me/project/images/my dog.png",
    ],
)
@pytest.mark.parametrize("place", ["images", "images/deep", "../new/deep/deeper"])
def test_names_of_other_machines(labels, name, place):
    given = labels.parents[2] / "new"
    if place.startswith("."):
        place = str(given / "deep" / "deeper")
    path = put(labels.parent / place / "my dog.png")
    found = ImageFinder(labels, fallback=given)
    if name.startswith("images") and place != "images":
        with pytest.raises(HomologError):  # its own folder is named, and it is not there
            found.find(name)
    else:
        assert found.find(name) == path


def test_names_of_other_machines_that_may_be_several(labels):
    one, two = (
        labels.parent / "images" / "one" / "a.png",
        labels.parent / "images" / "two" / "a.png",
    )
    put(one, two)
    finder = ImageFinder(labels)
    assert finder.find("/home/me/one/a.png") == one, "longer ends come first"
    with pytest.raises(HomologError) as error:
        finder.find("/home/me/a.png")
    assert str(error.value) == (f"expected one image a.png for /home/me/a.png, got {one}, {two}")
    two.unlink()
    two.symlink_to(one)
    assert ImageFinder(labels).find("/home/me/a.png") == one, "two names of one file are one"


def test_folders_that_hold_anything_are_not_searched_below(labels):
    put(labels.parent / "deep" / "a.png", labels.parents[1] / "deep" / "a.png")
    with pytest.raises(HomologError, match="got none"):
        ImageFinder(labels).find("/home/me/a.png")
    with pytest.raises(HomologError, match="got none"):
        ImageFinder(labels).find("a.png")
