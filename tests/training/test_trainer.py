"""The training loop: it minimises the loss, and survives whatever stops it."""

import dataclasses
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
from helpers import toy_training
from helpers.toy_training import CONTEXT, PUBLISHED, RESIDUAL, log_lines, run, toy_data, toy_matcher

from homolog import HomologError, Matcher
from homolog.training import run as training_run
from homolog.training import train, trainer
from homolog.training.distributed import Process
from homolog.training.trainer import Hooks, LoopConfig, Trainer

SCRIPT = Path(toy_training.__file__)


@pytest.fixture
def unreported(monkeypatch):
    """Runs end without their report, which takes several times as long as the toy's steps."""
    monkeypatch.setattr(training_run, "write_report", lambda *_: None)


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in log_lines(folder) if "loss" in line]


def start(folder: Path, steps: int, groups: int = 1, processes: int = 1) -> subprocess.Popen:
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command += [str(SCRIPT), str(folder), str(steps), str(groups)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def whole(folder: Path, steps: int, groups: int = 1) -> None:
    """What `start` does, in this process and without its report."""
    config = dataclasses.replace(CONTEXT, steps=steps, grad_accum_groups=groups, clip=1.0)
    run(folder, config)


def finish(process: subprocess.Popen) -> str:
    """Wait for a process, which must succeed; its standard error."""
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return stderr


def saved_step(folder: Path) -> int:
    """The step of a run's checkpoint; 0 without one."""
    path = folder / "state.safetensors"
    if not path.exists():
        return 0
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["progress"])["step"]


@pytest.mark.usefixtures("unreported")
@pytest.mark.parametrize("config", [CONTEXT, PUBLISHED, RESIDUAL], ids=lambda c: c.network.kind)
def test_the_loss_falls_to_near_zero_on_four_images(tmp_path, config):
    """Without noise and dropout, four images are learned by heart."""
    data = toy_data(tmp_path / "images", 4)
    loss = dataclasses.replace(
        config.loss, noise=0.0, keypoint_fraction=1.0, point="distance", landmarks=0.0,
        prototypes=0.0,
    )  # fmt: skip
    config = dataclasses.replace(
        config, steps=300, images_per_group=4, element_dropout=0.0, channel_dropout=0.0, loss=loss,
        views=None, variants=None, learning_rate=5e-3, save_every=1000, validate_every=1000,
    )  # fmt: skip
    train(data, tmp_path / "run", toy_matcher(), config)
    values = [loss for _, loss in losses(tmp_path / "run")]
    assert values[0] > 2 and np.mean(values[-5:]) < 0.12


@pytest.mark.usefixtures("unreported")
@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_last_bit(tmp_path, kills):
    whole(tmp_path / "whole", 40)
    folder = tmp_path / "killed"
    for _ in range(kills):
        killed = start(folder, 40)
        before = saved_step(folder)
        while killed.poll() is None and saved_step(folder) <= before:
            time.sleep(0.005)
        killed.kill()
        killed.communicate()
    assert 0 < saved_step(folder) < 40, "was not killed in time to show anything"
    finish(start(folder, 40))
    assert losses(folder) == losses(tmp_path / "whole")
    assert (folder / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_an_interrupted_run_resumes_and_no_other_takes_its_folder(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, 4000)
    while process.poll() is None and saved_step(folder) < 4:
        time.sleep(0.01)
    # Two runs in one folder would spoil both.
    with pytest.raises(HomologError) as error:
        run(folder, dataclasses.replace(CONTEXT, steps=4000, clip=1.0))
    assert f"no other process writes into, got {folder}, where process" in str(error.value)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0 and "the same command resumes from there" in stderr
    step = saved_step(folder)
    assert f"stopped after step {step};" in stderr and losses(folder)[-1][0] == step


def test_two_processes_are_one_with_twice_the_groups(tmp_path):
    two = start(tmp_path / "two", 6, groups=1, processes=2)
    one = start(tmp_path / "one", 6, groups=2)
    stderr = {"one": finish(one), "two": finish(two)}
    found, expected = (np.array(losses(tmp_path / name)) for name in ("two", "one"))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    a, b = (Matcher.from_pretrained(str(tmp_path / name / "last")) for name in ("two", "one"))
    for name, tensor in a.network.state_dict().items():
        torch.testing.assert_close(tensor, b.network.state_dict()[name], rtol=1e-3, atol=2e-4)
    # Each process validates half of the pairs, and the first alone prints.
    scores = [
        [line["validation pck"] for line in log_lines(tmp_path / name) if "validation pck" in line]
        for name in ("two", "one")
    ]
    assert len(scores[0]) == 2 and scores[0] == pytest.approx(scores[1], abs=0.1)
    for name in ("one", "two"):
        assert stderr[name].count("validation pck") == 2, stderr[name]


@pytest.mark.usefixtures("unreported")
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(tmp_path, monkeypatch):
    config = dataclasses.replace(CONTEXT, steps=8, images_per_group=2)
    accumulate, calls = trainer.accumulate_gradients, []

    def broken(*arguments):
        calls.append(arguments)
        values = accumulate(*arguments)
        return values if len(calls) < 6 else values | {"loss": float("nan")}

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "accumulate_gradients", broken)
        with pytest.raises(HomologError, match=r"got nan at step 6, with toy\d, toy\d; .*saved"):
            run(tmp_path / "run", config)
    assert saved_step(tmp_path / "run") == 4
    saved = Matcher.from_pretrained(str(tmp_path / "run" / "last"))
    assert all(tensor.isfinite().all() for tensor in saved.network.state_dict().values())
    run(tmp_path / "run", config)  # resumes
    assert losses(tmp_path / "run")[-1][0] == 8


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
    assert saved_step(tmp_path / "run") == 2
    run(tmp_path / "run", config)
    run(tmp_path / "whole", config)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


class Noise:
    """Batches of nothing: what is random is drawn by the losses."""

    def draw(self, step: int, index: int) -> int:
        return step


class Stop(Hooks[int]):
    """Interrupts a run after a step."""

    def __init__(self, step: int | None):
        self.step = step

    def after_step(self, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt


def test_random_generators_resume_where_they_were(tmp_path):
    """For losses that draw from torch's generator, which the loop seeds once."""

    def noisy(module: torch.nn.Module, batch: int) -> dict[str, torch.Tensor]:
        return {"loss": (module(torch.randn(5, 3)) - torch.rand(5, 1)).square().sum()}

    def fit(folder: Path | None, stop: int | None) -> torch.Tensor:
        torch.manual_seed(1)
        network = torch.nn.Linear(3, 1)
        before = torch.get_rng_state()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1.0)
        loop = LoopConfig(12, (0.1,), 0.3, save_every=2, seed=5)
        loop_trainer = Trainer(folder, network, Noise(), optimizer, loop, Stop(stop))
        try:
            loop_trainer.run(noisy)
        finally:
            assert torch.get_rng_state().equal(before), "others' random numbers stay the same"
        return network.weight.detach()

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, 7)
    assert saved_step(tmp_path) == 6
    resumed, whole = fit(tmp_path, None), fit(None, None)
    assert resumed.equal(whole)


def test_processes_other_than_the_first_write_nothing(tmp_path):
    process = Process(rank=1, world_size=2)
    assert not process.is_main
    network = torch.nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0)
    loop = LoopConfig(2, (0.1,), 0.3)
    Trainer(tmp_path, network, Noise(), optimizer, loop, Stop(None), process)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_is_finished_when_a_run_is_told_to_end(number):
    before = signal.getsignal(number)
    with trainer._Interrupt(enabled=True) as interrupt:
        signal.raise_signal(number)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before
