"""The parser's errors take the form of all others: one line, and exit status 2."""

import pytest
from helpers.command import run

WRONG = {
    "unknown command": (["nonesuch"], "command: expected one of match, flow, heatmap, "),
    "unknown subcommand": (["data", "x"], "command: expected one of check, pairs, got 'x'"),
    "no argument": (["match", "a.jpg"], "image1: expected a value, got none; try --help"),
    "no value": (["match", "a", "b", "--max-matches"], "max-matches: expected a value, got none"),
    "no number": (["match", "a", "b", "--grid", "q"], "grid: expected a whole number, got 'q'"),
    "no float": (["match", "a", "b", "--temperature", "q"], "temperature: expected a number, got"),
    "no choice": (
        ["features", "build", "a", "--cache", "c", "--form", "q"],
        "form: expected one of half, int8, compact, got 'q'",
    ),
    "unknown option": (
        ["match", "a", "b", "--nonesuch", "1"],
        "nonesuch: expected an option of homolog match, got --nonesuch; try --help",
    ),
    "misspelt option": (["match", "a", "b", "--max-match", "1"], "got --max-match; try --max-"),
    "too many arguments": (["match", "a", "b", "c"], "arguments: expected no more, got 'c'"),
    "an option twice": (
        ["match", "a", "b", "--pose", "flip", "--pose", "flip"],
        "pose: expected one value, got several",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(capsys, name):
    arguments, line = WRONG[name]
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == ""
    assert err.startswith("homolog: ") and line in err
    assert err.count("\n") == 1 and ": expected " in err and ", got " in err
