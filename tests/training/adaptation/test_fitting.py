"""Fitting: the loss by hand, what the head is given, what it learns, and that it resumes."""

import dataclasses
import math
import signal

import numpy as np
import pytest
import torch
from helpers.toy_adaptation import CHANNELS, RuledSides, cuts, toy_store
from helpers.toy_training import toy_matcher
from helpers.toys import ColourBackbone, random_image
from PIL import Image

from homolog import HomologError, Matcher
from homolog.config import PostProcessorConfig
from homolog.image.poses import POSE_SETS
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.training import objective
from homolog.training.adaptation import fitting
from homolog.training.adaptation.config import HeadConfig
from homolog.training.adaptation.fitting import create_head, fit_head, head_inputs
from homolog.training.adaptation.mining import PointMatcher, mine_pair
from homolog.training.adaptation.objective import HeadObjective
from homolog.training.adaptation.pairs import describe_images
from homolog.training.adaptation.sampler import BatchSampler, Labels
from homolog.training.adaptation.teacher import Teacher
from homolog.training.augmentation import FLIPPED, UNCHANGED, PoseView
from homolog.training.trainer import LoopConfig

CONTEXT = HeadConfig("context", 32, images=2, matches=60, learning_rate=5e-3)
RESIDUAL = dataclasses.replace(CONTEXT, kind="residual", projection_dim=128)
KINDS = pytest.mark.parametrize("config", [CONTEXT, RESIDUAL], ids=["context", "residual"])
CELLS = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), axis=-1).reshape(-1, 2)


def weights(network) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().cpu() for parameter in network.parameters()])


def some_labels(count: int, seed: int = 0) -> list[Labels]:
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    return [Labels(*pair, *rng.uniform(0, 11, (2, 7, 2))) for pair in pairs]


def loss_by_hand(descriptors, batch, scale) -> float:
    """One match after the other, in double precision."""
    total = 0.0
    for row, (source, target) in enumerate(
        zip(batch.source_P.tolist(), batch.target_P.tolist(), strict=True)
    ):
        x, y = batch.source_cells_P2[row].double().clamp(0, 11).tolist()
        left, top = min(math.floor(x), 10), min(math.floor(y), 10)
        query = sum(
            (1 - abs(x - column)) * (1 - abs(y - line)) * descriptors[source][line, column]
            for column in (left, left + 1)
            for line in (top, top + 1)
        )
        logits = scale * descriptors[target] @ query
        log_probability = logits - np.log(np.exp(logits).sum())
        x, y = batch.target_cells_P2[row].double().tolist()
        lines, columns = np.mgrid[:12, :12]
        gaussian = np.exp(-((columns - x) ** 2 + (lines - y) ** 2) / (2 * 0.8**2))
        gaussian /= gaussian.sum()
        total -= float(batch.weights_P[row]) * (gaussian * log_probability).sum()
    return total


@KINDS
def test_the_loss_by_hand(tmp_path, config, monkeypatch):
    monkeypatch.setattr(objective, "has_fast_bfloat16", lambda device: False)
    store = toy_store(tmp_path, [random_image(96, 96, seed) for seed in range(4)])
    config = dataclasses.replace(config, channel_dropout=0.0, images=4, matches=5)
    network = create_head(store, config, 0)
    for parameter in network.parameters():  # those that begin at zero, too, have an effect
        torch.nn.init.normal_(parameter, std=0.2)
    batch = BatchSampler(some_labels(4), store, [UNCHANGED, FLIPPED], config, 0).draw(0, 0)
    assert len(batch.views) == 4 and len(batch.source_P) == 12 * 5
    inputs = head_inputs(store, network, batch)
    module = HeadObjective(network, config)
    with torch.no_grad():
        module.scale.fill_(math.log(7.0))
        loss = module(
            inputs, batch.source_P, batch.target_P, batch.source_cells_P2, batch.target_cells_P2,
            batch.weights_P,
        )["loss"]  # fmt: skip
        if isinstance(network, AttentionHead):
            found, _ = network.describe(inputs)
        else:
            found = network(inputs.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    descriptors = found.double().numpy()
    descriptors /= np.linalg.norm(descriptors, axis=-1, keepdims=True)
    assert float(loss) == pytest.approx(loss_by_hand(descriptors, batch, 7.0), rel=1e-4)
    uniform = math.log(144)
    assert 0.2 * uniform < float(loss) < 3 * uniform


def test_dropout_is_of_whole_channels_of_an_image_while_training(tmp_path, monkeypatch):
    store = toy_store(tmp_path, cuts((0, 0), (9, 9)))
    config = dataclasses.replace(CONTEXT, channel_dropout=0.3)
    network = create_head(store, config, 0)
    batch = BatchSampler(some_labels(2), store, [UNCHANGED], config, 0).draw(0, 0)
    inputs = head_inputs(store, network, batch)
    describe, given = network.describe, []
    monkeypatch.setattr(network, "describe", lambda each, _: given.append(each) or describe(each))
    module = HeadObjective(network, config)
    points = (batch.source_P, batch.target_P, batch.source_cells_P2, batch.target_cells_P2)
    module.train()(inputs, *points, batch.weights_P)
    module.eval()(inputs, *points, batch.weights_P)
    assert torch.equal(given[1], inputs)
    factors = given[0] / inputs
    assert torch.allclose(factors, factors[:, :1, :1].expand_as(factors), atol=1e-4)
    dropped = factors[:, 0, 0] == 0
    assert 0.15 < dropped.float().mean() < 0.45 and not torch.equal(*dropped)


@pytest.mark.parametrize("components", [CHANNELS, 24])
def test_a_context_head_is_given_what_it_gets_when_it_is_used(tmp_path, components):
    """The reduced descriptors, of what the store keeps as of what the extractor makes."""
    images = [random_image(120, 80, seed) for seed in range(3)]
    store = toy_store(tmp_path, images, components)
    network = create_head(store, CONTEXT, 0)
    assert network.basis.shape == (CHANNELS, components)
    views = [UNCHANGED, PoseView(POSE_SETS["rotations"][1])]
    batch = BatchSampler(some_labels(3), store, views, CONFIG3, 0).draw(0, 0)
    found = head_inputs(store, network, batch)
    assert found.shape == (3, 12, 12, components)
    for row, (index, view) in enumerate(batch.views):
        zero_shot = store.matcher.descriptor_map(store.paths[index], view.pose).descriptors_HWC
        expected = network.reduce(zero_shot[None])[0]
        scale = expected.abs().amax((0, 1))
        # Half precision, which counts more where small components are enlarged.
        error = (found[row] - expected).abs().amax((0, 1)) / scale
        assert error.max() < 0.02


CONFIG3 = dataclasses.replace(CONTEXT, images=3)


def test_a_residual_head_is_given_zero_shot_descriptors_and_begins_with_them(tmp_path):
    store = toy_store(tmp_path, cuts((0, 0), (20, 30)))
    network = create_head(store, RESIDUAL, 0)
    assert isinstance(network, PostProcessor)
    batch = BatchSampler(some_labels(2), store, [UNCHANGED], RESIDUAL, 0).draw(0, 0)
    found = head_inputs(store, network, batch)
    for row, (index, _) in enumerate(batch.views):
        assert torch.equal(found[row], store.zero_shot(store.view(index)))
    assert torch.equal(network(found.permute(0, 3, 1, 2)), found.permute(0, 3, 1, 2))


@KINDS
def test_a_head_is_decided_by_its_seed(tmp_path, config):
    store = toy_store(tmp_path, cuts((0, 0), (20, 30)), 30)
    state = torch.get_rng_state()
    one, same, other = (create_head(store, config, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))
    if isinstance(one, AttentionHead):
        # What the components leave out is not in the store: the head's basis has nothing of it.
        outside = one.basis - store.basis_CK @ (store.basis_CK.T @ one.basis)
        assert outside.abs().max() < 1e-3 * one.basis.abs().max()
        assert isinstance(same, AttentionHead) and torch.equal(one.basis, same.basis)


@pytest.mark.parametrize(
    ("config", "steps", "wanted"), [(CONTEXT, 45, 0.5), (RESIDUAL, 40, 0.25)],
    ids=["context", "residual"],
)  # fmt: skip
def test_what_looks_different_is_matched_after_training(tmp_path, config, steps, wanted):
    """Each scene in two dyes: that they are alike is to be learned, and holds for other scenes."""
    images = []
    for seed in range(10):
        red, green, blue = random_image(96, 96, seed).split()
        images += [Image.merge("RGB", each) for each in ((red, green, blue), (blue, red, green))]
    store = toy_store(tmp_path, images)
    labels = [Labels(2 * scene, 2 * scene + 1, CELLS, CELLS) for scene in range(8)]

    def accuracy(network, share):
        settings = None
        if network is not None:
            settings = PostProcessorConfig("descriptors", zero_shot=share)
        config = dataclasses.replace(store.matcher.config, post_processor=settings)
        teacher = Teacher(store, config, network, None)
        right = []
        for scene in (8, 9):
            maps = [teacher.descriptor_map(2 * scene + dye) for dye in range(2)]
            found = PointMatcher(*maps, config)(torch.from_numpy(CELLS).float()).numpy()
            right.append(np.linalg.norm(found - CELLS, axis=1) < 1.5)
        return np.mean(right)

    network = create_head(store, config, 0)
    assert accuracy(None, 0.0) < 0.15 and accuracy(network.eval(), 0.0) < 0.15
    config = dataclasses.replace(config, steps=steps)
    fit_head(network, labels, store, [UNCHANGED, FLIPPED], config, 0)
    assert not network.training
    assert accuracy(network, 0.0) > wanted


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def crash() -> None:
    raise RuntimeError("gone")


@pytest.mark.parametrize(
    ("config", "stop"), [(CONTEXT, interrupt), (CONTEXT, crash), (RESIDUAL, crash)],
    ids=["context, interrupted", "context, crashed", "residual, crashed"],
)  # fmt: skip
def test_training_that_was_stopped_resumes_to_the_last_bit(tmp_path, monkeypatch, config, stop):
    """Weights, moments, the schedule, dropout, and which matches are drawn."""
    store = toy_store(tmp_path, [random_image(96, 96, seed) for seed in range(4)])
    config = dataclasses.replace(config, steps=8, matches=20)
    monkeypatch.setattr(
        fitting,
        "LoopConfig",
        lambda *values: dataclasses.replace(LoopConfig(*values), save_every=2),
    )
    losses, calls = fitting._batch_losses, []

    def fitted(folder, stop_at=0) -> torch.Tensor:
        calls.clear()

        def counted(*arguments):
            calls.append(1)
            if len(calls) == stop_at:
                stop()
            return losses(*arguments)

        monkeypatch.setattr(fitting, "_batch_losses", counted)
        torch.manual_seed(len(str(folder)))  # the state of torch's generator has no part in it
        network = create_head(store, config, 0)
        fit_head(network, some_labels(4), store, [UNCHANGED, FLIPPED], config, 5, folder)
        return weights(network)

    expected = fitted(None)
    assert len(calls) == 8
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        fitted(folder, stop_at=6)
    assert len(calls) == 6
    assert fitted(folder).equal(expected)
    assert len(calls) == (2 if stop is interrupt else 4)
    assert fitted(folder).equal(expected) and not calls


def test_another_seed_draws_other_matches(tmp_path):
    store = toy_store(tmp_path, [random_image(96, 96, seed) for seed in range(4)])
    config = dataclasses.replace(CONTEXT, steps=3)
    found = []
    for seed in (0, 0, 1):
        network = create_head(store, config, 0)
        fit_head(network, some_labels(4), store, [UNCHANGED], config, seed)
        found.append(weights(network))
    assert found[0].equal(found[1]) and not found[0].equal(found[2])


def test_without_matches_there_is_nothing_to_learn(tmp_path):
    store = toy_store(tmp_path, cuts((0, 0), (9, 9)))
    network = create_head(store, CONTEXT, 0)
    with pytest.raises(HomologError, match=r"^images: expected .*; try [^\n]*$"):
        fit_head(network, [], store, [UNCHANGED], CONTEXT, 0)


class PlacedBackbone(ColourBackbone):
    """The toy backbone on a device."""

    def __init__(self, device: torch.device):
        super().__init__()
        self.device = device

    def __call__(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        return [maps.to(self.device) for maps in super().__call__(canvases.cpu())]


@KINDS
def test_all_of_it_works_on_the_backbones_device(tmp_path, device, config):
    plain = toy_matcher()
    matcher = Matcher(PlacedBackbone(device), plain.config)
    store = toy_store(tmp_path, cuts((0, 0), (16, 8), (8, 16)), 40, matcher)
    head = RuledSides(sides_weight=0.2).to(device)
    settings = dataclasses.replace(matcher.config, sides=head.config)
    teacher = Teacher(store, settings, None, head)
    assert describe_images(teacher, [0, 1, 2]).embeddings.shape[0] == 3
    rng = np.random.default_rng(0)
    mined = [
        mine_pair(teacher, *pair, 40, POSE_SETS["rotations"], rng) for pair in ((0, 1), (1, 2))
    ]
    mined.append(mine_pair(teacher, 0, 2, 40, POSE_SETS["none"], rng, through=1))
    labels = [Labels(m.source, m.target, m.source_cells, m.target_cells) for m in mined]
    config = dataclasses.replace(config, steps=2, images=3)
    network = create_head(store, config, 0)
    fit_head(network, labels, store, [UNCHANGED, FLIPPED], config, 0, tmp_path)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {device.type}
    settings = dataclasses.replace(
        settings, post_processor=PostProcessorConfig("descriptors", zero_shot=0.5)
    )
    found = Teacher(store, settings, network, head).descriptor_map(0)
    assert found.descriptors_HWC.device.type == device.type
