"""Evaluating and checking data sets from the command line."""

import json
import shlex

import numpy as np
import pytest
from helpers import crowds, datasets
from helpers.command import run
from helpers.toys import ColourBackbone
from PIL import Image

from homolog import Matcher
from homolog.cli.options import DatasetOptions
from homolog.utils import progress


@pytest.fixture(autouse=True)
def toy_model(monkeypatch, tmp_path, colour_matcher):
    """The transparent toy backbone in place of the embedded one; slow machines stay silent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    monkeypatch.setattr(
        Matcher, "from_pretrained",
        lambda name="embedded", **_: Matcher(ColourBackbone(), colour_matcher.config),
    )  # fmt: skip


MADE = {
    "spair": (datasets.make_spair, 12, ["--split", "test"]),
    "ap10k": (
        lambda folder: datasets.make_ap10k(folder, images=True),
        None,
        ["--subset", "intra-species"],
    ),
    "pf-pascal": (datasets.make_pf_pascal, 6, []),
    "pf-willow": (datasets.make_pf_willow, 12, []),
}


@pytest.mark.parametrize("name", MADE)
def test_evaluating_every_data_set(capsys, tmp_path, name):
    make, pairs, options = MADE[name]
    root = make(tmp_path / name)
    command = ["evaluate", name, root, *options, "--limit", "15", "--out", "run", "--poses"]
    poses = "flip"
    if name.startswith("pf"):  # which does not say what is left and right
        status, _, err = run(capsys, *command, "flip")
        assert status == 2 and "poses: expected none with a flip" in err and "--sides" in err
        poses = "rotations"
    status, out, err = run(capsys, *command, poses)
    assert status == 0, err
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["per_image"]["count"] == (pairs or 15)
    assert f"{100 * found['per_image']['pck@0.10']:.1f}" in out and "not aligned" in out
    for chart in ("pck", "best", "worst"):
        with Image.open(tmp_path / "run" / f"{chart}.png") as image:
            assert min(image.size) > 300
    assert (tmp_path / "run" / "azimuth.png").exists() == (name == "spair")
    # The same predictions, scored on their own, give the same figures.
    status, out, _ = run(
        capsys, "score", name, root, *options, "--predictions", "run/predictions.jsonl",
        "--json", "again.json", "--csv", "again.csv", "--markdown", "again.md",
    )  # fmt: skip
    again = json.loads((tmp_path / "again.json").read_text())
    if name != "ap10k":  # of which a sample was evaluated
        assert status == 0 and again["per_point"] == found["per_point"]
    assert (tmp_path / "again.csv").exists() and (tmp_path / "again.md").exists()


def test_evaluating_a_coco_file_into_a_folder_named_after_it(capsys, tmp_path):
    path = datasets.make_coco(tmp_path / "animals")
    status, _, err = run(capsys, "evaluate", "coco", path)
    assert status == 0, err
    (folder,) = (tmp_path / "evaluations").iterdir()
    assert folder.name.startswith("animals") and folder.name.endswith("embedded")
    before = (folder / "predictions.jsonl").read_bytes()
    assert run(capsys, "evaluate", "coco", path)[0] == 0
    assert (folder / "predictions.jsonl").read_bytes() == before


def test_objects_that_share_an_image(capsys, tmp_path):
    """Their boxes are used unless told otherwise; each choice has a folder of its own."""
    path = crowds.make_crowds(tmp_path / "herd", [2, 1, 2])
    shown = {}
    for options in (
        (), ("--boxes", "annotated"), ("--boxes", "none"), ("--zoom", "auto"),
        ("--quality", "best", "--zoom", "none"), ("--single",),
    ):  # fmt: skip
        status, out, err = run(capsys, "evaluate", "coco", path, *options, "--limit", "4")
        assert status == (2 if options == ("--single",) else 0), err
        shown[options] = out
    assert "expected pairs in herd crowds, got none" in err and err.count("\n") == 1
    names = sorted(folder.name for folder in (tmp_path / "evaluations").iterdir())
    assert names == [
        "herd-crowds-embedded", "herd-crowds-embedded-boxes", "herd-crowds-embedded-mirror-refine",
        "herd-crowds-embedded-whole-images", "herd-crowds-embedded-zoom",
    ]  # fmt: skip
    assert "note: images with several annotated objects: 2, with 4 objects" in shown[()]
    assert "share their image with others; each of these is matched in the region" in shown[()]
    assert "a second look is taken" in shown["--zoom", "auto"]
    identity = json.loads((tmp_path / "evaluations" / names[2] / "run.json").read_text())
    assert identity["mirror"] is True and identity["refine"]["scales"] and "zoom" not in identity
    assert "every image is also looked at mirrored" in shown["--quality", "best", "--zoom", "none"]
    for folder, expected in zip(
        names, (("annotated where images are shared", "none"), ("annotated", "none"),
                ("annotated where images are shared", "none"), ("none", "none"),
                ("annotated where images are shared", "auto")), strict=True,
    ):  # fmt: skip
        found = json.loads((tmp_path / "evaluations" / folder / "results.json").read_text())
        assert (found["boxes"], found["zoom"]) == expected


def test_options_of_another_data_set_are_refused(capsys, tmp_path):
    root = datasets.make_ap10k(tmp_path / "ap10k", images=True)
    options = ("--first-only", "--limit", "5", "--out", "run")
    status, _, err = run(capsys, "evaluate", "ap10k", root, *options)
    assert status == 0, err
    assert run(capsys, "evaluate", "spair", root, "--first-only")[0] == 2
    given = DatasetOptions(seed=2, first_only=True).to_arguments()
    assert given == ["--seed", "2", "--first-only"]


def test_the_next_command_is_printed(capsys, tmp_path):
    """It scores the predictions by the other reference length, with the same options."""
    root = datasets.make_spair(tmp_path / "a set")
    _, _, err = run(capsys, "evaluate", "spair", root, "--category", "cat")
    command = shlex.split(err.splitlines()[-1].removeprefix("next: homolog "))
    assert command[:5] == ["score", "spair", str(root), "--category", "cat"]
    status, out, _ = run(capsys, *command)
    assert status == 0 and "SPair-71k test (cat)" in out and "target's image" in out


def test_manifests(capsys, tmp_path):
    root = datasets.make_ap10k(tmp_path / "ap10k", images=True)
    status, out, _ = run(capsys, "data", "pairs", "ap10k", root, "--out", "pairs.json")
    assert status == 0
    listed = json.loads((tmp_path / "pairs.json").read_text())
    assert f"{len(listed['pairs']):,} pairs" in out
    options = ("--manifest", "pairs.json", "--limit", "5", "--out", "run")
    assert run(capsys, "evaluate", "ap10k", root, *options)[0] == 0
    listed["pairs"].pop()
    (tmp_path / "pairs.json").write_text(json.dumps(listed))
    status, _, err = run(capsys, "evaluate", "ap10k", root, *options)
    assert status == 2 and "SHA-256" in err and err.count("\n") == 1


def test_checking(capsys, tmp_path):
    root = datasets.make_pf_willow(tmp_path / "willow")
    status, out, _ = run(capsys, "data", "check", root)
    assert status == 0 and out == "PF-WILLOW test: 6 images, 12 pairs\n"
    image = next(root.rglob("*.png"))
    image.write_bytes(image.read_bytes()[:100])
    status, out, err = run(capsys, "data", "check", root)
    assert status == 1 and str(image) in out and err == "problems: 1\n"
    status, _, err = run(capsys, "data", "check", tmp_path / "willow" / "duck(S)")
    assert status == 2 and "expected one of SPair-71k" in err and err.count("\n") == 1


def test_checking_boxes(capsys, tmp_path):
    datasets.save_image(tmp_path / "photos" / "a.png", 0)
    boxes = tmp_path / "boxes.csv"
    rows = "image,x,y,width,height\na.png,1,2,30,40\na.png,5,6,30,40\n"
    boxes.write_text(rows)
    options = ("data", "check", boxes, "--images", tmp_path / "photos")
    assert run(capsys, *options) == (0, "boxes boxes: 1 images, 2 objects\n", "")
    boxes.write_text(rows + "b.png,1,2,30,40\n")
    status, out, err = run(capsys, *options)
    assert status == 1 and "line 4: expected an image b.png" in out and err == "problems: 1\n"


def test_views(capsys, tmp_path):
    for seed, view in enumerate(("left", "right", "front", "back")):
        for folder in (view, "templates"):
            datasets.save_image(tmp_path / "views" / folder / f"{view}.png", seed)
    status, out, _ = run(capsys, "evaluate", "pose", tmp_path / "views")
    assert status == 0 and "four ways: 100.0 %" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["evaluate", "imagenet", "willow"], "dataset: expected one of spair, spair-u, "),
        (["evaluate", "pf-willow", "nowhere"], "nowhere"),
        (
            ["evaluate", "pf-willow", "willow", "--split", "test"],
            "split: expected an option of pf-willow",
        ),
        (["evaluate", "pf-willow", "willow", "--limit", "0"], "limit: expected at least 1 pair"),
        (["evaluate", "pf-willow", "willow", "--boxes", "all"], "boxes"),
        (["evaluate", "pf-willow", "willow", "--zoom", "2"], "zoom"),
        (
            ["evaluate", "pf-willow", "willow", "--single"],
            "single: expected an option of pf-willow (none), got single",
        ),
        (["evaluate", "pf-willow", "willow", "--poses", "up"], "pose: expected identity, flip"),
        (["evaluate", "pf-willow", "willow", "--out", "file"], "out: cannot write file"),
        (["evaluate", "spair", "willow"], "expected a folder of pairs, got none"),
        (["evaluate", "coco", "willow"], "expected a readable file"),
        (["evaluate", "pose", "willow"], "expected an image named left"),
        (["score", "pf-willow", "willow", "--predictions", "none.json"], "none.json"),
        (
            ["score", "pf-willow", "willow", "--predictions", "file", "--json", "x.txt"],
            "json: expected a name ending in .json, got x.txt",
        ),
        (
            ["score", "pf-willow", "willow", "--predictions", "file", "--threshold", "bbox"],
            "threshold: expected box or image, got 'bbox'",
        ),
        (
            ["score", "pf-willow", "willow", "--predictions", "file", "--alphas", "10", "5"],
            "alphas: expected numbers above 0 and at most 1, got 10; try 0.1 for a tenth",
        ),
        (["data", "pairs", "coco", "willow", "--out", "x.json"], "dataset: expected ap10k"),
    ],
)
def test_wrong_input_gets_one_line(capsys, tmp_path, arguments, reason):
    datasets.make_pf_willow(tmp_path / "willow", images=2)
    (tmp_path / "file").write_text("")
    status, _, err = run(capsys, *arguments)
    assert status == 2 and reason in err and err.count("\n") == 1, err


def test_other_thresholds(capsys, tmp_path):
    root = datasets.make_pf_willow(tmp_path / "willow")
    run(capsys, "evaluate", "pf-willow", root, "--out", "run")
    predictions = ("--predictions", "run/predictions.jsonl", "--json", "a.json")
    run(capsys, "score", "pf-willow", root, *predictions, "--threshold", "image",
        "--alphas", "0.3", "--alphas", "0.02")  # fmt: skip
    repeated = json.loads((tmp_path / "a.json").read_text())
    _, out, _ = run(capsys, "score", "pf-willow", root, "--alphas", "0.02", "0.3", *predictions,
                    "--threshold", "image", "--name", "mine:cat:")  # fmt: skip
    assert "PF-WILLOW, mine:cat:\n" in out
    assert max(len(x) for x in out.splitlines() if not x.startswith(("PCK@", "note"))) <= 80
    found = json.loads((tmp_path / "a.json").read_text())
    assert found | {"model": "predictions"} == repeated and found["alphas"] == [0.3, 0.02]
    assert (found["threshold"], found["strict"]) == ("image", False)
    figures = found["per_point"]
    assert {"pck@0.30", "pck@0.02"} <= figures.keys()
    assert figures["pck@0.02"] <= figures["pck@0.30"]
    lines = (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()
    errors = []
    for line in map(json.loads, lines):
        assert np.isfinite(line["predicted_xy_in_target_pixels"]).all()
        errors.append(len(line["keypoint_ids"]))
    assert sum(errors) == figures["count"]
