"""Reports: tables beside published methods, JSON, CSV, Markdown and charts."""

import csv
import dataclasses
import io
import json
import re

from helpers.toy_evaluation import BOTH, score_file
from PIL import Image
from rich.console import Console

from homolog import evaluation
from homolog.evaluation.charts import plot_best_and_worst, plot_pck
from homolog.evaluation.report import Report


def test_reports(colour_matcher, data, tmp_path):
    path = evaluation.predict(colour_matcher, data, tmp_path / "run", poses=BOTH)
    aligned = score_file(data, path)
    without, _ = evaluation.read_predictions(path, data, evaluation.UNALIGNED)
    unaligned = evaluation.score(data, without)
    report = Report.of(data, aligned, "toy", ["a note"], "flip", unaligned)
    report.write(tmp_path)
    plain = json.loads((tmp_path / "results.json").read_text())
    assert plain["per_image"]["count"] == 6 and "per_image" in plain["unaligned"]
    table = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    values = {
        (row["alignment"], row["kind"], row["part"], row["figure"]): float(row["value"])
        for row in table
    }
    assert len(values) == len(table), "every figure once"
    assert values["flip", "per_image", "", "pck@0.10"] == plain["per_image"]["pck@0.10"]
    markdown = (tmp_path / "results.md").read_text()
    assert "| per image, not aligned |" in markdown and "- a note" in markdown
    plot_pck(tmp_path, report, aligned, unaligned)
    plot_best_and_worst(tmp_path, aligned, evaluation.read_predictions(path, data)[0])
    for name in ("pck", "azimuth", "best", "worst"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 300


def test_published_methods_stand_beside_their_benchmark(data):
    named = dataclasses.replace(data, name="SPair-71k test", alphas=(0.1, 0.05, 0.01))
    predictions = {p.name: p.target.keypoints[p.keypoint_ids] for p in named.pairs}
    markdown = Report.of(named, evaluation.score(named, predictions), "perfect").to_markdown()
    assert "| perfect (here) | 100.0 | 100.0 | 100.0 |" in markdown
    assert "GeoAware, zero-shot (2024)" in markdown and "| 64.2 | 48.7 | 8.9 | 54.8 |" in markdown
    assert "GeoAware" not in Report.of(data, evaluation.score(data, predictions), "x").to_markdown()
    by_image = evaluation.score(named, predictions, threshold="image")
    assert "GeoAware" not in Report.of(named, by_image, "x").to_markdown(), "another protocol"


def test_printed_tables(data):
    """Within 80 columns, names as they are given, thresholds from the largest to the smallest."""
    odd = dataclasses.replace(data, name="the :cat: set", alphas=(0.05, 0.15, 0.1, 0.005))
    scored = evaluation.score(odd, {p.name: p.target.keypoints[p.keypoint_ids] for p in odd.pairs})
    report = Report.of(odd, scored, "my:dog:model", ["a note on [bold]:fox:[/bold]"])
    text = io.StringIO()
    report.print(Console(file=text, width=80))
    lines = text.getvalue().splitlines()
    assert lines[0] == "the :cat: set, my:dog:model"
    assert lines[-1] == "note: a note on [bold]:fox:[/bold]"
    assert max(len(line) for line in lines if not line.startswith("PCK@alpha:")) <= 80
    order = ["pck@0.15", "pck@0.10", "pck@0.05", "pck@0.005"]
    (markdown,) = [x for x in report.to_markdown().splitlines() if x.startswith("| category, per i")
                   and "aware" not in x]  # fmt: skip
    assert re.findall(r"pck@[\d.]+", markdown) == order
    assert "macro" not in text.getvalue().partition("% (95")[2], "there is one category"
    assert report.to_dict()["alphas"] == [0.15, 0.1, 0.05, 0.005]
