"""Many images into a cache: batches, what does not fit, reading ahead, sharing by rank."""

import threading
from functools import partial

import numpy as np
import pytest
import torch
from helpers.command import run
from helpers.toys import ColourBackbone, random_image

from homolog import HomologError, Matcher
from homolog.features import FeatureCache
from homolog.features.precompute import precompute
from homolog.utils import progress


def canvas(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.array(random_image(96, 96, seed)))


class Small(ColourBackbone):
    """A device that holds so many canvases at once."""

    def __init__(self, room: int):
        super().__init__()
        self.room = room
        self.batches = []

    def __call__(self, canvases):
        if len(canvases) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        self.batches.append(len(canvases))
        return super().__call__(canvases)


@pytest.mark.parametrize(("room", "batches"), [(8, [4, 4, 2]), (3, [2] * 5), (1, [1] * 10)])
def test_batches_are_halved_until_they_fit(tmp_path, room, batches):
    backbone, cache = Small(room), FeatureCache(tmp_path)
    done = list(
        precompute(backbone, cache, "toy", [partial(canvas, i) for i in range(10)], batch_size=4)
    )
    assert backbone.batches == batches and done[-1] == 10
    # The same as one by one.
    for index in range(10):
        image = canvas(index)
        kept = cache.get_or_compute(
            image.numpy().tobytes(), "toy", torch.device("cpu"), lambda: 1 / 0
        )
        for ours, expected in zip(kept, ColourBackbone()(image[None]), strict=True):
            torch.testing.assert_close(ours, expected.half().float())
    # What is there is not made again.
    assert list(precompute(backbone, cache, "toy", [partial(canvas, i) for i in range(10)])) == [10]
    assert backbone.batches == batches


def test_one_that_does_not_fit_is_said(tmp_path):
    canvases = [partial(canvas, 0)]
    with pytest.raises(HomologError, match="room for one canvas of 96 pixels"):
        list(precompute(Small(0), FeatureCache(tmp_path), "toy", canvases, batch_size=2))


def test_so_it_is_when_matching(colour_matcher):
    matcher = Matcher(Small(0), colour_matcher.config)
    with pytest.raises(HomologError, match="room for one canvas of 96 pixels"):
        matcher.extract(random_image(40, 30))


def test_images_are_read_ahead_in_threads_and_kept_in_order(tmp_path):
    seen, threads = [], set()

    def read(index: int) -> torch.Tensor:
        threads.add(threading.get_ident())
        seen.append(index)
        return canvas(index)

    done = precompute(ColourBackbone(), FeatureCache(tmp_path), "toy",
                 [partial(read, i) for i in range(30)], num_workers=3)  # fmt: skip
    assert next(done) == 1
    assert len(seen) < 20, "not all are read at once"
    assert list(done)[-1] == 30 and sorted(seen) == list(range(30))
    assert threading.get_ident() not in threads


def test_a_broken_image_is_said(tmp_path):
    def broken() -> torch.Tensor:
        raise HomologError("image: is broken")

    with pytest.raises(HomologError, match="is broken"):
        list(
            precompute(
                ColourBackbone(), FeatureCache(tmp_path), "toy", [partial(canvas, 0), broken]
            )
        )


def test_processes_share_a_folder_by_rank(capsys, tmp_path, monkeypatch, colour_matcher):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    monkeypatch.chdir(tmp_path)
    for index in range(5):
        random_image(40, 30, index).save(tmp_path / f"{index}.png")
    names = [f"{index}.png" for index in range(5)]
    for rank, expected in ((0, 3), (1, 2)):
        backbone = ColourBackbone()
        toy = Matcher(backbone, colour_matcher.config)
        monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, toy=toy, **__: toy.with_config())
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        status, out, err = run(
            capsys, "features", "build", *names, "--cache", "cache", "--batch", "2"
        )
        assert status == 0 and out.startswith(f"{expected} images"), err
        assert backbone.seen == expected
    assert len(list(FeatureCache("cache").files())) == 5
    # What was built is what matching asks for.
    backbone = ColourBackbone()
    matcher = Matcher(backbone, colour_matcher.config, cache=FeatureCache("cache"))
    matcher.extract(names)
    assert backbone.seen == 0
