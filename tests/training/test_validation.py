"""Validation: bounded memory, the category of each image, a share of the pairs per process."""

import gc
import weakref

import pytest
from helpers.toy_training import toy_data, toy_matcher

from homolog import Matcher
from homolog.training import validation
from homolog.training.distributed import Process
from homolog.training.validation import summarise, validate


class Counted(Matcher):
    """Remembers what was extracted, and how many features were held at once."""

    def __init__(self, plain: Matcher):
        super().__init__(plain.backbone, plain.config)
        self.extracted: list[tuple[str, str | None]] = []
        self.alive: list[weakref.ref] = []
        self.most_alive = 0

    def extract(self, images, poses="none", category=None, **shown):
        features = super().extract(images, poses, category, **shown)
        self.extracted.append((images.stem, category))
        self.alive.append(weakref.ref(features))
        gc.collect()
        self.most_alive = max(self.most_alive, sum(ref() is not None for ref in self.alive))
        return features


@pytest.fixture
def data(tmp_path):
    return toy_data(tmp_path, 4)


def test_memory_is_bounded_and_results_do_not_depend_on_it(data):
    plenty, scarce = Counted(toy_matcher()), Counted(toy_matcher())
    expected = summarise(validate(plenty, data))
    found = summarise(validate(scarce, data, max_bytes=1))
    assert found == expected
    assert len(plenty.extracted) == plenty.most_alive == 4
    assert len(scarce.extracted) > 4
    assert scarce.most_alive <= 3  # a pair, and what takes the place of one of its images


def test_the_category_is_known_to_the_backbone(data):
    """A prompt may ask for it."""
    matcher = Counted(toy_matcher())
    validate(matcher, data)
    assert matcher.extracted == [(f"toy{i}", "toy") for i in range(4)]


def test_processes_share_the_pairs(data, monkeypatch):
    whole = validate(toy_matcher(), data)
    parts: dict[int, dict] = {}

    def gather(process: Process, value: dict) -> list[dict]:
        parts[process.rank] = value
        return [parts[rank] for rank in sorted(parts)]

    monkeypatch.setattr(validation.Process, "gather", gather)
    matchers = [Counted(toy_matcher()) for _ in range(3)]
    for rank, matcher in enumerate(matchers):
        shared = validate(matcher, data, Process(rank, 3))
    assert [sorted(parts[rank]) for rank in range(3)] == [
        list(range(0, 4)), list(range(4, 8)), list(range(8, 12))
    ]  # fmt: skip
    assert [pair.name for pair in shared.pairs] == [pair.name for pair in data.pairs]
    assert summarise(shared) == summarise(whole)
