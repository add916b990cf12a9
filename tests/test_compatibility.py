"""What an earlier version left on disk is read, and what it left half done goes on.

The files lie in fixtures/before_move, whose README.md says what they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import ColourBackbone, random_image
from safetensors.torch import load_file

from homolog import Matcher, MatcherConfig, cli
from homolog.backbones import DinoConfig, TuningConfig
from homolog.features import FeatureCache
from homolog.image.geometry import Grid
from homolog.presets import PRESETS
from homolog.training import LossConfig, NetworkConfig, TrainingConfig, ViewsConfig, recipes
from homolog.training.recipes import PoseVariants

pytest.importorskip("transformers", reason="the models' backbone is a DINO")

FIXTURES = Path(__file__).parent / "fixtures" / "before_move"
KEYS = FIXTURES / "keys.json"

RECIPE = TrainingConfig(
    recipe="toy",
    network=NetworkConfig("published", 128, zero_shot=0.1),
    steps=6,
    images_per_group=3,
    grad_accum_groups=2,
    learning_rate=1e-3,
    warmup=0.25,
    weight_decay=2e-3,
    clip=1.0,
    element_dropout=0.1,
    channel_dropout=0.1,
    loss=LossConfig(
        sparse=0.9,
        dense=0.8,
        temperature=0.03,
        window=3,
        noise=0.05,
        keypoint_fraction=0.8,
        prototypes=0.4,
    ),
    variants=PoseVariants(double=0.9, single=0.2, self_pair=0.3),
    views=ViewsConfig(count=2, rotation=20.0, scale=1.1, shift=0.05, colour=0.2),
    window=3,
    consensus=True,
    validate_every=2,
    validation_pairs=10,
    save_every=2,
    seed=3,
    tuning=TuningConfig(1, rank=2, learning_rate=2e-4),
)
"""What the run in `training` was started with."""


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of all fixtures, as the working directory: nothing in them has an absolute path."""
    copy = tmp_path / "before_move"
    shutil.copytree(FIXTURES, copy)
    monkeypatch.chdir(copy)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as when they were made
    yield copy
    torch.set_num_threads(before)


def run(*arguments: str | Path) -> None:
    cli.main([str(argument) for argument in arguments])


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files of a folder: when they were written, and what is in them."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def same_numbers(found: Any, expected: Any, atol: float) -> None:
    """Whether two JSON values are the same but for a small difference of numbers."""
    assert type(found) is type(expected), (found, expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            same_numbers(found[name], value, atol)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same_numbers(one, other, atol)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=atol)
    else:
        assert found == expected


def known(found: Any, then: Any) -> Any:
    """What there was then, without members that were added since."""
    if isinstance(then, dict):
        return {name: known(found[name], value) for name, value in then.items()}
    if isinstance(then, list) and then and isinstance(then[0], dict):
        return [known(one, other) for one, other in zip(found, then, strict=True)]
    return found


# Models.


@pytest.mark.parametrize("model", ["sides_model", "everything", "trained"])
def test_a_model_folder_finds_the_same_points(left: Path, model: str) -> None:
    images = [left / "data" / "images" / f"toy{i}.png" for i in (0, 2)]
    run("match", *images, "--model", model, "--grid", "3", "--json", "found.json")
    found, expected = (
        json.loads(path.read_text())
        for path in (left / "found.json", left / model / "matches.json")
    )
    for name in ("keypoints0", "keypoints1", "matching_scores"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)
    assert found["pair_score"] == pytest.approx(expected["pair_score"], abs=1e-4)
    assert found["pose"] == expected["pose"]


@pytest.mark.parametrize("model", ["sides_model", "everything", "trained", "training/last"])
def test_a_configuration_on_disk_is_read_in_full(left: Path, model: str) -> None:
    """Every field that was written decides something: changed, it makes another configuration."""
    plain = json.loads((left / model / "config.json").read_text())["matcher"]
    whole = MatcherConfig.from_dict(plain)
    assert Matcher.from_pretrained(model, device="cpu").config == whole
    changed = 0
    for place in _leaves(plain):
        other = json.loads(json.dumps(plain))
        branch = other
        for step in place[:-1]:
            branch = branch[step]
        value = branch[place[-1]]
        if value is None or place[-1] == "family":
            continue
        branch[place[-1]] = _another(value)
        assert MatcherConfig.from_dict(other) != whole, place
        changed += 1
    assert changed >= 18


OTHERS = {
    "tokens": "keys",
    "exact": "published",
    "auto": "float32",
    "maps": "descriptors",
    "descriptors": "maps",
}


def _another(value: Any) -> Any:
    if isinstance(value, str):
        return OTHERS.get(value, f"another {value}")
    return not value if isinstance(value, bool) else value + 1


def _leaves(plain: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in nested dictionaries and lists everything stands that is neither."""
    if isinstance(plain, (dict, list)):
        for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
            yield from _leaves(value, (*place, key))
    else:
        yield place


# Caches.


@pytest.mark.parametrize(
    ("cache", "model", "poses"),
    [
        ("cache", "sides_model", "flip"),
        ("cache", "everything", "flip"),
        ("cache_int8", "sides_model", "none"),
        ("cache_compact", "sides_model", "none"),
    ],
)
def test_a_cache_is_hit(left: Path, cache: str, model: str, poses: str) -> None:
    before = files(left / cache)
    images = [left / "data" / "images" / f"toy{i}.png" for i in (0, 1)]
    run("features", "build", *images, "--model", model, "--cache", cache, "--poses", poses)
    run("features", "check", cache)
    assert files(left / cache) == before
    # What is read from it is what the backbone makes, and the backbone is not asked.
    plain = Matcher.from_pretrained(model, device="cpu")
    made = plain.extract(images[0]).descriptors
    cached = Matcher(
        Asleep(plain.backbone), plain.config, cache=FeatureCache(cache), network=plain.network,
        side_head=plain.side_head,
    )  # fmt: skip
    read = cached.extract(images[0]).descriptors
    # Between descriptors of unit length: how far apart depends on how coarsely they are kept.
    similarity = (made * read).sum(-1)
    assert similarity.mean() > {"cache": 0.9999, "cache_int8": 0.999, "cache_compact": 0.5}[cache]
    assert len(list(FeatureCache(cache).files())) == len(list((left / cache).glob("??/*")))


class Asleep:
    """A backbone that must not be run."""

    def __init__(self, backbone: Any):
        self._backbone = backbone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the backbone was run")


# Runs that were stopped.


def test_a_half_done_training_goes_on(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", {"toy": lambda: RECIPE})
    before = (left / "training" / "log.jsonl").read_text().splitlines()
    claimed = (left / "training" / "run.json").read_bytes()
    torch.manual_seed(7)  # what is drawn comes from the run's own seed and state
    run(
        "train", "coco", "data/annotations.json", "--recipe", "toy", "--model", "sides_model",
        "--validation", "data/validation.json", "--device", "cpu", "--out", "training",
    )  # fmt: skip
    after = (left / "training" / "log.jsonl").read_text().splitlines()
    assert after[: len(before)] == before, "steps that were done are not done again"
    found, expected = (
        [json.loads(line) for line in lines]
        for lines in (after, (left / "trained" / "log.jsonl").read_text().splitlines())
    )
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {"seconds"}:
            # In bfloat16 on some processors, and not on others.
            rel, at_most = (1e-9, 0) if name in ("step", "learning_rate") else (0.1, 0.05)
            assert one[name] == pytest.approx(other[name], rel=rel, abs=at_most), (one, name)
    assert (left / "training" / "run.json").read_bytes() == claimed
    configs = [json.loads((left / f / "config.json").read_text()) for f in ("training", "trained")]
    for config in configs:  # which tells weights from others, and these differ by machine
        assert len(config["matcher"]["post_processor"].pop("tuned")) == 16
    assert configs[0] == configs[1]
    for name in ("model.safetensors", "backbone.safetensors"):
        ours, theirs = (load_file(left / folder / name) for folder in ("training", "trained"))
        assert ours.keys() == theirs.keys()
        for tensor in ours:
            torch.testing.assert_close(ours[tensor], theirs[tensor], atol=1e-3, rtol=1e-3)


def test_a_half_done_training_with_other_settings_is_refused(
    left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings on disk are compared with those given, to the last of them."""
    other = dataclasses.replace(RECIPE, loss=dataclasses.replace(RECIPE.loss, noise=0.06))
    monkeypatch.setattr(recipes, "RECIPES", {"toy": lambda: other})
    with pytest.raises(SystemExit) as stop:
        run(
            "train", "coco", "data/annotations.json", "--recipe", "toy", "--model", "sides_model",
            "--validation", "data/validation.json", "--device", "cpu", "--out", "training",
        )  # fmt: skip
    assert stop.value.code == 2


def test_a_half_done_annotation_goes_on(left: Path) -> None:
    journal = left / "annotation" / "labels.json.partial"
    head, *lines = journal.read_text().splitlines()
    done = [json.loads(line) for line in lines]
    assert len(done) == 2
    # A mark shows whether what was written down is taken as it is.
    for number, line in enumerate(done):
        line["annotation"]["area"] = 1.5 + number
    marked = "\n".join([head, *map(json.dumps, done)])
    journal.write_text(f'{marked}\n{{"file_name": "toy5.png", "wid')  # the third was cut off
    run(
        "annotate", "--exemplars", "data/exemplars.json", "--images", "data/images",
        "--model", "everything", "--out", "annotation/labels.json",
    )  # fmt: skip
    assert not journal.exists()
    found, expected = (
        json.loads((left / "annotation" / name).read_text())
        for name in ("labels.json", "finished.json")
    )
    by_name = {image["file_name"]: image["id"] for image in found["images"]}
    for line in done:
        (annotation,) = (
            a for a in found["annotations"] if a["image_id"] == by_name[line["file_name"]]
        )
        (own,) = (a for a in expected["annotations"] if a["id"] == annotation["id"])
        assert annotation["area"] == line["annotation"]["area"] != own["area"]
        annotation["area"] = own["area"]
    for labels in (found, expected):  # numbers are rounded to a hundredth of a pixel
        for annotation in labels["annotations"]:
            annotation["keypoints"] = [float(v) for v in annotation["keypoints"]]
            if "homolog" in annotation:
                annotation["homolog"]["predicted"] = list(
                    map(float, annotation["homolog"]["predicted"])
                )
    same_numbers(found, expected, atol=0.05)


def test_a_half_done_evaluation_goes_on(left: Path) -> None:
    folder = left / "evaluation"
    path, claimed = folder / "predictions.jsonl", (folder / "run.json").read_bytes()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 5
    for line in lines:
        line["mark"] = "done before"
    begun = "".join(f"{json.dumps(line)}\n" for line in lines)
    path.write_text(begun + '{"pair": "toy1.png')  # the sixth was cut off
    run(
        "evaluate", "coco", "data/annotations.json", "--model", "everything", "--poses", "flip",
        "--out", "evaluation",
    )  # fmt: skip
    assert (folder / "run.json").read_bytes() == claimed
    assert path.read_text().startswith(begun), "pairs that were done are not done again"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        line.pop("mark", None)
    finished = [json.loads(line) for line in (folder / "finished.jsonl").read_text().splitlines()]
    same_numbers(known(found, finished), finished, atol=1e-3)
    figures, then = (
        {k: v for k, v in json.loads((folder / name).read_text()).items() if isinstance(v, dict)}
        for name in ("results.json", "finished.json")
    )
    same_numbers(known(figures, then), then, atol=1e-6)


# Names that are written.


class Blank(ColourBackbone):
    """Of the canvas size of a preset's backbone; what it makes is of no interest."""

    def __init__(self, canvas_size: int):
        super().__init__()
        self.canvas_size = canvas_size
        self.grid = Grid.from_patches(canvas_size, canvas_size // 8)
        self.grids = (self.grid,) * 6

    def __call__(self, canvases: torch.Tensor, category: str = "") -> list[torch.Tensor]:
        return [torch.ones(len(canvases), 2, 8, 8)] * 6


def key_cases() -> dict[str, tuple[MatcherConfig, str | None]]:
    """Configurations whose caches have keys of their own, and the category of the image."""
    cases: dict[str, tuple[MatcherConfig, str | None]] = {
        name: (_as_then(make()), None) for name, make in PRESETS.items()
    }
    prompt = PRESETS["sd15+dinov2-base"]().with_weights(["sd", "dino"], "a photo of a {category}")
    cases["a prompt with the category"] = prompt, "cat"
    tuned = json.loads((FIXTURES / "everything" / "config.json").read_text())["matcher"]
    cases["a tuned backbone"] = MatcherConfig.from_dict({**tuned, "sides": None}), None
    return cases


def _as_then(config: MatcherConfig) -> MatcherConfig:
    """DINOv3's presets leave out directions now; without that, all is as it was."""
    if not isinstance(config.backbone, DinoConfig):
        return config
    return dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, debias=0))


@pytest.mark.parametrize("name", json.loads(KEYS.read_text()))
def test_cache_keys_of_presets_stay(name: str, tmp_path: Path) -> None:
    """A file's name is a hash of the canvas and of a string that must never change."""
    expected = json.loads(KEYS.read_text())[name]
    config, category = key_cases()[name]
    config = dataclasses.replace(config, sides=None)
    cache = FeatureCache(tmp_path / "cache")
    size = expected["canvas"]
    image = random_image(size, size)  # no larger and no smaller than the canvas: it is the canvas
    network = torch.nn.Identity() if config.post_processor is not None else None
    matcher = Matcher(Blank(size), config, cache=cache, network=network)
    matcher.extract(image, category=category)
    (file,) = cache.files()
    key = expected["key"].encode()
    assert file.stem == hashlib.sha256(np.asarray(image).tobytes() + key).hexdigest()


@pytest.mark.parametrize("name", json.loads(KEYS.read_text()))
def test_configurations_of_presets_are_read_as_they_were_written(name: str) -> None:
    read = MatcherConfig.from_dict(json.loads(KEYS.read_text())[name]["config"])
    config = key_cases()[name][0]
    if name == "embedded":  # its side head has learned on since, and its scores are probabilities
        assert config.sides is not None and read.sides is not None
        fitted = read.sides.presence_calibration
        sides = dataclasses.replace(config.sides, presence_calibration=fitted)
        config = dataclasses.replace(config, sides=sides, score_calibration=None)
    assert read == config
