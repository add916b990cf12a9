"""Adapters beside the perceptrons of chosen blocks."""

import copy

import pytest
import torch
from helpers import marco_parity as marco
from helpers.foundation import save_dino

from homolog import HomologError
from homolog.backbones import DinoConfig, TuningConfig, create
from homolog.backbones.adapters import applied_state, apply, prepare, trainable, tuned_state

pytest.importorskip("transformers")
CPU = torch.device("cpu")
TWO = TuningConfig((0, 2), rank=None, bottleneck=4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("dino")
    return {
        kind: str(save_dino(root / kind, kind))
        for kind in ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")
    }


def loaded(folder, size=112):
    return create(DinoConfig(folder, size), CPU)


def canvas(size=112):
    generator = torch.manual_seed(0)
    return torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=generator)


@marco.needs_figures
def test_the_published_tokens():
    config = DinoConfig(str(marco.FOLDER / "dinov2_tiny"), 140, padding="right-bottom")
    backbone, stored = create(config, CPU), marco.tensors()
    published = TuningConfig((2, 3), rank=None, bottleneck=32)
    apply(backbone, published, marco.adapter_weights(), "there")
    with torch.no_grad():
        (found,) = backbone._maps(stored["images"])
        plain = create(config, CPU)._maps(stored["images"])[0]
    assert marco.error(found, stored["adapted"]) <= 1e-5
    assert marco.error(plain, stored["adapted"]) > 0.01


@pytest.mark.parametrize("kind", ["dinov2", "dinov2_with_registers", "dinov3_vit"])
def test_they_start_as_the_backbone_and_come_back_as_trained(folders, kind):
    frozen, adapted = loaded(folders[kind]), loaded(folders[kind])
    parameters = prepare(adapted, TWO)
    assert set(parameters) == {
        f"blocks.{block}.adapter.{layer}.{what}"
        for block in (0, 2)
        for layer in ("norm", "down_proj", "up_proj")
        for what in ("weight", "bias")
    }
    assert adapted(canvas())[0].equal(frozen(canvas())[0])
    for parameter in parameters.values():
        torch.nn.init.normal_(parameter.data, std=0.5)
    (found,) = adapted.feature_maps(canvas())
    assert not found.equal(frozen(canvas())[0])
    found.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in parameters.values())
    again = loaded(folders[kind])
    apply(again, TWO, tuned_state(adapted), "here")
    assert again(canvas())[0].equal(adapted(canvas())[0])
    saved = applied_state(again, TWO)
    assert saved.keys() == parameters.keys()
    assert all(tensor.equal(parameters[name]) for name, tensor in saved.items())


def test_a_copy_learns_by_itself(folders):
    """A teacher that follows its student has weights of its own."""
    student = loaded(folders["dinov2"])
    prepare(student, TWO)
    teacher = copy.deepcopy(student)
    before = teacher(canvas())[0].clone()
    for parameter in trainable(student).values():
        torch.nn.init.normal_(parameter.data)
    assert teacher(canvas())[0].equal(before)
    assert not student(canvas())[0].equal(before)
    for own, other in zip(trainable(teacher).values(), trainable(student).values(), strict=True):
        own.data.copy_(other.data)
    assert teacher(canvas())[0].equal(student(canvas())[0])


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ((0, 3), r"different blocks from 0 to 2, got \[0, 3\]"),
        ((1, 1), r"got \[1, 1\]"),
        ((), r"got \[\]"),
        (4, "1 to 3 blocks, got 4"),
    ],
)
def test_blocks_that_are_not_there(folders, blocks, reason):
    with pytest.raises(HomologError, match=f"tuning: expected .*{reason}"):
        prepare(loaded(folders["dinov2"]), TuningConfig(blocks, rank=None, bottleneck=4))


def test_what_cannot_have_them(folders):
    with pytest.raises(HomologError, match="expected a DINO transformer as the backbone"):
        prepare(loaded(folders["dinov3_convnext"], 128), TWO)
    with pytest.raises(HomologError, match="rank: expected None with a bottleneck, got 8"):
        TuningConfig(1, bottleneck=4)
