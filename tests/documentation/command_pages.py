"""Writes docs/reference/commands.md from the commands' help texts.

Run it as a script: python tests/documentation/command_pages.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App
from cyclopts.argument import Argument

from homolog.cli.commands import app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
_HEAD = """# Commands

`--help` after a command prints the same. All commands take `-v` (`--verbose`), which prints what
the library logs to standard error. A user's error is one line, `argument: expected X, got Y`, and
exit status 2. Points, images and files follow the [conventions](conventions.md) and
[formats](formats.md).

Options of the model, which many commands share, are described once, at the end of this page.
"""
_SHARED = "match"
_MODEL = (
    "--model", "--poses", "--window", "--temperature", "--device", "--max-pixels", "--weights",
    "--prompt",
)  # fmt: skip


def commands(parent: App = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, App]]:
    """All commands by their full names, in alphabetical order."""
    for name in sorted(name for name in parent if not name.startswith("-")):
        command = parent[name]
        nested = list(commands(command, (*path, name)))
        if nested:
            yield from nested
        else:
            yield " ".join((*path, name)), command


def arguments(command: App) -> list[Argument]:
    """The positional arguments and the options of a command, in its order."""
    return [a for a in command.assemble_argument_collection(parse_docstring=True) if a.show]


def options(command: App) -> list[str]:
    """The first name of each argument and option of a command."""
    return [_name(argument) for argument in arguments(command)]


def page() -> str:
    """The text of the page."""
    parts = [_HEAD]
    for name, command in commands():
        lines = [f"## homolog {name}", "", _paragraphs(command.help), ""]
        found = [a for a in arguments(command) if not _is_shared(a, name)]
        shared = [a for a in arguments(command) if _is_shared(a, name)]
        lines += _list(found)
        if shared:
            names = ", ".join(f"`{_name(argument)}`" for argument in shared)
            lines += ["", f"And [options of the model](#options-of-the-model): {names}."]
        parts.append("\n".join(lines) + "\n")
    model = [a for a in arguments(app[_SHARED]) if _name(a) in _MODEL]
    parts.append("\n".join(["## Options of the model", "", *_list(model)]) + "\n")
    return "\n".join(parts)


def _is_shared(argument: Argument, command: str) -> bool:
    return _name(argument) in _MODEL and not command.startswith("train")


def _names(argument: Argument) -> list[str]:
    """Its names, without those that turn it off, which are `--no-` and `--empty-` before these."""
    return [name for name in argument.names if not name.startswith(("--no-", "--empty-"))]


def _name(argument: Argument) -> str:
    return _names(argument)[0]


def _paragraphs(text: str) -> str:
    return inspect.cleandoc(re.split(r"\n\s*Parameters\n", text)[0])


def _list(found: list[Argument]) -> list[str]:
    lines = []
    for argument in found:
        field = argument.field_info
        names = ", ".join(f"`{name}`" for name in _names(argument))
        if field.kind is not field.KEYWORD_ONLY:
            names = f"`{_name(argument).removeprefix('--').upper()}`"
        text = " ".join((argument.parameter.help or "").split())
        if field.required and field.kind is field.KEYWORD_ONLY:
            text += " Required."
        elif field.default not in (None, False, (), field.empty):
            text += f" Default: `{field.default}`."
        lines.append(f"- {names}: {text}")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
