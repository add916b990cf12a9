"""Models that others published: their checkpoints are recognised, and become matchers."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from homolog import checkpoints
from homolog.backbones import Backbone, DinoConfig, TuningConfig, adapters, create
from homolog.backbones.licences import published_json
from homolog.backbones.registry import MARCO_BACKBONE
from homolog.backbones.releases import Release, fetch
from homolog.config import MatcherConfig
from homolog.errors import HomologError
from homolog.networks.post_processor import PostProcessor
from homolog.networks.upsampler import Upsampler
from homolog.presets import marco
from homolog.utils.tensor_files import load_state

_ADAPTER = re.compile(r"dino\.blocks\.(\d+)\.adapter\.(.+)")
_ADAPTER_NAMES = {"adapter_layer_norm_before": "norm"}
_MARCO_BACKBONES = {1024: MARCO_BACKBONE.model}


@dataclass(frozen=True)
class Published:
    """What a published checkpoint holds.

    Attributes:
        network: the trained network on top of the backbone.
        tuning: which part of the backbone was trained with it; None for a frozen one.
        backbone_state: the weights of that part, as model folders hold them.
        description: what it is, in one line.
    """

    network: PostProcessor | Upsampler
    tuning: TuningConfig | None
    backbone_state: Mapping[str, Tensor] | None
    description: str


def recognise(path: Path) -> Published:
    """What a checkpoint is, told by the names and shapes of its weights.

    Args:
        path: a `.pth` file; no code in it is run.

    Raises:
        HomologError: it cannot be read, or holds nothing that is known.
    """
    state = checkpoints.read_checkpoint(path)
    if any(name.startswith(("dino.", "upscale.")) for name in state):
        return _marco(state, str(path))
    network = checkpoints.post_processor_from_state(state, str(path))
    channels = " + ".join(map(str, network.feature_dims))
    return Published(
        network, None, None,
        f"post-processor of feature maps with {channels} channels, width {network.projection_dim}, "
        f"{_count(network.state_dict())} parameters",
    )  # fmt: skip


def _marco(state: Mapping[str, Tensor], name: str) -> Published:
    """MARCO's adapters and upsamplers, whose shapes say how many, how wide, and where."""
    upsamplers = {key: tensor for key, tensor in state.items() if key.startswith("upscale.")}
    adapter_state, rest = {}, []
    for key in state.keys() - upsamplers.keys():
        found = _ADAPTER.fullmatch(key)
        if found is None:
            rest.append(key)
            continue
        layer, _, kind = found[2].partition(".")
        layer = _ADAPTER_NAMES.get(layer, layer)
        adapter_state[f"blocks.{found[1]}.adapter.{layer}.{kind}"] = state[key]
    for what, those in (("upsamplers (upscale.…)", upsamplers), ("adapters", adapter_state)):
        if not those:
            raise HomologError(f"checkpoint: expected MARCO's {what}, got {name} without any")
    if rest:
        raise HomologError(
            f"checkpoint: expected MARCO's adapters and upsamplers alone, got {name} with "
            f"{min(rest)}"
        )
    stages = sorted({key.split(".")[1] for key in upsamplers})
    blocks = sorted({int(key.split(".")[1]) for key in adapter_state})
    first = upsamplers.get("upscale.0.conv1.weight", torch.empty(0))
    channels = first.shape[0] if first.ndim else 0
    down = adapter_state.get(f"blocks.{blocks[0]}.adapter.down_proj.weight", torch.empty(0))
    bottleneck = down.shape[0] if down.ndim else 0
    # Before networks of these sizes are made, which a few numbers in a damaged file could ask for.
    for stage in stages:
        _check_shape(upsamplers, f"upscale.{stage}.conv1.weight", (channels, channels, 2, 2), name)
    for block in blocks:
        key = f"blocks.{block}.adapter.down_proj.weight"
        _check_shape(adapter_state, key, (bottleneck, channels), name)
    network = Upsampler(channels, len(stages))
    load_state(network, upsamplers, name)
    for block in blocks:
        prefix = f"blocks.{block}.adapter."
        own = {k.removeprefix(prefix): w for k, w in adapter_state.items() if k.startswith(prefix)}
        load_state(adapters.Adapter(channels, bottleneck, 1.0), own, f"{name}, block {block}")
    tuning = TuningConfig(tuple(blocks), rank=None, bottleneck=bottleneck)
    which = f"{blocks[0]} to {blocks[-1]}" if _is_range(blocks) else ", ".join(map(str, blocks))
    return Published(
        network, tuning, adapter_state,
        f"MARCO's adapters in blocks {which}, bottleneck {bottleneck}, {len(stages)} upsamplers "
        f"of {channels} channels, {_count(state)} parameters",
    )  # fmt: skip


def _check_shape(state: Mapping[str, Tensor], key: str, shape: tuple[int, ...], name: str) -> None:
    """Check that a weight is there, and of some size.

    Raises:
        HomologError: it is not.
    """
    if key not in state:
        raise HomologError(f"checkpoint: expected {key} in {name}, got none")
    if state[key].shape != shape or 0 in shape:
        raise HomologError(
            f"checkpoint: expected {key} of shape {shape} in {name}, got {tuple(state[key].shape)}"
        )


def _is_range(numbers: Sequence[int]) -> bool:
    return len(numbers) > 1 and list(numbers) == list(range(numbers[0], numbers[-1] + 1))


def _count(state: Mapping[str, Tensor]) -> str:
    return f"{sum(tensor.numel() for tensor in state.values()):,}"


def config_of(
    found: Published, weights: str | Sequence[str] | None, size: int | None
) -> MatcherConfig | None:
    """The configuration of a matcher with published weights, as they were evaluated.

    Args:
        found: the weights.
        weights: a folder or hub name for the backbone's, if not those they were trained with;
            several for a backbone of several models.
        size: longest side of the images, in pixels; None for the published one.

    Returns:
        The configuration; None for a post-processor of feature maps of unknown origin.

    Raises:
        HomologError: the backbone is of another kind or size, or what is given makes no sense.
    """
    if isinstance(found.network, Upsampler):
        assert found.tuning is not None
        channels = found.network.channels
        names = _MARCO_BACKBONES.get(channels) if weights is None else weights
        if not isinstance(names, str):
            names = list(names or ())
            if len(names) != 1:
                raise HomologError(
                    f"weights: expected the folder or hub name of the DINO backbone of {channels} "
                    f"channels that MARCO's weights are for, got {len(names) or 'none'}"
                )
            (names,) = names
        longest = MARCO_BACKBONE.canvas_size if size is None else size
        config = marco(DinoConfig(names, longest), found.tuning)
        _check_backbone(config, found)
        return with_digest(config, found)
    known = checkpoints.published_config(found.network.feature_dims)
    if known is None:
        for argument, value in (("weights", weights), ("size", size)):
            if value is not None:
                raise HomologError(
                    f"{argument}: expected none, for the backbone of feature maps of "
                    f"{' + '.join(map(str, found.network.feature_dims))} channels is not known"
                )
        return None
    config = known.with_weights(weights, None)
    if size is not None:
        if not isinstance(config.backbone, DinoConfig):
            raise HomologError(
                f"size: expected none, for it is for a single DINO backbone, got {size}"
            )
        backbone = dataclasses.replace(config.backbone, canvas_size=size)
        config = dataclasses.replace(config, backbone=backbone)
    return config


def _check_backbone(config: MatcherConfig, found: Published) -> None:
    """Check that weights fit a backbone, as far as its files on this machine say what it is."""
    backbone = config.backbone
    assert isinstance(backbone, DinoConfig) and isinstance(found.network, Upsampler)
    assert found.tuning is not None
    known = published_json(backbone.model, "config.json")
    width, depth = known.get("hidden_size"), known.get("num_hidden_layers")
    patch = known.get("patch_size")
    if isinstance(width, int) and width != found.network.channels:
        raise HomologError(
            f"weights: expected a backbone of {found.network.channels} channels, got "
            f"{backbone.model}, which has {width}"
        )
    if isinstance(depth, int):
        try:
            found.tuning.chosen(depth)
        except HomologError:
            blocks = found.tuning.blocks
            last = blocks if isinstance(blocks, int) else max(blocks) + 1
            raise HomologError(
                f"weights: expected a backbone of {last} blocks or more, got {backbone.model}, "
                f"which has {depth}"
            ) from None
    if isinstance(patch, int) and (backbone.canvas_size < patch or backbone.canvas_size % patch):
        raise HomologError(f"size: expected a multiple of {patch}, got {backbone.canvas_size}")


def with_digest(config: MatcherConfig, found: Published) -> MatcherConfig:
    """The same with the digest of the backbone's trained weights, for caches of its maps."""
    settings = config.post_processor
    if found.backbone_state is None or settings is None:
        return config
    digest = hashlib.sha256()
    for name, tensor in sorted(found.backbone_state.items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    settings = dataclasses.replace(settings, backbone_digest=digest.hexdigest()[:16])
    return dataclasses.replace(config, post_processor=settings)


def convert(
    checkpoint: Path,
    folder: Path,
    weights: str | Sequence[str] | None = None,
    size: int | None = None,
) -> Published:
    """Convert a published checkpoint into a model folder, which `Matcher.from_pretrained` takes.

    What it is is told by its names and shapes: a post-processor of GeoAware-SC or DIY-SC, or
    MARCO's adapters and upsamplers. A post-processor of feature maps of unknown origin becomes a
    folder that `PostProcessor.from_pretrained` takes.

    Args:
        checkpoint: a `.pth` file, whose weights may be nested in a `state_dict` or a `model`, and
            have the prefix that data-parallel training leaves. No code in it is run.
        folder: made if it does not exist; must not hold a model yet.
        weights: as for `config_of`.
        size: as for `config_of`.

    Raises:
        HomologError: the file cannot be read or holds something else, it does not fit the
            backbone, or the folder holds a model or cannot be written.
    """
    if (folder / checkpoints.WEIGHTS).exists():
        raise HomologError(
            f"out: expected a folder without a model, got {folder}, which holds one; try another"
        )
    found = recognise(checkpoint)
    config = config_of(found, weights, size)
    checkpoints.save(folder, found.network, config, found.backbone_state)
    return found


def load_release(
    release: Release, preset: str, config: MatcherConfig, device: torch.device
) -> tuple[MatcherConfig, Backbone, PostProcessor | Upsampler]:
    """A preset whose trained weights its authors released as one file.

    Args:
        release: the file; it is fetched once.
        preset: its name.
        config: of the matcher.
        device: the device to compute on.

    Returns:
        The configuration, the backbone with its fine-tuned weights, and the network, both ready
        for inference.

    Raises:
        HomologError: the file or the backbone's weights cannot be had, or do not fit.
    """
    path = fetch(release, preset, config.backbone)
    found = recognise(path)
    settings = config.post_processor
    assert settings is not None
    if (found.tuning is None) != (settings.tuning is None):
        raise HomologError(f"weights: expected {release.title} in {path}, got {found.description}")
    backbone = create(config.backbone, device)
    if settings.tuning is not None and found.backbone_state is not None:
        adapters.apply(backbone, settings.tuning, found.backbone_state, str(path))
    network = found.network.to(device).eval().requires_grad_(False)
    return with_digest(config, found), backbone, network
