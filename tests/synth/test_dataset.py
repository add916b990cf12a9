"""Rendered training sets, and the command that renders them."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.command import run
from helpers.toy_models import CHAIR, rigged_animal, static_object
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError, KeypointSchema
from homolog.data import coco
from homolog.synth import dataset, render_set, sample
from homolog.synth.distractors import KINDS
from homolog.synth.sample import shows_distractors_only
from homolog.utils import progress

SIZE = 64
COUNT = 16


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    rigged_animal(folder / "hound.glb")
    rigged_animal(folder / "pony.glb", stretch=(1.1, 1.4, 1.2))
    static_object(folder / "chair.glb", CHAIR)
    (folder / "broken.glb").write_bytes(b"glTF" + bytes(40))
    return folder


@pytest.fixture(scope="module")
def rendered(models, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "set"
    return render_set(models, out, count=COUNT, size=SIZE, seed=3, workers=1)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_files_of_a_rendered_set(rendered):
    out = rendered.out
    names = {str(path.relative_to(out)) for path in out.iterdir()}
    assert names == {
        "pictures", "coordinates", "annotations.json", "manifest.json", "contact.jpg", "run.json",
        "records.jsonl", ".lock",
    }  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["count"] == COUNT and manifest["seed"] == 3 and manifest["size"] == SIZE
    assert set(manifest["models"]) == {"hound", "pony", "chair"}
    assert manifest["models"]["chair"]["sides"] == "symmetry"
    assert set(manifest["left_out"]) == {"broken.glb"} == set(rendered.skipped)
    data = json.loads((out / "annotations.json").read_text())
    assert len(data["images"]) == COUNT
    kinds = {category["name"]: category for category in data["categories"]}
    assert len(kinds) == 2 and "keypoints" not in next(k for n, k in kinds.items() if n != "animal")
    by_image = {}
    for annotation in data["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    for entry in data["images"]:
        with Image.open(out / entry["file_name"]) as image:
            assert image.size == (SIZE, SIZE) == (entry["width"], entry["height"])
            assert np.asarray(image).std() > 2
        with np.load(out / entry["coordinates"]) as file:
            values, instance = file["coordinates"], file["instance"]
        assert values.shape == (SIZE, SIZE, 3) and values.dtype == np.float16
        assert instance.shape == (SIZE, SIZE) and instance.dtype == np.uint8
        assert (np.isfinite(values).all(2) == (instance > 0)).all()
        annotations = by_image.get(entry["id"], [])
        assert {a["instance"] for a in annotations} == set(np.unique(instance)) - {0}
        for annotation in annotations:
            mask = instance == annotation["instance"]
            y, x = np.nonzero(mask)
            assert annotation["area"] == mask.sum()
            box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
            assert annotation["bbox"] == box
            assert annotation["model"] == entry["models"][annotation["instance"] - 1]
            for axis in ("facing", "up"):
                assert np.linalg.norm(annotation[axis]) == pytest.approx(1, abs=1e-3)
            if "keypoints" in annotation:
                v = np.array(annotation["keypoints"]).reshape(-1, 3)
                assert annotation["num_keypoints"] == (v[:, 2] > 0).sum()
                inside = v[v[:, 2] > 0]
                assert ((inside[:, :2] >= 0) & (inside[:, :2] <= SIZE)).all()


def test_images_without_instances(rendered):
    """They show distractors, are listed, and are background all over."""
    data = json.loads(rendered.annotations.read_text())
    empty = [entry for entry in data["images"] if not entry["models"]]
    assert empty and len(empty) < len(data["images"]) / 2
    assert {a["image_id"] for a in data["annotations"]}.isdisjoint(entry["id"] for entry in empty)
    for entry in empty:
        assert entry["objects"] and set(entry["objects"]) <= set(KINDS)
        with np.load(rendered.out / entry["coordinates"]) as file:
            assert np.isnan(file["coordinates"]).all() and not file["instance"].any()
    manifest = json.loads((rendered.out / "manifest.json").read_text())
    assert manifest["without_things"] == len(empty)
    with Image.open(rendered.out / "contact.jpg") as sheet:  # the coordinates of one: plain grey
        x, y = (empty[0]["id"] - 1) % 4 * 400, (empty[0]["id"] - 1) // 4 * 200
        assert np.ptp(np.asarray(sheet.crop((x + 210, y + 10, x + 390, y + 190)))) < 8


def test_a_fifth_show_distractors_only_whatever_the_background():
    empty = np.array([shows_distractors_only(seed, i) for seed in range(4) for i in range(500)])
    assert 0.17 < empty.mean() < 0.23
    # The first number of an image's own generator decides whether a photo is behind it.
    first = [np.random.default_rng([s, i, 0]).random() for s in range(4) for i in range(500)]
    assert abs(np.corrcoef(empty, first)[0, 1]) < 0.08


def test_a_set_with_distractors_only(models, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_WITHOUT_INSTANCES", 1.0)
    rendered = render_set(models, tmp_path / "o", count=2, size=SIZE, workers=1, models=["hound"])
    data = json.loads(rendered.annotations.read_text())
    assert data["annotations"] == [] and len(data["images"]) == 2
    assert (rendered.out / "contact.jpg").is_file()


def test_keypoints_lie_where_their_coordinates_are(rendered):
    """Near a visible keypoint the surface has about its canonical coordinates, in every model."""
    data = json.loads(rendered.annotations.read_text())
    canonical = np.array(data["categories"][0]["canonical"])
    apart = []
    for annotation in data["annotations"]:
        if "keypoints" not in annotation:
            continue
        with np.load(rendered.out / f"coordinates/{annotation['image_id'] - 1:06d}.npz") as file:
            values, instance = file["coordinates"].astype(float), file["instance"]
        for (x, y, v), coordinates in zip(
            np.array(annotation["keypoints"]).reshape(-1, 3), canonical, strict=True
        ):
            if v == 2 and instance[int(y), int(x)] == annotation["instance"]:
                apart.append(np.abs(values[int(y), int(x)] - coordinates).max())
    assert len(apart) > 20
    assert np.median(apart) < 0.2 and np.quantile(apart, 0.9) < 0.45


def test_the_set_is_read_as_a_coco_file(capsys, rendered):
    data = coco.load(rendered.annotations)
    schema = data.schemas["animal"]
    expected = KeypointSchema.from_names(schema.names)
    assert schema.mirror == expected.mirror and any(schema.mirror[i] != i for i in range(9))
    assert len(data.pairs) > 0
    status, out, _ = run(capsys, "data", "check", rendered.annotations)
    assert status == 0 and "images" in out


def test_several_workers_render_the_same_set(models, rendered, tmp_path):
    again = render_set(models, tmp_path / "two", count=COUNT, size=SIZE, seed=3, workers=2)
    assert digests(again.out) == digests(rendered.out)


def test_a_script_without_a_guard_gets_a_clear_error(models, tmp_path):
    script = tmp_path / "script.py"
    out = tmp_path / "set"
    call = f"render_set({str(models)!r}, {str(out)!r}, count=4, size={SIZE}, workers=2)"
    script.write_text(f"from homolog.synth import render_set\n{call}\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "HomologError: workers: expected every process to finish, got one" in done.stderr


def test_seeds_change_images(models, rendered, tmp_path):
    other = render_set(models, tmp_path / "other", count=2, size=SIZE, seed=4, workers=1)
    a, b = digests(other.out), digests(rendered.out)
    for name in ("pictures/000000.jpg", "pictures/000001.jpg", "coordinates/000000.npz"):
        assert a[name] != b[name]


def test_an_interrupted_run_is_resumed(models, rendered, tmp_path):
    out = tmp_path / "set"
    first = render_set(models, out, count=3, size=SIZE, seed=3, workers=1)
    assert (first.images, first.reused) == (3, 0)
    (out / "pictures/000001.jpg").unlink()
    with (out / "records.jsonl").open("ab") as log:
        log.write(b'{"index": 3, "thi')  # interrupted while it was written
    before = (out / "pictures/000002.jpg").stat().st_mtime_ns
    whole = render_set(models, out, count=COUNT, size=SIZE, seed=3, workers=1)
    assert (whole.images, whole.reused) == (COUNT, 2)
    assert (out / "pictures/000002.jpg").stat().st_mtime_ns == before
    ours, theirs = digests(out), digests(rendered.out)
    ours.pop("records.jsonl"), theirs.pop("records.jsonl")  # in the order of rendering
    assert ours == theirs
    with pytest.raises(HomologError, match="holds another run"):
        render_set(models, out, count=8, size=SIZE, seed=9)


def test_sets_of_another_version_are_not_resumed(models, rendered, tmp_path, monkeypatch):
    out = shutil.copytree(rendered.out, tmp_path / "set")
    before = digests(out)
    monkeypatch.setattr(dataset, "VERSION", dataset.VERSION + 1)
    with pytest.raises(HomologError, match="holds another run"):
        render_set(models, out, count=COUNT, size=SIZE, seed=3, workers=1)
    assert digests(out) == before


def test_the_time_left_counts_the_images_of_this_run_only(models, rendered, tmp_path, monkeypatch):
    seen = []

    class Spy(progress.ProgressBar):
        def __init__(self, total):
            super().__init__(total)
            seen.append(total)

        def update(self, description, completed=None):
            super().update(description, completed)
            seen.append(completed)

    out = shutil.copytree(rendered.out, tmp_path / "set")
    for index in (2, 5):
        (out / f"pictures/{index:06d}.jpg").unlink()
    monkeypatch.setattr(dataset, "ProgressBar", Spy)
    render_set(models, out, count=COUNT, size=SIZE, seed=3, workers=1)
    assert seen == [2, 0, 1, 2]
    seen.clear()
    render_set(models, out, count=COUNT, size=SIZE, seed=3, workers=1)
    assert seen == [0, 0]


def test_models_are_chosen_by_name(capsys, models, tmp_path):
    status, out, err = run(
        capsys, "synth", models, "--out", tmp_path / "o", "--count", 2, "--size", SIZE,
        "--workers", 1, "--models", "hound", "chair",
    )  # fmt: skip
    assert status == 0 and "2 images of 2 models" in out and "skipped" not in err
    manifest = json.loads((tmp_path / "o/manifest.json").read_text())
    assert set(manifest["models"]) == {"hound", "chair"}


def test_backgrounds_that_cannot_be_read_are_listed(models, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    random_image(96, 72).save(photos / "fine.png")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    rendered = render_set(
        models, tmp_path / "o", count=10, size=SIZE, workers=1, backgrounds=photos, models=["hound"]
    )
    manifest = json.loads((rendered.out / "manifest.json").read_text())
    assert list(manifest["backgrounds_left_out"]) == ["broken.jpg"]
    used = [p["background"] for p in json.loads(rendered.annotations.read_text())["images"]]
    assert "fine.png" in used and None in used and "broken.jpg" not in used


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "o"], "models: expected a folder, got nowhere"),
        (["bare", "--out", "o"], "models: expected .glb or .gltf files in bare, got none"),
        (["bad", "--out", "o"], "models: expected a model that can be used in bad, got x.glb"),
        (
            ["good", "--out", "o", "--models", "cat"],
            "models: expected names of hound in good, got 'cat'",
        ),
        (["good", "--out", "o", "--count", "0"], "count: expected at least 1, got 0"),
        (["good", "--out", "o", "--size", "9"], "size: expected 32 to 4096 pixels, got 9"),
        (["good", "--out", "o", "--seed", "-1"], "seed: expected at least 0, got -1"),
        (["good", "--out", "o", "--workers", "0"], "workers: expected at least 1, got 0"),
        (
            ["good", "--out", "full"],
            "out: expected an empty folder or a rendered set, got full; try another folder",
        ),
        (["good", "--out", "a-file"], "out: expected a folder, got the file a-file"),
        (["good", "--out", "a-file/o"], "out: cannot write a-file/o"),
        (["good", "--out", "o", "--backgrounds", "nix"], "backgrounds: expected a folder, got nix"),
        (
            ["good", "--out", "o", "--backgrounds", "bare"],
            "backgrounds: expected images in bare, got none",
        ),
    ],
)
def test_errors_are_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name in ("bare", "bad", "good", "full"):
        (tmp_path / name).mkdir()
    rigged_animal(tmp_path / "good/hound.glb")
    (tmp_path / "bad/x.glb").write_bytes(b"x")
    (tmp_path / "full/note.txt").write_text("mine")
    (tmp_path / "a-file").write_text("")
    status, out, err = run(capsys, "synth", *arguments)
    assert status == 2 and not out
    assert err.startswith(f"homolog: {message}") and err.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("pygltflib", "pygltflib"),
        ("embreex", "embreex.mesh_construction"),
        ("threadpoolctl", "threadpoolctl"),
    ],
)
def test_without_the_libraries_of_the_extra(capsys, models, tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    status, _, err = run(capsys, "synth", models, "--out", tmp_path / "o")
    assert status == 2
    reason = "expected it to be installed, got none; try: pip install 'homolog[synth]'"
    assert err == f"homolog: {name}: {reason}\n"
