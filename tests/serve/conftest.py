"""Fixtures: the page's server with the embedded matcher, and with one that takes no time."""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from helpers.browser import chromium, serving
from helpers.serve import client
from helpers.toys import ColourBackbone

from homolog import Matcher
from homolog.features import FusionConfig
from homolog.presets import embedded_zero_shot


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory) -> Iterator[Path]:
    """A temp folder of these tests alone: what other programs have in theirs is not looked at."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def page(matcher) -> Iterator[TestClient]:
    with client(matcher) as found:
        yield found


@pytest.fixture(scope="module")
def ids(page) -> list[str]:
    """Ids of the example pair."""
    return page.get("/api/start").json()["example"]


@pytest.fixture(scope="module")
def plain() -> Iterator[TestClient]:
    """The same with a matcher that takes no time."""
    fusion = FusionConfig(groups=((0,), (1,)), weights=(1.0, 1.0))
    config = dataclasses.replace(embedded_zero_shot(), backbone="colour", fusion=fusion)
    with client(Matcher(ColourBackbone(), config)) as found:
        yield found


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Where the browser saves files."""
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def browser(saved) -> Iterator[Any]:
    with chromium(saved) as driver:
        yield driver


@pytest.fixture(scope="module")
def address(matcher) -> Iterator[str]:
    """Where a page with the embedded matcher is served, for browsers."""
    with serving(matcher) as found:
        yield found
