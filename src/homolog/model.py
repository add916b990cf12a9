"""What a matcher is made of: a backbone, trained networks, and their configuration."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from homolog import backbones
from homolog.backbones import Backbone
from homolog.backbones.registry import release_of
from homolog.config import MatcherConfig
from homolog.errors import HomologError
from homolog.extractor import DescriptorExtractor
from homolog.features import FeatureCache
from homolog.image import reading
from homolog.image.reading import MAX_PIXELS
from homolog.loading import ImageLoader
from homolog.networks.sides import SideHead, load_bundled
from homolog.presets import PRESETS
from homolog.utils.serialization import field_values, to_plain

_log = logging.getLogger(__name__)

_Model = TypeVar("_Model", bound="Model")

# Of the configuration: what scores of matches are calibrated for.
_DESCRIBING = ("backbone", "fusion", "consensus", "post_processor", "sides", "similarity")


class Model:
    """A backbone with the networks that were trained on it, and how they are used.

    The base of `Matcher`, which describes the arguments.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: MatcherConfig,
        max_pixels: int = MAX_PIXELS,
        cache: FeatureCache | None = None,
        network: nn.Module | None = None,
        side_head: SideHead | None = None,
        name: str | None = None,
    ):
        self.name = name or (config.backbone if isinstance(config.backbone, str) else "custom")
        self.backbone = backbone
        self.config = config
        self.max_pixels = max_pixels
        self.network = network
        self.side_head = side_head
        self.extractor = DescriptorExtractor(backbone, config, network, side_head, cache)
        self.weights_digest = self.extractor.digest
        # Of all the configuration, features depend on these alone.
        plain = to_plain(config)
        parts = [plain[name] for name in ("backbone", "fusion", "post_processor", "sides")]
        parts += [plain[name] for name in ("similarity",) if name in plain]
        fingerprint = json.dumps([*parts, self.weights_digest])
        self.loader = ImageLoader(backbone.canvas_size, fingerprint, max_pixels)

    @classmethod
    def from_pretrained(
        cls: type[_Model],
        name: str | os.PathLike[str] = "embedded",
        *,
        device: str | torch.device | None = None,
        max_pixels: int = MAX_PIXELS,
        weights: str | Sequence[str] | None = None,
        prompt: str | None = None,
        cache: FeatureCache | None = None,
    ) -> _Model:
        """A matcher with its weights.

        Args:
            name: a preset; `embedded` comes with the package and needs nothing more. Or a folder
                that training or conversion made, or a model hub's `owner/name` of one.
            device: where to compute; a CUDA device if there is one, otherwise the CPU.
            max_pixels: refuse image files with more pixels than this.
            weights: folders or hub names to load a foundation model's weights from, if not those
                the preset names; several for a preset of several models, in its order.
            prompt: the text that conditions Stable Diffusion, such as `a photo of a cat`.
            cache: keeps the backbone's feature maps on disk.

        Raises:
            HomologError: there is no such preset, folder or device, or weights are missing or
                damaged.
        """
        if isinstance(name, os.PathLike):
            name = os.fspath(name)
        for argument, value in (("name", name), ("prompt", prompt)):
            if not isinstance(value, str) and (argument == "name" or value is not None):
                raise HomologError(f"{argument}: expected text, got {value!r}")
        try:
            # Of several processes that torchrun started, each has a GPU of its own.
            own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            place = torch.device(device or (own if torch.cuda.is_available() else "cpu"))
            torch.empty(0, device=place)
        except (RuntimeError, AssertionError, TypeError, ValueError, OverflowError):
            raise HomologError(
                f"device: expected one that is available here, got {str(device)!r}"
            ) from None
        reading.check_max_pixels(max_pixels)
        _check_cache(cache)
        if name not in PRESETS:
            # Imported late: what talks to model hubs takes longer to import than all the rest.
            from homolog.checkpoints import load, load_backbone, load_side_head

            config, network = load(name, place)
            side_head = load_side_head(name, config, place)
            config = config.with_weights(weights, prompt)
            backbone = load_backbone(name, config, place)
            found = cls(backbone, config, max_pixels, cache, network, side_head, name)
            _log.info("loaded %r from %s", found, name)
            return found
        config = PRESETS[name]().with_weights(weights, prompt)
        if (release := release_of(name)) is not None:
            from homolog.published import load_release

            config, backbone, network = load_release(release, name, config, place)
            found = cls(backbone, config, max_pixels, cache, network, None, name)
            _log.info("loaded %r, weights %s", found, found.weights_digest)
            return found
        bundled_head: nn.Module | None = None
        if config.post_processor is not None:
            # Imported late: it remembers its arguments with what talks to model hubs.
            from homolog.networks import context

            bundled_head = context.load_bundled(name).to(place)
        side_head = None if config.sides is None else load_bundled(config.sides, name).to(place)
        backbone = backbones.create(config.backbone, place)
        found = cls(backbone, config, max_pixels, cache, bundled_head, side_head, name)
        _log.info("loaded %r, weights %s", found, found.weights_digest or "of the backbone alone")
        return found

    @property
    def cache(self) -> FeatureCache | None:
        """Where feature maps are kept on disk; another one is for `with_cache`."""
        return self.extractor.cache

    def __repr__(self) -> str:
        precision = getattr(self.config.backbone, "precision", "float32")
        return (
            f"Matcher({self.name!r}, device={str(self.backbone.device)!r}, precision={precision!r})"
        )

    def with_config(self: _Model, **changes: Any) -> _Model:
        """A matcher with the same weights and some of its configuration changed.

        Features extracted by the one are accepted by the other, unless `fusion`, `post_processor`,
        `sides` or `similarity` is changed. `post_processor=None, sides=None` gives the zero-shot
        matcher, on which training builds: trained networks that the configuration no longer names
        are dropped, and the pair score's threshold is that of before the post-processor was
        trained, unless it is given. What makes scores probabilities depends on the same, and on
        `consensus`: it is dropped with any of them, unless it is given.

        Args:
            changes: fields of `MatcherConfig`, such as `window=7`, or `sides=None` for a matcher
                that does not tell them.

        Raises:
            HomologError: a field is unknown, there is no network for a `post_processor` or for
                `sides`, or the backbone was fine-tuned with the post-processor that is dropped.
        """
        known = {name: getattr(self.config, name) for name in self.config.__dataclass_fields__}
        if unknown := set(changes) - set(known):
            raise HomologError(
                f"changes: expected {', '.join(known)}, got {', '.join(sorted(unknown))}"
            )
        if "post_processor" in changes and changes["post_processor"] is None:
            threshold = self.config.without_post_processor().same_category_threshold
            changes = {"same_category_threshold": threshold, **changes}
        config = MatcherConfig(**known | changes)  # refuses what cannot be compared
        if any(known[name] != getattr(config, name) for name in _DESCRIBING):
            config = MatcherConfig(**known | {"score_calibration": None, **changes})
        for field, network in (("post_processor", self.network), ("sides", self.side_head)):
            if getattr(config, field) is not None and network is None:
                raise HomologError(f"{field}: expected None for a model without a network for it")
        network = None if config.post_processor is None else self.network
        side_head = None if config.sides is None else self.side_head
        return type(self)(
            self.backbone, config, self.max_pixels, self.cache, network, side_head, self.name
        )

    def with_cache(self: _Model, cache: FeatureCache | None) -> _Model:
        """A matcher with the same weights that keeps feature maps elsewhere.

        Args:
            cache: where; None for nowhere.

        Raises:
            HomologError: it is not a `FeatureCache`.
        """
        _check_cache(cache)
        return type(self)(
            self.backbone, self.config, self.max_pixels, cache, self.network, self.side_head,
            self.name,
        )  # fmt: skip

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        results: str | os.PathLike[str] | None = None,
    ) -> str:
        """Push the trained parts to a model hub, with a model card; returns the commit's address.

        Args:
            repo_id: `owner/name`; made on the hub if it is not there. `from_pretrained` takes it
                afterwards.
            private: whether a repository that is made is private; None for the owner's default.
            results: the folder that `homolog evaluate --out` wrote, or its `results.json`, for the
                card; None for the report of the run that the matcher was loaded from, if any.

        Raises:
            HomologError: nothing was trained, fine-tuned weights are rounded to half precision, the
                name or the results cannot be used, or the hub refuses or cannot be reached.
        """
        # Imported late: what talks to model hubs takes longer to import than all the rest.
        from homolog.hub import push_matcher

        return push_matcher(
            self.config, self.backbone, self.network, self.side_head, self.name, repo_id,
            private=private, results=results,
        )  # fmt: skip

    def replace(self: _Model, **changes: Any) -> _Model:
        """What `with_config` was in version 0.1.0, with the field names of that version."""
        warnings.warn("Matcher.replace is with_config now", DeprecationWarning, stacklevel=2)
        return self.with_config(**field_values(MatcherConfig, changes))


def _check_cache(cache: Any) -> None:
    if cache is not None and not isinstance(cache, FeatureCache):
        raise HomologError(f"cache: expected a FeatureCache, got {cache!r}")
