"""Optional libraries: a missing one is named with what installs it."""

import sys

import pytest

from homolog import HomologError
from homolog.utils.optional import require


def test_what_is_installed_is_imported():
    assert require("json.decoder") is sys.modules["json.decoder"]


@pytest.mark.parametrize(
    ("options", "requirement"),
    [
        ({}, "nonesuch"),
        ({"extra": "tools"}, r"'homolog\[tools\]'"),
        ({"package": "nonesuch-py==1"}, "nonesuch-py==1"),
    ],
)
def test_what_is_missing_is_named(options, requirement):
    message = f"^nonesuch: expected it to be installed, got none; try: pip install {requirement}$"
    with pytest.raises(HomologError, match=message):
        require("nonesuch.part", **options)


def test_a_library_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "brokenlib.py").write_text("import a_library_that_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(HomologError, match="got No module named 'a_library_that_it_needs'"):
        require("brokenlib", "tools")
