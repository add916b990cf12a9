"""Training of a side head, from a rendered set to a model."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import toy_sides
from helpers.toy_sides import rendered
from helpers.toys import ColourBackbone

from homolog import HomologError, Matcher
from homolog.config import PostProcessorConfig
from homolog.training.sides import SidesRecipe, train
from homolog.utils.locks import lock_folder

RECIPE = SidesRecipe(steps=2, batch_size=2)


def test_a_rendered_set_becomes_a_model(tmp_path, colour_matcher):
    folder = rendered(tmp_path / "set", 6)
    found = train(folder, tmp_path / "model", colour_matcher, RECIPE, held_out=["Cow"])
    assert found.num_keypoints == 3
    loaded = Matcher.from_pretrained(str(tmp_path / "model"), device="cpu")
    assert loaded.sides(folder / "pictures" / "000000.jpg").left.shape == (12, 12)
    # A side head that a model has is not what another is trained on.
    assert train(folder, tmp_path / "again", loaded, RECIPE) is None
    again = Matcher.from_pretrained(str(tmp_path / "again"), device="cpu")
    assert again.weights_digest != loaded.weights_digest


def test_objects_without_keypoints_are_not_scored(tmp_path, colour_matcher):
    folder = rendered(tmp_path / "set", 6)
    plain = json.loads((folder / "annotations.json").read_text())
    for annotation in plain["annotations"][1:]:
        del annotation["keypoints"]
    (folder / "annotations.json").write_text(json.dumps(plain))
    found = train(folder, tmp_path / "cars", colour_matcher, RECIPE, held_out=["Cow"])
    assert found.num_keypoints == 0


def start(renders: Path, out: Path) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, toy_sides.__file__, str(renders), str(out), "16", "2"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_resumes_to_the_last_bit(tmp_path):
    renders = rendered(tmp_path / "set", 6)
    whole, out = start(renders, tmp_path / "whole"), tmp_path / "killed"
    killed = start(renders, out)
    while killed.poll() is None and not (out / "state.safetensors").exists():
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    assert not (out / "sides.safetensors").exists(), "was not killed in time to show anything"
    for process in (whole, start(renders, out)):
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    for name in ("sides.safetensors", "config.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 17))


def test_a_finished_run_is_extended(tmp_path, colour_matcher):
    folder, out = rendered(tmp_path / "set", 4), tmp_path / "out"
    train(folder, out, colour_matcher, RECIPE)
    first = (out / "log.jsonl").read_text()
    train(folder, out, colour_matcher, SidesRecipe(steps=5, batch_size=2))
    log = (out / "log.jsonl").read_text()
    assert log.startswith(first) and log.count("\n") == 5
    with pytest.raises(HomologError, match=r"^steps: expected at least 5, .* got 2"):
        train(folder, out, colour_matcher, RECIPE)
    with pytest.raises(HomologError, match=f"^out: .*{out}"):
        train(folder, out, colour_matcher, SidesRecipe(steps=5, batch_size=3))


def test_what_is_wrong_is_said(tmp_path, colour_matcher):
    out = tmp_path / "out"

    def run(folder: Path, **keywords):
        train(folder, out, colour_matcher, RECIPE, **keywords)

    with pytest.raises(HomologError, match=r"cannot read .*annotations\.json"):
        run(tmp_path)
    folder = rendered(tmp_path / "set", 2)
    with pytest.raises(
        HomologError, match=r"hold_out: expected models of .* \(Cow, Fox\), got Dragon"
    ):
        run(folder, held_out=["Dragon"])
    with pytest.raises(HomologError, match="expected images of objects to train on, got none"):
        run(folder, held_out=["Cow", "Fox"])
    config = dataclasses.replace(colour_matcher.config, post_processor=PostProcessorConfig("maps"))
    trained = Matcher(ColourBackbone(), config, network=torch.nn.Identity())
    with pytest.raises(HomologError, match="got one that is trained already"):
        train(folder, out, trained, RECIPE)
    assert not out.exists()
    with lock_folder(out), pytest.raises(HomologError, match="no other process writes into"):
        run(folder)
    (folder / "coordinates" / "000001.npz").write_bytes(b"PK")
    with pytest.raises(HomologError, match=r"expected a rendered set, got .*000001.npz"):
        run(folder)
    assert not (out / "run.json").exists(), "no run is begun"
