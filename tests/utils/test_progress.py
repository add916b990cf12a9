"""Progress is said where it takes long, and only there."""

import io
import time

import pytest
from rich.console import Console

from homolog.utils import progress
from homolog.utils.progress import ProgressBar


def shown(monkeypatch, terminal: bool, patience: float) -> str:
    monkeypatch.setattr(progress, "_PATIENCE", patience)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with ProgressBar(3, console) as steps:
        for name in ("reading", "looking", "matching"):
            steps.update(name)
            time.sleep(0.1)
    return console.file.getvalue()


def test_quick_work_is_silent(monkeypatch):
    for terminal in (True, False):
        assert shown(monkeypatch, terminal, patience=60) == ""


def test_long_work_shows_a_bar_on_a_terminal(monkeypatch):
    text = shown(monkeypatch, terminal=True, patience=0.02)
    assert "matching" in text and "2/3" in text


def test_long_work_prints_plain_lines_elsewhere(monkeypatch):
    text = shown(monkeypatch, terminal=False, patience=-1)
    assert text == "reading … 0/3\nlooking … 1/3\nmatching … 2/3\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_names_are_shown_as_given(monkeypatch, terminal):
    monkeypatch.setattr(progress, "_PATIENCE", 0.02 if terminal else -1)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with ProgressBar(2, console) as steps:
        for name in ("a[b].jpg", ":cat:.jpg"):
            steps.update(f"reading {name}")
            time.sleep(0.1)
        steps.log("done with [bold]:dog:[/bold]")
    text = console.file.getvalue()
    assert "reading :cat:.jpg" in text and "done with [bold]:dog:[/bold]\n" in text
    assert terminal or "reading a[b].jpg" in text


def test_errors_pass_through(monkeypatch):
    with pytest.raises(KeyError), ProgressBar(2) as steps:
        steps.update("reading")
        raise KeyError
