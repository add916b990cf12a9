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
settings.register_profile("thorough", deadline=None, derandomize=True)
settings.register_profile("quick", settings.get_profile("thorough"), max_examples=50)


# Files with few tests that take long. Where files are given out to processes, these come first, so
# that none is still at work on one when the others have ended.
LONG = (
    "tests/documentation/test_documentation.py",
    "tests/test_real_photos.py",
    "tests/test_golden.py",
    "tests/labelling/test_ray.py",
    "tests/training/test_trainer.py",
    "tests/training/adaptation/test_run.py",
    "tests/labelling/test_exemplars.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    order = {path: place for place, path in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(LONG)))


def pytest_configure(config: pytest.Config) -> None:
    """Forget what the shell says: it may be a cluster's job, or have a terminal of its own."""
    # With the slow tests, all is tried at length.
    settings.load_profile("quick" if config.option.markexpr else "thorough")
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
