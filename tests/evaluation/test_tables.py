"""Tables keep names as they are given, and fit a terminal of 80 columns."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from homolog.evaluation.tables import WIDTH, Table

CELL = "63.2 (61.3 to 65.3)"


def printed(table, width=WIDTH):
    text = io.StringIO()
    table.print(Console(file=text, width=width))
    return text.getvalue()


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 12])
def test_tables_fit_80_columns(columns):
    """Wide ones are cut between columns, each part with labels and counts."""
    names = [f"pck@0.{k:02}" for k in range(columns)]
    labels = ["per image", "geometry-aware, per image, not aligned", "x" * 100]
    table = Table(["%", *names, "of"], [[label, *[CELL] * columns, "12,234"] for label in labels])
    text = printed(table)
    assert max(map(len, text.splitlines())) <= 80
    assert [text.count(name) for name in names] == [1] * columns
    assert text.count("63.2 (61.3-65.3)") == 3 * columns
    assert text.count("12,234") == 3 * -(-columns // 3)


def test_names_are_printed_as_given():
    names = [":cat:", "[bold]x[/bold]", "car(G)", "100 %", "a|b", "a_b & c"]
    table = Table(["category", "value"], [[name, name] for name in names], counts=False)
    text = printed(table)
    assert all(text.count(name) == 2 for name in names)
    assert "| a\\|b | a\\|b |" in table.to_markdown()
    latex = table.to_latex()
    assert r"a\_b \& c & a\_b \& c \\" in latex and r"100 \%" in latex
    assert latex.startswith("\\begin{tabular}{lr}\n\\toprule")


def test_signs_of_numbers_are_set_as_mathematics():
    table = Table(["-", "difference"], [["left-right", "-1.5 to +2.0"]])
    assert r"left-right & $-1.5$ to $+2.0$ \\" in table.to_latex()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.booleans())
def test_parts_have_every_column_once(widths, counts):
    heading = ["label", *(f"{k:0>{width}}" for k, width in enumerate(widths)), *["n"] * counts]
    found = [part.heading for part in Table(heading, [heading], counts).parts()]
    middle = [name for part in found for name in part[1 : len(part) - counts]]
    assert middle == heading[1 : len(heading) - counts]
    for part in found:
        assert part[0] == "label" and (not counts or part[-1] == "n")
