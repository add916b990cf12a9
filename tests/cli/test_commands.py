"""The command as a whole: help, version, the log, and what is imported for them."""

import logging
import subprocess
import sys
from importlib.metadata import version

import pytest
from helpers.command import run

import homolog
from homolog.cli.commands import app

_HEAVY = ("torch", "numpy", "PIL", "matplotlib", "scipy", "safetensors", "huggingface_hub")


def imported(arguments: list[str]) -> tuple[str, set[str]]:
    """What the command prints in a process of its own, and the modules that it imports."""
    program = (
        "import sys, atexit; from homolog.cli import main;"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["match", "--help"], ["features", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    printed, modules = imported(arguments)
    assert printed.startswith("Usage: homolog")
    assert modules.isdisjoint(_HEAVY)


def test_the_version_needs_no_parser():
    printed, modules = imported(["--version"])
    assert printed.strip() == homolog.__version__ == version("homolog")
    assert modules.isdisjoint({*_HEAVY, "cyclopts", "rich"})


def test_all_commands_have_help(capsys):
    def commands(application, path=()):
        for name in application:
            if not name.startswith("-"):
                yield (*path, name)
                yield from commands(application[name], (*path, name))

    found = list(commands(app))
    assert len(found) > 20
    for path in found:
        status, out, _ = run(capsys, *path, "--help")
        assert status == 0 and out.startswith(f"Usage: homolog {' '.join(path)}")
        assert "--verbose" in out


def test_the_log_is_shown_when_asked_for(capsys, tmp_path, monkeypatch, matcher):
    monkeypatch.setattr(homolog.Matcher, "from_pretrained", classmethod(lambda *_, **__: matcher))
    from homolog.example import pair

    with pair() as example:
        arguments = ["heatmap", example.image0, example.image1, "--point", "109,98"]
        arguments += ["--out", tmp_path / "o.png"]
        _, quiet, silent = run(capsys, *arguments)
        for words in (["-v", *arguments], [*arguments, "--verbose"]):
            status, out, err = run(capsys, *words)
            assert status == 0 and out == quiet
            assert "homolog.cli.options: model embedded: Matcher(" in err
    assert "Matcher(" not in silent
    assert not any(
        isinstance(handler, logging.StreamHandler)
        for handler in logging.getLogger("homolog").handlers
    )


def test_an_interrupt_has_its_own_status(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rich.table.Table.add_row", interrupted)
    assert run(capsys, "backbones")[0] == 130
