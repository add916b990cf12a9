"""Published figures stand beside one's own on the data set, and in the way, that they are of."""

import json
import re
from importlib import resources

import pytest
from helpers import benchmarks, datasets

from homolog.data import ap10k, ap10k_pairs, mp100, pf_pascal, soco, spair, spair_u
from homolog.evaluation import score
from homolog.evaluation.report import Report


def known():
    path = resources.files("homolog").joinpath("assets/published_results.json")
    return json.loads(path.read_text("utf-8"))


def perfect(data):
    """The report of predictions that are all right."""
    truth = {pair.name: pair.target.keypoints[pair.keypoint_ids] for pair in data.pairs}
    return Report.of(data, score(data, truth), "mine")


def names_of_all_data_sets(folder):
    """The names that readers give to the data sets which others publish figures of."""
    yield spair.load(datasets.make_spair(folder / "spair")).name
    yield spair_u.load(benchmarks.make_spair_u(folder / "SPair-U")).name
    yield pf_pascal.load(datasets.make_pf_pascal(folder / "pf")).name
    root = benchmarks.make_soco(folder / "soco")
    yield from (soco.load(root, subset=subset).name for subset in soco.SUBSETS)
    yield mp100.load(benchmarks.make_mp100(folder / "mp")).name
    root = datasets.make_ap10k(folder / "ap10k")
    yield from (ap10k.load(root, subset=subset).name for subset in ap10k.SUBSETS)
    root = benchmarks.make_ap10k_pairs(folder / "listed")
    yield from (ap10k_pairs.load(root, subset=subset).name for subset in ap10k.SUBSETS)


def test_published_figures_are_of_data_sets_that_can_be_read(tmp_path):
    content = known()
    names = set(names_of_all_data_sets(tmp_path))
    used = {name for method in content["methods"] for name in method["results"]}
    assert used | set(content["same_as"]) == names and set(content["same_as"].values()) <= used
    for method in content["methods"]:
        assert set(method) == {"method", "year", "backbone", "supervision", "results"}
        for figures in method["results"].values():
            for name, value in figures.items():
                assert (
                    re.fullmatch(r"(macro |geometry_aware )?pck@\d\.\d\d", name) and 0 < value < 100
                )
    rows = [(m["method"], m["backbone"]) for m in content["methods"]]
    assert len(set(rows)) == len(rows)


def row(report, start):
    """The cells of a line of the report."""
    (line,) = (line for line in report.to_markdown().splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("subset", ap10k.SUBSETS)
def test_listed_pairs_are_those_that_figures_are_of(tmp_path, subset):
    report = perfect(ap10k_pairs.load(benchmarks.make_ap10k_pairs(tmp_path), subset=subset))
    expected = {"intra-species": "89.1", "cross-species": "88.3", "cross-family": "83.4"}[subset]
    assert row(report, "MARCO (2026), DINOv2-L, keypoints")[-1] == expected
    assert row(report, "mine (here)")[-1] == "100.0"
    assert "SHA-256 of their names" in report.to_markdown()


def test_figures_averaged_over_categories_stand_beside_such(tmp_path):
    for data, title, expected in (
        (soco.load(benchmarks.make_soco(tmp_path / "a")), "DIY-SC (2025), DINOv2-B", "69.2"),
        (mp100.load(benchmarks.make_mp100(tmp_path / "b")), "Jamais Vu (2025), keypoints", "54.2"),
    ):
        report = perfect(data)
        assert row(report, title)[-1] == expected
        assert row(report, "mine (here)")[1:] == ["100.0"]
        (heading,) = (x for x in report.to_markdown().splitlines() if "not measured here" in x)
        assert "macro" in heading and "pck@0.10" in heading
