"""Every command and every Python block of README.md and docs/ works as it is written.

A page's code runs in its order, in a folder and a namespace of its own, with the real default
model; foundation models are small random ones. `tables.py` says what pages take as known, what
placeholders stand for, and how long work is made short; `workspace.py` makes the files that pages
name, `programs.py` runs the programs. Nothing is left out but what stands after a comment
`<!-- not run: reason -->`, and of these there are as many as stated here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from helpers.hub import Hub

from documentation import command_pages, pages
from documentation.tables import PRELUDES, REPLACED
from documentation.workspace import Workspace, fill_hub
from homolog.backbones.registry import FAMILIES
from homolog.data.registry import DATASETS

EXEMPT = 0
STEPS = {path: pages.steps(path) for path in pages.paths()}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[Callable[[str], pages.Page]]:
    """A page by its path, in one folder however often it is asked for."""
    workspace = Workspace(tmp_path_factory.mktemp("made"))
    hub = tmp_path_factory.mktemp("hub")
    fill_hub(hub)
    opened: dict[str, pages.Page] = {}

    def page_of(path: str) -> pages.Page:
        if path not in opened:
            opened[path] = pages.Page(path, tmp_path_factory.mktemp("page"), workspace)
        return opened[path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(hub))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("homolog.hub.HfApi", lambda: Hub(hub))
        # The weights in the cache stand in for those whose SHA-256 is known.
        patch.setattr("homolog.backbones.releases._problem", lambda *_: None)
        before = set(FAMILIES), set(DATASETS)
        yield page_of
    # What pages add to the registries is gone after them.
    for registry, names in zip((FAMILIES, DATASETS), before, strict=True):
        for name in set(registry) - names:
            del registry[name]
    if "ray" in sys.modules:  # what labels with it leaves its processes running
        sys.modules["ray"].shutdown()


@pytest.mark.parametrize(
    ("path", "number"),
    [
        pytest.param(
            path,
            number,
            id=f"{path.removeprefix('docs/')}:{step.line}",
            marks=[pytest.mark.slow] if step.is_slow else [],
        )
        for path, found in STEPS.items()
        for number, step in enumerate(found)
    ],
)
# Diffusers gives its hub library an argument that this one warns of.
@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning")
def test_what_is_documented_runs(page, path, number):
    page(path).run(number)


def test_the_page_of_commands_has_all_of_them_and_their_options():
    text = command_pages.PAGE.read_text("utf-8")
    for name, command in command_pages.commands():
        section = text.partition(f"\n## homolog {name}\n")[2].partition("\n## ")[0]
        missing = {
            option
            for option in command_pages.options(command)
            if f"`{option}`" not in section and f"`{option[2:].upper()}`" not in section
        }
        assert section and not missing, (
            f"{name} {missing}: run python tests/documentation/command_pages.py"
        )


def test_nothing_is_exempt():
    exempt = [(path, s.line, s.exempt) for path, found in STEPS.items() for s in found if s.exempt]
    assert len(exempt) == EXEMPT, exempt


def test_tables_name_what_is_there():
    assert set(PRELUDES) <= set(STEPS)
    text = "".join(step.text for found in STEPS.values() for step in found)
    assert all(before in text for before in REPLACED)
