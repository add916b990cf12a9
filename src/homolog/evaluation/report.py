"""Reports on an evaluation: tables beside those of published methods, JSON, CSV, Markdown."""

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

from rich.console import Console
from rich.table import Table

from homolog.data import DataSet
from homolog.data.pairs import out_of_bounds
from homolog.evaluation.metrics import PCKAccumulator, Row
from homolog.evaluation.views import ObjectViews
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
"""By the kind of a row its heading in tables."""

_Table = tuple[list[str], list[list[str]]]
"""Headings and cells."""


@dataclass(frozen=True)
class Report:
    """The metrics of one set of predictions, with what they were computed from.

    Attributes:
        data: name of the data set.
        model: name of the method that made the predictions.
        poses: name of the poses that pose alignment selected from.
        protocol: how the predictions were scored, in a sentence.
        rows: the metrics.
        unaligned: those without pose alignment, if it was used.
        notes: remarks, such as what was left out.
        boxes: of which objects boxes were used; None for predictions of which that is not known.
        zoom: the way of zooming, likewise.
    """

    data: str
    model: str
    poses: str
    protocol: str
    rows: Sequence[Row]
    unaligned: Sequence[Row]
    notes: Sequence[str]
    boxes: str | None = None
    zoom: str | None = None

    @classmethod
    def of(
        cls,
        data: DataSet,
        scored: PCKAccumulator,
        model: str,
        notes: Sequence[str] = (),
        poses: str = "none",
        unaligned: PCKAccumulator | None = None,
        views: ObjectViews | None = None,
    ) -> Report:
        """Create the report on scored predictions.

        Args:
            data: the data set.
            scored: the predictions, scored.
            model: name of the method that made them.
            notes: remarks on the predictions.
            poses: name of the poses that pose alignment selected from.
            unaligned: the predictions without pose alignment, if it was used.
            views: what the method was shown of the images, if that is known.
        """
        protocol = (
            f"PCK@alpha: within alpha times the longer side of the target's {scored.threshold}, in "
            "pixels of the original images; 95 % confidence intervals by bootstrap over pairs."
        )
        outliers = out_of_bounds(data.annotations)
        if outliers:
            note = f"{len(outliers)} keypoints lie outside their image, such as {outliers[0]}"
            notes = [*notes, note]
        rows = () if unaligned is None else unaligned.rows()
        all_notes = [*data.notes, *(() if views is None else views.notes), *notes]
        shown = (None, None) if views is None else (views.boxes_name, views.zoom_name)
        return cls(data.name, model, poses, protocol, scored.rows(), rows, all_notes, *shown)

    def to_dict(self) -> dict[str, Any]:
        """All metrics as fractions, 0 to 1, by kind (and label) and name, ready for JSON."""
        plain: dict[str, Any] = {
            "data": self.data,
            "model": self.model,
            "poses": self.poses,
            "protocol": self.protocol,
            "notes": list(self.notes),
        }
        shown = {"boxes": self.boxes, "zoom": self.zoom}
        plain |= {name: value for name, value in shown.items() if value is not None}
        plain |= _to_plain(self.rows)
        if self.unaligned:
            plain["unaligned"] = _to_plain(self.unaligned)
        return plain

    def to_json(self) -> str:
        """The report as JSON: `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """The report as CSV: a line for each metric, as fractions."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["alignment", "kind", "part", "figure", "value", "low", "high", "count"])
        for alignment, rows in ((self.poses, self.rows), ("none", self.unaligned)):
            for row in rows:
                for name, estimate in row.estimates.items():
                    low, high = estimate.interval
                    subset = (alignment, row.kind, row.label)
                    writer.writerow([*subset, name, estimate.value, low, high, estimate.count])
        return text.getvalue()

    def to_markdown(self) -> str:
        """The report as Markdown: tables in percent."""
        parts = [f"## {self.data}, {self.model}", self.protocol]
        parts += [_markdown(heading, cells) for heading, cells in self._tables()]
        parts += [f"- {note}" for note in self.notes]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> None:
        """Write `results.json`, `results.csv` and `results.md` into a folder.

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
        """Print the tables, by default on standard output."""
        # Lines are not wrapped where the output is not a terminal.
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

    def _tables(self) -> list[_Table]:
        """The tables that are not empty."""
        tables = [
            self._overall(),
            self._by_label("category"),
            self._by_label("azimuth difference"),
            self._beside_published(),
        ]
        return [table for table in tables if table[1]]

    @property
    def _names(self) -> list[str]:
        """The names of the thresholds, such as `pck@0.10`."""
        return list(next(row for row in self.rows if row.kind == "per_image").estimates)

    def _overall(self) -> _Table:
        """Metrics over all keypoints, with intervals."""
        cells = []
        for rows, suffix in ((self.rows, ""), (self.unaligned, ", not aligned")):
            for row in rows:
                if row.label:
                    continue
                estimates = list(row.estimates.values())
                values = [
                    f"{100 * e.value:.1f} ({100 * e.interval[0]:.1f} to {100 * e.interval[1]:.1f})"
                    for e in estimates
                ]
                values += [""] * (len(self._names) - len(values))
                cells.append([HEADINGS[row.kind] + suffix, *values, f"{estimates[0].count:,}"])
        return ["% (95 % interval)", *self._names, "of"], cells

    def _by_label(self, name: str) -> _Table:
        """Metrics of each category, or of each azimuth difference."""
        kinds = [k for k in HEADINGS if k.startswith(f"per_{name.replace(' ', '_')}")]
        by_label: dict[str, dict[str, Row]] = {}
        for row in self.rows:
            if row.kind in kinds:
                by_label.setdefault(row.label, {})[row.kind] = row
        kinds = [k for k in kinds if any(k in rows for rows in by_label.values())]
        heading = [name]
        for kind in kinds:
            prefix = "geometry-aware " if "geometry_aware" in kind else ""
            heading += [f"{prefix}{threshold}" for threshold in self._names]
        cells = []
        for label, rows in by_label.items():
            line = [label]
            for kind in kinds:
                found = rows[kind].estimates if kind in rows else {}
                line += [f"{100 * found[n].value:.1f}" if found else "" for n in self._names]
            cells.append([*line, f"{next(iter(rows[kinds[0]].estimates.values())).count:,}"])
        return [*heading, "pairs"], cells

    def _beside_published(self) -> _Table:
        """The evaluated method, and below it the published ones on the same data set."""
        published = [method for method in _published() if self.data in method["results"]]
        if not published:
            return [], []
        names = list(dict.fromkeys(n for m in published for n in m["results"][self.data]))
        own: dict[str, float] = {}
        for row in self.rows:
            prefix = {"per_image": "", "geometry_aware_per_image": "geometry_aware "}.get(row.kind)
            if prefix is not None:
                own |= {f"{prefix}{name}": 100 * e.value for name, e in row.estimates.items()}
        lines: list[tuple[str, dict[str, float]]] = [(f"{self.model} (here)", own)]
        for method in published:
            year = f" ({method['year']})" if method["year"] else ""
            title = f"{method['method']}{year}, {method['backbone']}, {method['supervision']}"
            lines.append((title, method["results"][self.data]))
        cells = [
            [title, *(f"{values[n]:.1f}" if n in values else "" for n in names)]
            for title, values in lines
        ]
        heading = ["per image; published, not measured here", *(n.replace("_", "-") for n in names)]
        return heading, cells


def _to_plain(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows by kind, label and name; intervals apart, so that each metric is one number."""
    plain: dict[str, Any] = {}
    for row in rows:
        entry: dict[str, Any] = {name: e.value for name, e in row.estimates.items()}
        entry["count"] = next(iter(row.estimates.values())).count
        entry["intervals"] = {name: list(e.interval) for name, e in row.estimates.items()}
        if row.label:
            plain.setdefault(row.kind, {})[row.label] = entry
        else:
            plain[row.kind] = entry
    return plain


def _markdown(heading: list[str], cells: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@functools.cache
def _published() -> list[dict[str, Any]]:
    """Results of published methods, in percent."""
    text = resources.files("homolog").joinpath("assets/published_results.json").read_text("utf-8")
    methods: list[dict[str, Any]] = json.loads(text)["methods"]
    return methods
