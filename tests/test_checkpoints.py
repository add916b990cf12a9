"""Published checkpoints become folders that load, and what is none is named."""

import os
import pickle

import pytest
import torch
from helpers import parity
from helpers.command import run

from homolog import HomologError
from homolog.checkpoints import convert
from homolog.networks.post_processor import PostProcessor

STORED = parity.tensors("post_processor")
STATE = {name[len("state.") :]: x for name, x in STORED.items() if name.startswith("state.")}
DIMS = (64, 128, 128, 96)


@pytest.mark.parametrize("wrap", ["plain", "nested", "parallel"])
def test_a_published_checkpoint(capsys, tmp_path, wrap):
    state = {
        "plain": STATE,
        "nested": {"epoch": 2, "state_dict": STATE},
        "parallel": {f"module.{name}": tensor for name, tensor in STATE.items()},
    }[wrap]
    torch.save(state, tmp_path / "official.pth")
    status, out, err = run(capsys, "convert", tmp_path / "official.pth", tmp_path / "model")
    assert status == 0, err
    assert "64 + 128 + 128 + 96" in out and "128" in out
    network = PostProcessor.from_pretrained(tmp_path / "model")
    assert network.feature_dims == DIMS
    with torch.no_grad():
        assert (network(STORED["input"]) - STORED["output"]).abs().max() <= 1e-5
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


class Malicious:
    def __reduce__(self):
        return os.system, ("touch unpickled",)


def test_code_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Malicious()}, "bad.pth")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Malicious()))
    for name in ("bad.pth", "bad.pkl"):
        with pytest.raises(HomologError, match="expected a file of weights alone") as error:
            convert(tmp_path / name, tmp_path / "model")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "unpickled").exists() and not (tmp_path / "model").exists()


def without(name):
    return {key: tensor for key, tensor in STATE.items() if key != name}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (without("logit_scale"), "got none called logit_scale"),
        (without("bottleneck_layers.0.0.conv1.weight"), "without 'bottleneck_layers.0.0.conv1"),
        (STATE | {"head.weight": torch.zeros(2)}, "got one called head.weight"),
        (STATE | {"mixing_weights": torch.zeros(3)}, r"got \(3,\)"),
        ({"epoch": 3}, "with other content"),
        ([1, 2], "with other content"),
        ({}, "without"),
    ],
)
def test_other_checkpoints_are_named(tmp_path, state, reason):
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(HomologError, match=f"other.pth.*{reason}"):
        convert(tmp_path / "other.pth", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(HomologError, match="cannot read"):
        convert(tmp_path / "missing.pth", tmp_path / "model")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(HomologError, match="expected a file of weights"):
        convert(tmp_path / "empty.pth", tmp_path / "model")
    torch.save(STATE, tmp_path / "good.pth")
    (tmp_path / "file").touch()
    with pytest.raises(HomologError, match="out: cannot write"):
        convert(tmp_path / "good.pth", tmp_path / "file")
    convert(tmp_path / "good.pth", tmp_path / "model")
    with pytest.raises(HomologError, match="out: expected a folder without a model"):
        convert(tmp_path / "good.pth", tmp_path / "model")
