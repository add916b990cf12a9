"""Tuning of the side head: each cell learns what its matches in other images say it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog import matching
from homolog.image.poses import FLIP, IDENTITY
from homolog.matcher import Matcher
from homolog.networks.sides import SideHead, SideMaps
from homolog.training.adaptation.config import SideTuningConfig
from homolog.training.adaptation.sampler import Labels
from homolog.training.adaptation.store import ImageStore
from homolog.training.augmentation import PoseView
from homolog.training.sides.examples import Examples, extract_examples, mirrored_images
from homolog.training.sides.fitting import fit
from homolog.training.sides.recipe import SidesRecipe
from homolog.training.sides.rendered import RenderedDataset

_RENDERS = 600  # images mixed in, at most: more take longer to read and bring no more
_VIEWS = (IDENTITY, FLIP)
_SIDE_LOSSES = ("objectness", "side", "coordinates", "heading")


def tune_sides(
    side_head: SideHead,
    labels: Sequence[Labels],
    store: ImageStore,
    config: SideTuningConfig,
    seed: int,
    renders: Examples | None = None,
    folder: Path | None = None,
) -> None:
    """Tune a side head on pseudo-labels, in place; an interrupted run resumes.

    Args:
        side_head: the side head.
        labels: matches of pairs of images in which it recognises the objects.
        store: has the images, as they are and mirrored.
        config: of the tuning.
        seed: of the run.
        renders: rendered examples that are mixed in, so that what renders taught is not forgotten.
        folder: of its checkpoint and curves; None to leave no files.

    Raises:
        HomologError: the loss is not finite, or the folder cannot be written.
    """
    examples = pseudo_examples(side_head, labels, store)
    rows = list(range(len(examples.reduced)))
    if renders is not None:
        count = len(rows)
        examples = concatenate(examples, renders)
        # So many renders in each step, on average, as are asked for.
        share = config.renders / (1 - config.renders) * count / len(renders.reduced)
        rows = rows * max(1, round(1 / share)) + list(range(count, len(examples.reduced))) * max(
            1, round(share)
        )
    recipe = SidesRecipe(
        steps=config.steps,
        batch_size=config.images,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        style_mix=config.augmentation,
        channel_drop=config.augmentation / 2,
        block_mask=config.augmentation / 2,
        losses=_SIDE_LOSSES,
        seed=seed,
    )
    fit(side_head.requires_grad_(True), examples, rows, recipe, folder)
    side_head.requires_grad_(False)


def rendered_examples(
    renders: RenderedDataset,
    held_out: Collection[str],
    matcher: Matcher,
    seed: int,
    side_head: SideHead,
) -> Examples:
    """Rendered examples to be mixed in.

    Args:
        renders: the rendered set.
        held_out: 3D models whose images are left out.
        matcher: a zero-shot matcher.
        seed: draws the images, and which of them are mirrored.
        side_head: for which the examples are.

    Raises:
        HomologError: an image cannot be read.
    """
    rows, _ = renders.split(held_out)
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.permutation(rows)[:_RENDERS].tolist())
    mirrored = mirrored_images(len(renders.files), seed)
    return extract_examples(renders, chosen, matcher, side_head, mirrored)


@torch.no_grad()
def pseudo_examples(side_head: SideHead, labels: Sequence[Labels], store: ImageStore) -> Examples:
    """Examples whose cells show what their matches in other images say, by the head itself.

    The predictions for an image are averaged with those for its mirror image; then those of each
    cell with those at its matches. Each image is there twice, as it is and mirrored.

    Args:
        side_head: predicts.
        labels: matches of pairs of images.
        store: has the images.
    """
    images = sorted({image for pair in labels for image in (pair.source, pair.target)})
    rows = {image: row for row, image in enumerate(images)}
    reduced = [_reduced(store, side_head, image) for image in images]
    own = [_symmetric(side_head, views) for views in reduced]
    values = [torch.cat([found.side[..., None], found.canonical_xyz], dim=-1) for found in own]
    # A cell's own prediction weighs as much as one of its matches.
    totals = [value.clone() for value in values]
    weights = [torch.ones(value.shape[:2]) for value in values]
    for pair in labels:
        source, target = rows[pair.source], rows[pair.target]
        cells0, cells1 = (
            _rows_columns(cells, values[0]) for cells in (pair.source_cells, pair.target_cells)
        )
        for row, cells, other, theirs in (
            (source, cells0, target, cells1), (target, cells1, source, cells0),
        ):  # fmt: skip
            totals[row].index_put_(cells, values[other][theirs], accumulate=True)
            weights[row].index_put_(cells, torch.ones(len(cells[0])), accumulate=True)
    parts = []
    for views, found, total, weight in zip(reduced, own, totals, weights, strict=True):
        mean = total / weight[..., None]
        targets = dataclasses.replace(found, side=mean[..., 0], canonical_xyz=mean[..., 1:])
        parts += [(views[0], targets), (views[1], mirrored(targets))]
    return Examples(
        torch.stack([views for views, _ in parts]),
        torch.stack([found.objectness for _, found in parts]).half(),
        torch.stack([found.side for _, found in parts]).half(),
        torch.stack([found.canonical_xyz for _, found in parts]).half(),
        torch.stack([found.heading for _, found in parts]).half(),
        torch.zeros(len(parts), 1, 2),
        torch.zeros(len(parts), 1),
    )


def mirrored(maps: SideMaps) -> SideMaps:
    """What a side head should predict for the mirror image: left is right, and columns turn round.

    Args:
        maps: for one image, letterboxed in the middle of its canvas.
    """
    return SideMaps.from_stacked(maps.seen_in_mirror().stacked.flip(1))


def concatenate(first: Examples, second: Examples) -> Examples:
    """The examples of both; keypoints are padded with zeros to the larger number."""
    points = max(first.keypoints.shape[1], second.keypoints.shape[1])
    columns = []
    for name in Examples.__dataclass_fields__:
        both = [getattr(first, name), getattr(second, name)]
        if name.startswith("keypoint"):
            both = [_padded(each, points) for each in both]
        columns.append(torch.cat(both))
    return Examples(*columns)


def _padded(values: Float[Tensor, "N P *_"], points: int) -> Float[Tensor, "N Q *_"]:
    missing = values.new_zeros(len(values), points - values.shape[1], *values.shape[2:])
    return torch.cat([values, missing], dim=1)


def _reduced(store: ImageStore, side_head: SideHead, image: int) -> Float[Tensor, "2 H W K"]:
    """The head's input for an image and its mirror image, half precision."""
    reduction = store.basis_CK.T @ side_head.basis
    views = [store.view(image, PoseView(pose)).components_HWK for pose in _VIEWS]
    return (torch.stack(views).to(reduction) @ reduction).half().cpu()


def _symmetric(side_head: SideHead, views: Float[Tensor, "2 H W K"]) -> SideMaps:
    """The mean of the predictions for an image and, mirrored back, for its mirror image."""
    logits = side_head.logits(views.float().to(side_head.basis.device)).cpu().float()
    found = SideMaps.from_logits(logits)
    return SideMaps.from_stacked((found[0].stacked + mirrored(found[1]).stacked) / 2)


def _rows_columns(
    cells_M2: Float[np.ndarray, "M 2"], values_HWC: Float[Tensor, "H W C"]
) -> tuple[Tensor, Tensor]:
    """Row and column of the grid cell nearest to each position."""
    x, y = matching.nearest_cells(torch.from_numpy(cells_M2), values_HWC.permute(2, 0, 1)).unbind(1)
    return y, x
