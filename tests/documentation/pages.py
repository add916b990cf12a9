"""A page of the documentation, whose code is run in its order, in one folder and one namespace."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import json
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from documentation import blocks, programs
from documentation.programs import PROGRAMS, ROOT
from documentation.tables import OPTIONS, PLACEHOLDERS, PRELUDES, REPLACED, SLOW
from documentation.workspace import Workspace

_LANGUAGES = ("json", "python", "r", "sh", "text")
"""Of blocks; of these text and R, whose interpreter is no dependency, are shown and not run."""


@dataclass(frozen=True)
class Step:
    """What is run at once: a Python or JSON block, a command, or code within a sentence.

    Attributes:
        line: on the page, from 1.
        kind: `command`, `mention` (a command within a sentence), `expression` (Python within a
            sentence), or the language of the block.
        text: the code.
        exempt: why it is not run.
    """

    line: int
    kind: str
    text: str
    exempt: str | None

    @property
    def is_slow(self) -> bool:
        """Whether it takes too long for `make test`."""
        return any(part in self.text for part in SLOW)


def paths() -> list[str]:
    """All pages, relative to the repository."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def steps(page: str) -> list[Step]:
    """What there is to run on a page, in its order."""
    found = []
    for code in blocks.read(ROOT / page):
        if code.language == "inline":
            kind = _kind(code.text)
            if kind is not None:
                found.append(Step(code.line, kind, code.text, code.exempt))
        elif code.language == "sh":
            found += [
                Step(code.line + offset, "command", line, code.exempt)
                for offset, line in _commands(code.text)
            ]
        else:
            found.append(Step(code.line, code.language, code.text, code.exempt))
    return found


def _kind(text: str) -> str | None:
    """What code within a sentence is; None where it is only a word, an option or a value."""
    if text.split()[0] in PROGRAMS and " " in text:
        return "mention"
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    of_homolog = isinstance(tree, ast.Attribute) and text.startswith("homolog.")
    return "expression" if isinstance(tree, ast.Call) or of_homolog else None


def _commands(text: str) -> list[tuple[int, str]]:
    """The commands of a block, and where each begins; a backslash continues a line."""
    found, begun = [], ""
    for offset, line in enumerate(text.splitlines()):
        if not begun:
            first = offset
        begun += line.removesuffix("\\") + " "
        if not line.endswith("\\"):
            if begun.strip() and not begun.lstrip().startswith("#"):
                found.append((first, begun.strip()))
            begun = ""
    return found


class Page:
    """A page in the course of being run.

    Args:
        path: relative to the repository.
        folder: an empty one, in which all of it runs.
        workspace: has the files that it names.
    """

    def __init__(self, path: str, folder: Path, workspace: Workspace):
        self.path = path
        self.folder = folder
        self.workspace = workspace
        self.steps = steps(path)
        self.namespace: dict[str, Any] = {"__name__": path}
        self._prepared = False
        self._errors: dict[int, Exception | None] = {}

    def run(self, number: int) -> None:
        """Run a step, after all before it that were not run yet; only its own error is raised.

        Slow steps are run only when they are asked for.
        """
        with contextlib.chdir(self.folder):
            if not self._prepared:
                self._python(Step(1, "python", PRELUDES.get(self.path, ""), None))
                self._prepared = True
            for earlier, step in enumerate(self.steps[: number + 1]):
                if earlier in self._errors or (step.is_slow and earlier < number):
                    continue
                try:
                    if step.exempt is None:
                        self._run(step)
                    self._errors[earlier] = None
                except Exception as error:
                    self._errors[earlier] = error
        error = self._errors[number]
        if error is not None:
            step = self.steps[number]
            raise AssertionError(f"{self.path}:{step.line}: {step.text}\n{error!r}") from error

    def _run(self, step: Step) -> None:
        if step.kind in ("command", "mention"):
            self._command(step)
        elif step.kind == "expression":
            self._resolve(ast.parse(step.text, mode="eval").body)
        elif step.kind == "python":
            self._python(step)
        elif step.kind == "json":
            json.loads(step.text)
        else:
            assert step.kind in _LANGUAGES, f"a block's language is one of {_LANGUAGES}"

    def _python(self, step: Step) -> None:
        text = step.text
        for before, now in REPLACED.items():
            text = text.replace(before, now)
        # As many lines before it as on the page, so that errors name the page's own.
        tree = ast.parse("\n" * (step.line - 1) + text)
        strings = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        self.workspace.provide(self.folder, strings)
        exec(compile(tree, str(ROOT / self.path), "exec"), self.namespace)

    def _command(self, step: Step) -> None:
        program, *words = shlex.split(step.text, comments=True)
        while re.fullmatch(r"PIP_\w+=\S+", program):  # what pip takes from the environment
            program, *words = words
        assert program in PROGRAMS, f"the tests do not know how to run {program}"
        as_module = "-m" in words and "homolog" in words
        command = words.index("homolog") + 1 if as_module else 0
        before, given = words[:command], words[command:]
        of_homolog = program == "homolog" or as_module
        if step.kind == "mention" and of_homolog:
            given = [word for word in given if word != "..."]
            if programs.is_mention(given):
                programs.homolog([*given, "--help"])
                return
        if step.kind == "mention":
            given = [_placeholder(word, given) for word in given]
        if of_homolog:
            given = _with_options(given)
            written = {str(path): path for _, path in programs.outputs(given)}
            self.workspace.provide(self.folder, set(given) - set(written))
            if "--overwrite" not in given:
                # Commands that a page offers side by side may write the same.
                for path in written.values():
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        elif program == "cvat-cli":  # whose parameters are such as exemplars=str:few.json
            self.workspace.provide(self.folder, [word.rpartition(":")[2] for word in given])
        PROGRAMS[program]([*before, *given])

    def _resolve(self, tree: ast.expr) -> Any:
        """What an expression names, and whether a call's arguments fit; nothing is called."""
        if isinstance(tree, ast.Call):
            function = self._resolve(tree.func)
            values = [*tree.args, *(keyword.value for keyword in tree.keywords)]
            elided = any(isinstance(v, ast.Constant) and v.value is ... for v in values)
            # Exceptions take anything, and have no signature.
            raised = isinstance(function, type) and issubclass(function, Exception)
            if not elided and not raised:
                names = {str(keyword.arg): None for keyword in tree.keywords}
                inspect.signature(function).bind(*([None] * len(tree.args)), **names)
            return function
        if isinstance(tree, ast.Attribute):
            owner = self._resolve(tree.value)
            if isinstance(owner, ModuleType) and not hasattr(owner, tree.attr):
                return importlib.import_module(f"{owner.__name__}.{tree.attr}")
            found = getattr(owner, tree.attr)
            # A method of what a call returns: where a class is called, of its instance.
            of_instance = isinstance(tree.value, ast.Call) and inspect.isfunction(found)
            return functools.partial(found, None) if of_instance else found
        assert isinstance(tree, ast.Name), ast.unparse(tree)
        if tree.id == "homolog":
            return importlib.import_module("homolog")
        return self.namespace[tree.id]


def _placeholder(word: str, command: Sequence[str]) -> str:
    if not re.fullmatch("[A-Z]+", word):
        return word
    found = PLACEHOLDERS[word]
    if isinstance(found, Mapping):
        found = found[" ".join(command[:2])]
    return found


def _with_options(given: list[str]) -> list[str]:
    """The words of a command, with the options that it gets here."""
    for command, options in OPTIONS.items():
        first, *others = command.split()
        if given[:1] != [first] or " ".join(others) not in " ".join(given):
            continue
        for option, value in options.items():
            if option in given:
                given[given.index(option) + 1] = value
            else:
                given = [*given, option, value]
    return given
