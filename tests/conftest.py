"""Fixtures: devices, a transparent toy backbone, the embedded matcher, pictures."""

from __future__ import annotations

import gc
import os
import sys

import pytest
import real_images
import torch
from helpers.remembered_maps import remembered_maps as remembered_maps
from helpers.toys import ColourBackbone
from hypothesis import settings

from homolog import Matcher, MatcherConfig
from homolog.features import FusionConfig

# Small tensors gain nothing from threads; with two test processes on two cores, threads that wait
# for each other cost several times the work.
torch.set_num_threads(1)
# What a test finds depends neither on how busy the machine is nor on luck.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """Forget what the shell says: it may be a cluster's job, or have a terminal of its own."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "RAY_ADDRESS", "FORCE_COLOR", "COLUMNS"):
        os.environ.pop(name, None)
    # Else each of the processes that tests start would compile all of the package again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """Spare the modules of all tests and libraries, which stay, whenever garbage is collected."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str:
    there = "found" if real_images.ROOT.is_dir() else "not there, checks on them are skipped:"
    return f"real photos: {there} {real_images.ROOT} (HOMOLOG_DATA)"


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def colour_matcher() -> Matcher:
    config = MatcherConfig(
        backbone="colour",
        fusion=FusionConfig(groups=((0,), (1,)), weights=(1.0, 1.0)),
        window=2,
        temperature=0.02,
        consensus=None,
        same_category_threshold=0.5,
    )
    return Matcher(ColourBackbone(), config)


@pytest.fixture(scope="session")
def matcher() -> Matcher:
    return Matcher.from_pretrained("embedded", device="cpu")
