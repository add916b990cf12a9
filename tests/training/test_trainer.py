"""Training: what is drawn and with what weights, the loop, its interruptions, its result."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import toy_training
from helpers.toy_training import (
    CONTEXT,
    PUBLISHED,
    RESIDUAL,
    SCHEMA,
    register,
    run,
    toy_data,
    toy_matcher,
)
from helpers.toys import random_picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import homolog
from homolog import HomologError, KeypointSchema, Matcher
from homolog.backbones import base
from homolog.data import DataSet, Pair
from homolog.data.split import hold_out
from homolog.image import reading
from homolog.image.geometry import IDENTITY, CanvasTransform, Grid
from homolog.training import ViewsConfig, published_spair, train, trainer
from homolog.training.augmentation import AS_IT_IS, FLIPPED, RandomAffineView
from homolog.training.checkpoint import TrainState, read_state
from homolog.training.recipes import RECIPES, PoseVariants
from homolog.training.sampler import BatchSampler

SCRIPT = Path(toy_training.__file__)


@pytest.fixture(autouse=True)
def toy_backbone(monkeypatch):
    monkeypatch.setattr(base, "_loaders", dict(base._loaders))
    register()


@pytest.fixture
def unreported(monkeypatch):
    """Runs end without their report, which takes several times as long as the toy's steps."""
    monkeypatch.setattr(trainer, "_finish", lambda *_: None)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in lines(folder) if "loss" in line]


def start(folder: Path, steps: int, groups: int = 1, processes: int = 1) -> subprocess.Popen:
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command += [str(SCRIPT), str(folder), str(steps), str(groups)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


# Views.


@given(st.integers(0, 2**31), st.sampled_from([(96, 96), (60, 90), (120, 50)]))
def test_keypoints_go_where_the_picture_goes(seed, size):
    """A spot painted on a keypoint is seen at the keypoint's cell."""
    rng = np.random.default_rng(seed)
    point = rng.uniform(10, np.array(size) - 10, (1, 2))
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    spot = np.exp(-((x - point[0, 0]) ** 2 + (y - point[0, 1]) ** 2) / 18)
    picture = Image.fromarray((255 * spot).astype(np.uint8)).convert("RGB")
    grid = Grid.from_patches(128, 8)
    view = CanvasTransform(*size, IDENTITY, 128, grid)
    colourless = ViewsConfig(colour=0.0)
    for showing in (AS_IT_IS, FLIPPED, RandomAffineView.draw(colourless, rng)):
        cell = showing.cells(point, view)[0]
        if not (np.abs(cell - 7.5) < 5).all():  # partly or wholly off the canvas
            continue
        light = np.asarray(showing.canvas(picture, view))[..., 0].astype(float)
        centres = np.arange(128) + 0.5
        place = np.array([[light.sum(0) @ centres, light.sum(1) @ centres]]) / light.sum()
        found = grid.to_cells(place)[0]
        np.testing.assert_allclose(found, cell, atol=0.35)


def test_random_views_stay_within_their_limits():
    rng = np.random.default_rng(0)
    config = ViewsConfig(rotation=30, scale=1.5, shift=0.1, colour=0.2)
    views = [RandomAffineView.draw(config, rng) for _ in range(300)]
    assert 100 < sum(view.mirrored for view in views) < 200
    assert 25 < max(abs(view.angle) for view in views) <= 30
    assert 1 / 1.5 <= min(view.scale for view in views) < max(view.scale for view in views) <= 1.5
    assert max(np.abs(view.shift).max() for view in views) <= 0.1
    assert max(np.abs(np.log(view.light)).max() for view in views) <= 0.2
    assert not any(RandomAffineView.draw(ViewsConfig(flip=False), rng).mirrored for _ in range(20))


def test_what_comes_in_from_beyond_repeats_the_border():
    view = CanvasTransform(90, 60, IDENTITY, 96, Grid.from_patches(96, 8))
    white = Image.new("RGB", (90, 60), "white")
    turned = RandomAffineView(False, 90.0, 1.0, (0.0, 0.0), (1, 1, 1), (1, 1, 1))
    shown = np.asarray(turned.canvas(white, view))
    assert (shown[:, 20:76] == 255).all() and (shown[:, :14] == 0).all()
    content = turned.content(view)
    assert content[:, 3:9].all() and not content[:, :1].any()


# What is drawn.


def unequal(tmp_path) -> DataSet:
    """Two categories, one with all pairs, the other with few."""
    first, second = toy_data(tmp_path, 4, "a"), toy_data(tmp_path, 6, "b")
    pairs = [*first.pairs, *second.pairs[::4]]
    return dataclasses.replace(first, schemas={"a": SCHEMA, "b": SCHEMA}, pairs=pairs)


def test_all_pairs_weigh_alike_in_the_mean(tmp_path):
    """The expected weight of a pair in a step is one over the number of pairs, as if drawn."""
    data = unequal(tmp_path)
    groups = BatchSampler(data, dataclasses.replace(PUBLISHED, pictures=3, variants=None))
    total, draws = Counter(), 6000
    for step in range(draws):
        group = groups.draw(step, 0)
        names = [annotation.name for annotation, _ in group.pictures]
        for i, source in enumerate(names):
            for j, target in enumerate(names):
                total[source, target] += group.dense_weights_BB[i, j] / draws
    listed = {(pair.source.name, pair.target.name) for pair in data.pairs}
    assert {pair for pair, weight in total.items() if weight} == listed
    weights = np.array([total[pair] for pair in listed]) * len(listed)
    assert weights.mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(weights, 1, atol=0.35)  # four standard deviations of the rarest


def test_a_pair_is_weighted_by_its_chance(tmp_path):
    """Exactly: chance of the category, chance of both pictures, weight; for every listed pair."""
    data = unequal(tmp_path)
    groups = BatchSampler(data, dataclasses.replace(PUBLISHED, pictures=3, variants=None))
    counts = {"a": 12, "b": sum(pair.category == "b" for pair in data.pairs)}
    pictures = {"a": 4, "b": len({s for p in data.pairs[12:] for s in (p.source, p.target)})}
    for step in range(20):
        group = groups.draw(step, 0)
        n, category = pictures[group.category], group.category
        chance = counts[category] / sum(counts.values()) * (3 * 2) / (n * (n - 1))
        for weight in group.dense_weights_BB[group.dense_weights_BB > 0]:
            assert weight * chance == pytest.approx(1 / sum(counts.values()))


def test_variants_have_the_published_weights(tmp_path):
    data = toy_data(tmp_path, 3)
    variants = PoseVariants(double=1.0, single=0.5, self_pair=0.25)
    groups = BatchSampler(data, dataclasses.replace(PUBLISHED, pictures=3, variants=variants))
    group = groups.draw(0, 0)
    assert [showing.mirrored for _, showing in group.pictures] == [False] * 3 + [True] * 3
    assert group.sparse_weights_BB.sum() == pytest.approx(1 / 2.75)
    dense = group.dense_weights_BB * 2.75
    assert dense[:3, :3].sum() == pytest.approx(1) and dense[:3, 3:].sum() == 0
    assert dense[3:, 3:].sum() == pytest.approx(1)
    assert np.trace(dense[3:, :3]) == pytest.approx(0.25)
    assert dense[3:, :3].sum() - np.trace(dense[3:, :3]) == pytest.approx(0.5)


def test_groups_are_the_same_again(tmp_path):
    data = toy_data(tmp_path)
    first, again = (BatchSampler(data, CONTEXT).draw(7, 1) for _ in range(2))
    assert first.pictures == again.pictures and first.seed == again.seed
    other = BatchSampler(data, CONTEXT).draw(7, 2)
    assert other.seed != first.seed


def test_held_out_pictures_are_not_learnt_from(tmp_path):
    data = toy_data(tmp_path, 12)
    rest, held = hold_out(data, 0.2)
    assert {a.name for a in held.annotations} == {"toy7", "toy8", "toy9"}
    assert not set(rest.annotations) & set(held.annotations)
    assert (len(rest.pairs), len(held.pairs)) == (9 * 8, 3 * 2)
    few = toy_data(tmp_path, 5)
    assert hold_out(few, 0.2) == (few, None)


# The loop.


@pytest.mark.parametrize("config", [CONTEXT, PUBLISHED, RESIDUAL], ids=lambda c: c.network.kind)
def test_the_loss_falls_to_near_zero_on_four_pictures(tmp_path, config):
    """Without noise and dropout, what four pictures teach is learnt by heart."""
    data = toy_data(tmp_path / "pictures", 4)
    loss = dataclasses.replace(config.loss, noise=0.0, share=1.0, point="distance", landmarks=0.0)
    loss = dataclasses.replace(loss, prototypes=0.0)
    config = dataclasses.replace(
        config, steps=300, pictures=4, element_dropout=0.0, channel_dropout=0.0, loss=loss,
        views=None, variants=None, learning_rate=5e-3, save_every=1000, validate_every=1000,
    )  # fmt: skip
    train(data, tmp_path / "run", toy_matcher(), config)
    found = [loss for _, loss in losses(tmp_path / "run")]
    assert found[0] > 2 and np.mean(found[-5:]) < 0.12


@pytest.mark.parametrize("config", [CONTEXT, PUBLISHED, RESIDUAL], ids=lambda c: c.network.kind)
def test_a_run_becomes_a_model(tmp_path, config):
    folder = run(tmp_path / "run", dataclasses.replace(config, steps=9))
    trained = Matcher.from_pretrained(str(folder))
    # Best at one of the validations, and matching as it did then.
    figures = [line["validation pck"] for line in lines(folder) if "validation pck" in line]
    assert len(figures) == 3
    report = json.loads((folder / "report" / "results.json").read_text())
    assert report["per_image"]["pck@0.10"] == pytest.approx(max(figures))
    for name in ("loss.png", "validation.png", "best.png", "worst.png"):
        assert min(reading.size(folder / "report" / name)) > 200
    assert any((folder / "tensorboard").iterdir())
    last = Matcher.from_pretrained(str(folder / "last"))
    assert last.network.state_dict().keys() == trained.network.state_dict().keys()
    # Its features are not those of others.
    picture = random_picture(96, 80)
    features = trained.extract(picture)
    assert trained.transfer(features, features, [(48, 40)]).keypoints1 == pytest.approx(
        np.array([[48, 40]]), abs=8
    )
    with pytest.raises(HomologError, match="extracted by another matcher"):
        toy_matcher().transfer(features, picture, [(48, 40)])
    if figures.index(max(figures)) < 2:
        with pytest.raises(HomologError, match="extracted by another matcher"):
            last.transfer(features, picture, [(48, 40)])


@pytest.mark.usefixtures("unreported")
def test_residual_starts_as_the_zero_shot_descriptors(tmp_path):
    plain, picture = toy_matcher(), random_picture(96, 80)
    config = dataclasses.replace(RESIDUAL, steps=1, learning_rate=1e-12)
    folder = run(tmp_path / "run", config)
    trained = Matcher.from_pretrained(str(folder))
    torch.testing.assert_close(
        trained.extract(picture).descriptors, plain.extract(picture).descriptors
    )


def test_a_killed_run_goes_on_to_the_last_bit(tmp_path):
    whole = start(tmp_path / "whole", 40)
    folder = tmp_path / "cut"
    for _ in range(2):
        cut = start(folder, 40)
        before = progress(folder)
        while cut.poll() is None and progress(folder) <= before:
            time.sleep(0.005)
        cut.kill()
        cut.communicate()
    assert 0 < progress(folder) < 40, "was not killed in time to show anything"
    last = start(folder, 40)
    for process in (whole, last):
        finish(process)
    assert losses(folder) == losses(tmp_path / "whole")
    assert (folder / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def progress(folder: Path) -> int:
    path = folder / "state.safetensors"
    if not path.exists():
        return 0
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["progress"])["step"]


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, 4000)
    while process.poll() is None and progress(folder) < 4:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and "the same command goes on from there" in said
    stopped = progress(folder)
    assert f"stopped after step {stopped};" in said and losses(folder)[-1][0] == stopped


def test_two_processes_are_one_with_twice_the_groups(tmp_path):
    two = start(tmp_path / "two", 6, groups=1, processes=2)
    one = start(tmp_path / "one", 6, groups=2)
    for process in (one, two):
        finish(process)
    found, expected = (np.array(losses(tmp_path / name)) for name in ("two", "one"))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    a, b = (Matcher.from_pretrained(str(tmp_path / name / "last")) for name in ("two", "one"))
    for name, tensor in a.network.state_dict().items():
        torch.testing.assert_close(tensor, b.network.state_dict()[name], rtol=1e-3, atol=2e-4)


# What goes wrong.


@pytest.mark.usefixtures("unreported")
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_pictures(tmp_path, monkeypatch):
    config = dataclasses.replace(CONTEXT, steps=8, pictures=2)
    accumulate, calls = trainer._accumulate, []

    def broken(*arguments):
        calls.append(arguments)
        found = accumulate(*arguments)
        return found if len(calls) < 6 else found | {"loss": float("nan")}

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_accumulate", broken)
        with pytest.raises(HomologError, match=r"is nan at step 6, with toy\d, toy\d; .*saved"):
            run(tmp_path / "run", config)
    assert progress(tmp_path / "run") == 4
    saved = Matcher.from_pretrained(str(tmp_path / "run" / "last"))
    assert all(tensor.isfinite().all() for tensor in saved.network.state_dict().values())
    run(tmp_path / "run", config)  # goes on
    assert losses(tmp_path / "run")[-1][0] == 8


def test_nothing_in_common(tmp_path):
    data = toy_data(tmp_path, 2)
    a, b = data.annotations
    seen = [dataclasses.replace(x, keypoints=x.keypoints.copy()) for x in (a, b)]
    seen[0].keypoints[2:] = np.nan
    seen[1].keypoints[:2] = np.nan
    pair = Pair.of("a:b", *seen)
    for pairs in ([pair], []):
        nothing = dataclasses.replace(data, pairs=pairs)
        with pytest.raises(HomologError, match="no two pictures of toys show a keypoint in common"):
            train(nothing, tmp_path / "run", toy_matcher(), CONTEXT)


def test_flips_need_to_know_left_from_right(tmp_path):
    data = dataclasses.replace(toy_data(tmp_path), schemas={"toy": KeypointSchema.numbered(5)})
    for config in (CONTEXT, PUBLISHED):
        config = dataclasses.replace(config, steps=1)
        with pytest.raises(HomologError, match="which keypoints of 'toy' are left"):
            train(data, tmp_path / "run", toy_matcher(), config)
    flipless = dataclasses.replace(CONTEXT, steps=1, views=ViewsConfig(flip=False))
    train(data, tmp_path / "run", toy_matcher(), flipless)


def test_runs_are_not_mixed(tmp_path):
    config = dataclasses.replace(CONTEXT, steps=2)
    folder = run(tmp_path / "run", config)
    with pytest.raises(HomologError, match="holds another run"):
        run(folder, dataclasses.replace(config, seed=1))
    run(folder, config)  # done already: nothing is lost, nothing is trained


@pytest.mark.usefixtures("unreported")
def test_what_a_run_starts_from(tmp_path):
    first = run(tmp_path / "first", dataclasses.replace(CONTEXT, steps=2))
    again = dataclasses.replace(CONTEXT, steps=1, learning_rate=1e-12)
    second = run(tmp_path / "second", again, start=first)
    a, b = (Matcher.from_pretrained(str(path)).network.state_dict() for path in (first, second))
    for name in a:
        torch.testing.assert_close(a[name], b[name])
    with pytest.raises(HomologError, match="is not of this network"):
        run(tmp_path / "third", dataclasses.replace(PUBLISHED, steps=1), start=first)
    config = json.loads((first / "config.json").read_text())
    config["matcher"]["backbone"] = "another"
    (first / "config.json").write_text(json.dumps(config))
    with pytest.raises(HomologError, match="was trained on another, not on colour"):
        run(tmp_path / "fourth", again, start=first)
    with pytest.raises(HomologError, match="is trained already"):
        train(
            toy_data(tmp_path / "p"),
            tmp_path / "fifth",
            Matcher.from_pretrained(str(second)),
            again,
        )


@pytest.mark.usefixtures("unreported")
def test_a_damaged_state_is_said(tmp_path):
    config = dataclasses.replace(CONTEXT, steps=2)
    folder = run(tmp_path / "run", config)
    (folder / "state.safetensors").write_bytes(b"nothing")
    with pytest.raises(HomologError, match="is not the state of a run"):
        run(folder, config)
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=2)
    missing = read_state(tmp_path / "none", network, optimizer, schedule)
    assert missing == TrainState(step=0)


@pytest.mark.usefixtures("unreported")
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    config = dataclasses.replace(CONTEXT, steps=6)
    write, calls = trainer.write_state, []

    def full(path, *arguments):
        calls.append(path)
        if len(calls) == 2:
            raise HomologError(f"out: cannot write {path}: No space left on device")
        write(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "write_state", full)
        with pytest.raises(HomologError, match="No space left"):
            run(tmp_path / "run", config)
    assert progress(tmp_path / "run") == 2
    run(tmp_path / "run", config)
    run(tmp_path / "whole", config)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_recipes_are_the_published_settings():
    config = published_spair()
    assert (config.learning_rate, config.weight_decay, config.warmup) == (1.25e-3, 1e-3, 0.3)
    assert (config.epochs, config.element_dropout, config.window) == (2, 0.2, 7)
    assert config.loss.noise == 0.1 and config.loss.window is None
    assert config.variants == PoseVariants(1.0, 0.0, 0.25)
    assert {name: make().epochs for name, make in RECIPES.items()} == {
        "small-set": None,
        "published-spair": 2,
        "published-ap10k": 1,
        "published-pf-pascal": 100,
    }
    assert all(make().recipe == name for name, make in RECIPES.items())


def test_epochs_are_passes_over_the_pairs(tmp_path):
    data = toy_data(tmp_path, 5)
    config = dataclasses.replace(PUBLISHED, epochs=3.0, pictures=2)
    assert trainer._steps(config, BatchSampler(data, config), 1) == 3 * 20 / 2
    assert trainer._steps(config, BatchSampler(data, config), 2) == 3 * 20 / 4


def test_trained_models_match_as_any_other():
    assert "post_processor" in {field.name for field in dataclasses.fields(homolog.MatcherConfig)}
