"""Comparing runs, and files of predictions, from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import datasets
from helpers.command import run
from PIL import Image

from homolog import evaluation
from homolog.cli.options import DatasetOptions
from homolog.cli.scoring import DataSource
from homolog.data import pf_willow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """PF-WILLOW's layout, a run that is right everywhere, and a worse one of half of the pairs."""
    folder = tmp_path_factory.mktemp("made")
    root = datasets.make_pf_willow(folder / "willow")
    data = pf_willow.load(root)
    for name, error, pairs in (("good", 0, data.pairs), ("worse", 9, data.pairs[:8])):
        (folder / name).mkdir()
        lines = [
            {
                "pair": pair.name,
                "keypoint_ids": pair.keypoint_ids.tolist(),
                evaluation.ALIGNED: (pair.target.keypoints[pair.keypoint_ids] + error).tolist(),
            }
            for pair in pairs
        ]
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (folder / name / "predictions.jsonl").write_text(text)
        DataSource("pf-willow", root, DatasetOptions()).write(folder / name)
    return folder


@pytest.fixture(autouse=True)
def copied(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")


def test_two_runs(capsys):
    outputs = [f"found.{suffix}" for suffix in ("png", "md", "tex", "json", "csv")]
    status, out, err = run(
        capsys, "compare", "worse", "good", "--alphas", "0.01", "0.1", "--out", *outputs
    )
    assert status == 0, err
    assert "PF-WILLOW, 8 pairs: worse (A) and good (B)" in out
    assert "note: 8 of 12 pairs, those that both have" in out
    assert max(len(x) for x in out.splitlines() if not x.startswith(("PCK@", "note"))) <= 80
    found = json.loads(Path("found.json").read_text())
    assert found["names"] == ["worse", "good"]
    assert list(found["per_image"]) == ["pck@0.10", "pck@0.01"]
    assert found["per_image"]["pck@0.01"]["values"] == [0, 1]
    assert found["per_image"]["pck@0.01"]["interval"] == [1, 1]
    with Image.open("found.png") as image:
        assert min(image.size) > 500
    assert all(Path(name).stat().st_size > 500 for name in outputs)


def test_two_files(capsys, tmp_path):
    """The data set is told; names are told, or those by which the files differ."""
    for name in ("good", "worse"):
        (tmp_path / "work" / name / "data.json").unlink()
    files = ("worse/predictions.jsonl", "good/predictions.jsonl")
    status, _, err = run(capsys, "compare", *files)
    assert status == 2 and "got none; try --dataset and --root" in err and err.count("\n") == 1
    told = ("--dataset", "pf-willow", "--root", "willow")
    status, out, err = run(capsys, "compare", *files, *told)
    assert status == 0 and "worse (A) and good (B)" in out, err
    status, out, _ = run(capsys, "compare", *files, *told, "--names", "x :cat:", "y")
    assert status == 0 and "x :cat: (A) and y (B)" in out


def test_a_run_keeps_where_its_data_came_from(tmp_path):
    options = DatasetOptions(
        split="val", images=Path("images"), first_only=True, sides=("a:b", "c:d")
    )
    source = DataSource("coco", Path("file.json"), options)
    source.write(tmp_path)
    found = DataSource.read(tmp_path)
    assert found.root == Path("file.json").resolve() and found.dataset == "coco"
    assert found.options.images == Path("images").resolve()
    assert (found.options.split, found.options.first_only) == ("val", True)
    assert found.options.sides == ("a:b", "c:d")
    assert DataSource.read(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere", "good"], "nowhere: expected a readable file"),
        (["willow", "good"], "baseline: expected a run or a file of predictions, got willow"),
        (["good", "willow"], "method: expected a run or a file of predictions, got willow"),
        (["good", "worse", "--out", "x.pdf"], "out: expected a name ending in .png"),
        (["good", "worse", "--threshold", "bbox"], "threshold: expected box or image"),
        (["good", "worse", "--alphas", "10", "5"], "alphas: expected numbers above 0 and at most"),
        (["good", "worse", "--dataset", "pf-willow"], "root: expected --dataset and --root"),
        (["good", "worse", "--split", "val"], "dataset: expected --dataset and --root"),
        (["good", "broken"], "data.json: expected the data set of an evaluation"),
        (["good", "elsewhere"], "expected runs on the same data set, got pf-willow and coco"),
        (["good", "empty.jsonl"], "method: expected predictions of pairs that good has, too"),
        (["good", "worse", "--out", "good/predictions.json"], "out: expected another file than"),
    ],
)
def test_wrong_input_gets_one_line(capsys, arguments, reason):
    for name, text in (
        ("broken", "[]"),
        ("elsewhere", json.dumps({"dataset": "coco", "root": "x", "options": {}})),
    ):
        shutil.copytree("good", name)
        (Path(name) / "data.json").write_text(text)
    Path("empty.jsonl").write_text("")
    if "good/predictions.json" in arguments:
        lines = Path("good/predictions.jsonl").read_text().splitlines()
        Path("good/predictions.json").write_text(f"[{','.join(lines)}]")
        arguments = ["good/predictions.json", *arguments[1:]]
    before = {p: p.read_bytes() for p in Path("good").iterdir()}
    status, _, err = run(capsys, "compare", *arguments)
    assert status == 2 and reason in err and err.count("\n") == 1, err
    assert {p: p.read_bytes() for p in Path("good").iterdir()} == before


def test_predictions_that_are_not_finite_are_noted_by_name(capsys):
    path = Path("worse/predictions.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0][evaluation.ALIGNED][0] = [np.nan, 1]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    status, out, _ = run(capsys, "compare", "worse", "good")
    assert status == 0 and "note: worse: 1 predicted points are not finite" in out
