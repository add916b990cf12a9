"""A picture warped by a known motion comes back; what is not matched shows what was asked for."""

import numpy as np
import pytest
from helpers.toys import random_picture
from PIL import Image

from homolog import HomologError, Matcher, cli
from homolog.applications.warping import warp
from homolog.example import pair
from homolog.image.geometry import FLIP
from homolog.utils import progress
from homolog.viz import draw

GREY = (128, 128, 128)


def placed(thing: Image.Image, size: tuple[int, int], corner: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, GREY)
    picture.paste(thing, corner)
    return picture


def far(one: Image.Image, other: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(one, float)[..., :3] - np.asarray(other, float)[..., :3]).mean(axis=2)


def box(size: tuple[int, int], corner: tuple[int, int], side: int) -> np.ndarray:
    mask = np.zeros(size[::-1], bool)
    mask[corner[1] : corner[1] + side, corner[0] : corner[0] + side] = True
    return mask


@pytest.fixture
def shifted() -> tuple[Image.Image, Image.Image, np.ndarray, np.ndarray]:
    """The same patchwork in two places, and the masks of both."""
    thing, size = random_picture(96, 96, seed=3), (192, 192)
    return (
        placed(thing, size, (12, 20)),
        placed(thing, size, (76, 68)),
        box(size, (12, 20), 96),
        box(size, (76, 68), 96),
    )


def test_a_thing_moved_by_a_known_amount_comes_to_lie_on_itself(colour_matcher, shifted):
    first, second, mask0, mask1 = shifted
    made = warp(colour_matcher, first, second, rest="grey", mask0=mask0, mask1=mask1)
    inside = box((192, 192), (84, 76), 80)
    assert made.picture.size == (192, 192) and made.sure[inside].mean() > 0.8
    unmoved = far(first, second)[inside].mean()
    assert far(made.picture, second)[inside].mean() < 0.35 * unmoved


@pytest.mark.parametrize("pose", ["flip", "rotate90"])
def test_a_turned_picture_is_turned_back(colour_matcher, pose):
    from homolog.image.geometry import PoseVariant

    picture = random_picture(96, 96)
    turned = PoseVariant.parse(pose).apply(picture)
    made = warp(colour_matcher, picture, turned, poses=["identity", pose], rest="grey",
                mask1=np.ones((96, 96), bool))  # fmt: skip
    assert made.flow.pose == pose, "a picture as a whole may be flipped"
    sure = made.sure > 0.9
    assert sure.mean() > 0.5
    assert far(made.picture, turned)[sure].mean() < 0.35 * far(picture, turned)[sure].mean()


def test_the_rest_is_the_target_grey_or_transparent(colour_matcher, shifted):
    first, second, mask0, mask1 = shifted
    masks = {"mask0": mask0, "mask1": mask1}
    target, grey, transparent = (
        warp(colour_matcher, first, second, rest=rest, **masks)
        for rest in ("target", "grey", "transparent")
    )
    rest = ~box((192, 192), (70, 62), 108)
    assert (target.sure[rest] == 0).all() and (target.sure > 0.9).any()
    assert (np.asarray(target.picture)[rest] == np.asarray(second)[rest]).all()
    assert (np.asarray(grey.picture)[rest] == draw.FADED).all()
    assert transparent.picture.mode == "RGBA"
    alpha = np.asarray(transparent.picture)[..., 3]
    assert (alpha[rest] == 0).all() and alpha.max() == 255
    steps = np.abs(np.diff(target.sure, axis=1)).max()
    assert 0 < steps < 0.75, "edges are soft"


@pytest.mark.parametrize("which", ["mask0", "mask1"])
def test_a_mask_restricts_what_comes_from_the_first_picture(colour_matcher, which):
    picture = random_picture(96, 96)
    half = np.zeros((96, 96), bool)
    half[:, :48] = True
    made = warp(colour_matcher, picture, picture, **{which: half})
    assert made.sure[:, 64:].max() < 0.05 and made.sure[20:76, 12:36].mean() > 0.6


def test_sizes(colour_matcher):
    first, second = random_picture(300, 100), random_picture(60, 90)
    assert warp(colour_matcher, first, second).picture.size == (60, 90)
    assert warp(colour_matcher, first, second, size=45).picture.size == (30, 45)
    features = colour_matcher.extract(first)
    assert warp(colour_matcher, features, second).picture.size == (60, 90)


def test_there_and_back(matcher):
    """Each of the example's animals takes the other's shape, and back its own, colours kept."""
    with pair() as example:
        first, second = (
            Image.open(path).convert("RGB").resize((320, 240))
            for path in (example.image0, example.image1)
        )
    there = warp(matcher, first, second, size=320)
    back = warp(matcher, there.picture, first)
    both = (back.sure > 0.9) & (np.asarray(first).std(axis=2) > 0)
    assert there.picture.width == 320 and both.mean() > 0.02
    assert (
        far(back.picture, first)[both].mean()
        < 0.75 * far(second.resize(first.size), first)[both].mean()
    )


WRONG = {
    "size": ({"size": 0}, "size: got 0"),
    "rest": ({"rest": "blue"}, "rest: 'blue' is none of target, grey, transparent"),
    "mask": ({"mask0": np.ones((3, 3))}, "mask0: is 3 x 3"),
    "pose": ({"poses": ["upside"]}, "'upside'"),
    "picture": ({"image1": "none.png"}, "image1: there is no file none.png"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(colour_matcher, name):
    changes, reason = WRONG[name]
    arguments = {"image0": random_picture(30, 30), "image1": random_picture(30, 30)} | changes
    with pytest.raises(HomologError, match=reason):
        # Beartype would see the wrong word first.
        warp.__wrapped__(colour_matcher, **arguments) if name == "rest" else warp(
            colour_matcher, **arguments
        )


def test_the_command(capsys, tmp_path, monkeypatch, colour_matcher):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    random_picture(96, 64).save("a.png")
    FLIP.apply(random_picture(96, 64)).save("b.png")
    cli.main(["warp", "a.png", "b.png", "--out", "o.webp", "--rest", "transparent", "--size", "48"])
    printed = capsys.readouterr()
    assert "pair score" in printed.out and "picture: o.webp" in printed.err
    with Image.open("o.webp") as made:
        assert made.size == (48, 32) and made.mode == "RGBA"
    for wrong, reason in (
        (["--out", "o.jpg", "--rest", "transparent"], "must end in .png or .webp"),
        (["--out", "o.png", "--rest", "blue"], "blue"),
        (["--out", "o.png", "--size", "0"], "size: got 0"),
        (["--out", "no/o.png"], "cannot write"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["warp", "a.png", "b.png", *wrong])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and error.count("\n") == 1 and reason in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "o.webp"]
