"""Images that clients upload: what is accepted, what is stored and for how long."""

import io
import tempfile

import pytest
from helpers.serve import client, png, upload, upload_id
from helpers.toys import random_image
from PIL import Image

from homolog import Matcher
from homolog.serve import uploads
from homolog.serve.uploads import display_name


def test_too_many_bytes_announced(colour_matcher):
    with client(colour_matcher, max_bytes=1000) as page:
        answer = upload(page, bytes(1001))
        assert answer.status_code == 413 and "1,000 bytes" in answer.json()["detail"]


def test_too_many_bytes_unannounced(colour_matcher, temporary):
    """A body whose length is not announced is cut where the limit is reached."""

    def body():
        for _ in range(1000):
            yield b"\xff\xd8\xff" + bytes(997)

    with client(colour_matcher, max_bytes=5000) as page:
        answer = upload(page, body())
        assert answer.status_code == 413
        assert list(temporary.glob("homolog-*")) and not list(temporary.glob("homolog-*/*"))


def test_too_many_pixels(colour_matcher):
    small = Matcher(colour_matcher.backbone, colour_matcher.config, max_pixels=100)
    with client(small) as page:
        answer = upload(page, png(Image.new("RGB", (20, 20))), "wide.png")
    assert answer.status_code == 400
    assert "got wide.png with 20 x 20" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"RIFF1234AVI ", b"\0" * 99],
)
def test_only_images(plain, content):
    answer = upload(plain, content, "a.jpg")
    assert answer.status_code == 400
    assert "a.jpg: expected a JPEG, PNG, WebP, " in answer.json()["detail"]


def test_a_broken_image(plain):
    answer = upload(plain, png(random_image(64, 64))[:300], "half.png")
    assert answer.status_code == 400
    assert "half.png, which cannot be read" in answer.json()["detail"]
    assert tempfile.gettempdir() not in answer.text


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_formats(plain, format):
    buffer = io.BytesIO()
    random_image(50, 40).save(buffer, format)
    assert upload(plain, buffer.getvalue()).json()["width"] == 50


def test_turned_upright(plain):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    random_image(60, 40).save(buffer, "JPEG", exif=exif)
    found = upload(plain, buffer.getvalue()).json()
    assert (found["width"], found["height"]) == (40, 60)
    shown = plain.get(f"/api/pictures/{found['id']}/image").content
    assert Image.open(io.BytesIO(shown)).size == (40, 60)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\a", "http://a/b"])
def test_a_name_is_no_path(plain, temporary, name):
    found = upload(plain, png(random_image(30, 30)), name).json()
    assert "/" not in found["name"] and "\\" not in found["name"]
    assert list(temporary.glob("*/*")), "nothing was uploaded"
    assert all(path.parent.parent == temporary for path in temporary.glob("*/**/*"))


def test_the_oldest_are_removed(colour_matcher):
    with client(colour_matcher, max_uploads=2) as page:
        ids = [upload_id(page, random_image(30, 30, seed)) for seed in range(3)]
        answer = page.get(f"/api/pictures/{ids[0]}/image")
        assert answer.status_code == 404 and "load it again" in answer.json()["detail"]
        assert page.get(f"/api/pictures/{ids[2]}/image").status_code == 200


def test_nothing_is_left_behind(colour_matcher, temporary):
    before = set(temporary.iterdir())
    with client(colour_matcher) as page:
        upload(page, png(random_image(30, 30)))
        (folder,) = set(temporary.iterdir()) - before
        assert len(list(folder.iterdir())) == 1
    assert not folder.exists()


def test_display_names():
    assert display_name("a/b\\c\n.jpg") == "c.jpg"
    assert display_name("\0") == "image"
    assert len(display_name("x" * 999)) == 120


def test_uploads_may_have_fewer_pixels_than_files_of_the_server(plain, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UPLOAD_PIXELS", 399)
    answer = upload(plain, png(Image.new("RGB", (20, 20))), "wide.png")
    assert answer.status_code == 400
    assert "expected at most 399 pixels" in answer.json()["detail"]
