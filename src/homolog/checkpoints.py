"""Trained networks in folders, and published checkpoints turned into such."""

from __future__ import annotations

import dataclasses
import json
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor

from homolog.backbones import Backbone, adapters, create
from homolog.backbones.hub import load_state, read_tensors, tensor_bytes
from homolog.config import MatcherConfig, PostProcessorConfig
from homolog.errors import HomologError
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.networks.sides import SideHead, load_sides
from homolog.presets import PRESETS
from homolog.utils.outputs import write_atomically
from homolog.utils.serialization import to_plain

# Whose maps have these widths, in the order in which published networks take them.
_PUBLISHED = {
    (640, 1280, 1280, 768): "sd15+dinov2-base",
    (640, 1280, 1280): "sd15",
    (768,): "dinov2-base",
}
_PUBLISHED_WINDOW = 7

CONFIG, WEIGHTS, TUNED = "config.json", "model.safetensors", "backbone.safetensors"
SIDES = "sides.safetensors"

# By the names that model folders have for them.
_NETWORKS: Mapping[str, type[PostProcessor | AttentionHead]] = {
    "PostProcessor": PostProcessor,
    "ContextProcessor": AttentionHead,
}


def save(
    folder: Path,
    network: PostProcessor | AttentionHead | None,
    matcher: MatcherConfig | None,
    tuned: Mapping[str, Tensor] | None = None,
    sides: SideHead | None = None,
) -> None:
    """Write networks as `config.json`, `model.safetensors` and `sides.safetensors`.

    The folder is what a post-processor's own `from_pretrained` takes, and, with a matcher's
    configuration, what `Matcher.from_pretrained` takes.

    Args:
        folder: made if it is not there; a model in it is replaced.
        network: the post-processor, if there is one.
        matcher: how to match with them.
        tuned: what was trained of the backbone, if anything was.
        sides: the network that tells sides, if there is one.

    >>> import tempfile
    >>> from homolog import Matcher
    >>> from homolog.training.recipes import small_set
    >>> network = AttentionHead(feature_dim=1032)
    >>> post_processor = PostProcessorConfig("descriptors", small_set().network.zero_shot)
    >>> config = dataclasses.replace(PRESETS["embedded-zero-shot"](), post_processor=post_processor)
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     save(Path(runs, "bees"), network, config)
    ...     matcher = Matcher.from_pretrained(f"{runs}/bees", device="cpu")
    >>> matcher.config.post_processor.zero_shot
    0.2

    Raises:
        HomologError: the folder cannot be written; a model in it is untouched.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomologError(f"out: cannot write {folder}: {error.strerror}") from error
    config: dict[str, Any] = {}
    if network is not None:
        names = {kind: name for name, kind in _NETWORKS.items()}
        config = {"network": names[type(network)]}
        config |= cast(dict[str, Any], network._hub_mixin_config)
    if matcher is not None:
        config["matcher"] = to_plain(matcher)
    if tuned is not None:
        write_atomically(folder / TUNED, tensor_bytes(tuned))
    if sides is not None:
        write_atomically(folder / SIDES, tensor_bytes(sides.state_dict()))
    if network is not None:
        write_atomically(folder / WEIGHTS, tensor_bytes(network.state_dict()))
    write_atomically(folder / CONFIG, (json.dumps(config, indent=1) + "\n").encode())


def load(
    name: str, device: torch.device
) -> tuple[MatcherConfig, PostProcessor | AttentionHead | None]:
    """A trained post-processor, if there is one, ready for use, and how to match with it.

    Args:
        name: a folder, or a model hub's `owner/name`.
        device: where to compute.

    Raises:
        HomologError: there is nothing of that name, or it is damaged or of another kind.
    """
    folder = _folder(name)
    path = folder / CONFIG
    try:
        plain = json.loads(path.read_text("utf-8"))
        kind, matcher = plain.pop("network", None), plain.pop("matcher", None)
        config = None if matcher is None else MatcherConfig.from_dict(matcher)
        if kind is None and (config is None or config.sides is None):
            raise ValueError("it names no network")
        network = None if kind is None else _NETWORKS[kind](**plain)
    except OSError as error:
        raise HomologError(f"name: cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HomologError(
            f"name: {path} is not the configuration of a trained model: {error}"
        ) from None
    if config is None:
        maps = " + ".join(map(str, plain.get("feature_dims", ())))
        raise HomologError(
            f"name: {folder} holds a network for maps of {maps} channels, but not which backbone "
            "makes them"
        )
    if network is None:
        return config, None
    weights = folder / WEIGHTS
    load_state(network, read_tensors(weights), str(weights))
    return config, network.to(device).eval().requires_grad_(False)


def load_side_head(name: str, config: MatcherConfig, device: torch.device) -> SideHead | None:
    """The network of a trained model that tells sides, if it has one, ready for use.

    Args:
        name: as for `load`.
        config: as `load` returned it.
        device: where to compute.

    Raises:
        HomologError: its weights are missing or damaged.
    """
    if config.sides is None:
        return None
    return load_sides(config.sides, _folder(name) / SIDES).to(device)


def load_backbone(name: str, config: MatcherConfig, device: torch.device) -> Backbone:
    """The backbone of a trained model, with what was trained of it.

    Args:
        name: as for `load`.
        config: as `load` returned it.
        device: where to compute.

    Raises:
        HomologError: it cannot be had, or what was trained is missing or damaged.
    """
    backbone = create(config.backbone, device)
    settings = config.post_processor
    if settings is not None and settings.tuning is not None:
        path = _folder(name) / TUNED
        adapters.apply(backbone, settings.tuning, read_tensors(path), str(path))
    return backbone


def _folder(name: str) -> Path:
    """The folder of that name, or one that the hub's files of that name were put into."""
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/")):
        presets = ", ".join(PRESETS)
        raise HomologError(
            f"name: {name!r} is none of {presets}, nor a folder, nor a hub's owner/name"
        )
    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS, TUNED, SIDES]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise HomologError(
            f"name: there is no folder {name}, and the hub does not give it ({reason}); "
            f"put its {CONFIG} and {WEIGHTS} into a folder and name that"
        ) from None


def convert(checkpoint: Path, folder: Path) -> PostProcessor:
    """Save a published checkpoint as `config.json` and `model.safetensors`.

    The checkpoint is read without unpickling any code. Widths are read from the weights; where they
    are those of a published system, the folder is one that `Matcher.from_pretrained` takes.

    Args:
        checkpoint: a `.pth` file with the state of the published aggregation network, perhaps
            nested in a `state_dict` or prefixed as data-parallel training leaves it.
        folder: made if it is not there; must not hold a model yet.

    Returns:
        The post-processor that was saved.

    Raises:
        HomologError: the file cannot be read, holds something else than that network's state, or
            the folder holds a model or cannot be written.
    """
    if (folder / WEIGHTS).exists():
        raise HomologError(f"out: {folder} holds a model already; name another folder")
    network = from_state(read_state(checkpoint), str(checkpoint))
    save(folder, network, published(network.feature_dims))
    return network


def published(feature_dims: Sequence[int]) -> MatcherConfig | None:
    """How a published post-processor of maps of these widths is matched with; None if unknown."""
    preset = _PUBLISHED.get(tuple(feature_dims))
    if preset is None:
        return None
    return dataclasses.replace(
        PRESETS[preset](), window=_PUBLISHED_WINDOW, post_processor=PostProcessorConfig("maps")
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Raises:
        HomologError: the file cannot be read, would have to run code, or holds no tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on other pickle protocols; what matters is raised
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise HomologError(f"checkpoint: cannot read {path}: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HomologError(f"checkpoint: {path} is not a file of weights: {reason}") from None
    for nested in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(nested), Mapping):
            found = found[nested]
    if not isinstance(found, Mapping) or not all(isinstance(x, Tensor) for x in found.values()):
        raise HomologError(f"checkpoint: {path} holds no state of a network")
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def from_state(state: Mapping[str, Tensor], name: str) -> PostProcessor:
    """The post-processor that a published state belongs to.

    Args:
        state: tensors under the published names.
        name: what error messages call it.

    Raises:
        HomologError: names or shapes are not those of the network.
    """
    count = sum(key.endswith(".0.conv1.weight") for key in state)
    try:
        dims = [state[f"bottleneck_layers.{i}.0.conv1.weight"].shape[1] for i in range(count)]
        width = state["bottleneck_layers.0.0.conv3.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise HomologError(
            f"checkpoint: {name} is not of a post-processor: lacks {error}"
        ) from None
    network = PostProcessor(dims, width)
    load_state(network, state, name)
    return network
