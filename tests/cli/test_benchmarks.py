"""Benchmarks that list their pairs, by commands: evaluated, scored and checked."""

import pytest
from helpers import benchmarks
from helpers.command import run
from helpers.toys import ColourBackbone

from homolog import Matcher
from homolog.cli import train
from homolog.cli.options import DatasetOptions
from homolog.utils import progress

BENCHMARKS = {
    "ap10k-pairs": (
        benchmarks.make_ap10k_pairs,
        ("--subset", "cross-species"),
        "AP-10K cross-spec",
    ),
    "spair-u": (benchmarks.make_spair_u, ("--category", "cat"), "SPair-U test (cat)"),
    "soco": (benchmarks.make_soco, ("--subset", "cross", "--poses", "flip"), "SOCO cross"),
    "mp100": (benchmarks.make_mp100, (), "MP-100-SC"),
    "cub": (benchmarks.make_cub, ("--subset", "random"), "CUB random pairs"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch, colour_matcher):
    """A folder to work in, with a model that knows colours alone."""
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    for chart in ("plot_pck", "plot_best_and_worst"):  # which take most of the time
        monkeypatch.setattr(f"homolog.evaluation.run.{chart}", lambda *_: None)
    monkeypatch.setattr(
        Matcher, "from_pretrained",
        lambda name="embedded", **_: Matcher(ColourBackbone(), colour_matcher.config),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_evaluated_and_scored(folder, capsys, name):
    make, options, title = BENCHMARKS[name]
    root = make(folder / ("SPair-U" if name == "spair-u" else "data"))
    given = ("evaluate", name, root, *options, "--out", "run")
    status, out, err = run(capsys, *given)
    assert status == 0, err
    assert title in out and "SHA-256 of their names" in out
    subset = tuple(word for word in options if word not in ("--poses", "flip"))
    predictions = ("--predictions", "run/predictions.jsonl")
    status, out, err = run(capsys, "score", name, root, *subset, *predictions)
    assert status == 0 and title in out, err


def test_checks_print_the_checksum(folder, capsys):
    root = benchmarks.make_ap10k_pairs(folder / "ap-10k")
    status, out, _ = run(capsys, "data", "check", root)
    assert status == 0 and "AP-10K test intra-species: 9 images, 9 pairs" in out
    assert out.count("SHA-256 of their names: ") == 3


def test_splits_without_validation_hold_images_out(tmp_path):
    root = benchmarks.make_cub(tmp_path, species=1, images=24)
    training, held_out = train._load("cub", root, DatasetOptions(), None, 0.2)
    assert training.name == "CUB intra-species trn" and held_out.name.endswith("held out")
    paths = [{each.path for each in data.annotations} for data in (training, held_out)]
    assert not paths[0] & paths[1] and len(paths[0] | paths[1]) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "soco", "data", "--subset", "all"), "subset: expected intra or cross"),
        (("evaluate", "cub", "data"), "images.txt: expected a file, got none; try CUB-200-2011"),
        (("score", "mp100", "data", "--predictions", "x"), "expected lists pairs_<domain>.json"),
        (("evaluate", "spair-u", "data", "--split", "trn"), "split: expected an option of spair-u"),
        (("data", "pairs", "ap10k-pairs", "data", "--out", "x.json"), "lists its pairs itself"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(folder, capsys, arguments, message):
    (folder / "data").mkdir()
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and message in err and err.count("\n") == 1
