"""Fitting the head to pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.training.adaptation.config import HeadConfig
from homolog.training.adaptation.images import UnsuitableImagesError
from homolog.training.adaptation.objective import HeadObjective
from homolog.training.adaptation.sampler import Batch, BatchSampler, Labels
from homolog.training.adaptation.store import ImageStore, spread
from homolog.training.augmentation import Augmentation
from homolog.training.distributed import SINGLE_PROCESS, Process
from homolog.training.trainer import Hooks, LoopConfig, Trainer

_BASIS_IMAGES, _BASIS_EVERY = 64, 4  # images, and cells of them, that components are taken from

Head = AttentionHead | PostProcessor


def create_head(
    store: ImageStore, config: HeadConfig, seed: int, images: Sequence[int] | None = None
) -> Head:
    """An untrained head for the descriptors of a store.

    Args:
        store: the descriptors, from which an `AttentionHead` takes its principal components.
        config: of the head.
        seed: of its initial weights.
        images: indices of those that components are taken from; None for all.
    """
    channels = len(store.basis_CK)
    network: Head
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.kind == "residual":
            network = PostProcessor([channels], config.projection_dim, residual=True)
        else:
            components = min(256, store.basis_CK.shape[1])
            network = AttentionHead(channels, config.projection_dim, components)
    network = network.to(store.basis_CK.device)
    if isinstance(network, AttentionHead):
        cells = []
        used = range(len(store)) if images is None else images
        for row in spread(len(used), _BASIS_IMAGES):
            view = store.view(used[row])
            cells.append(view.components_HWK[view.valid_HW][::_BASIS_EVERY].float())
        # In the space of the components, for what they leave out is not in the store.
        found = torch.cat(cells).to(store.basis_CK)
        network.fit(found @ store.basis_CK.T)
    return network


def fit_head(
    network: Head,
    labels: Sequence[Labels],
    store: ImageStore,
    views: Sequence[Augmentation],
    config: HeadConfig,
    seed: int,
    folder: Path | None = None,
    process: Process = SINGLE_PROCESS,
) -> None:
    """Train a head on pseudo-labels, in place; an interrupted run resumes.

    Args:
        network: the head.
        labels: the matches of each pair of images.
        store: has the images.
        views: that every image is shown in.
        config: of the training.
        seed: of the run.
        folder: that gets its checkpoint and curves; None to leave no files.
        process: this process among those of the run.

    Raises:
        UnsuitableImagesError: there are no matches.
        HomologError: the loss is not finite, or the folder cannot be written.
    """
    if not labels:
        raise UnsuitableImagesError(
            "images: expected images whose objects can be matched, got no two with matches that "
            "are consistent; try images of one kind of object"
        )
    objective = HeadObjective(network, config).to(store.basis_CK.device)
    sampler = BatchSampler(labels, store, views, config, seed)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1.0, weight_decay=config.weight_decay)
    loop = LoopConfig(config.steps, (config.learning_rate,), config.warmup, config.clip)
    Trainer(folder, objective, sampler, optimizer, loop, Hooks[Batch](), process).run(
        partial(_batch_losses, store, network)
    )
    network.eval()


def head_inputs(store: ImageStore, network: Head, batch: Batch) -> Float[Tensor, "B H W C"]:
    """What the head gets of a batch's images: their descriptors, reduced for an `AttentionHead`.

    Args:
        store: has the images.
        network: the head.
        batch: names the images and their views.
    """
    views = [store.view(index, augmentation) for index, augmentation in batch.views]
    if isinstance(network, AttentionHead):
        reduction = store.basis_CK.T @ network.basis
        return torch.stack([view.components_HWK for view in views]).to(reduction) @ reduction
    return torch.stack([store.zero_shot(view) for view in views])


def _batch_losses(
    store: ImageStore, network: Head, module: nn.Module, batch: Batch
) -> dict[str, Tensor]:
    inputs = head_inputs(store, network, batch)
    device = inputs.device
    tensors = (
        batch.source_P, batch.target_P, batch.source_cells_P2, batch.target_cells_P2,
        batch.weights_P,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(batch.seed)
        return module(inputs, *(tensor.to(device) for tensor in tensors))
