"""The recipe of MARCO: adapters, upsamplers, annealed targets, and a teacher's dense matches."""

import dataclasses
import importlib.util
import math

import numpy as np
import pytest
import torch
from helpers import marco_parity, toy_marco, toy_training
from helpers.toy_marco import MARCO, SIZE, marco_matcher, masked_data, run
from helpers.toy_training import log_lines
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from homolog import HomologError, Matcher, backbones
from homolog.backbones import DinoConfig, TuningConfig, adapters
from homolog.data import Annotation
from homolog.networks.upsampler import Upsampler
from homolog.training import NetworkConfig, objective, train, trainer
from homolog.training import run as training_run
from homolog.training.objective import Objective
from homolog.training.placement import Placement
from homolog.training.schedules import MomentumSchedule

pytest.importorskip("transformers")
TWO = dataclasses.replace(MARCO, steps=2)


@pytest.fixture
def unreported(monkeypatch):
    """Runs end without their report."""
    monkeypatch.setattr(training_run, "write_report", lambda *_: None)


@marco_parity.needs_figures
@pytest.mark.parametrize(("name", "sigma"), [("gaussian_ce", 3.5), ("gaussian_ce_sigma1", 1.0)])
def test_the_published_loss_from_images_on(name, sigma, monkeypatch):
    monkeypatch.setattr(objective, "has_fast_bfloat16", lambda _: False)
    stored, facts = marco_parity.tensors(), marco_parity.facts()
    config = dataclasses.replace(
        MARCO, tuning=TuningConfig((2, 3), rank=None, bottleneck=32), distillation=None
    )
    path = str(marco_parity.FOLDER / "dinov2_tiny")
    backbone = backbones.create(DinoConfig(path, 140, padding="right-bottom"), torch.device("cpu"))
    adapters.prepare(backbone, config.tuning)
    adapters.load_tuned(backbone, marco_parity.adapter_weights(), "there")
    network = Upsampler(64)
    published = marco_parity.weights()
    network.load_state_dict({n: w for n, w in published.items() if n.startswith("upscale.")})
    placement = Placement.of(140, backbone.grid, network.scale, corners=True)
    module = Objective(network, config, {"thing": 7}, (), backbone, placement)
    canvases = [
        np.asarray(Image.open(marco_parity.FOLDER / f"image{index}.png").convert("RGB"))
        for index in range(2)
    ]
    points = torch.stack([stored["keypoints"], stored["truth"]])
    points[0, ~stored["visible"]] = math.nan
    cells = (points - backbone.grid.origin) / backbone.grid.stride
    weights = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    losses = module(
        "thing", torch.from_numpy(np.stack(canvases)).float(), cells, torch.ones(2),
        torch.zeros(2, 2), weights, sigma,
    )  # fmt: skip
    expected = facts["losses"][name] / int(stored["visible"].sum())
    assert losses["dense"].item() == pytest.approx(expected, rel=1e-5)
    losses["loss"].backward()
    assert all(p.grad.abs().max() > 0 for p in module.tuned.values())


@pytest.mark.usefixtures("unreported")
def test_two_steps_and_what_becomes_of_them(tmp_path):
    before = marco_matcher(tmp_path)
    folder = run(tmp_path / "run", TWO)
    lines = log_lines(folder)
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["distillation"] > 0 and line["dense"] > 0 for line in lines)
    assert all(line["sparse"] == 0 and line["learning_rate"] == 1e-4 for line in lines)
    trained = Matcher.from_pretrained(str(folder))
    config = trained.config
    assert (config.similarity, config.coordinates) == ("inner-product", "corners")
    assert (config.suppression_sigma, config.temperature, config.window) == (7.0, 10.0, None)
    assert config.backbone == before.config.backbone, "matched at the size of the model"
    found = trained.transfer(*(tmp_path / "images").glob("toy[01].png"), [(40, 30)])
    assert np.isfinite(found.keypoints1).all()
    # Everything that is trained has moved, and the frozen rest has not.
    state = load_file(folder / "backbone.safetensors")
    assert {name.split(".")[1] for name in state} == {"1", "2"}
    assert all(state[name].abs().max() > 0 for name in state if "up_proj" in name)


@pytest.mark.usefixtures("unreported")
def test_an_interrupted_run_resumes_to_the_last_bit(tmp_path, monkeypatch):
    config = dataclasses.replace(MARCO, steps=4)
    whole = run(tmp_path / "whole", config)
    write, folder = trainer.write_state, tmp_path / "run"

    def interrupted(path, *arguments):
        write(path, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "write_state", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(folder, config)
    assert max(line["step"] for line in log_lines(folder)) == 2
    run(folder, config)
    for name in ("state.safetensors", "model.safetensors", "backbone.safetensors"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.usefixtures("unreported")
def test_the_teacher_is_the_moving_average_and_is_saved(tmp_path, monkeypatch):
    students = []
    after = training_run._Hooks.after_step

    def watched(self, step):
        students.append({n: p.detach().clone() for n, p in self.objective.named_parameters()})
        after(self, step)

    monkeypatch.setattr(training_run._Hooks, "after_step", watched)
    folder = run(tmp_path / "run", dataclasses.replace(MARCO, steps=4))
    with safe_open(folder / "state.safetensors", "pt") as file:
        saved = {n: file.get_tensor(n) for n in file.keys() if "teacher" in n}  # noqa: SIM118
    momentum = MomentumSchedule(until=int(0.5625 * 4))
    name = "network/upscale/0/conv1/weight"
    torch.manual_seed(MARCO.seed)
    expected = Upsampler(16).state_dict()["upscale.0.conv1.weight"]  # as it starts
    for step, student in enumerate(students):
        own = student["network.upscale.0.conv1.weight"]
        expected = momentum(step) * expected + (1 - momentum(step)) * own
    torch.testing.assert_close(saved[f"model.teacher.{name}"], expected)
    # It follows the adapters, too.
    tuned = [n for n in saved if "adapter/up_proj/weight" in n]
    assert len(tuned) == 2 and all(saved[n].abs().max() > 0 for n in tuned)
    assert len(saved) == len(students[0]) - 1, "all but the scale of heatmaps"


@pytest.mark.usefixtures("unreported")
def test_without_scipy_keypoints_alone_are_learned_from(tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "scipy" else find(name)
    )
    folder = run(tmp_path / "run", TWO)
    assert "distillation" not in log_lines(folder)[0]
    assert (
        "note: scipy is not installed, so nothing is learned from a teacher's dense matches, only "
        "from keypoints; try: pip install 'homolog[data]'\n"
    ) in capsys.readouterr().err


@pytest.mark.usefixtures("unreported")
def test_masks_from_a_folder(tmp_path, capsys):
    data = masked_data(tmp_path / "images")
    masks = tmp_path / "masks"
    masks.mkdir()
    for number, annotation in enumerate(data.annotations):
        values = np.zeros(annotation.size[::-1], dtype=np.uint8)
        values[10:70, 10:80] = 255 * (number > 0)
        Image.fromarray(values).save(masks / annotation.path.name)
    folder = run(tmp_path / "run", TWO, masks=masks)
    note = "note: images whose mask is empty, of which keypoints alone are learned: 1 "
    assert note in capsys.readouterr().err
    assert log_lines(folder)[0]["distillation"] > 0
    with pytest.raises(HomologError, match=r"^out: "):  # with other masks it is another run
        run(tmp_path / "run", TWO)


@pytest.mark.parametrize("where", ["folder", "data set"])
def test_masks_of_another_size(tmp_path, where):
    data = masked_data(tmp_path / "images")
    if where == "folder":
        masks = tmp_path / "masks"
        masks.mkdir()
        Image.new("L", (20, 30), 255).save(masks / data.annotations[0].path.name)
        reason = r"^mask .*: expected the size of its image, 96 x 80 pixels, got 20 x 30$"
    else:
        masks = None
        object.__setattr__(data.annotations[1], "mask", lambda: np.ones((30, 20), dtype=bool))
        reason = r"^mask of toy\d: expected the size of its image, 96 x 80 pixels, got 20 x 30$"
    with pytest.raises(HomologError, match=reason):
        train(data, tmp_path / "run", marco_matcher(tmp_path), TWO, masks=masks)


def test_masks_that_are_not_needed(tmp_path):
    config = dataclasses.replace(TWO, distillation=None)
    with pytest.raises(HomologError, match="masks: expected none for marco, which learns from"):
        run(tmp_path / "run", config, masks=tmp_path)


@pytest.mark.usefixtures("unreported")
def test_a_run_starts_from_another(tmp_path):
    first = run(tmp_path / "first", TWO)
    still = dataclasses.replace(TWO, steps=1, learning_rate=1e-12, tuning=dataclasses.replace(
        TWO.tuning, blocks=(1, 2), learning_rate=1e-12,
    ))  # fmt: skip
    second = run(tmp_path / "second", still, start=first)
    for name in ("model.safetensors", "backbone.safetensors"):
        a, b = (load_file(folder / name) for folder in (first, second))
        for key, tensor in a.items():
            torch.testing.assert_close(b[key], tensor)
    other = dataclasses.replace(TWO, tuning=TuningConfig(1, rank=None, bottleneck=8))
    with pytest.raises(HomologError, match=r"start: expected a model that was trained with .*blo"):
        run(tmp_path / "third", other, start=first)


@pytest.mark.usefixtures("unreported")
def test_its_parts_serve_other_networks(tmp_path):
    """Annealed targets and a teacher for a head on zero-shot descriptors, in random views."""
    config = dataclasses.replace(
        toy_training.CONTEXT, steps=2, distillation=MARCO.distillation,
        loss=dataclasses.replace(toy_training.CONTEXT.loss, point="annealed"),
    )  # fmt: skip
    data = masked_data(tmp_path / "images")
    folder = train(data, tmp_path / "run", toy_training.toy_matcher(), config)
    lines = log_lines(folder)
    assert all(line["distillation"] > 0 and line["dense"] > 0 for line in lines)
    assert all(math.isfinite(line["loss"]) for line in lines)


@pytest.mark.usefixtures("unreported")
def test_upsamplers_on_another_backbone(tmp_path):
    """On the maps of a frozen one, without adapters; similarity is that of directions."""
    network = NetworkConfig("upsampler", upsamplers=1)
    loss = dataclasses.replace(MARCO.loss, noise=0.1)
    config = dataclasses.replace(
        MARCO, steps=2, network=network, loss=loss, tuning=None, canvas_scale=1.0, window=2
    )
    folder = train(
        masked_data(tmp_path / "images"), tmp_path / "run", toy_training.toy_matcher(), config
    )
    assert all(line["distillation"] > 0 for line in log_lines(folder))
    trained = Matcher.from_pretrained(str(folder))
    assert trained.config.similarity == "cosine"
    image = tmp_path / "images" / "toy0.png"
    found = trained.transfer(image, image, [(40.0, 30.0)])
    assert np.abs(found.keypoints1 - [[40, 30]]).max() < 8


@pytest.mark.slow  # 10 s: two processes that import everything
def test_two_processes_are_one_with_twice_the_groups(tmp_path):
    import os
    import subprocess
    import sys

    def start(name: str, groups: int, processes: int) -> subprocess.Popen:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *(launcher if processes > 1 else [])]
        command += [toy_marco.__file__, str(tmp_path / name / "run"), "2", str(groups)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    for name, groups, processes in (("one", 2, 1), ("two", 1, 2)):
        toy_marco.dino(tmp_path / name)
        _, stderr = (process := start(name, groups, processes)).communicate(timeout=300)
        assert process.returncode == 0, stderr
    one, two = (log_lines(tmp_path / name / "run") for name in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["distillation"] == pytest.approx(b["distillation"], rel=1e-3)


@pytest.mark.slow  # loads the embedded model
def test_masks_of_what_is_salient(tmp_path):
    from homolog.training.distillation.masks import SalientObjects

    image = Image.new("RGB", (160, 120), (70, 110, 60))
    image.paste((220, 60, 40), (50, 30, 110, 90))
    image.save(tmp_path / "image.png")
    box = (40.0, 20.0, 120.0, 100.0)
    points = np.array([[80.0, 60.0]])
    annotation = Annotation("one", tmp_path / "image.png", "thing", points, box)
    mask = SalientObjects(marco_matcher(tmp_path))(annotation)
    assert mask.shape == (120, 160)
    inside = np.zeros_like(mask)
    inside[30:90, 50:110] = True
    assert (mask & inside).sum() > 0.5 * inside.sum()
    assert not mask[:20].any() and not mask[:, :40].any(), "nothing outside the box"


def test_a_canvas_of_another_size():
    assert SIZE * MARCO.canvas_scale == 84
