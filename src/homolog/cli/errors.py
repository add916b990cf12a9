"""What the parser of the command line refuses, in the form of all other errors."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal, get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

_TYPES = {int: "a whole number", float: "a number", bool: "true or false"}


def describe(error: CycloptsError) -> str:
    """An error of the parser as `argument: expected X, got Y`."""
    name = "" if error.argument is None else error.argument.name.lstrip("-")
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        names = [name for name in error.app or () if not name.startswith("-")]
        return f"command: expected one of {', '.join(names)}, got {error.unused_tokens[0]!r}"
    if isinstance(error, UnknownOptionError):
        given = error.token.keyword or error.token.value
        command = " ".join(["homolog", *(error.command_chain or ())])
        options = [option for each in error.argument_collection for option in each.names]
        (nearest,) = get_close_matches(given, options, 1) or ["--help"]
        return f"{given.lstrip('-')}: expected an option of {command}, got {given}; try {nearest}"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"arguments: expected no more, got {' '.join(error.unused_tokens)!r}; try --help"
    if isinstance(error, MissingArgumentError) and name:
        return f"{name}: expected a value, got none; try --help"
    if isinstance(error, RepeatArgumentError):
        option = error.token.keyword or error.token.value
        return f"{option.lstrip('-')}: expected one value, got several"
    if isinstance(error, CoercionError) and name and error.token is not None:
        return f"{name}: expected {_expected(error.target_type)}, got {error.token.value!r}"
    return f"arguments: {error}"


def _expected(kind: object) -> str:
    """What a type takes, in words."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    assert isinstance(kind, type)
    return _TYPES.get(kind, kind.__name__)
