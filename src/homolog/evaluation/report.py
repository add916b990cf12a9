"""Reports on an evaluation: tables beside those of published methods, JSON, CSV, Markdown."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console

from homolog.data import DataSet
from homolog.data.pairs import out_of_bounds
from homolog.evaluation.metrics import Estimate, PCKAccumulator, Row
from homolog.evaluation.tables import Table, new_console, print_line
from homolog.evaluation.views import ObjectViews
from homolog.utils.outputs import write_text_atomically

PCK_KINDS = {
    "per_image": "per image",
    "per_point": "per point",
    "macro_per_image": "macro, per image",
    "macro_per_point": "macro, per point",
    "geometry_aware_per_image": "geometry-aware, per image",
    "geometry_aware_per_point": "geometry-aware, per point",
}
OTHER_KINDS = {
    "pck_dagger_per_image": "PCK†, per image",
    "pck_dagger_per_point": "PCK†, per point",
    "cc_per_image": "CC, per image",
    "cc_per_point": "CC, per point",
    "cc_confusion_per_image": "CC - PCK, per image",
    "cc_confusion_per_point": "CC - PCK, per point",
    "geco_n11": "GECO n11",
    "geco_n11_mirror": "GECO n11, mirror",
    "geco_n11_both": "GECO n11, both",
    "geco_n10": "GECO n10",
    "geco_n1x": "GECO n1x",
    "geco_n01_mirror": "GECO n01, mirror",
    "kap": "KAP",
    "kap_published": "KAP, as published",
}
CHOICE_KINDS = {
    "left_right_confusion": "left/right confusion",
    "soc_geo_per_image": "SOC-geo, per image",
    "soc_geo_chance_per_image": "chance, per image",
    "soc_geo_per_point": "SOC-geo, per point",
    "soc_geo_chance_per_point": "chance, per point",
}
"""Without a threshold."""
LABELLED_KINDS = {
    "per_category_per_image": "category",
    "per_category_per_point": "category",
    "per_category_geometry_aware_per_image": "category",
    "per_azimuth_difference_per_image": "azimuth difference",
}
"""By what each row is labelled."""
_PUBLISHED_KINDS = {
    "per_image": "",
    "macro_per_image": "macro ",
    "geometry_aware_per_image": "geometry_aware ",
}
"""How published figures of a kind begin."""
HEADINGS = PCK_KINDS | OTHER_KINDS | CHOICE_KINDS | dict.fromkeys(LABELLED_KINDS, "")
"""By the kind of a row its heading in tables."""


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
        settings: the protocol again, for programs: `threshold`, `alphas` and `strict`.
        beside_published: whether that is the data set's own protocol, so that published figures
            may stand beside it.
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
    settings: Mapping[str, Any] = field(default_factory=dict)
    beside_published: bool = True

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
        protocol = describe_protocol(scored)
        outliers = out_of_bounds(data.annotations)
        if outliers:
            note = f"{len(outliers)} keypoints lie outside their image, such as {outliers[0]}"
            notes = [*notes, note]
        rows = () if unaligned is None else unaligned.rows()
        of_views = () if views is None else views.notes
        all_notes = [*data.notes, *of_views, *notes, *scored.notes]
        settings = {
            "threshold": scored.threshold,
            "alphas": list(scored.alphas),
            "strict": scored.strict,
        }
        return cls(
            data.name, model, poses, protocol, scored.rows(), rows, all_notes,
            boxes=None if views is None else views.boxes_name,
            zoom=None if views is None else views.zoom_name,
            settings=settings,
            beside_published=scored.threshold == data.threshold,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All metrics as fractions, 0 to 1, by kind (and label) and name, ready for JSON."""
        plain: dict[str, Any] = {
            "data": self.data,
            "model": self.model,
            "poses": self.poses,
            "protocol": self.protocol,
            **self.settings,
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
        parts += [table.to_markdown() for table in self._tables()]
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
            write_text_atomically(folder / f"results.{suffix}", text)

    def print(self, console: Console | None = None) -> None:
        """Print the tables, by default on standard output."""
        console = console or new_console()
        print_line(console, f"{self.data}, {self.model}", "bold")
        print_line(console, self.protocol)
        console.print()
        for table in self._tables():
            table.print(console)
        for note in self.notes:
            print_line(console, f"note: {note}")

    def _tables(self) -> list[Table]:
        """The tables that are not empty."""
        tables = [
            self._overall(PCK_KINDS, self._names),
            self._overall(OTHER_KINDS, [f"@{name.partition('@')[2]}" for name in self._names]),
            self._overall(CHOICE_KINDS, ["share"]),
            *(self._by_label(kind) for kind in LABELLED_KINDS if kind != "per_category_per_point"),
            self._beside_published(),
        ]
        return [table for table in tables if table.cells]

    @property
    def _names(self) -> list[str]:
        """The names of the thresholds, such as `pck@0.10`."""
        return list(next(row for row in self.rows if row.kind == "per_image").estimates)

    def _overall(self, kinds: Collection[str], names: Sequence[str]) -> Table:
        """Metrics over all keypoints, with intervals."""
        cells = []
        for rows, suffix in ((self.rows, ""), (self.unaligned, ", not aligned")):
            by_kind = {row.kind: row for row in rows if not row.label}
            for kind in kinds:
                # The mean over one category is that over all pairs.
                if kind not in by_kind or (kind.startswith("macro") and self._categories < 2):
                    continue
                by_alpha = {
                    name.partition("@")[2]: e for name, e in by_kind[kind].estimates.items()
                }
                found = [by_alpha.get(name.partition("@")[2]) for name in names]
                values = ["" if estimate is None else with_interval(estimate) for estimate in found]
                count = next(iter(by_alpha.values())).count
                cells.append([HEADINGS[kind] + suffix, *values, f"{count:,}"])
        return Table(["% (95 % interval)", *names, "of"], cells)

    @property
    def _categories(self) -> int:
        return sum(row.kind == "per_category_per_image" for row in self.rows)

    def _by_label(self, kind: str) -> Table:
        """Metrics of each category, or of each azimuth difference."""
        cells = [
            [
                row.label,
                *(f"{100 * row.estimates[name].value:.1f}" for name in self._names),
                f"{row.estimates[self._names[0]].count:,}",
            ]
            for row in self.rows
            if row.kind == kind
        ]
        subset = ", geometry-aware" if "geometry_aware" in kind else ""
        return Table([f"{LABELLED_KINDS[kind]}, per image{subset}", *self._names, "pairs"], cells)

    def _beside_published(self) -> Table:
        """The evaluated method, and below it the published ones on the same data set."""
        known = _published()
        name = known["same_as"].get(self.data, self.data)
        published = [method for method in known["methods"] if name in method["results"]]
        if not published or not self.beside_published:
            return Table([], [])
        names = sorted({n for m in published for n in m["results"][name]}, key=_column_order)
        own: dict[str, float] = {}
        for row in self.rows:
            prefix = _PUBLISHED_KINDS.get(row.kind)
            if prefix is not None:
                own |= {f"{prefix}{name}": 100 * e.value for name, e in row.estimates.items()}
        lines: list[tuple[str, dict[str, float]]] = [(f"{self.model} (here)", own)]
        for method in published:
            year = f" ({method['year']})" if method["year"] else ""
            parts = (f"{method['method']}{year}", method["backbone"], method["supervision"])
            lines.append((", ".join(filter(None, parts)), method["results"][name]))
        cells = [
            [title, *(f"{values[n]:.1f}" if n in values else "" for n in names)]
            for title, values in lines
        ]
        heading = ["per image; published, not measured here"]
        heading += [name.replace("_", "-").replace(" ", "\n") for name in names]
        return Table(heading, cells, counts=False)


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


def describe_protocol(scored: PCKAccumulator) -> str:
    """How predictions were scored, in two sentences."""
    distance = "nearer than" if scored.strict else "at most"
    return (
        f"PCK@alpha: {distance} alpha times the longer side of the target's {scored.threshold} "
        "from the truth, in pixels of the original images; per image is the mean over a pair's "
        "keypoints, then over pairs, per point that over all keypoints (as are GECO's figures and "
        "left/right confusion), macro that over categories of their means. 95 % confidence "
        "intervals by bootstrap over pairs."
    )


def with_interval(estimate: Estimate) -> str:
    """A fraction in percent, with its interval."""
    low, high = estimate.interval
    return f"{100 * estimate.value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _column_order(name: str) -> tuple[str, float]:
    """PCK before that of subsets, each from the largest alpha to the smallest."""
    kind, _, alpha = name.rpartition("@")
    return kind.rpartition(" ")[0], -float(alpha)


@functools.cache
def _published() -> dict[str, Any]:
    """Results of published methods in percent, and data sets that others' results are of, too."""
    text = resources.files("homolog").joinpath("assets/published_results.json").read_text("utf-8")
    known: dict[str, Any] = json.loads(text)
    return known
