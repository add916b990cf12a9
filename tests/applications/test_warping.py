"""An image warped by a known motion comes back; what has no match is what was asked for."""

import numpy as np
import pytest
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError, Matcher, cli
from homolog.applications.warping import warp
from homolog.example import pair
from homolog.image.poses import FLIP, PoseVariant
from homolog.image.regions import Region
from homolog.utils import progress
from homolog.viz.raster import UNMATCHED_GREY

GREY = (128, 128, 128)


def pasted(object_: Image.Image, size: tuple[int, int], corner: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, GREY)
    image.paste(object_, corner)
    return image


def difference(one: Image.Image, other: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(one, float)[..., :3] - np.asarray(other, float)[..., :3]).mean(axis=2)


def square(size: tuple[int, int], corner: tuple[int, int], length: int) -> np.ndarray:
    mask = np.zeros(size[::-1], bool)
    mask[corner[1] : corner[1] + length, corner[0] : corner[0] + length] = True
    return mask


@pytest.fixture
def shifted() -> tuple[Image.Image, Image.Image, np.ndarray, np.ndarray]:
    """The same patchwork in two places, and the masks of both."""
    patchwork, size = random_image(96, 96, seed=3), (192, 192)
    return (
        pasted(patchwork, size, (12, 20)),
        pasted(patchwork, size, (76, 68)),
        square(size, (12, 20), 96),
        square(size, (76, 68), 96),
    )


def test_an_object_moved_by_a_known_amount_is_warped_onto_itself(colour_matcher, shifted):
    source, target, mask0, mask1 = shifted
    warped = warp(colour_matcher, source, target, background="grey", mask0=mask0, mask1=mask1)
    inside = square((192, 192), (84, 76), 80)
    assert warped.image.size == (192, 192) and warped.alpha[inside].mean() > 0.8
    unmoved = difference(source, target)[inside].mean()
    assert difference(warped.image, target)[inside].mean() < 0.35 * unmoved


@pytest.mark.parametrize("pose", ["flip", "rotate90"])
def test_an_image_in_another_pose_is_warped_back(colour_matcher, pose):
    image = random_image(96, 96)
    turned = PoseVariant.parse(pose).apply(image)
    warped = warp(colour_matcher, image, turned, poses=["identity", pose], background="grey",
                  mask1=np.ones((96, 96), bool))  # fmt: skip
    assert warped.flow.pose == pose, "an image as a whole may be flipped"
    opaque = warped.alpha > 0.9
    assert opaque.mean() > 0.5
    unwarped = difference(image, turned)[opaque].mean()
    assert difference(warped.image, turned)[opaque].mean() < 0.35 * unwarped


def test_the_background_is_the_target_grey_or_transparent(colour_matcher, shifted):
    source, target, mask0, mask1 = shifted
    on_target, on_grey, transparent = (
        warp(colour_matcher, source, target, background=background, mask0=mask0, mask1=mask1)
        for background in ("target", "grey", "transparent")
    )
    outside = ~square((192, 192), (70, 62), 108)
    assert (on_target.alpha[outside] == 0).all() and (on_target.alpha > 0.9).any()
    assert (np.asarray(on_target.image)[outside] == np.asarray(target)[outside]).all()
    assert (np.asarray(on_grey.image)[outside] == UNMATCHED_GREY).all()
    assert transparent.image.mode == "RGBA"
    alpha = np.asarray(transparent.image)[..., 3]
    assert (alpha[outside] == 0).all() and alpha.max() == 255
    steps = np.abs(np.diff(on_target.alpha, axis=1)).max()
    assert 0 < steps < 0.75, "edges are soft"


def test_boxes_say_which_of_several_objects_is_warped(colour_matcher):
    """Of two objects beside each other, the one in the box is warped onto the one in the box."""
    first, second = random_image(96, 96, seed=3), random_image(96, 96, seed=4)
    source, target = Image.new("RGB", (288, 144), GREY), Image.new("RGB", (288, 144), GREY)
    for image, left, right in ((source, first, second), (target, second, first)):
        image.paste(left, (24, 24))
        image.paste(right, (168, 24))
    left, right = (24, 24, 96, 96), (168, 24, 96, 96)
    warped = warp(
        colour_matcher, source, target, background="grey", box0=left, box1=right,
        mask0=square((288, 144), (24, 24), 96), mask1=square((288, 144), (168, 24), 96),
    )  # fmt: skip
    assert warped.flow.backward.transform0.region == Region.around(right, (288, 144))
    inside = square((288, 144), (178, 34), 76)
    assert warped.alpha[inside].mean() > 0.8 and not warped.alpha[:, :150].any()
    assert difference(warped.image, target)[inside].mean() < 12
    assert difference(source, target)[inside].mean() > 40


@pytest.mark.parametrize("which", ["mask0", "mask1"])
def test_a_mask_restricts_what_comes_from_the_source(colour_matcher, which):
    image = random_image(96, 96)
    half = np.zeros((96, 96), bool)
    half[:, :48] = True
    warped = warp(colour_matcher, image, image, **{which: half})
    assert warped.alpha[:, 64:].max() < 0.05 and warped.alpha[20:76, 12:36].mean() > 0.6


def test_sizes(colour_matcher):
    source, target = random_image(300, 100), random_image(60, 90)
    assert warp(colour_matcher, source, target).image.size == (60, 90)
    assert warp(colour_matcher, source, target, size=45).image.size == (30, 45)
    features = colour_matcher.extract(source)
    assert warp(colour_matcher, features, target).image.size == (60, 90)


def example_images() -> tuple[Image.Image, Image.Image]:
    with pair() as example:
        image0, image1 = (
            Image.open(path).convert("RGB").resize((320, 240))
            for path in (example.image0, example.image1)
        )
    return image0, image1


def test_forth_and_back(matcher):
    """Each of the example's animals takes the other's shape, and then its own again."""
    image0, image1 = example_images()
    forth = warp(matcher, image0, image1, size=320)
    back = warp(matcher, forth.image, image0)
    both = (back.alpha > 0.9) & (np.asarray(image0).std(axis=2) > 0)
    assert forth.image.width == 320 and both.mean() > 0.02
    unwarped = difference(image1.resize(image0.size), image0)[both].mean()
    assert difference(back.image, image0)[both].mean() < 0.75 * unwarped


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_shipped_model_flips_where_headings_say_so(matcher, mirrored):
    """The side head of the shipped model decides without any distance, with and without masks.

    The animals of the example head the same way; with one mirrored, the warp is that of the
    original.
    """
    image0, image1 = example_images()
    source = FLIP.apply(image0) if mirrored else image0
    alignment = matcher.pair(source, image1, poses="flip").alignment
    assert alignment.decided_by == "heading" and alignment.distances is None
    warped = warp(matcher, source, image1, size=320, poses="flip")
    plain = warp(matcher, image0, image1, size=320)
    assert warped.flow.pose == ("flip" if mirrored else "identity")
    assert warped.flow.warning is None
    both = (warped.alpha > 0.9) & (plain.alpha > 0.9)
    assert both.mean() > 0.02
    assert np.median(difference(warped.image, plain.image)[both]) < 12
    mask = np.zeros((240, 320), bool)
    mask[40:220, 60:280] = True
    masked = warp(matcher, source, image1, size=320, poses="flip", mask1=mask)
    assert masked.flow.pose == warped.flow.pose
    assert masked.alpha.max() > 0.5 and masked.alpha[:20].max() < 0.05
    masked = warp(matcher, source, image1, size=320, poses="flip",
                  mask0=np.ones((240, 320), bool), mask1=mask)  # fmt: skip
    assert masked.flow.pose == warped.flow.pose and masked.alpha.max() > 0.5


def test_the_shipped_model_in_given_poses_and_rotations(matcher):
    image0, image1 = example_images()
    turned = PoseVariant.parse("rotate90").apply(image0)
    for source, poses, pose in (
        (FLIP.apply(image0), ["flip"], "flip"),
        (image0, ["flip"], "flip"),
        (turned, "rotations", "rotate-90"),
    ):
        warped = warp(matcher, source, image1, size=160, poses=poses)
        assert warped.flow.pose == pose and warped.image.size == (160, 120)


WRONG = {
    "size": ({"size": 0}, "size: expected at least 1 pixel, got 0"),
    "background": (
        {"background": "blue"},
        "background: expected target, grey, transparent, got 'blue'",
    ),
    "mask": ({"mask0": np.ones((3, 3))}, "mask0: expected .*30 x 30.* got .*3 x 3"),
    "pose": ({"poses": ["upside"]}, "'upside'"),
    "image": ({"image1": "none.png"}, "image1: expected an image file, got none.png"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(colour_matcher, name):
    changes, reason = WRONG[name]
    arguments = {"image0": random_image(30, 30), "image1": random_image(30, 30)} | changes
    # Beartype would notice the wrong word first.
    function = warp.__wrapped__ if name == "background" else warp
    with pytest.raises(HomologError, match=reason):
        function(colour_matcher, **arguments)


def test_the_command(capsys, tmp_path, monkeypatch, colour_matcher):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    random_image(96, 64).save("a.png")
    FLIP.apply(random_image(96, 64)).save("b.png")
    for option in ("--background", "--rest"):
        cli.main(["warp", "a.png", "b.png", "--out", "o.webp", option, "transparent",
                  "--size", "48"])  # fmt: skip
        printed = capsys.readouterr()
        assert "pair score" in printed.out and "image: o.webp" in printed.err
        with Image.open("o.webp") as image:
            assert image.size == (48, 32) and image.mode == "RGBA"
    for wrong, reason in (
        (["--out", "o.jpg", "--rest", "transparent"], "o.jpg"),
        (["--out", "o.png", "--rest", "blue"], "blue"),
        (["--out", "o.png", "--size", "0"], "size: expected at least 1 pixel, got 0"),
        (["--out", "no/o.png"], "no/o.png"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["warp", "a.png", "b.png", *wrong])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and error.count("\n") == 1 and reason in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "o.webp"]


def test_the_command_with_the_shipped_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image0, image1 = example_images()
    FLIP.apply(image0).save("a.png")
    image1.save("b.png")
    cli.main(["warp", "a.png", "b.png", "--out", "o.png", "--poses", "flip", "--size", "160"])
    assert "pose flip" in capsys.readouterr().out
    with Image.open("o.png") as image:
        assert image.size == (160, 120)
