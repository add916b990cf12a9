"""A run from a folder to a model: whatever stops it, it goes on, and to the same model."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import toy_adapt
from helpers.foundation import save_dino
from helpers.toy_adapt import CONFIG, RESIDUAL, adapt, save_objects, weights
from helpers.toy_training import register, toy_matcher
from PIL import Image

from homolog import HomologError, Matcher
from homolog.backbones import DinoConfig, TuningConfig, registry
from homolog.config import PostProcessorConfig
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.presets import zero_shot
from homolog.training import adaptation
from homolog.training.adaptation import AdaptationResult, mined, report, run, store
from homolog.training.adaptation.images import read_images_csv
from homolog.training.adaptation.mined import MinedMatches
from homolog.training.adaptation.mixing import SHARES, WITHOUT_HEAD, Trials
from homolog.training.adaptation.store import ImageStore
from homolog.utils import outputs

SCRIPT = Path(toy_adapt.__file__)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The toy backbone has a name, nothing is drawn, and few pairs lie in a file."""
    monkeypatch.setattr(registry, "FAMILIES", dict(registry.FAMILIES))
    register()
    monkeypatch.setattr(report, "_draw", lambda *_: {})
    monkeypatch.setattr(mined, "_BLOCK", 10)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    save_objects(folder)
    return folder


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A run that nothing has interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "FAMILIES", dict(registry.FAMILIES))
        register()
        patch.setattr(report, "_draw", lambda *_: {})
        out = tmp_path_factory.mktemp("runs") / "model"
        return adapt(images, out)


class Killed(BaseException):
    """Ends a run at a place that does not expect it."""


def kill_at(monkeypatch, count: int, error: BaseException) -> None:
    """Let the run end when it writes its next file but `count`."""
    left = [count]
    replace = outputs.replace_atomically

    def write(temporary, path):
        if left[0] == 0:
            raise error
        left[0] -= 1
        replace(temporary, path)

    monkeypatch.setattr(outputs, "replace_atomically", write)


def test_a_folder_becomes_a_model(images, finished):
    out = finished.folder
    assert finished == AdaptationResult.read(out)
    assert (finished.used, finished.left_out) == (14, 0)
    assert finished.zero_shot in SHARES
    assert 0 < finished.cycle_before < 1 and 0 < finished.cycle_after < 1
    assert {path.name for path in out.iterdir()} == {
        ".lock", "config.json", "model.safetensors", "run.json", "images.csv", "report",
    }  # fmt: skip
    matcher = Matcher.from_pretrained(out)
    settings = matcher.config.post_processor
    assert settings == PostProcessorConfig(
        "descriptors", finished.zero_shot, trained_on="pseudo-labels"
    )
    assert isinstance(matcher.network, AttentionHead)
    plain = toy_matcher().config
    assert dataclasses.replace(matcher.config, post_processor=None) == plain
    files = sorted(images.iterdir())
    matches = matcher.match(files[0], files[1])
    assert len(matches.keypoints0) > 0
    assert [path.name for path in read_images_csv(out / "images.csv").files] == [
        path.name for path in files
    ]
    results = json.loads((out / "report" / "results.json").read_text())
    assert {trial["zero_shot"] for trial in results["weights"]} == {*SHARES, WITHOUT_HEAD}


def test_what_is_measured_is_what_the_models_do(images, finished):
    """Points of the objects, carried over and back by the matchers themselves."""
    results = json.loads((finished.folder / "report" / "results.json").read_text())
    assert results["consistency"]["before"] == finished.cycle_before
    without = {trial["zero_shot"]: trial["consistency"] for trial in results["weights"]}
    assert without[WITHOUT_HEAD] == finished.cycle_before
    assert without[finished.zero_shot] == pytest.approx(finished.cycle_after, abs=1e-6)
    assert finished.zero_shot == max(SHARES, key=without.__getitem__)


def test_a_finished_run_is_not_run_again(images, finished, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.*")}
    monkeypatch.setattr(run, "_run", None)
    (images / "later.png").write_bytes(b"which nobody reads")
    try:
        assert adapt(images, finished.folder) == finished
    finally:
        (images / "later.png").unlink()
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.*")} == before | {
        finished.folder / ".lock": (finished.folder / ".lock").stat().st_mtime_ns
    }


@pytest.mark.parametrize("every", [pytest.param(9, marks=pytest.mark.slow), 23])
def test_killed_at_any_file_it_ends_with_the_same_bits(
    images, finished, tmp_path, monkeypatch, every
):
    out, starts = tmp_path / "model", 0
    while not (out / "report" / "results.json").exists():
        starts += 1
        with monkeypatch.context() as patch:
            kill_at(patch, every, Killed())
            try:
                adapt(images, out)
            except Killed:
                assert starts < 40
    assert starts > 2
    assert weights(out) == weights(finished.folder)
    assert AdaptationResult.read(out) == dataclasses.replace(finished, folder=out)


@pytest.mark.parametrize("count", [0, 30])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    images, finished, tmp_path, monkeypatch, count
):
    out = tmp_path / "model"
    with monkeypatch.context() as patch:
        kill_at(patch, count, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(HomologError, match=r"^out: cannot write .*: No space left on device$"):
            adapt(images, out)
    assert not (out / "config.json").exists()
    adapt(images, out)
    assert weights(out) == weights(finished.folder)


def test_another_seed_is_another_model(images, finished, tmp_path):
    adapt(images, tmp_path / "model", dataclasses.replace(CONFIG, seed=1))
    assert weights(tmp_path / "model") != weights(finished.folder)


def start(images: Path, out: Path, processes: int = 1) -> subprocess.Popen:
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [*command, str(SCRIPT), str(images), str(out)], env=environment, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_by_the_system_it_ends_with_the_same_bits(images, tmp_path):
    out = tmp_path / "model"
    for stage in ("work/store/000009*", "work/round1/matches/*", "work/round1/head/state*"):
        process = start(images, out)
        while not list(out.glob(stage)) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (out / "report").exists()
    for folder in (out, tmp_path / "whole"):
        process = start(images, folder)
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert weights(out) == weights(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_share_the_work(images, finished, tmp_path):
    out = tmp_path / "model"
    process = start(images, out, processes=2)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    result = AdaptationResult.read(out)
    # The same images are kept aside and matched; in a step, each process has a batch of its own.
    assert result.cycle_before == finished.cycle_before
    assert (result.used, result.left_out) == (14, 0)
    assert weights(out).keys() == weights(finished.folder).keys()
    assert Matcher.from_pretrained(out).config.post_processor is not None


def test_a_model_that_has_learned_learns_on(images, finished, tmp_path, monkeypatch):
    """Its head is where the new one starts, and what is known of it is kept."""
    matcher = Matcher.from_pretrained(finished.folder)
    settings = dataclasses.replace(matcher.config.post_processor, zero_shot_threshold=0.4)
    matcher = matcher.with_config(post_processor=settings)
    still = dataclasses.replace(
        CONFIG, head=dataclasses.replace(CONFIG.head, learning_rate=1e-9, weight_decay=0.0)
    )
    adapt(images, tmp_path / "model", still, matcher=matcher)
    again = Matcher.from_pretrained(tmp_path / "model")
    state = matcher.network.state_dict()
    for name, tensor in again.network.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=1e-6)
    found = again.config.post_processor
    assert found == dataclasses.replace(settings, zero_shot=found.zero_shot)


def test_a_second_round_begins_with_the_first_ones_model(images, finished, tmp_path, monkeypatch):
    mined_by = []
    mine = run.Rounds._mine

    def watched(self, number, teacher):
        mined_by.append((number, teacher.config, teacher.network))
        return mine(self, number, teacher)

    monkeypatch.setattr(run.Rounds, "_mine", watched)
    adapt(images, tmp_path / "model", dataclasses.replace(CONFIG, rounds=2))
    (first, second) = mined_by
    assert first[:2] == (1, toy_matcher().config) and first[2] is None
    assert second[0] == 2 and second[1].post_processor.zero_shot == finished.zero_shot
    once = Matcher.from_pretrained(finished.folder).network.state_dict()
    for name, tensor in second[2].state_dict().items():
        assert torch.equal(tensor, once[name])


def test_where_the_head_does_not_help_a_model_that_had_one_keeps_it(
    images, finished, tmp_path, monkeypatch
):
    matcher = Matcher.from_pretrained(finished.folder)
    monkeypatch.setattr(
        Trials, "of", classmethod(lambda cls, found, candidates: cls(found, candidates[-1]))
    )
    result = adapt(images, tmp_path / "kept", matcher=matcher)
    assert result.zero_shot == WITHOUT_HEAD and result.cycle_after == result.cycle_before
    assert not result.improved
    kept = Matcher.from_pretrained(tmp_path / "kept")
    assert kept.config == matcher.config and kept.weights_digest == matcher.weights_digest
    # One that had none is given the new one all the same: a model has to have something.
    result = adapt(images, tmp_path / "given")
    assert result.zero_shot == max(SHARES)


def test_dino_gets_a_residual_head(images, tmp_path):
    folder = save_dino(tmp_path / "dino", "dinov2")
    from homolog import backbones

    config = zero_shot(DinoConfig(str(folder), 126), (0,))
    matcher = Matcher(backbones.create(config.backbone, torch.device("cpu")), config)
    small = dataclasses.replace(CONFIG.head, projection_dim=128)
    loose = dataclasses.replace(CONFIG.mining, cycle_tolerance=2.0, affine_tolerance=10.0, fewest=1)
    adapt(
        images, tmp_path / "model", dataclasses.replace(CONFIG, head=small, mining=loose),
        matcher=matcher,
    )  # fmt: skip
    adapted = Matcher.from_pretrained(tmp_path / "model")
    assert isinstance(adapted.network, PostProcessor) and adapted.network.residual
    assert adapted.config.backbone == config.backbone


def test_objects_at_any_angle_are_noticed(tmp_path):
    save_objects(tmp_path / "turned", turned=True)
    adapt(tmp_path / "turned", tmp_path / "model", RESIDUAL)
    seen = json.loads((tmp_path / "model" / "run.json").read_text())
    assert seen["config"]["rotations"] is None


def test_images_that_vanish_or_change_meanwhile_are_left_out(tmp_path, monkeypatch, capsys):
    paths = save_objects(tmp_path / "images", 16)
    write = run.Beginning.write

    def shrinking_at_once(self, *read):
        write(self, *read)
        paths[5].unlink()

    monkeypatch.setattr(run.Beginning, "write", shrinking_at_once)
    fill, calls = ImageStore.fill, []

    def shrinking(self, views, label, process=store.SINGLE_PROCESS):
        if not calls:
            paths[3].unlink()
            Image.new("RGB", (50, 50)).save(paths[4])
        calls.append(label)
        fill(self, views, label, process)

    monkeypatch.setattr(ImageStore, "fill", shrinking)
    result = adapt(tmp_path / "images", tmp_path / "model")
    found = read_images_csv(tmp_path / "model" / "images.csv")
    reasons = {each.path.name: each.reason for each in found.left_out}
    assert set(reasons) == {"03.png", "04.png", "05.png"} and result.left_out == 3
    assert "cannot be read" in reasons["03.png"] and "changed" in reasons["04.png"]
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert len(notes) == 3 and "05.png" in notes[0] and "04.png" in "".join(notes[1:])


def test_masks_say_where_the_objects_are(images, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in images.iterdir():
        mask = np.zeros((96, 96), dtype=np.uint8)
        mask[:, :48] = 255
        Image.fromarray(mask).save(masks / path.name)
    seen = []
    original = run.MinedRound.of

    def of(found, config):
        seen.extend(found)
        return original(found, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.MinedRound, "of", of)
        adapt(images, tmp_path / "model", masks=masks)
    cells = np.concatenate([each.source_cells for each in seen])
    assert cells[:, 0].max() <= 5.5  # of 12
    text = (tmp_path / "model" / "report" / "report.md").read_text()
    assert "Masks of 14 images were used." in text


def refused(message: str, *arguments, **options):
    with pytest.raises(HomologError) as error:
        adapt(*arguments, **options)
    line = str(error.value)
    assert message in line and "\n" not in line


def test_what_cannot_be_adapted_is_refused(images, finished, tmp_path):
    save_objects(tmp_path / "five", 5)
    refused("images: expected at least 12 images", tmp_path / "five", tmp_path / "m")
    refused("images: expected a folder", 5, tmp_path / "m")
    assert not (tmp_path / "m" / "run.json").exists()
    refused(
        "rounds: expected a whole number of at least 1", images, tmp_path / "m",
        dataclasses.replace(CONFIG, rounds=0),
    )  # fmt: skip
    refused("masks: expected a folder of masks", images, tmp_path / "m", masks=tmp_path / "none")
    refused("masks: expected a folder of masks", images, tmp_path / "m", masks=images)
    refused("renders: expected none", images, tmp_path / "m", renders=tmp_path)
    for settings in (
        PostProcessorConfig("maps"),
        PostProcessorConfig("descriptors", tuning=TuningConfig(1, None)),
    ):
        matcher = Matcher.from_pretrained(finished.folder).with_config(post_processor=settings)
        refused("model: expected", images, tmp_path / "m", matcher=matcher)


def test_folders_of_other_runs_and_models_are_refused(images, finished, tmp_path):
    refused("which holds another run", images, finished.folder, dataclasses.replace(CONFIG, seed=5))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    refused("which holds a model", images, model)
    assert [path.name for path in model.iterdir()] == ["config.json"]
    (tmp_path / "file").write_text("")
    refused("out: cannot write", images, tmp_path / "file")


def test_images_whose_objects_cannot_be_matched_are_said(images, tmp_path):
    strict = dataclasses.replace(CONFIG.mining, cycle_tolerance=0.0, affine_tolerance=0.0)
    refused(
        "no two with matches that are consistent", images, tmp_path / "m",
        dataclasses.replace(CONFIG, mining=strict),
    )  # fmt: skip


def test_mined_matches_are_a_sequence_of_those_in_all_files(tmp_path):
    from homolog.training.adaptation.mining import PseudoMatches

    def mine(source, target):
        values = np.random.default_rng([source, target]).random((9, source)).astype(np.float32)
        rows = values.astype(float)
        return PseudoMatches(source, target, rows[:2].T, rows[2:4].T, *rows[4:])

    pairs = [(source, target) for source in range(5) for target in range(7)]
    found = mined.mine_pairs(tmp_path / "matches", pairs, mine, "mining")
    assert len(found) == 35 and len(list((tmp_path / "matches").iterdir())) == 4
    for read, (source, target) in zip(found, pairs, strict=True):
        expected = mine(source, target)
        assert (read.source, read.target) == (source, target)
        for name in mined._ARRAYS:
            np.testing.assert_array_equal(getattr(read, name), getattr(expected, name))
    assert [each.target for each in found[9:12]] == [2, 3, 4] and found[-1].source == 4
    with pytest.raises(IndexError):
        found[35]
    # A damaged file is made again, and no other.
    damaged = sorted((tmp_path / "matches").iterdir())[2]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-7])
    seen = []
    again = mined.mine_pairs(
        tmp_path / "matches", pairs, lambda a, b: seen.append((a, b)) or mine(a, b), "mining"
    )
    assert seen == pairs[20:30] and damaged.read_bytes() == whole
    assert len(again) == 35
    assert len(MinedMatches(tmp_path / "nothing")) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out": None}, "out: expected the path of a folder, got None"),
        ({"out": 5}, "out: expected the path of a folder, got 5"),
        ({"out": ""}, "out: expected the path of a folder, got ''"),
        ({"matcher": "embedded"}, "matcher: expected a Matcher, got 'embedded'"),
        ({"config": {"rounds": 1}}, "config: expected an AdaptationConfig, got {'rounds': 1}"),
        ({"masks": 3}, "masks: expected the path of a folder, got 3"),
        ({"exemplars": 3}, "exemplars: expected an ExemplarSet, got 3"),
        (
            {"config": dataclasses.replace(CONFIG, seed=-5)},
            "training_seed: expected a whole number of at least 0, got -5",
        ),
        (
            {"config": dataclasses.replace(CONFIG, held_aside=2.0)},
            "held_aside: expected a share above 0 and of at most 0.5, got 2.0",
        ),
    ],
)
def test_arguments_of_other_kinds_are_refused(images, tmp_path, changes, message):
    given = {"images": images, "out": tmp_path / "m", "matcher": toy_matcher(), "config": CONFIG}
    with pytest.raises(HomologError) as error:
        adaptation.adapt(**given | changes)
    assert str(error.value) == message


def test_a_folder_that_has_the_images_is_refused(images):
    for out in (images, images.parent):
        with pytest.raises(
            HomologError, match=r"^out: expected a folder that the images are not in"
        ):
            adapt(images, out)
    assert not (images / "run.json").exists()
