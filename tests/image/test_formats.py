"""Only the formats that are meant are read, and none takes more than its pixels may."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.toys import random_image
from PIL import Image, ImageOps

from homolog import HomologError
from homolog.image import decoding, formats, jpeg, masks, reading


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, colour: int = 2, bits: int = 8) -> bytes:
    """A PNG file of black pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    channels = {0: 1, 2: 3, 6: 4}[colour]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    rows = zlib.compress(bytes((1 + width * channels * bits // 8) * height))
    chunks = (b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def put(folder: Path, content: bytes, name: str = "a.jpg") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def refused(path: Path, reason: str, **options) -> None:
    with pytest.raises(HomologError, match=reason) as error:
        reading.load_image(path, **options)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400 + len(str(path))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM"])
def test_the_first_bytes_tell_the_format(tmp_path, kind):
    content = encoded(random_image(20, 10), kind)
    assert formats.of_start(content[: formats.START]) == kind
    assert reading.image_size(put(tmp_path, content)) == (20, 10), "whatever its name"


@pytest.mark.parametrize("kind", ["ICO", "JPEG2000", "TGA", "PCX", "SGI", "DDS", "ICNS", "DIB"])
def test_other_formats_of_pillow_are_refused(tmp_path, kind):
    refused(put(tmp_path, encoded(random_image(64, 64), kind)), "in a known format")


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xc5\xd0\xd3\xc6" + bytes(60)])
def test_no_other_program_is_started(tmp_path, monkeypatch, content):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    for name in ("a.jpg", "a.eps", "a.png"):
        path = put(tmp_path, content + b"%%BoundingBox: 0 0 9 9\n", name)
        refused(path, "in a known format")
        with pytest.raises(HomologError, match="in a known format"):
            masks.read_mask(path, (9, 9))


def test_folders_are_searched_for_the_same_formats():
    suffixes = formats.image_suffixes()
    assert {".jpg", ".png", ".webp", ".avif", ".gif", ".tif", ".bmp", ".pgm"} <= suffixes
    assert not suffixes & {".eps", ".ps", ".ico", ".psd", ".jp2", ".tga", ".h5", ".pdf"}


def test_sizes_are_known_before_a_decoder_sees_them(tmp_path):
    """Decoders of WebP and of animations take memory for the whole canvas at once."""
    webp = bytearray(encoded(random_image(20, 10), "WEBP", lossless=True))
    (bits,) = struct.unpack("<I", webp[21:25])
    webp[21:25] = struct.pack("<I", bits & ~((1 << 28) - 1) | 16382 | 16381 << 14)
    refused(put(tmp_path, bytes(webp)), "16383 x 16382")
    lossy = bytearray(encoded(random_image(20, 10), "WEBP"))
    lossy[26:30] = struct.pack("<HH", 16383, 16383)
    refused(put(tmp_path, bytes(lossy)), "16383 x 16383")
    refused(put(tmp_path, png(1, 1)[:16] + struct.pack(">II", 99999, 99999)), "99999 x 99999")
    refused(put(tmp_path, b"GIF89a" + struct.pack("<HH", 65535, 65535)), "65535 x 65535")
    gif = bytearray(encoded(Image.new("L", (20, 10)), "GIF"))
    at = gif.find(b",\0\0\0\0")
    gif[at + 5 : at + 9] = struct.pack("<HH", 65535, 65535)
    refused(put(tmp_path, bytes(gif)), "a.jpg")
    refused(put(tmp_path, png(1, 3)[:16] + struct.pack(">II", 1, 2_000_000)), "along an edge")


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_formats_that_take_much_memory_may_have_fewer_pixels(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(formats, "_OVERHEAD", 0)
    path = put(tmp_path, encoded(random_image(40, 40), kind))
    refused(path, f"pixels of such a {kind} file, which takes .*, got 40 x 40", max_pixels=1600)
    with pytest.raises(HomologError, match="pixels of such"):
        reading.check_decodable(path, max_pixels=1600)
    reading.check_decodable(path, max_pixels=16_000)
    assert reading.load_image(path, max_pixels=16_000).width == 40


def test_tiles_that_are_larger_than_their_image(tmp_path):
    tags = {256: 9, 257: 9, 258: 8, 259: 5, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 200}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    entries += struct.pack("<HHII", 325, 4, 1, 100)
    header = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags) + 1)
    refused(put(tmp_path, header + entries + bytes(300)), "takes 3,600 MB to decode")


def with_scans(count: int, **options) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    content = encoded(random_image(64, 48), "JPEG", progressive=True, **options)
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * (count - content.count(b"\xff\xda")) + b"\xff\xd9"


def test_scans_of_progressive_files_are_counted(tmp_path):
    few = put(tmp_path, with_scans(jpeg.MAX_SCANS), "few.jpg")
    assert reading.load_image(few).width == 64
    many = put(tmp_path, with_scans(jpeg.MAX_SCANS + 1), "many.jpg")
    refused(many, "expected at most 64 scans of a JPEG file")
    # Coded data and thumbnails hold markers of their own, and what follows the end is not read.
    inside = Image.Exif()
    inside[0x010E] = "x" * 50
    content = encoded(random_image(640, 480), "JPEG", quality=100, exif=inside)
    thumbnail = b"\xff\xe2" + struct.pack(">H", 2 + 4 * 99) + b"\xff\xda\0\2" * 99
    content = content[:2] + thumbnail + content[2:] + b"\xff\xda\0\2" * 99
    assert jpeg.check(put(tmp_path, content)) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"progressive": True, "subsampling": 0}, 2 * 3 * 64 * 48),
        ({"progressive": True, "subsampling": 2}, 2 * 64 * 48 * 3 // 2),
        ({"progressive": False}, 0),
    ],
)
def test_coefficients_that_a_decoder_keeps(tmp_path, options, expected):
    path = put(tmp_path, encoded(random_image(64, 48), "JPEG", **options))
    assert jpeg.check(path) == expected


def test_damaged_files_are_left_to_the_decoder(tmp_path):
    content = with_scans(20)
    for end in range(0, len(content), 97):
        assert jpeg.check(put(tmp_path, content[:end])) >= 0


def test_files_that_take_long(tmp_path, monkeypatch):
    plain = put(tmp_path, b"P3\n3000 3000 255\n1 2 3", "a.ppm")
    refused(plain, "PPM takes too long; expected at most 4,000,000 pixels, got 3000 x 3000")
    comments = b"P2\n9 9 255\n" + b"#\n" * 2000 + b"7 " * 81
    refused(put(tmp_path, comments, "a.pgm"), "expected at most 1000 comments, got 2000")
    small = put(tmp_path, b"P2\n# nine\n3 2 255\n" + b"7 " * 6, "a.pgm")
    assert (np.asarray(reading.load_image(small).image) == 7).all()
    refused(put(tmp_path, b"P5\n6000 6000 254\n123", "a.pgm"), "takes too long")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "I;16"])
def test_strips_give_what_the_whole_image_gives(tmp_path, monkeypatch, mode):
    """Bit for bit, for every orientation."""
    monkeypatch.setattr(decoding, "_STRIP", 700)
    photo = random_image(93, 61)
    if mode == "RGBA":
        photo.putalpha(photo.convert("L").resize(photo.size))
    if mode == "I;16":
        photo = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    photo = photo if mode == "I;16" else photo.convert(mode)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = put(tmp_path, encoded(photo, "TIFF", exif=exif), "a.tif")
        turned = Image.open(io.BytesIO(path.read_bytes()))
        turned.load()  # which turns it upright
        if mode == "I;16":
            turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
        if turned.has_transparency_data:
            layer = turned.convert("RGBA")
            turned = Image.new("RGBA", layer.size, "white")
            turned.alpha_composite(layer)
        whole = turned.convert("RGB")
        loaded = reading.load_image(path)
        np.testing.assert_array_equal(np.asarray(loaded.image), np.asarray(whole))
        assert (loaded.width, loaded.height) == whole.size == reading.image_size(path)
        for edge in (30, 200):
            small = reading.load_image(path, longest_edge=edge).image
            expected = whole.resize(small.size, Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(np.asarray(small), np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_strips_are_turned_as_the_whole_image_is(monkeypatch, orientation):
    monkeypatch.setattr(decoding, "_STRIP", 700)
    photo = random_image(93, 61)
    photo.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(photo)
    np.testing.assert_array_equal(
        np.asarray(decoding.to_rgb(photo, orientation)), np.asarray(expected)
    )


CHILD = """
import resource, sys
from homolog import HomologError
from homolog.image import masks, reading
import numpy, PIL.Image
PIL.Image.init()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
for path in sys.argv[2:]:
    for edge in (200, None):
        try:
            reading.load_image(path, longest_edge=edge, max_pixels=int(sys.argv[1]))
        except HomologError as error:
            assert "pixels of such" in str(error), error
    masks.read_mask(path, reading.image_size(path)) if "mask" in path else None
print(peak() - before)
"""


@pytest.mark.slow
def test_memory_is_bounded_by_the_pixels(tmp_path):
    """Five bytes a pixel and 100 MB, whatever the format, in a process of its own."""
    edge = 6000
    pixels, black = edge * edge, Image.new("RGB", (edge, edge))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "a.png": png(edge, edge),
        "alpha.png": png(edge, edge, 6),
        "deep.png": png(edge, edge, 0, 16),
        "a.webp": encoded(black, "WEBP", lossless=True, method=0),
        "a.tif": encoded(black, "TIFF", compression="tiff_adobe_deflate"),
        "turned.jpg": encoded(black, "JPEG", exif=exif),
        "progressive.jpg": encoded(black, "JPEG", progressive=True, subsampling=0),
        "a.gif": encoded(black.convert("P"), "GIF"),
        "mask.png": encoded(Image.new("L", (edge, edge), 1), "PNG"),
    }
    paths = [put(tmp_path, content, name) for name, content in files.items()]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(pixels), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 5 * pixels + 100_000_000
