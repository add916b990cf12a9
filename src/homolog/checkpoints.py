"""Model folders, which trained networks are saved to, and checkpoints that others published."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor

from homolog import moved
from homolog.backbones import Backbone, adapters, create
from homolog.backbones.licences import notice
from homolog.backbones.registry import licences_of
from homolog.config import MatcherConfig
from homolog.errors import HomologError
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.networks.sides import SideHead, load_sides
from homolog.networks.upsampler import Upsampler
from homolog.presets import PRESETS, with_published_head
from homolog.utils.outputs import write_atomically
from homolog.utils.serialization import to_plain
from homolog.utils.tensor_files import check_sizes, load_state, read_tensors, tensor_bytes
from homolog.utils.torch_files import load_torch_file

# By the channels of their feature maps, in the order in which published networks take them: the
# preset that makes these, and what the network was trained on. For DINOv2-B alone, DIY-SC has one.
_PUBLISHED: Mapping[tuple[int, ...], tuple[str, Literal["labels", "pseudo-labels"]]] = {
    (640, 1280, 1280, 768): ("sd15+dinov2-base", "labels"),
    (640, 1280, 1280): ("sd15", "labels"),
    (768,): ("dinov2-base", "pseudo-labels"),
}

CONFIG, WEIGHTS = "config.json", "model.safetensors"
BACKBONE, SIDES = "backbone.safetensors", "sides.safetensors"
LICENCE = "LICENSE-backbone.txt"  # of the fine-tuned weights of the backbone
FILES = (CONFIG, WEIGHTS, BACKBONE, SIDES, LICENCE)

_LARGEST = 2**16  # number in a configuration; widths, depths and sizes of images are far below it

# What is raised by a configuration that is malformed in some way.
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, RuntimeError)

Network = PostProcessor | AttentionHead | Upsampler
"""The networks that model folders hold."""

# By their names in model folders, which are older than the classes' names.
_NETWORKS: Mapping[str, type[Network]] = {
    "PostProcessor": PostProcessor,
    "ContextProcessor": AttentionHead,
    "Upsampler": Upsampler,
}


def save(
    folder: Path,
    network: Network | None,
    matcher: MatcherConfig | None,
    backbone_state: Mapping[str, Tensor] | None = None,
    side_head: SideHead | None = None,
) -> None:
    """Save trained networks to a model folder, as JSON and safetensors files.

    `PostProcessor.from_pretrained` takes the folder, and if it has a matcher's configuration,
    `Matcher.from_pretrained` does, too.

    Args:
        folder: made if it does not exist; a model in it is replaced.
        network: the post-processor, if there is one.
        matcher: the configuration of a matcher that uses the networks.
        backbone_state: the fine-tuned weights of the backbone, if it was fine-tuned; beside them
            stands the licence of the weights that they come from.
        side_head: the side head, if there is one.

    >>> import dataclasses, tempfile
    >>> from homolog import Matcher
    >>> from homolog.config import PostProcessorConfig
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
        # What the hub's mixin remembers of the constructor's arguments; it has no public name.
        config |= cast(dict[str, Any], network._hub_mixin_config)
    if matcher is not None:
        config["matcher"] = to_plain(matcher)
    if backbone_state is not None:
        licences = () if matcher is None else licences_of(matcher.backbone)
        marks = {each.name: each.url for each in licences}
        write_atomically(folder / BACKBONE, tensor_bytes(backbone_state, marks or None))
        write_atomically(folder / LICENCE, notice(licences, BACKBONE).encode())
    if side_head is not None:
        write_atomically(folder / SIDES, tensor_bytes(side_head.state_dict()))
    if network is not None:
        write_atomically(folder / WEIGHTS, tensor_bytes(network.state_dict()))
    write_atomically(folder / CONFIG, (json.dumps(config, indent=1) + "\n").encode())


def load(name: str, device: torch.device) -> tuple[MatcherConfig, Network | None]:
    """The matcher's configuration of a trained model, and its post-processor if it has one.

    Args:
        name: a model folder, or `owner/name` on the hub.
        device: the device to compute on.

    Returns:
        The configuration, and the post-processor ready for inference.

    Raises:
        HomologError: there is no such model, or it is damaged or of another kind.
    """
    folder = _folder(name)
    path = folder / CONFIG
    try:
        plain = json.loads(path.read_text("utf-8"))
        _check_numbers(plain)
        kind, matcher = plain.pop("network", None), plain.pop("matcher", None)
        config = None if matcher is None else MatcherConfig.from_dict(matcher)
        if kind is None and (config is None or config.sides is None):
            raise ValueError("no network is named")
        make = None if kind is None else _NETWORKS[kind]
    except OSError as error:
        raise HomologError(f"name: cannot read {path}: {error.strerror}") from error
    except _MALFORMED as error:
        raise _malformed(path, error) from None
    if config is None:
        channels = str(plain.get("feature_dims", [])).strip("[]").replace(", ", " + ")[:200]
        raise HomologError(
            f"name: expected a model that says which backbone it is for, got {folder}, a network "
            f"for feature maps of {channels} channels"
        )
    if make is None:
        return config, None
    weights = folder / WEIGHTS
    state = read_tensors(weights)
    check_sizes(plain, state, str(weights))
    try:
        network = make(**plain)
    except _MALFORMED as error:
        raise _malformed(path, error) from None
    load_state(network, state, str(weights))
    return config, network.to(device).eval().requires_grad_(False)


def _malformed(path: Path, error: Exception) -> HomologError:
    reason = " ".join(str(error).split())[:200]
    return HomologError(
        f"name: expected the configuration of a trained model, got {path}: {reason}"
    )


def _check_numbers(plain: Any) -> None:
    """Check that no number of a configuration is absurd, before anything is made of that size.

    Raises:
        ValueError: one is.
    """
    if isinstance(plain, (dict, list)):
        for each in plain.values() if isinstance(plain, dict) else plain:
            _check_numbers(each)
    elif isinstance(plain, float) and not math.isfinite(plain):
        raise ValueError(f"expected finite numbers, got {plain}")
    elif isinstance(plain, int) and abs(plain) > _LARGEST:
        raise ValueError(f"expected numbers up to {_LARGEST:,}, got another")


def load_side_head(name: str, config: MatcherConfig, device: torch.device) -> SideHead | None:
    """The side head of a trained model, ready for inference; None if it has none.

    Args:
        name: as for `load`.
        config: as `load` returned it.
        device: the device to compute on.

    Raises:
        HomologError: its weights are missing or damaged.
    """
    if config.sides is None:
        return None
    return load_sides(config.sides, _folder(name) / SIDES).to(device)


def load_backbone(name: str, config: MatcherConfig, device: torch.device) -> Backbone:
    """The backbone of a trained model, with its fine-tuned weights if there are any.

    Args:
        name: as for `load`.
        config: as `load` returned it.
        device: the device to compute on.

    Raises:
        HomologError: the backbone cannot be loaded, or the fine-tuned weights are missing or
            damaged.
    """
    backbone = create(config.backbone, device)
    settings = config.post_processor
    if settings is not None and settings.tuning is not None:
        path = _folder(name) / BACKBONE
        adapters.apply(backbone, settings.tuning, read_tensors(path), str(path))
    return backbone


def _folder(name: str) -> Path:
    """A local model folder, or else that of a hub's repository, which is downloaded if needed."""
    try:
        if Path(name).is_dir():
            return Path(name)
    except OSError as error:  # such as a name that is too long
        raise HomologError(f"name: cannot read {name}: {error.strerror}") from None
    if name.count("/") != 1 or name.startswith((".", "/")):
        presets = ", ".join(PRESETS)
        raise HomologError(
            f"name: expected one of {presets}, a folder, or a hub's owner/name, got {name!r}"
        )
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise HomologError(
            f"name: expected a folder or a model on the hub, got {name}, which is neither "
            f"({reason}); try putting its {CONFIG} and {WEIGHTS} into a folder"
        ) from None


def published_config(feature_dims: Sequence[int]) -> MatcherConfig | None:
    """The matcher's configuration that a published post-processor was evaluated with, if known."""
    preset = _PUBLISHED.get(tuple(feature_dims))
    return None if preset is None else with_published_head(*preset)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a published checkpoint by name.

    What lies beside them, such as the arguments of a run, is neither read nor run.

    Raises:
        HomologError: the file cannot be read, would have to run code, or holds no tensors.
    """
    try:
        found: Any = load_torch_file(path)
    except OSError as error:
        raise HomologError(f"checkpoint: cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise HomologError(
            f"checkpoint: expected a file of weights alone, got {path}: {error}"
        ) from None
    for nested in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(nested), Mapping):
            found = found[nested]
    if not isinstance(found, Mapping) or not all(isinstance(x, Tensor) for x in found.values()):
        raise HomologError(f"checkpoint: expected tensors by name, got {path} with other content")
    for name, tensor in found.items():
        # A few bytes can stand for a tensor of any size, which would fill the memory.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise HomologError(
                f"checkpoint: expected whole tensors, got {path} "
                f"without values of {str(name)[:200]}"
            )
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def post_processor_from_state(state: Mapping[str, Tensor], name: str) -> PostProcessor:
    """The post-processor with published weights, whose shapes say how wide it is.

    Args:
        state: tensors under the published names.
        name: what error messages call the checkpoint.

    Raises:
        HomologError: names or shapes are not those of the network.
    """
    count = sum(key.endswith(".0.conv1.weight") for key in state)
    try:
        dims = [state[f"bottleneck_layers.{i}.0.conv1.weight"].shape[1] for i in range(count)]
        width = state["bottleneck_layers.0.0.conv3.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise HomologError(
            f"checkpoint: expected the weights of a post-processor, got {name} without {error}"
        ) from None
    network = PostProcessor(dims, width)
    load_state(network, state, name)
    return network


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
