"""Masks from files and arrays."""

import numpy as np
import pytest
import torch
from PIL import Image

from homolog import HomologError
from homolog.image import masks


def test_masks(tmp_path):
    drawn = np.zeros((60, 90), np.uint8)
    drawn[10:20, 30:50] = 7
    labels = Image.frombytes("P", (90, 60), drawn.tobytes())
    labels.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    images = {
        "grey.png": Image.fromarray(drawn),
        "bit.png": Image.fromarray(drawn > 0),
        "deep.png": Image.fromarray(drawn.astype(np.uint16)),
        "labels.png": labels,
        "colour.png": Image.fromarray(np.dstack([drawn * 30] * 3)),
    }
    for name, image in images.items():
        image.save(tmp_path / name)
    files = [tmp_path / name for name in images]
    arrays = [drawn, drawn > 0, torch.from_numpy(drawn), drawn.astype(float)]
    for given in (*files, *arrays):
        np.testing.assert_array_equal(masks.read_mask(given, (90, 60)), drawn > 0)


def test_cut_outs(tmp_path):
    """What is opaque is the object, be it black; nothing under the transparent is."""
    colours = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    colours[15:25, 30:50] = 0
    opacity = np.zeros((60, 90), np.uint8)
    opacity[10:30, 30:50] = 255
    opacity[30, 30:50], opacity[9, 30:50] = 40, 200  # a soft edge
    cut = Image.fromarray(np.dstack([colours, opacity]))
    grey = Image.merge("LA", [cut.convert("RGB").convert("L"), cut.getchannel("A")])
    for name, image in (("a.png", cut), ("a.webp", cut), ("a.tiff", cut), ("grey.png", grey)):
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        found = masks.read_mask(tmp_path / name, (90, 60))
        np.testing.assert_array_equal(found, opacity > 127, err_msg=name)
    # A palette with a transparent colour, which is not index 0.
    indices = np.where(opacity > 127, 0, 3).astype(np.uint8)
    palette = Image.frombytes("P", (90, 60), indices.tobytes())
    palette.putpalette([0, 0, 0, 9, 9, 9, 20, 30, 40, 250, 250, 250])
    palette.save(tmp_path / "palette.png", transparency=3)
    palette.save(tmp_path / "palette.gif", transparency=3)
    for name in ("palette.png", "palette.gif"):
        found = masks.read_mask(tmp_path / name, (90, 60))
        np.testing.assert_array_equal(found, opacity > 127, err_msg=name)
    # Without transparency the colours are the mask.
    drawn = np.zeros((60, 90, 4), np.uint8)
    drawn[..., 3] = 255
    drawn[10:20, 30:50, 2] = 1
    Image.fromarray(drawn).save(tmp_path / "opaque.png")
    found = masks.read_mask(tmp_path / "opaque.png", (90, 60))
    np.testing.assert_array_equal(found, drawn[..., 2] > 0)


def test_kinds_of_pixels(tmp_path):
    """Floats below 1, and JPEG, whose pixels around an edge are not exact."""
    drawn = np.zeros((64, 96), bool)
    drawn[13:37, 29:63] = True
    Image.fromarray(drawn.astype(np.float32) / 2).save(tmp_path / "float.tiff")
    Image.fromarray(drawn.astype(np.uint8) * 255).save(tmp_path / "a.jpg", quality=60)
    assert (np.asarray(Image.open(tmp_path / "a.jpg")) > 0).sum() > drawn.sum(), "not exact"
    for name in ("float.tiff", "a.jpg"):
        np.testing.assert_array_equal(masks.read_mask(tmp_path / name, (96, 64)), drawn)


def test_a_palette_whose_background_is_not_clear(tmp_path):
    indices = np.zeros((60, 90), np.uint8)
    indices[10:20, 30:50] = 1
    image = Image.frombytes("P", (90, 60), indices.tobytes())
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "a.png")
    with pytest.raises(
        HomologError, match=r"^mask: .*a\.png: expected a palette .* got index 1 black"
    ):
        masks.read_mask(tmp_path / "a.png", (90, 60))
    for palette in ([0, 0, 0, 255, 255, 255], [200, 10, 10, 255, 255, 255], [0, 0, 0, 0, 0, 0]):
        image.putpalette(palette)
        image.save(tmp_path / "a.png")
        np.testing.assert_array_equal(masks.read_mask(tmp_path / "a.png", (90, 60)), indices > 0)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.ones((90, 60)), "expected the size of its image, 90 x 60 pixels, got 60 x 90"),
        (np.zeros((60, 90)), "expected at least one pixel that is not zero"),
        (np.ones((60, 90, 3)), "height x width"),
    ],
)
def test_masks_that_do_not_fit(mask, reason):
    with pytest.raises(HomologError, match=reason):
        masks.read_mask(mask, (90, 60))
