"""Folders searched for images: what is passed over is counted, links are followed once."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError
from homolog.image import formats, reading
from homolog.image.folders import find_images, search


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        random_image(20, 10).save(path, "PNG")


def test_images_of_folders_and_files(tmp_path):
    paths = [tmp_path / name for name in ("a/c.png", "a/b/d.jpg", "e.PNG", "z.png")]
    put(*paths)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "CollectedData_me.h5").write_bytes(b"x")
    assert find_images([tmp_path]) == sorted(paths)
    found = search([paths[3], tmp_path / "a", tmp_path])
    assert list(found.files) == [paths[3], paths[1], paths[0], paths[2]] and found.notes == []
    assert reading.find_images([tmp_path]) == sorted(paths), "where it was before"
    with pytest.raises(HomologError, match=r"backgrounds: expected a file or folder, got .*none"):
        search([tmp_path / "none"], "backgrounds")


def test_kinds_that_cannot_be_read_are_counted_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    # Where pillow-heif is installed, another test may have had Pillow told of it.
    known = {k: v for k, v in Image.registered_extensions().items() if v != "HEIF"}
    monkeypatch.setattr(Image, "registered_extensions", lambda: known)
    put(tmp_path / "a.png")
    for name in ("b.CR2", "c.heic", "d.svg", "deep/e.jxl", "f.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = search([tmp_path])
    assert [path.name for path in found.files] == ["a.png"]
    (note,) = found.notes
    first = ", ".join(str(tmp_path / name) for name in ("b.CR2", "c.heic", "d.svg"))
    assert note == (
        f"images of kinds that cannot be read, left out: 4 ({first} and 1 more); "
        "try pip install 'homolog[heic]' for HEIC"
    )


def test_what_macos_adds_is_no_image(tmp_path):
    put(tmp_path / "a.png", tmp_path / "._a.png", tmp_path / "__MACOSX" / "b" / "._a.png")
    found = search([tmp_path])
    assert [path.name for path in found.files] == ["a.png"] and found.notes == []


def test_reports_of_models_are_not_searched(tmp_path):
    put(tmp_path / "a.png", tmp_path / "run" / "report" / "b.png", tmp_path / "run" / "c.png")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"x")
    assert find_images([tmp_path]) == [tmp_path / "a.png"]
    assert len(find_images([tmp_path / "run"])) == 2, "asked for by name"


def test_links_to_folders_are_followed_once(tmp_path):
    set, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    put(set / "a.png", set / "real" / "b.png", elsewhere / "c.png", elsewhere / "deep" / "d.png")
    (set / "link").symlink_to(elsewhere)
    (set / "again").symlink_to(elsewhere / "deep")
    (set / "twin").symlink_to(set / "real")
    (set / "up").symlink_to(tmp_path)
    (set / "real" / "round").symlink_to(set)
    (elsewhere / "back").symlink_to(elsewhere)
    (set / "broken").symlink_to(tmp_path / "gone")
    found = search([set])
    names = [path.relative_to(set).as_posix() for path in found.files]
    assert names == ["a.png", "again/d.png", "link/c.png", "real/b.png"]
    followed, left_out = found.notes
    assert followed.startswith("links to folders, searched like folders: 2 (")
    assert left_out.startswith("links to folders that were searched already, left out: 4 (")
    for name in ("twin", "up", "real/round", "link/back"):
        assert set / name in found.loops
    # A folder that is itself reached through a link is a folder like any other.
    (tmp_path / "way").symlink_to(elsewhere / "deep")
    assert search([tmp_path / "way"]).files == (tmp_path / "way" / "d.png",)
    assert search([tmp_path / "way"]).notes == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every folder")
def test_folders_that_cannot_be_opened(tmp_path):
    put(tmp_path / "a.png", tmp_path / "closed" / "b.png")
    (tmp_path / "closed").chmod(0)
    try:
        (note,) = search([tmp_path]).notes
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert note == f"folders that cannot be opened, left out: 1 ({tmp_path / 'closed'})"


def test_heic_is_read_where_its_library_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    values = np.zeros((48, 64, 3), np.uint8)
    values[:, :32] = 255
    heif.from_pillow(Image.fromarray(values)).save(tmp_path / "a.heic", quality=90)
    (path,) = find_images([tmp_path])
    assert reading.image_size(path) == (64, 48)
    loaded = np.asarray(reading.load_image(path).image)
    assert loaded[24, 8].min() > 240 and loaded[24, 56].max() < 15
