"""The registry of data sets: one entry adds one, for every command that reads data sets."""

import dataclasses

import pytest
from helpers import datasets
from helpers.command import run
from helpers.toys import ColourBackbone

from homolog import HomologError, KeypointSchema, Matcher
from homolog.cli.options import DatasetOptions
from homolog.data import DataSet, ErrorCollector, pf_willow, registry
from homolog.utils import progress


def load_toys(root, split="test", *, problems=None):
    """Pairs of images whose keypoints are those of PF-WILLOW, a split in each folder."""
    data = pf_willow.load(root / split, problems=problems or ErrorCollector())
    schemas = {name: KeypointSchema.numbered(10) for name in data.schemas}
    return DataSet(f"Toys {split}", root, schemas, data.pairs, "image", (0.2,))


TOYS = registry.DatasetEntry(
    title="Toys",
    load=load_toys,
    options=("split",),
    find_splits=lambda root: {"test": {"split": "test"}} if (root / "toys.txt").exists() else {},
    layout="a folder with toys.txt",
    homepage="https://example.org/toys",
)


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The folder of a data set that is added by one entry."""
    monkeypatch.setitem(registry.DATASETS, "toys", TOYS)
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    datasets.make_pf_willow(tmp_path / "toys" / "test", ["duck(S)"])
    (tmp_path / "toys" / "toys.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "toys"


def test_an_added_data_set_is_evaluated(toys, capsys, monkeypatch, colour_matcher):
    monkeypatch.setattr(
        Matcher, "from_pretrained",
        lambda name="embedded", **_: Matcher(ColourBackbone(), colour_matcher.config),
    )  # fmt: skip
    status, out, err = run(capsys, "evaluate", "toys", toys, "--split", "test", "--out", "run")
    assert status == 0, err
    assert "Toys test" in out and "pck@0.20" in out and "target's image" in out
    options = ("--predictions", "run/predictions.jsonl")
    assert run(capsys, "score", "toys", toys, *options)[0] == 0
    status, _, err = run(capsys, "evaluate", "toys", toys, "--category", "duck(S)")
    assert status == 2 and "category: expected an option of toys (split)" in err


def test_an_added_data_set_is_checked(toys, capsys):
    status, out, _ = run(capsys, "data", "check", toys)
    assert status == 0 and out == "Toys test: 3 images, 6 pairs\n"


def test_messages_name_an_added_data_set(toys, tmp_path):
    datasets.refused(lambda: registry.find("animals"), "expected one of spair", ", toys, got")
    (tmp_path / "empty").mkdir()
    datasets.refused(lambda: registry.detect_layout(tmp_path / "empty"), TOYS.homepage, TOYS.layout)


@pytest.mark.parametrize("name", registry.DATASETS)
def test_entries_take_options_that_commands_have(name):
    known = {field.name for field in dataclasses.fields(DatasetOptions)}
    assert set(registry.find(name).options) <= known


def test_options_are_passed_on(tmp_path):
    root = datasets.make_spair(tmp_path)
    data = registry.load("spair", root, split="val", category="cat")
    assert data.name == "SPair-71k val (cat)"
    with pytest.raises(
        HomologError, match=r"seed: expected an option of spair \(split, category\)"
    ):
        registry.load("spair", root, seed=1)
    with pytest.raises(HomologError, match=r"split: expected an option of pf-willow \(none\)"):
        registry.load("pf-willow", root, split="test")
