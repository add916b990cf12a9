"""Tensors in files, and what does not fit a network."""

import pytest
import torch
from torch import nn

from homolog import HomologError
from homolog.utils.tensor_files import load_state, read_tensors, tensor_bytes


def test_tensors_come_back(tmp_path):
    tensors = {"a": torch.randn(2, 3).T, "b": torch.arange(3)}
    (tmp_path / "t.safetensors").write_bytes(tensor_bytes(tensors))
    found = read_tensors(tmp_path / "t.safetensors")
    assert found.keys() == tensors.keys() and all(found[k].equal(t) for k, t in tensors.items())


def test_unreadable_files(tmp_path):
    with pytest.raises(HomologError, match=r"^unet: cannot read .*No such file"):
        read_tensors(tmp_path / "missing", "unet")
    (tmp_path / "damaged").write_bytes(b"junk")
    with pytest.raises(HomologError, match=r"^name: expected a safetensors file, got .*damaged"):
        read_tensors(tmp_path / "damaged")


def test_weights_must_fit_exactly():
    network, state = nn.Linear(2, 3), nn.Linear(2, 3).state_dict()
    load_state(network, state, "file")
    assert network.weight.equal(state["weight"])
    for changed, got in (
        ({"weight": state["weight"]}, "none called bias"),
        (state | {"more": torch.zeros(1)}, "one called more"),
        (state | {"bias": torch.zeros(2)}, r"\(2,\)"),
    ):
        with pytest.raises(HomologError, match=f"^checkpoint: expected .* in file, got {got}"):
            load_state(network, changed, "file")
