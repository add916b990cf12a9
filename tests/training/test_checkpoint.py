"""Checkpoints: what is written is read, and what is damaged is said."""

import json
import math

import pytest
import torch

from homolog import HomologError
from homolog.training.checkpoint import TrainState, read_state, write_state
from homolog.utils.tensor_files import read_metadata, read_tensors, tensor_bytes


def parts() -> tuple[torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0)
    return network, optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)


def test_a_run_without_a_checkpoint_is_at_its_start(tmp_path):
    assert read_state(tmp_path / "none", *parts()) == TrainState(step=0)


def test_everything_is_restored(tmp_path):
    network, optimizer, schedule = parts()
    network(torch.ones(2)).sum().backward()
    optimizer.step()
    schedule.step()
    state = TrainState(1, 0.25, {"cpu": torch.get_rng_state()})
    write_state(tmp_path / "state", network, optimizer, schedule, state)
    others = parts()
    found = read_state(tmp_path / "state", *others)
    assert (found.step, found.best_score) == (1, 0.25)
    assert found.rng["cpu"].equal(state.rng["cpu"])
    assert others[0].weight.equal(network.weight)
    assert others[2].get_last_lr() == schedule.get_last_lr()
    for own, other in zip(others[0].parameters(), network.parameters(), strict=True):
        moments, expected = others[1].state[own], optimizer.state[other]
        assert moments.keys() == expected.keys()
        assert all(moments[name].equal(expected[name]) for name in moments)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "state").write_bytes(b"nothing")
    with pytest.raises(HomologError, match=r"^out: expected the checkpoint of a run, got .*state"):
        read_state(tmp_path / "state", *parts())


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    network, optimizer, schedule = parts()
    write_state(tmp_path / "state", network, optimizer, schedule, TrainState())
    with pytest.raises(HomologError, match="state"):
        read_state(tmp_path / "state", torch.nn.Linear(3, 2), optimizer, schedule)


def test_no_flipped_byte_goes_unnoticed(tmp_path):
    network, optimizer, schedule = parts()
    network(torch.ones(2)).sum().backward()
    optimizer.step()
    path = tmp_path / "state"
    write_state(path, network, optimizer, schedule, TrainState(1, 0.25))
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 2
        path.write_bytes(damaged)
        try:
            read_state(path, *parts())
        except HomologError as error:
            assert str(error).startswith("out: expected ") and "\n" not in str(error)
        else:  # the checksum's own name
            assert b"crc32" not in damaged


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model.weight": torch.full((2, 2), torch.nan)}, "finite weights"),
        ({"optimizer.0.exp_avg": torch.full((2, 2), torch.inf)}, "finite exp_avg"),
        ({"optimizer.0.exp_avg": torch.zeros(3, 2)}, "finite exp_avg"),
        ({"rng.cpu": torch.zeros(3)}, "cannot be read"),
        ({"step": -1}, "got -1"),
        ({"best": math.nan}, "got 0, nan"),
        ({"groups": []}, "another optimizer"),
        ({"groups": 1}, "another optimizer"),
        ({"schedule": 1}, "another optimizer"),
    ],
)
def test_what_no_run_can_have_left_is_one_line(tmp_path, changes, reason):
    network, optimizer, schedule = parts()
    network(torch.ones(2)).sum().backward()
    optimizer.step()
    path = tmp_path / "state"
    write_state(path, network, optimizer, schedule, TrainState(0))
    tensors, plain = read_tensors(path), json.loads(read_metadata(path)["progress"])
    for name, value in changes.items():
        (plain if name in plain else tensors)[name] = value
    path.write_bytes(tensor_bytes(tensors, {"progress": json.dumps(plain)}))
    with pytest.raises(HomologError, match=reason) as error:
        read_state(path, *parts())
    assert str(path) in str(error.value) and "\n" not in str(error.value)
