"""Tables of metrics: on a terminal within 80 columns, in Markdown, in LaTeX; names as given."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

WIDTH = 80
"""Columns of a terminal that every table fits in."""

_GAP = 2
_MIN_LABEL = 18
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "#": r"\#",
    "_": r"\_", "$": r"\$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "†": r"$^\dagger$", "<": "$<$", ">": "$>$", "|": "$|$", "\n": " ",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        heading: of each column; the first column has labels.
        cells: row by row.
        counts: whether the last column is a number of samples, which parts of a wide table repeat.
    """

    heading: Sequence[str]
    cells: Sequence[Sequence[str]]
    counts: bool = True

    def parts(self) -> Iterator[Table]:
        """The table cut between columns into parts that fit a terminal."""
        end = len(self.heading) - self.counts
        rows = [self.heading, *([_short(cell) for cell in row] for row in self.cells)]
        widths = [
            max(len(line) for row in rows for line in row[column].split("\n"))
            for column in range(len(self.heading))
        ]
        free = WIDTH - _MIN_LABEL - sum(_GAP + width for width in widths[end:])
        start = 1
        while True:
            stop, used = start, 0
            while stop < end and (stop == start or used + _GAP + widths[stop] <= free):
                used += _GAP + widths[stop]
                stop += 1
            columns = [0, *range(start, stop), *range(end, len(self.heading))]
            cells = [[row[column] for column in columns] for row in self.cells]
            yield Table([self.heading[column] for column in columns], cells, self.counts)
            if stop >= end:
                return
            start = stop

    def print(self, console: Console) -> None:
        """Print the table, within 80 columns unless the terminal is narrower or a name is long."""
        for part in self.parts():
            table = RichTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
            table.add_column(Text(part.heading[0]), overflow="fold")
            for heading in part.heading[1:]:
                table.add_column(Text(heading), justify="right", no_wrap=True)
            for row in part.cells:
                table.add_row(Text(row[0]), *(Text(_short(cell)) for cell in row[1:]))
            console.print(table)
            console.print()

    def to_markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.heading, ["---"] + ["---:"] * (len(self.heading) - 1), *self.cells]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
            for line in lines
        )

    def to_latex(self) -> str:
        """The table in LaTeX, a `tabular` with rules of the package booktabs."""
        cells = [[_to_latex(cell) for cell in row] for row in (self.heading, *self.cells)]
        # Signs of numbers are no hyphens.
        signed = [
            [row[0], *(re.sub(r"(?<![\w.])[-+]\d+(\.\d+)?", r"$\g<0>$", cell) for cell in row[1:])]
            for row in cells
        ]
        head, *body = (f"{' & '.join(row)} \\\\" for row in signed)
        columns = "l" + "r" * (len(self.heading) - 1)
        return "\n".join(
            [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", head, "\\midrule", *body,
             "\\bottomrule", "\\end{tabular}"]
        )  # fmt: skip


def new_console() -> Console:
    """Where tables are printed: standard output, 80 columns wide if it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def print_line(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is given, not cut where the output is no terminal."""
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def _to_latex(text: str) -> str:
    """A text as LaTeX shows it as given."""
    return "".join(_LATEX.get(character, character) for character in text)


def _short(cell: str) -> str:
    """A cell as it is on a terminal, where an interval in brackets takes less room."""
    return re.sub(r"\((\d+\.\d) to (\d+\.\d)\)$", r"(\1-\2)", cell)
