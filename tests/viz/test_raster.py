"""Images warped along a flow, reduced, stacked and written."""

import numpy as np
import pytest
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError
from homolog.image.poses import FLIP
from homolog.viz.raster import reduced_size, save_image, stack_vertically, warp_image


def test_warping_onto_the_mirrored_shape_mirrors(colour_matcher):
    image = random_image(96, 96)
    mirrored = FLIP.apply(image)
    field = colour_matcher.flow(image, mirrored, poses=["flip"]).backward.smoothed()
    warped = warp_image(image, field)
    confident = field.confidence((96, 96)) > 0.25
    assert confident.mean() > 0.3
    error, unwarped = (
        np.abs(np.asarray(each, float) - np.asarray(mirrored, float)).mean(axis=2)[confident]
        for each in (warped, image)
    )
    assert np.median(error) < 0.35 * np.median(unwarped)


def test_sizes_are_reduced_never_enlarged():
    assert reduced_size((2048, 1024)) == (1024, 512)
    assert reduced_size((300, 200)) == (300, 200)
    assert reduced_size((300, 200), 30) == (30, 20)
    assert reduced_size((5000, 2), 100) == (100, 1)


def test_stacked_images_have_one_width():
    sheet = stack_vertically([Image.new("RGB", (40, 20), "red"), Image.new("RGB", (20, 5), "blue")])
    assert sheet.size == (20, 15)
    assert sheet.getpixel((0, 9)) == (255, 0, 0) and sheet.getpixel((0, 10)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("name", "form"), [("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG"), ("a.webp", "WEBP")]
)
def test_the_name_says_the_format(tmp_path, name, form):
    save_image(random_image(20, 10), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.format == form and image.size == (20, 10)


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(HomologError, match="out: "):
        save_image(random_image(20, 10), tmp_path / "none" / "a.png")
