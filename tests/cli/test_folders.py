"""What commands say of the folders they search, and of images whose names are not UTF-8."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import run
from helpers.serve import client
from PIL import Image

from homolog import example

KEYPOINTS = [30, 40, 2, 60, 30, 1, 90, 60, 2]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two images, one of them behind a link; one of a kind that cannot be read, and a loop."""
    images = tmp_path / "images"
    (tmp_path / "elsewhere").mkdir()
    images.mkdir()
    with example.pair() as pair:
        for path, target in (
            (pair.image0, images / "a.png"), (pair.image1, tmp_path / "elsewhere" / "b.png")
        ):  # fmt: skip
            Image.open(path).resize((120, 90)).save(target)
    (images / "raw.CR2").write_bytes(b"x")
    (images / "._a.png").write_bytes(b"x")
    (images / "link").symlink_to(tmp_path / "elsewhere")
    (images / "round").symlink_to(images)
    return images


def labels(path: Path, name: str = "a.png") -> Path:
    data = {
        "images": [{"id": "one", "file_name": name, "width": 240, "height": 180}],
        "annotations": [
            {"id": "x", "image_id": "one", "category_id": 1, "bbox": [40, 20, 160, 140],
             "keypoints": [2 * v if n % 3 < 2 else v for n, v in enumerate(KEYPOINTS)]}
        ],
        "categories": [{"id": 1, "name": "fox", "keypoints": ["nose", "left_ear", "right_ear"]}],
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


def expected_notes(folder: Path) -> list[str]:
    return [
        f"note: images of kinds that cannot be read, left out: 1 ({folder / 'raw.CR2'})",
        f"note: links to folders, searched like folders: 1 ({folder / 'link'})",
        f"note: links to folders that were searched already, left out: 1 ({folder / 'round'})",
    ]


def notes_of(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.startswith("note: ")]


def test_commands_say_what_they_passed_over(folder, tmp_path, capsys):
    """And annotate finds exemplars in their own folder, whose images have been resized since."""
    expected = expected_notes(folder)
    status, _, errors = run(capsys, "average", folder, "--out", tmp_path / "mean.png")
    assert status == 0 and notes_of(errors) == expected
    status, out, errors = run(capsys, "objects", folder)
    assert status == 0 and notes_of(errors) == expected and "link/b.png" in out
    cache = tmp_path / "cache"
    status, out, errors = run(capsys, "features", "build", folder, "--cache", cache)
    assert status == 0 and notes_of(errors) == expected and out.startswith("2 images")
    exemplars = labels(tmp_path / "few.json")
    command = [
        "annotate",
        "--exemplars",
        exemplars,
        "--images",
        folder,
        "--out",
        tmp_path / "l.json",
    ]
    own = tmp_path / "own"
    own.mkdir()
    Image.open(folder / "a.png").save(own / "a.png")
    status, out, errors = run(capsys, *command, "--exemplar-images", own)
    scaled, *rest = notes_of(errors)
    assert status == 0 and set(expected) <= set(rest)
    assert scaled.startswith(f"note: {exemplars}: labels scaled to their images, which have other")
    written = json.loads((tmp_path / "l.json").read_text())
    assert {image["file_name"] for image in written["images"]} >= {"a.png", "link/b.png"}
    status, _, errors = run(capsys, *command, "--overwrite", "--exemplar-images", tmp_path / "none")
    assert status == 2 and "exemplar_images: expected a folder, got" in errors


def test_served_labels_are_scaled_when_they_are_changed(folder, matcher):
    file = labels(folder / "labels.json")
    before = file.read_bytes()
    with client(matcher, folder=folder, labels=file) as page:
        (entry,) = page.get("/api/review").json()["annotations"]
        assert entry["keypoints"] == KEYPOINTS and entry["bbox"] == [20, 10, 80, 70]
        assert file.read_bytes() == before
        change = {"annotation": "x", "keypoint": 1, "point": None, "visible": True}
        answer = page.post("/api/review", json=change)
        assert answer.status_code == 200, answer.text
    written = json.loads(file.read_text())
    assert written["annotations"][0]["keypoints"] == KEYPOINTS, "and v = 1 is kept"
    assert (written["images"][0]["width"], written["images"][0]["height"]) == (120, 90)


@pytest.mark.skipif(os.name == "nt", reason="names of files are text on Windows")
def test_names_that_are_not_utf8(folder, matcher):
    """Shown with a question mark, and printed as the bytes they are."""
    name = os.fsdecode(b"b\xe4r.png")
    (folder / "a.png").rename(folder / name)
    with client(matcher, folder=folder) as page:
        listed = [image["name"] for image in page.get("/api/start").json()["folder"]]
        assert listed == ["b?r.png", "link/b.png"]
    file = labels(folder / "labels.json", name)
    with client(matcher, folder=folder, labels=file) as page:
        state = page.get("/api/review").json()
        assert [image["name"] for image in state["images"]] == ["b?r.png"]
        change = {"annotation": "x", "keypoint": 0, "point": [31, 41], "visible": True}
        assert page.post("/api/review", json=change).status_code == 200
    assert json.loads(file.read_text())["images"][0]["file_name"] == name
    done = subprocess.run(
        [sys.executable, "-m", "homolog", "average", folder, "--reference", folder / name,
         "--out", folder.parent / "mean.png"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"on the shape of " in done.stdout and b"b\xe4r.png" in done.stdout
