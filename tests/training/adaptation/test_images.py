"""Images of an adaptation: read once, copies and others left out, each with its reason."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import real_images
from helpers.toys import random_image
from PIL import Image, ImageDraw, ImageOps

from homolog import HomologError
from homolog.training.adaptation import images
from homolog.training.adaptation.images import (
    LeftOut,
    changed_images,
    check_enough,
    left_out_notes,
    read_images,
    read_images_csv,
    write_images_csv,
)


def fill(folder: Path, count: int = 12, seed: int = 0) -> list[Path]:
    """Images that all differ, sorted by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:02}.png" for index in range(count)]
    for index, path in enumerate(paths):
        random_image(90, 60, seed + index).save(path)
    return paths


def reasons(found: images.ImageSet) -> dict[str, str]:
    return {each.path.name: each.reason for each in found.left_out}


def test_a_folder_with_all_kinds_of_files(tmp_path):
    paths = fill(tmp_path / "set")
    deep = fill(tmp_path / "set" / "deep", 2, seed=100)
    (tmp_path / "set" / "cut.jpg").write_bytes(b"no image")
    whole = tmp_path / "whole.jpg"
    random_image(400, 300, 7).save(whole)
    (tmp_path / "set" / "half.jpg").write_bytes(whole.read_bytes()[:4000])
    (tmp_path / "set" / "notes.txt").write_text("no image")
    (tmp_path / "set" / "raw.cr2").write_bytes(b"x")
    Image.new("RGB", (90, 60), "grey").save(tmp_path / "set" / "grey.png")
    random_image(300, 200, 300).save(tmp_path / "set" / "large.png")
    found = read_images(tmp_path / "set", max_pixels=50_000)
    assert found.files == (*paths, *deep)
    assert found.file_bytes == tuple(path.stat().st_size for path in found.files)
    told = reasons(found)
    assert set(told) == {"cut.jpg", "half.jpg", "raw.cr2", "grey.png", "large.png"}
    assert told["cut.jpg"] == "cannot be read: expected an image in a known format, got cut.jpg"
    assert told["half.jpg"].startswith("cannot be read: expected at most 50,000 pixels")
    assert told["raw.cr2"] == "cannot be read: there is no decoder for .cr2"
    assert told["grey.png"] == "no object is found: it is of one colour"
    told = reasons(read_images(str(tmp_path / "set")))
    assert told["half.jpg"].startswith("cannot be read: expected an image, got half.jpg, which")
    assert "large.png" not in told
    assert len(found.notes) == 2 and all("\n" not in note for note in found.notes)
    assert found.notes[0].startswith("images that cannot be read, left out: 4 (")


def test_lists(tmp_path):
    paths = fill(tmp_path / "set")
    listed = tmp_path / "list.txt"
    lines = ["", *(f"set/{path.name}" for path in paths[:6]), *map(str, paths[4:]), "gone.png"]
    listed.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    found = read_images(listed)
    assert [path.resolve() for path in found.files] == [path.resolve() for path in paths]
    assert reasons(found) == {"gone.png": "cannot be read: expected an image file, got gone.png, "
                              "which does not exist"}  # fmt: skip
    listed.write_text("set\n" + "x" * 5000)
    assert read_images(str(listed)).files == tuple(paths)
    assert read_images(paths).files == read_images([str(tmp_path / "set")]).files == tuple(paths)
    listed.write_text("gone.png\nnone.png")
    with pytest.raises(HomologError) as caught:
        read_images(listed)
    assert str(caught.value).endswith(
        f"got 0 in {listed}; 2 left out, of which 2 are images that cannot be read, such as "
        f"{tmp_path / 'gone.png'}: cannot be read: expected an image file, got gone.png, which "
        "does not exist"
    )


@pytest.mark.parametrize("given", [3, None, b"\x00\xff\xfe no text"])
def test_what_is_no_folder(tmp_path, given):
    if isinstance(given, bytes):
        (tmp_path / "video.mp4").write_bytes(given)
        given = tmp_path / "video.mp4"
    with pytest.raises(HomologError, match=r"^images: expected a folder"):
        read_images(given)


def test_too_few_images(tmp_path):
    with pytest.raises(HomologError, match=r"images: expected .*none, which does not exist"):
        read_images(tmp_path / "none")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("no image")
    with pytest.raises(HomologError, match=r"at least 12 images.*, got .*set, which has no images"):
        read_images(tmp_path / "set")
    paths = fill(tmp_path / "set", 5)
    for number in range(20):
        shutil.copy(paths[0], tmp_path / "set" / f"copy{number}.png")
    with pytest.raises(HomologError) as caught:
        read_images(tmp_path / "set")
    assert str(caught.value) == (
        "images: expected at least 12 images, some to match and some to keep aside, got 5 in "
        f"{tmp_path / 'set'}; 20 left out, of which 20 are copies of other images, such as "
        f"{tmp_path / 'set' / 'copy0.png'}: a copy of {paths[0]}"
    )


def test_copies_under_other_names_formats_and_sizes(tmp_path):
    paths = fill(tmp_path / "set", 14)
    shape = np.random.default_rng(0)
    photo = random_image(640, 480, 50)
    draw = ImageDraw.Draw(photo)
    for _ in range(40):  # edges, which formats and sizes change most
        x, y = shape.integers(0, 600), shape.integers(0, 440)
        draw.rectangle([x, y, x + 60, y + 30], fill=tuple(shape.integers(0, 256, 3).tolist()))
    folder = tmp_path / "set" / "photo"
    folder.mkdir()
    photo.save(folder / "a.png")
    photo.save(folder / "b.jpg", quality=70)
    photo.save(folder / "c.webp")
    photo.resize((427, 320), Image.Resampling.LANCZOS).save(folder / "d.png")
    photo.resize((1280, 960), Image.Resampling.BICUBIC).save(folder / "e.jpg", quality=90)
    turned = Image.Exif()
    turned[0x0112] = 6  # stored lying on its side
    photo.rotate(90, expand=True).save(folder / "f.png", exif=turned)
    # None of these are copies.
    ImageOps.mirror(photo).save(folder / "mirrored.png")
    photo.crop((40, 30, 600, 450)).save(folder / "cropped.png")
    photo.resize((640, 400)).save(folder / "squeezed.png")
    moved = photo.copy()
    moved.paste("white", (300, 200, 330, 230))
    moved.save(folder / "moved.png")
    found = read_images(tmp_path / "set")
    others = [folder / f"{name}.png" for name in ("cropped", "mirrored", "moved", "squeezed")]
    assert set(found.files) == {*paths, folder / "e.jpg", *others}, "the largest is the original"
    told = reasons(found)
    assert set(told) == {"a.png", "b.jpg", "c.webp", "d.png", "f.png"}
    assert set(told.values()) == {f"a copy of {folder / 'e.jpg'}"}


def test_labelled_images_come_first_and_are_no_copies(tmp_path):
    paths = fill(tmp_path / "set")
    labelled = [tmp_path / "few" / "a.png", tmp_path / "few" / "b.png", paths[7]]
    labelled[0].parent.mkdir()
    with Image.open(paths[3]) as image:
        image.save(labelled[0])
        image.resize((72, 48)).save(labelled[1])  # both are used, for both are labelled
    found = read_images(tmp_path / "set", first=labelled)
    assert found.files == (*labelled, *paths[:3], *paths[4:7], *paths[8:])
    assert reasons(found) == {"03.png": f"a copy of {labelled[0]}"}


def test_images_of_little_contrast_are_not_all_copies(tmp_path):
    """As cameras of microscopes write them: a few levels of 256 are used."""
    fill(tmp_path)
    for index in range(4):
        faint = np.asarray(random_image(90, 60, 40 + index)).astype(float)
        Image.fromarray((100 + faint / 40).astype(np.uint8)).save(tmp_path / f"faint{index}.png")
    assert read_images(tmp_path).left_out == ()


@pytest.mark.skipif(not real_images.ROOT.is_dir(), reason="needs the bees in HOMOLOG_DATA")
def test_frames_of_videos_are_no_copies():
    frames = sorted((real_images.ROOT / "bees" / "pose").iterdir())[:60]
    assert len(read_images(frames).files) == 60


def test_folders_of_masks_and_results_are_no_images(tmp_path):
    paths = fill(tmp_path)
    fill(tmp_path / "out" / "report", 3, seed=50)
    fill(tmp_path / "masks", 3, seed=60)
    exclude = [tmp_path / "out", tmp_path / "masks", tmp_path / "not yet"]
    assert read_images(tmp_path, exclude=exclude).files == tuple(paths)


def test_images_that_change_while_a_run_goes_on(tmp_path):
    paths = fill(tmp_path, 16)
    found = read_images(tmp_path)
    assert changed_images(found) == ()
    paths[2].unlink()
    paths[3].write_bytes(b"half an ima")
    random_image(50, 40).save(paths[4])
    fill(tmp_path / "new", 2, seed=70)
    changed = changed_images(found)
    assert [each.path for each in changed] == paths[2:5]
    assert changed[0].reason.endswith("got 02.png, which does not exist")
    assert changed[2].reason.startswith("changed: it has ")
    left = found.without(changed)
    assert left.files == (*paths[:2], *paths[5:]) and left.left_out == changed
    assert left.file_bytes == tuple(path.stat().st_size for path in left.files)
    assert len(left.notes) == 2
    check_enough(left, "set")
    with pytest.raises(HomologError, match="got 11 in set; 5 left out, of which 4 are images that"):
        check_enough(left.without([LeftOut.unreadable(path, HomologError("no"))
                                   for path in paths[:2]]), "set")  # fmt: skip


def test_the_table_of_images_comes_back(tmp_path, monkeypatch):
    names = ["plain.png", 'quoted, "so".png', "zwölf.png"]
    folder = tmp_path / "set"
    fill(folder)
    for number, name in enumerate(names):
        random_image(90, 60, 60 + number).save(folder / name)
    (folder / "cut.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    found = read_images("set")
    path = tmp_path / "images.csv"
    write_images_csv(path, found)
    monkeypatch.chdir("/")
    back = read_images_csv(path)
    assert back.files == tuple(tmp_path / file for file in found.files)
    assert back.file_bytes == found.file_bytes and changed_images(back) == ()
    assert back.left_out == (LeftOut(folder / "cut.png", found.left_out[0].reason),)
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [row["used"] for row in rows] == ["yes"] * 15 + ["no"]
    assert rows[-1]["file"] == str(folder / "cut.png")
    for broken in (b"", b"file,used\na,yes\n", b"file,used,reason,bytes\na,yes,,many\n"):
        path.write_bytes(broken)
        with pytest.raises(HomologError, match=r"^out: expected a table with the columns file"):
            read_images_csv(path)
    with pytest.raises(HomologError, match=r"^out: cannot read"):
        read_images_csv(tmp_path / "none.csv")


def test_names_that_are_no_text_and_go_over_lines(tmp_path):
    paths = [Path("/some/\udcff.png"), Path("/some/two\nlines.png"), Path("/some/\r.png")]
    given = images.ImageSet(tuple(paths), (1, 2, 3))
    write_images_csv(tmp_path / "images.csv", given)
    assert read_images_csv(tmp_path / "images.csv") == given


def test_notes_count_each_kind_and_pass_advice_on():
    left_out = [
        LeftOut(Path("a.heic"), "cannot be read: there is no decoder for .heic; try a plugin"),
        LeftOut(Path("b.png"), "cannot be read: expected an image"),
        LeftOut.of_another_kind(Path("c.png"), 0.2, 0.5),
        LeftOut.with_empty_mask(Path("d.png")),
        LeftOut(Path("e.png"), "something else"),
    ]
    assert left_out_notes(left_out) == [
        "images that cannot be read, left out: 2 (a.heic, b.png); try a plugin",
        "images of another kind than the others, left out: 1 (c.png)",
        "images whose mask is empty, left out: 1 (d.png)",
        "other images, left out: 1 (e.png)",
    ]
