"""Images of every kind are loaded, and anything else is refused."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError
from homolog.image import reading

ORIENTATION = 0x0112


@pytest.fixture
def photo() -> Image.Image:
    return random_image(90, 60)


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def close(a: Image.Image, b: Image.Image, tolerance: float = 0.5) -> bool:
    return np.abs(np.asarray(a, float) - np.asarray(b, float)).mean() <= tolerance


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "ppm", "webp"])
def test_formats(tmp_path, photo, ending):
    options = {"lossless": True} if ending == "webp" else {}
    read = reading.load_image(saved(tmp_path / f"a.{ending}", photo, **options))
    assert (read.width, read.height) == (90, 60)
    np.testing.assert_array_equal(np.asarray(read.image), np.asarray(photo))


def test_paths_may_be_strings(tmp_path, photo):
    assert reading.load_image(str(saved(tmp_path / "a.png", photo))).image.size == (90, 60)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_phone_images_are_turned_upright(tmp_path, photo, orientation):
    # What a camera stores is the upright image, turned the other way.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = photo.transpose(stored[orientation]) if orientation in stored else photo
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(tmp_path / "a.jpg", image, exif=exif, quality=98, subsampling=0)
    for side in (None, 45, 30):
        read = reading.load_image(path, longest_edge=side)
        assert (read.width, read.height) == (90, 60), "points refer to the upright image"
        expected = photo.resize(read.image.size, Image.Resampling.BILINEAR)
        assert close(read.image, expected, 4)


def test_first_frame_of_several(tmp_path, photo):
    other = Image.new("RGB", photo.size, "red")
    for ending in ("gif", "tiff", "webp"):
        path = saved(tmp_path / f"a.{ending}", photo, save_all=True, append_images=[other])
        assert close(reading.load_image(path).image, photo, 12)


def test_grey_palette_one_bit_and_cmyk(tmp_path, photo):
    for mode, tolerance in (("L", 0), ("P", 12), ("CMYK", 3), ("1", 0), ("YCbCr", 3)):
        image = photo.convert(mode)
        path = saved(tmp_path / "a.tiff", image)
        assert close(reading.load_image(path).image, image.convert("RGB"), tolerance), mode


def test_sixteen_bits_are_scaled(tmp_path, photo):
    grey = np.asarray(photo.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    for ending in ("png", "tiff"):
        read = reading.load_image(saved(tmp_path / f"a.{ending}", deep)).image
        np.testing.assert_array_equal(np.asarray(read)[..., 0], grey)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_bits_in_sixteen(tmp_path, photo, bits):
    """Cameras store 10, 12 or 14 bits in 16; the brightest pixel tells which."""
    grey = np.array(photo.convert("L"))
    grey[0, 0] = 255
    deep = np.round(grey / 255 * ((1 << bits) - 1)).astype(np.uint16)
    images = [saved(tmp_path / f"a.{ending}", Image.fromarray(deep)) for ending in ("png", "tiff")]
    for given in (*images, deep, torch.from_numpy(deep)):
        found = np.asarray(reading.load_image(given).image)
        assert np.abs(found[..., 0].astype(int) - grey).max() <= 1
    black = np.zeros((4, 4), np.uint16)
    assert not np.asarray(reading.load_image(black).image).any()


def deep_png(values: np.ndarray) -> bytes:
    """A PNG file of 16 bits a channel, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_sixteen_bits(tmp_path, photo, channels):
    """Pillow keeps the upper 8 bits, which is nothing of 12: refused rather than read as black."""
    values = np.full((60, 90, channels), 65535, np.uint16)
    values[..., :3] = np.asarray(photo).astype(np.uint16) * 257
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(values))
    np.testing.assert_array_equal(np.asarray(reading.load_image(path).image), np.asarray(photo))
    values[..., :3] >>= 4
    path.write_bytes(deep_png(values))
    for given in (path, Image.open(path)):
        with pytest.raises(HomologError, match="its 16-bit colours use 12 bits at most"):
            reading.load_image(given)
    given.close()


def test_transparency_is_laid_on_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.putpixel((1, 1), (200, 0, 0, 255))
    pixels = np.asarray(reading.load_image(saved(tmp_path / "a.png", image)).image)
    assert (pixels[0, 0] == 255).all() and (pixels[1, 1] == (200, 0, 0)).all()
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    path = saved(tmp_path / "p.png", palette, transparency=0)
    assert (np.asarray(reading.load_image(path).image) == 255).all()


def test_one_pixel(tmp_path):
    read = reading.load_image(
        saved(tmp_path / "a.png", Image.new("RGB", (1, 1), "blue")), longest_edge=641
    )
    assert (read.width, read.height) == (1, 1) and read.image.size == (641, 641)


def test_reduction_keeps_the_size_that_points_refer_to(tmp_path):
    photo = random_image(1600, 900)
    for path in (
        saved(tmp_path / "a.png", photo),
        saved(tmp_path / "a.jpg", photo, quality=97, subsampling=0),
    ):
        read = reading.load_image(path, longest_edge=200)
        assert (read.width, read.height) == (1600, 900) and read.image.size == (200, 112)
        assert close(read.image, photo.resize((200, 112), Image.Resampling.BOX), 2)


def test_arrays_and_tensors(photo):
    array = np.asarray(photo)
    for given in (
        array,
        array.astype(np.float32) / 255,
        array.astype(np.uint16) * 257,
        np.dstack([array, np.full((60, 90), 255, np.uint8)]),
        torch.from_numpy(array.copy()).permute(2, 0, 1),
        torch.from_numpy(array.copy()).permute(2, 0, 1) / 255,
    ):
        np.testing.assert_array_equal(np.asarray(reading.load_image(given).image), array)
    grey = array[..., 0]
    for given in (grey, grey[..., None], torch.from_numpy(grey.copy())):
        np.testing.assert_array_equal(np.asarray(reading.load_image(given).image)[..., 1], grey)
    assert np.asarray(reading.load_image(grey > 100).image).max() == 255


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4,)),
        np.zeros((4, 4, 2)),
        np.zeros((0, 4, 3), np.uint8),
        np.full((4, 4), np.nan),
        np.full((4, 4, 3), 1.5),
        np.zeros((4, 4), np.int64),
        np.zeros((4, 4), "U1"),
    ],
    ids=lambda a: f"{a.shape}-{a.dtype}",
)
def test_other_arrays_are_refused(array):
    with pytest.raises(HomologError, match=r"^image: expected .*, got"):
        reading.load_image(array)


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message and message.startswith("image: ")
    return message


def test_broken_files(tmp_path, photo):
    whole = io.BytesIO()
    photo.save(whole, "JPEG")
    png = io.BytesIO()
    photo.save(png, "PNG")
    broken = {
        "empty.jpg": b"",
        "text.png": b"this is not an image",
        "cut.jpg": whole.getvalue()[:800],
        "cut.png": png.getvalue()[:200],
        "header.png": png.getvalue()[:30],
        "noise.png": png.getvalue()[:60] + os.urandom(500),
    }
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(HomologError) as error:
            reading.load_image(tmp_path / name)
        assert name in one_line(error)


def test_things_that_are_no_files(tmp_path):
    for path, reason in ((tmp_path, "directory"), (tmp_path / "none.png", "does not exist")):
        with pytest.raises(HomologError) as error:
            reading.load_image(path)
        assert reason in one_line(error)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HomologError) as error:
        reading.load_image(tmp_path / "pipe")
    assert "special file" in one_line(error)


def test_unreadable_files(tmp_path, photo, monkeypatch):
    path = saved(tmp_path / "a.png", photo)

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)  # the superuser may read everything
    with pytest.raises(HomologError) as error:
        reading.load_image(path)
    assert "Permission denied" in one_line(error)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_decompression_bombs(tmp_path, photo):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(60_000, 60_000))
    with pytest.raises(HomologError) as error:
        reading.load_image(path)
    assert "100,000,000" in one_line(error)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(HomologError) as error:
        reading.load_image(saved(tmp_path / "a.png", photo), max_pixels=90 * 60 - 1)
    assert "5,399" in one_line(error)
    assert reading.load_image(tmp_path / "a.png", max_pixels=90 * 60).width == 90
    assert limit == Image.MAX_IMAGE_PIXELS, "Pillow's own guard is left in place"


def test_images_above_pillows_own_limit_may_be_allowed(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert reading.load_image(saved(tmp_path / "a.png", photo)).width == 90


def test_float_images_are_refused(tmp_path):
    path = saved(tmp_path / "a.tiff", Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(HomologError, match="floats"):
        reading.load_image(path)
