"""The notebooks in examples/ run from top to bottom, and are stored without outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def code_cells(name: str) -> list[dict]:
    cells = json.loads((EXAMPLES / name).read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def run(source: str, namespace: dict) -> object:
    """Run a cell; the value of an expression in its last line is what a notebook shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), namespace)
    return (
        None
        if last is None
        else eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
    )


def test_the_notebooks_are_those_that_the_readme_promises():
    assert NOTEBOOKS == ["label.ipynb", "match.ipynb"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": name}
    shown = [run("".join(cell["source"]), namespace) for cell in code_cells(name)]
    html = [value._repr_html_() for value in shown if hasattr(value, "_repr_html_")]
    assert all("<table>" in text for text in html)
    if name == "match.ipynb":
        assert len(html) == 4  # matches, mutual matches, heatmap, sides
        assert sorted(namespace["errors"])[len(namespace["errors"]) // 2] < 40
    else:
        labels = json.loads((tmp_path / "labels.json").read_text())
        assert len(labels["images"]) == 4


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_without_outputs(name):
    cells = code_cells(name)
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
