"""Two methods on the same pairs: how much better one is, with paired bootstrap intervals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from homolog.errors import HomologError
from homolog.evaluation.accumulator import PCKAccumulator
from homolog.evaluation.charts import shown_alpha
from homolog.evaluation.estimates import Estimate, Key, Resampled, metric_name
from homolog.evaluation.report import HEADINGS, LABELLED_KINDS, PCK_KINDS, describe_protocol
from homolog.evaluation.tables import Table, new_console, print_line

if TYPE_CHECKING:
    from PIL import Image

_CURVE = 60  # points of the curves of a chart
_MOST_BARS = 24  # categories in a chart, those with the largest differences


@dataclass(frozen=True, eq=False)
class Comparison:
    """The metrics of two sets of predictions for the same pairs, and their differences.

    Attributes:
        data: name of the data set.
        names: of the two methods.
        protocol: how the predictions were scored, in two sentences.
        alphas: the thresholds, the largest first.
        metrics: by kind, label and name, the estimates of both, and of the second minus the first,
            whose interval is that of the differences in the same resamples of the pairs.
        curves: alphas and the PCK per image of both.
        pairs: number of pairs.
        notes: remarks, such as what was left out.
    """

    data: str
    names: tuple[str, str]
    protocol: str
    alphas: tuple[float, ...]
    metrics: Mapping[Key, tuple[Estimate, Estimate, Estimate]]
    curves: tuple[Sequence[float], Sequence[float], Sequence[float]]
    pairs: int
    notes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        data: str,
        scored: tuple[PCKAccumulator, PCKAccumulator],
        names: tuple[str, str],
        notes: Sequence[str] = (),
    ) -> Comparison:
        """Compare two methods.

        Args:
            data: name of the data set.
            scored: their predictions, of the same pairs in the same order.
            names: of the methods.
            notes: remarks on the predictions.

        Raises:
            HomologError: the predictions are of different pairs, or scored differently.
        """
        first, second = scored
        if [p.name for p in first.pairs] != [p.name for p in second.pairs]:
            raise HomologError(
                f"scored: expected two methods on the same pairs, got {len(first.pairs)} and "
                f"{len(second.pairs)} others"
            )
        if describe_protocol(first) != describe_protocol(second) or first.alphas != second.alphas:
            raise HomologError("scored: expected two methods scored alike, got two protocols")
        found0, found1 = first.resampled(), second.resampled()
        metrics = {
            key: (one.estimate, found1[key].estimate, _difference(one, found1[key]).estimate)
            for key, one in found0.items()
            if key in found1
        }
        # Missing on one side only: similarities that one file has and the other lacks.
        missing = sorted({key[0] for key in found0.keys() ^ found1.keys()})
        lacking = [
            f"{HEADINGS[kind] or kind}: only one of the two has it, left out" for kind in missing
        ]
        alphas = [1.5 * max(first.alphas) * step / _CURVE for step in range(_CURVE + 1)]
        return cls(
            data, names, describe_protocol(first), first.alphas, metrics,
            (alphas, first.curve(alphas), second.curve(alphas)), len(first.pairs),
            [*notes, *lacking],
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All metrics and differences as fractions, by kind (and label) and name, for JSON."""
        plain: dict[str, Any] = {
            "data": self.data, "names": list(self.names), "protocol": self.protocol,
            "pairs": self.pairs, "notes": list(self.notes),
        }  # fmt: skip
        for (kind, label, name), estimates in self.metrics.items():
            entry = plain.setdefault(kind, {})
            if label:
                entry = entry.setdefault(label, {})
            first, second, difference = estimates
            entry[name] = {
                "values": [first.value, second.value],
                "intervals": [list(first.interval), list(second.interval)],
                "difference": difference.value,
                "interval": list(difference.interval),
                "count": first.count,
            }
        return plain

    def to_json(self) -> str:
        """The comparison as JSON: `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """The comparison as CSV: a line for each metric, as fractions."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            ["kind", "part", "figure", "first", "second", "difference", "low", "high", "count"]
        )
        for key, (first, second, difference) in self.metrics.items():
            values = first.value, second.value, difference.value, *difference.interval
            writer.writerow([*key, *values, first.count])
        return text.getvalue()

    def to_markdown(self) -> str:
        """The comparison as Markdown: tables in percent."""
        parts = [f"## {self.title}", *self._legend()]
        parts += [table.to_markdown() for table in self.tables()]
        parts += [f"- {note}" for note in self.notes]
        return "\n\n".join(parts) + "\n"

    def to_latex(self) -> str:
        """The comparison as LaTeX: a `tabular` for each table (packages booktabs, fontenc T1)."""
        comments = [self.title, *self._legend(), *self.notes]
        lines = [f"% {' '.join(comment.split())}" for comment in comments]
        return "\n\n".join(["\n".join(lines), *(t.to_latex() for t in self.tables())]) + "\n"

    def print(self, console: Console | None = None) -> None:
        """Print the tables, by default on standard output."""
        console = console or new_console()
        print_line(console, self.title, "bold")
        for line in self._legend():
            print_line(console, line)
        console.print()
        for table in self.tables():
            table.print(console)
        for note in self.notes:
            print_line(console, f"note: {note}")

    @property
    def title(self) -> str:
        """What is compared, in a line."""
        return f"{self.data}, {self.pairs:,} pairs: {self.names[0]} (A) and {self.names[1]} (B)"

    def tables(self) -> list[Table]:
        """Metrics over all keypoints, and PCK per image of each category at each threshold."""
        several = len({key[1] for key in self.metrics if key[0] == "per_category_per_image"}) > 1
        overall = [
            key
            for key in self.metrics
            if not key[1] and (several or not key[0].startswith("macro"))
        ]
        overall.sort(key=lambda key: list(HEADINGS).index(key[0]))
        tables = [self._table("%", overall)]
        for alpha in self.alphas:
            name = metric_name("pck", alpha)
            keys = [
                key
                for key in self.metrics
                if key[0] in ("per_category_per_image", "per_azimuth_difference_per_image")
                and key[2] == name
            ]
            for kind in dict.fromkeys(key[0] for key in keys):
                heading = f"{LABELLED_KINDS[kind]}, {name} per image, %"
                tables.append(self._table(heading, [key for key in keys if key[0] == kind]))
        return tables

    def plot(self) -> Image.Image:
        """PCK of both over alpha, and the differences of all categories, as an image."""
        from homolog.viz.charts import draw_curves, draw_differences
        from homolog.viz.figures import new_figure, render

        alpha = metric_name("pck", shown_alpha(self.alphas))
        of_categories = {
            label: estimates[2]
            for (kind, label, name), estimates in self.metrics.items()
            if kind == "per_category_per_image" and name == alpha
        }
        largest = sorted(of_categories, key=lambda label: -abs(of_categories[label].value))
        shown = [label for label in of_categories if label in largest[:_MOST_BARS]]
        overall = self.metrics["per_image", "", alpha][2]
        bars = {"all pairs": overall} | {
            label: of_categories[label] for label in shown if len(of_categories) > 1
        }
        figure = new_figure((11.0, max(4.6, 1.6 + 0.24 * len(bars))), layout="constrained")
        left, right = figure.subplots(1, 2)
        alphas, first, second = self.curves
        labels = self.names if self.names[0] != self.names[1] else ("A", "B")
        draw_curves(
            left, {labels[0]: (alphas, first), labels[1]: (alphas, second)}, "alpha",
            "PCK per image, %", title=f"{self.data}: PCK over alpha",
        )  # fmt: skip
        of = "" if len(shown) == len(of_categories) else f", {len(shown)} of {len(of_categories)}"
        draw_differences(
            right, {name: e.value for name, e in bars.items()},
            {name: e.interval for name, e in bars.items()},
            f"{labels[1]} - {labels[0]}, percentage points (95 %)",
            f"difference of {alpha} per image{of}",
        )  # fmt: skip
        return render(figure)

    def _legend(self) -> list[str]:
        return [
            f"{self.protocol} B - A has a paired interval: that of the differences in the same "
            "resamples of the pairs."
        ]

    def _table(self, heading: str, keys: Sequence[Key]) -> Table:
        """A row for each metric."""
        cells = []
        for key in keys:
            first, second, difference = self.metrics[key]
            kind, label, name = key
            alpha = name.partition("@")[2]
            prefix = "PCK, " if kind in PCK_KINDS else ""
            title = label or prefix + HEADINGS[kind] + (f" @{alpha}" if alpha else "")
            low, high = difference.interval
            cells.append(
                [
                    title, f"{100 * first.value:.1f}", f"{100 * second.value:.1f}",
                    f"{100 * difference.value:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}",
                    f"{first.count:,}",
                ]
            )  # fmt: skip
        return Table([heading, "A", "B", "B - A", "95 % interval", "of"], cells)


def _difference(first: Resampled, second: Resampled) -> Resampled:
    """The second minus the first, in every resample."""
    return Resampled(
        second.value - first.value, first.count, second.resamples_B - first.resamples_B
    )
