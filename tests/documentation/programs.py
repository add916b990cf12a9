"""The programs that the documentation calls, each run or checked without the network."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import re
import runpy
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import uvicorn

from homolog import cli
from homolog.cli.commands import app

ROOT = Path(__file__).parents[2]
_OUTPUTS = ("--cache", "--csv", "--json", "--markdown", "--out")
_PROCESSES = "2"
_SECONDS = 120


def homolog(arguments: Sequence[str]) -> None:
    """Run the command in this process; it must succeed, and leave what it was asked to write."""
    if arguments[:1] == ["serve"] and "--help" not in arguments:
        _serve(arguments)
        return
    status, printed = _main(arguments)
    assert status == 0, f"exit status {status}: {printed}"
    for option, path in outputs(arguments):
        files = [p for p in (path, *path.rglob("*")) if p.is_file()]
        assert files and all(p.stat().st_size for p in files), f"{option} {path}: nothing written"


def outputs(arguments: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The files and folders that a command is asked to write; `-` is none."""
    for option, value in itertools.pairwise(arguments):
        if option in _OUTPUTS and value != "-":
            yield option, Path(value)


def is_mention(arguments: Sequence[str]) -> bool:
    """Whether the words name a command of homolog and give it nothing."""
    _, _, given = app.parse_commands(list(arguments))
    return not given


def torchrun(arguments: Sequence[str]) -> None:
    """Run a module in two processes, however many the page says."""
    from torch.distributed.run import get_args_parser

    given = get_args_parser().parse_args(list(arguments))
    assert given.module and given.training_script == "homolog", "takes -m homolog"
    launcher = ["--standalone", "--nproc-per-node", _PROCESSES, "-m", "homolog"]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *launcher,
        *given.training_script_args,
    ]
    made = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


def make(arguments: Sequence[str]) -> None:
    """Targets and variables must be in the Makefile."""
    text = (ROOT / "Makefile").read_text()
    for word in arguments:
        name, given, _ = word.partition("=")
        pattern = rf"\$\({name}\)" if given else rf"(?m)^(\S+ )*{re.escape(name)}( \S+)*:"
        assert re.search(pattern, text), f"the Makefile has no {name}"


def pip(arguments: Sequence[str]) -> None:
    """What is installed must be this project, with extras that it has, or what it depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(name for names in extras.values() for name in names)]
    libraries = {re.split(r"[^\w-]", name)[0] for name in needed}
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("command", choices=["install"])
    parser.add_argument("--constraint", "-c", type=Path)
    parser.add_argument("--editable", "-e", action="append", default=[])
    parser.add_argument("--index-url")
    parser.add_argument("--extra-index-url")
    parser.add_argument("requirements", nargs="*")
    given = parser.parse_args(list(arguments))
    assert given.constraint is None or (ROOT / given.constraint).is_file(), given.constraint
    for requirement in [*given.requirements, *given.editable]:
        match = re.fullmatch(r"(?P<name>[\w.-]+)(\[(?P<extras>[\w,-]+)\])?", requirement)
        assert match, f"{requirement} is not understood"
        if match["name"] in (".", "homolog"):
            unknown = set((match["extras"] or "").split(",")) - {"", *extras}
            assert not unknown, f"{requirement}: there is no extra {', '.join(unknown)}"
        else:
            assert match["name"] in libraries, f"{requirement} is no dependency"


def cvat_cli(arguments: Sequence[str]) -> None:
    """What is on the page must be understood, and the function of its module be made."""
    from cvat_cli._internal.commands_all import COMMANDS
    from cvat_cli._internal.common import FunctionLoader, configure_common_arguments

    parser = argparse.ArgumentParser(exit_on_error=False)
    configure_common_arguments(parser)
    COMMANDS.configure_parser(parser)
    given = parser.parse_args(list(arguments))
    function = FunctionLoader(given.function_module, None, given.function_parameters).load()
    assert function.spec is not None


def python(arguments: Sequence[str]) -> None:
    """Run homolog as a module; of scripts, which take hours, and of pytest check the arguments."""
    if arguments[:2] == ["-m", "homolog"]:
        homolog(arguments[2:])
        return
    if arguments[:2] == ["-m", "pytest"]:
        missing = [word for word in arguments[2:] if not (ROOT / word).exists()]
        assert not missing, f"there is no {', '.join(missing)}"
        return
    script = ROOT / arguments[0]
    source = script.read_text()
    if "ArgumentParser" not in source:
        compile(source, str(script), "exec")
        assert not arguments[1:], f"{arguments[0]} takes no arguments"
        return
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *given: object) -> None:
        try:
            parse(parser, list(arguments[1:]))
        except SystemExit:
            raise AssertionError(f"{arguments[0]} does not take {arguments[1:]}") from None
        raise _Parsed

    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except _Parsed:
            return
    raise AssertionError(f"{arguments[0]} did not look at its arguments")


PROGRAMS: dict[str, Callable[[Sequence[str]], None]] = {
    "cvat-cli": cvat_cli,
    "homolog": homolog,
    "make": make,
    "pip": pip,
    "python": python,
    "torchrun": torchrun,
}
"""By name; a program that is not here makes the test fail."""


class _Parsed(Exception):
    """The arguments were understood."""


def _main(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit status, and what was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            cli.main(list(arguments))
        except SystemExit as stop:
            return int(stop.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def _serve(arguments: Sequence[str]) -> None:
    """Start the server, ask it for its page, and end it."""
    servers: list[uvicorn.Server] = []
    ended: list[tuple[int, str]] = []

    class Server(uvicorn.Server):
        def run(self, sockets=None):
            self.listening = sockets[0].getsockname()[1]
            servers.append(self)
            super().run(sockets)

    with mock.patch.object(uvicorn, "Server", Server):
        thread = threading.Thread(target=lambda: ended.append(_main(arguments)))
        thread.start()
        try:
            began = time.monotonic()
            while thread.is_alive() and not (servers and servers[0].started):
                assert time.monotonic() - began < _SECONDS, "the server does not start"
                time.sleep(0.02)
            assert servers and servers[0].started, f"the server has ended: {ended}"
            address = f"http://127.0.0.1:{servers[0].listening}/"
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
                assert answer.status == 200 and b"<html" in answer.read().lower()
        finally:
            for server in servers:
                server.should_exit = True
            thread.join(_SECONDS)
    assert ended and ended[0][0] == 0, f"the server ended with {ended}"
