"""Learned upsamplers, against the published network's output."""

import pytest
import torch
from helpers import marco_parity as marco

from homolog import HomologError
from homolog.networks.upsampler import Upsampler


@marco.needs_figures
def test_the_published_output():
    network, stored = Upsampler(64, 2), marco.tensors()
    weights = marco.weights()
    network.load_state_dict({n: w for n, w in weights.items() if n.startswith("upscale.")})
    with torch.no_grad():
        found = network(stored["adapted"])
    assert marco.error(found, stored["upsampled"]) <= 1e-5
    assert network.scale == 4


def test_each_stage_doubles_the_grid_and_sees_the_neighbours_alone():
    torch.manual_seed(0)
    network = Upsampler(3, 1)
    features = torch.randn(1, 3, 5, 4)
    with torch.no_grad():
        before = network(features)
        features[0, :, 2, 1] += 1
        changed = (network(features) != before).any(1)[0]
    assert before.shape == (1, 3, 10, 8)
    rows, columns = changed.nonzero().unbind(1)
    assert set(rows.tolist()) == {3, 4, 5, 6} and set(columns.tolist()) == {1, 2, 3, 4}


def test_what_does_not_fit():
    with pytest.raises(HomologError, match="features: expected 3 channels, got 2"):
        Upsampler(3, 1)(torch.zeros(1, 2, 4, 4))
    with pytest.raises(HomologError, match="stages: expected a number from 1 on, got 0"):
        Upsampler(3, 0)
