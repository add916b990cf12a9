"""What an evaluation says: tables with the published methods beside it, JSON, CSV, Markdown."""

from __future__ import annotations

import csv
import functools
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from homolog import evaluation
from homolog.data import DataSet
from homolog.data.pairs import out_of_bounds
from homolog.evaluation import Predictions
from homolog.evaluation.metrics import PCKAccumulator, Row
from homolog.image.geometry import IDENTITY, PoseVariant
from homolog.matcher import Matcher
from homolog.utils.outputs import write_atomically

HEADINGS = {
    "per_image": "per image",
    "per_point": "per point",
    "geometry_aware_per_image": "geometry-aware, per image",
    "geometry_aware_per_point": "geometry-aware, per point",
    "left_right_confusion": "left/right confusion",
    "per_category_per_image": "",
    "per_category_geometry_aware_per_image": "geometry-aware",
    "per_azimuth_difference_per_image": "azimuth difference",
}


@dataclass(frozen=True)
class Report:
    """The figures of one set of predictions, and how they came about.

    Attributes:
        data: name of the data set.
        model: what made the predictions.
        poses: those that pose alignment chose from.
        protocol: how they were scored, in a sentence.
        rows: the figures.
        unaligned: the same without pose alignment, where it was tried.
        notes: what a reader should know.
    """

    data: str
    model: str
    poses: str
    protocol: str
    rows: Sequence[Row]
    unaligned: Sequence[Row]
    notes: Sequence[str]

    @classmethod
    def of(
        cls,
        data: DataSet,
        scored: PCKAccumulator,
        model: str,
        notes: Sequence[str] = (),
        poses: str = "none",
        unaligned: PCKAccumulator | None = None,
    ) -> Report:
        """The report on scored predictions.

        Args:
            data: what was evaluated.
            scored: the predictions, scored.
            model: what made them.
            notes: what there is to say of the predictions.
            poses: those that pose alignment chose from.
            unaligned: those without pose alignment, where it was tried.
        """
        length = "box" if scored.threshold == "box" else "picture"
        protocol = (
            f"PCK@alpha: found within alpha times the longer side of the target's {length}, "
            "in the pictures' own pixels; intervals of 95 % by bootstrap over pairs."
        )
        outliers = out_of_bounds(data.annotations)
        if outliers:
            about = f"{len(outliers)} keypoints lie outside their picture, such as {outliers[0]}"
            notes = [*notes, about]
        rows = () if unaligned is None else unaligned.rows()
        return cls(data.name, model, poses, protocol, scored.rows(), rows, [*data.notes, *notes])

    def to_dict(self) -> dict[str, Any]:
        """All figures as shares, 0 to 1, by kind (and part) and name, ready for JSON."""
        plain: dict[str, Any] = {
            "data": self.data,
            "model": self.model,
            "poses": self.poses,
            "protocol": self.protocol,
            "notes": list(self.notes),
        }
        plain |= _figures(self.rows)
        if self.unaligned:
            plain["unaligned"] = _figures(self.unaligned)
        return plain

    def to_json(self) -> str:
        """`to_dict`, written out."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """A line for each figure, as shares."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["alignment", "kind", "part", "figure", "value", "low", "high", "count"])
        sets = [(self.poses, self.rows), ("none", self.unaligned)]
        for alignment, rows in sets:
            for row in rows:
                for name, figure in row.estimates.items():
                    low, high = figure.interval
                    writer.writerow(
                        [
                            alignment,
                            row.kind,
                            row.label,
                            name,
                            figure.value,
                            low,
                            high,
                            figure.count,
                        ]
                    )
        return text.getvalue()

    def to_markdown(self) -> str:
        """The tables, in percent."""
        parts = [f"## {self.data}, {self.model}", self.protocol]
        parts += [_markdown(heading, cells) for heading, cells in self._tables()]
        parts += [f"- {note}" for note in self.notes]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> None:
        """`results.json`, `results.csv` and `results.md`.

        Raises:
            HomologError: a file cannot be written.
        """
        for suffix, text in (
            ("json", self.to_json()),
            ("csv", self.to_csv()),
            ("md", self.to_markdown()),
        ):
            write_atomically(folder / f"results.{suffix}", text.encode())

    def print(self, console: Console | None = None) -> None:
        """The tables, by default on standard output."""
        # Tables are not folded where the output is no terminal.
        console = console or Console(width=None if sys.stdout.isatty() else 160)
        console.print(f"{self.data}, {self.model}", style="bold", highlight=False)
        console.print(self.protocol, highlight=False)
        for heading, cells in self._tables():
            table = Table(*heading)
            for column in table.columns[1:]:
                column.justify = "right"
            for line in cells:
                table.add_row(*line)
            console.print(table)
        for note in self.notes:
            console.print(f"note: {note}", highlight=False, markup=False)

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Headings and cells of the tables that are not empty."""
        tables = [self._overall(), self._parts("category"), self._parts("azimuth difference")]
        return [*(table for table in tables if table[1]), *self._beside()]

    @property
    def _names(self) -> list[str]:
        return list(next(row for row in self.rows if row.kind == "per_image").estimates)

    def _overall(self) -> tuple[list[str], list[list[str]]]:
        cells = []
        for rows, suffix in ((self.rows, ""), (self.unaligned, ", not aligned")):
            for row in rows:
                if row.label:
                    continue
                figures = list(row.estimates.values())
                shown = [
                    f"{100 * f.value:.1f} ({100 * f.interval[0]:.1f} to {100 * f.interval[1]:.1f})"
                    for f in figures
                ]
                shown += [""] * (len(self._names) - len(shown))
                count = f"{figures[0].count:,}"
                cells.append([HEADINGS[row.kind] + suffix, *shown, count])
        return ["% (95 % interval)", *self._names, "of"], cells

    def _parts(self, what: str) -> tuple[list[str], list[list[str]]]:
        kinds = [k for k in HEADINGS if k.startswith(f"per_{what.replace(' ', '_')}")]
        by_part: dict[str, dict[str, Row]] = {}
        for row in self.rows:
            if row.kind in kinds:
                by_part.setdefault(row.label, {})[row.kind] = row
        kinds = [k for k in kinds if any(k in found for found in by_part.values())]
        heading = [what]
        for kind in kinds:
            prefix = "geometry-aware " if "geometry_aware" in kind else ""
            heading += [f"{prefix}{name}" for name in self._names]
        cells = []
        for label, found in by_part.items():
            line = [label]
            for kind in kinds:
                figures = found[kind].estimates if kind in found else {}
                line += [f"{100 * figures[n].value:.1f}" if figures else "" for n in self._names]
            cells.append([*line, f"{next(iter(found[kinds[0]].estimates.values())).count:,}"])
        return [*heading, "pairs"], cells

    def _beside(self) -> list[tuple[list[str], list[list[str]]]]:
        """The published methods on this data set, and this one among them."""
        published = [m for m in _published() if self.data in m["results"]]
        if not published:
            return []
        names = list(dict.fromkeys(n for m in published for n in m["results"][self.data]))
        own: dict[str, float] = {}
        for row in self.rows:
            prefix = {"per_image": "", "geometry_aware_per_image": "geometry_aware "}.get(row.kind)
            if prefix is not None:
                own |= {f"{prefix}{name}": 100 * f.value for name, f in row.estimates.items()}
        lines: list[tuple[str, dict[str, float]]] = [(f"{self.model} (here)", own)]
        for method in published:
            year = f" ({method['year']})" if method["year"] else ""
            about = f"{method['method']}{year}, {method['backbone']}, {method['supervision']}"
            lines.append((about, method["results"][self.data]))
        cells = [
            [about, *(f"{found[n]:.1f}" if n in found else "" for n in names)]
            for about, found in lines
        ]
        heading = ["per image; published, not measured here", *(n.replace("_", "-") for n in names)]
        return [(heading, cells)]


def evaluate(
    matcher: Matcher,
    data: DataSet,
    folder: Path,
    model: str,
    poses: Sequence[PoseVariant] = (IDENTITY,),
    poses_name: str = "none",
    memory: int = evaluation.MEMORY,
) -> Report:
    """Find all keypoints, score them, and write tables, predictions and pictures into a folder.

    Args:
        matcher: finds the keypoints.
        data: the pairs.
        folder: made if it is not there; an interrupted evaluation in it goes on.
        model: what the tables call the matcher.
        poses: of the source, for pose alignment.
        poses_name: what the tables call these.
        memory: bytes of features to keep in memory.

    Raises:
        HomologError: as `evaluation.predict`.
    """
    path = evaluation.predict(matcher, data, folder, poses=poses, memory=memory)
    predictions, notes = evaluation.read_predictions(path, data)
    scored, unaligned = evaluation.score(data, predictions), None
    if len(poses) > 1:
        without, _ = evaluation.read_predictions(path, data, evaluation.UNALIGNED)
        unaligned = evaluation.score(data, without)
    report = Report.of(data, scored, model, notes, poses_name, unaligned)
    report.write(folder)
    draw_charts(folder, report, scored, unaligned)
    plot_best_and_worst(folder, scored, predictions)
    return report


def draw_charts(
    folder: Path, report: Report, scored: PCKAccumulator, unaligned: PCKAccumulator | None = None
) -> None:
    """PCK over alpha, and over azimuth difference where that is annotated.

    Args:
        folder: gets `pck.png` and `azimuth.png`.
        report: the figures.
        scored: the predictions that it is about.
        unaligned: those without pose alignment, where it was tried.
    """
    from homolog.viz.charts import plot_curves
    from homolog.viz.raster import save_image

    sets = {report.model: (scored, report.rows)}
    if unaligned is not None:
        sets = {
            f"{report.model}, aligned": (scored, report.rows),
            f"{report.model}, not aligned": (unaligned, report.unaligned),
        }
    alphas = [1.5 * max(scored.alphas) * step / 60 for step in range(61)]
    chart = plot_curves(
        {name: (alphas, of.curve(alphas)) for name, (of, _) in sets.items()},
        "alpha", "PCK per image, %",
    )  # fmt: skip
    save_image(chart, folder / "pck.png")
    alpha = f"pck@{max(scored.alphas):.2f}" if 0.1 not in scored.alphas else "pck@0.10"
    by_azimuth = {
        name: [row for row in rows if row.kind == "per_azimuth_difference_per_image"]
        for name, (_, rows) in sets.items()
    }
    if all(by_azimuth.values()):
        chart = plot_curves(
            {
                name: ([int(r.label) for r in rows], [r.estimates[alpha].value for r in rows])
                for name, rows in by_azimuth.items()
            },
            "azimuth difference, eighths of a turn", f"{alpha} per image, %",
            {name: [r.estimates[alpha].interval for r in rows] for name, rows in by_azimuth.items()},
        )  # fmt: skip
        save_image(chart, folder / "azimuth.png")


def plot_best_and_worst(folder: Path, scored: PCKAccumulator, predictions: Predictions) -> None:
    """The pairs with the smallest and the largest errors, no picture twice.

    Args:
        folder: gets `best.png` and `worst.png`.
        scored: the predictions, scored.
        predictions: the points.
    """
    from homolog.viz.pairs import plot_errors
    from homolog.viz.raster import save_image, stack_vertically

    alpha = 0.1 if 0.1 in scored.alphas else max(scored.alphas)
    errors = scored.mean_errors()
    order = [i for i in np.argsort(errors, kind="stable").tolist() if np.isfinite(errors[i])]
    for name, ranked in (("best", order), ("worst", order[::-1])):
        seen: set[Path] = set()
        sheets: list[Image.Image] = []
        for index in ranked:
            pair = scored.pairs[index]
            paths = {pair.source.path, pair.target.path}
            if len(sheets) == _DRAWN or paths & seen:
                continue
            seen |= paths
            ids, right = pair.keypoint_ids, scored.correct(index, alpha)
            caption = f"{pair.name}   ·   {right.sum()} of {len(ids)} within {alpha:g}"
            sheets.append(
                plot_errors(
                    pair.source.path, pair.target.path, pair.source.keypoints[ids],
                    pair.target.keypoints[ids], predictions[pair.name], right, caption,
                )
            )  # fmt: skip
        save_image(stack_vertically(sheets), folder / f"{name}.png")


_DRAWN = 4  # of the best and of the worst pairs


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    """By kind, part and name; intervals apart, so that a figure is a number."""
    plain: dict[str, Any] = {}
    for row in rows:
        shares: dict[str, Any] = {name: figure.value for name, figure in row.estimates.items()}
        shares["count"] = next(iter(row.estimates.values())).count
        shares["intervals"] = {name: list(f.interval) for name, f in row.estimates.items()}
        if row.label:
            plain.setdefault(row.kind, {})[row.label] = shares
        else:
            plain[row.kind] = shares
    return plain


def _markdown(heading: list[str], cells: list[list[str]]) -> str:
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@functools.cache
def _published() -> list[dict[str, Any]]:
    text = resources.files("homolog").joinpath("assets/published_results.json").read_text("utf-8")
    methods: list[dict[str, Any]] = json.loads(text)["methods"]
    return methods
