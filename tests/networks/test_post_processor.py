"""The post-processor against the published network, and its files."""

import json

import pytest
import torch
from helpers import parity

from homolog import HomologError
from homolog.networks.post_processor import PostProcessor

STORED = parity.tensors("post_processor")
STATE = {name[len("state.") :]: x for name, x in STORED.items() if name.startswith("state.")}
DIMS = (64, 128, 128, 96)


@pytest.fixture
def published(device) -> PostProcessor:
    network = PostProcessor(DIMS, 128)
    network.load_state_dict(STATE)
    return network.to(device)


def test_the_published_output(published, device):
    with torch.no_grad():
        found = published(STORED["input"].to(device))
    assert (found.cpu() - STORED["output"]).abs().max() <= 1e-5


def test_the_published_size():
    network = PostProcessor((640, 1280, 1280, 768), 768)
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_150_214


def test_initial_values():
    torch.manual_seed(0)
    network = PostProcessor((256, 128), 256)
    assert network.mixing_weights.tolist() == [1, 1]
    assert network.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    first = network.bottleneck_layers[1][0].conv2.weight
    fan_out = first.shape[0] * 9
    assert first.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)


def test_it_is_saved_and_loaded(published, tmp_path):
    published.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "feature_dims": list(DIMS),
        "projection_dim": 128,
        "residual": False,
    }
    assert (tmp_path / "model.safetensors").is_file()
    loaded = PostProcessor.from_pretrained(tmp_path)
    for name, parameter in loaded.state_dict().items():
        assert parameter.equal(STATE[name])


def test_wrong_widths_are_named(published, device):
    with pytest.raises(HomologError, match=r"expected 64 .* channels, got 415"):
        published(torch.zeros(1, 415, 4, 4, device=device))
    with pytest.raises(HomologError, match="multiple of 128"):
        PostProcessor(DIMS, 100)
