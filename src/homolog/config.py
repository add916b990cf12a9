"""The configuration of a matcher: everything that decides where a match lies."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from homolog import moved
from homolog.backbones import (
    BackboneConfig,
    FusedConfig,
    StableDiffusionConfig,
    TuningConfig,
    backbone_from_dict,
)
from homolog.errors import HomologError
from homolog.features import FusionConfig
from homolog.matching.calibration import MatchWeights, ScoreCalibration
from homolog.matching.consensus import ConsensusConfig
from homolog.matching.soft_argmax import suppressed_soft_argmax, window_soft_argmax
from homolog.networks.sides import SidesConfig
from homolog.utils.serialization import field_values

_SIMILARITIES, _COORDINATES = ("cosine", "inner-product"), ("centres", "corners")


@dataclass(frozen=True)
class CalibrationConfig:
    """What similarities mean: weights of logistic regressions, and a threshold.

    They depend on the descriptors. The defaults were fitted to zero-shot ones of the embedded
    backbone (docs/experiments.md), `benchmarks/calibration.py` fits them to those of a model.

    Attributes:
        keypoints: for the probability that a predicted keypoint is correct
            (`homolog.labelling.calibration`): weights of the uniqueness of its maximum, of cycle
            consistency, of the exemplars' agreement and of the best one's similarity; the offset.
        adapted_keypoints: the same where it is adapted to exemplars; then the weight of the log of
            the shape residual, that of the keypoint's odds among the exemplars, and the offset.
        recognised: for the probability that a cell shows an object like an exemplar that the side
            head recognises (`homolog.labelling.likeness`): weights of similarity to the object, of
            similarity to its surroundings and of the root of objectness; the offset.
        unrecognised: the same where the side head does not recognise the exemplar.
        least_likeness: mean similarity of an exemplar's keypoints below which a box holds nothing
            like it.
    """

    keypoints: tuple[float, ...] = (3.5, 1.7, 0.9, 1.25, -4.1)
    adapted_keypoints: tuple[float, ...] = (2.38, 2.09, 1.32, 1.1, -0.65, 0.89, -5.48)
    recognised: tuple[float, ...] = (4.58, -6.89, 4.95, -2.63)
    unrecognised: tuple[float, ...] = (13.85, -11.76, 0.0, -1.48)
    least_likeness: float = 0.35


@dataclass(frozen=True)
class PostProcessorConfig:
    """How a trained post-processor takes part.

    Attributes:
        input: the backbone's feature `maps`, as published, or zero-shot `descriptors`.
        zero_shot: share of the zero-shot similarity in the similarity of two descriptors.
        tuning: what of the backbone was trained with it.
        backbone_digest: identifies the trained weights of the backbone.
        trained_on: annotated keypoints, or a matcher's own consistent matches alone; labelled
            images can tell how good the latter is.
        calibration: what similarities of its descriptors mean; None to take the defaults.
        zero_shot_threshold: `same_category_threshold` of a matcher without it, where the
            matcher's was measured with it; None where they are the same.
        zero_shot_recognised: `zero_shot` of images whose object the side head knows for sure, and
            in proportion where it is not sure; None where that makes no difference.
    """

    input: Literal["maps", "descriptors"]
    zero_shot: float = 0.0
    tuning: TuningConfig | None = None
    backbone_digest: str | None = None
    trained_on: Literal["labels", "pseudo-labels"] = "labels"
    calibration: CalibrationConfig | None = None
    zero_shot_threshold: float | None = None
    zero_shot_recognised: float | None = None


@dataclass(frozen=True)
class MatcherConfig:
    """Everything that decides where a match lies.

    Attributes:
        backbone: name of a registered backbone, or the configuration of a foundation model.
        fusion: how its feature maps become descriptors.
        window: half-width of the soft-argmax window, in cells; None for all cells.
        temperature: of the soft-argmax, in units of similarity.
        consensus: how much the rest of both images corrects similarity; None for similarity
            alone, as published.
        same_category_threshold: the pair score from which two images probably show objects of
            one category; None if that has not been measured.
        post_processor: how a trained post-processor takes part; None for zero-shot descriptors.
        sides: how a side head takes part; None for none.
        score_calibration: makes matching scores probabilities, and tells what is visible; None
            for scores that rank matches and are no probabilities.
        similarity: of two descriptors: their `cosine`, or the plain `inner-product` of what a
            post-processor returns, as MARCO has it.
        suppression_sigma: standard deviation, in cells, of the Gaussian that similarity is
            multiplied by around its largest entry, before the soft-argmax over all cells (`window`
            is None then); None for none.
        coordinates: where descriptors lie on the canvas: at their cells' `centres`, or as MARCO
            was trained with: `corners` reads a source's at x · cells / size, and puts a target's
            first and last on the first and last pixel.
        exhaustive: whether every cell of large maps is compared with every other when all of them
            are matched, or an instance matching distance is wanted, rather than coarse to fine
            (`matching.coarse_to_fine`). It makes no difference up to 100 x 100 cells.
    """

    backbone: str | BackboneConfig
    fusion: FusionConfig
    window: int | None
    temperature: float
    consensus: ConsensusConfig | None
    same_category_threshold: float | None
    post_processor: PostProcessorConfig | None = None
    sides: SidesConfig | None = None
    score_calibration: ScoreCalibration | None = None
    similarity: Literal["cosine", "inner-product"] = "cosine"
    suppression_sigma: float | None = None
    coordinates: Literal["centres", "corners"] = "centres"
    exhaustive: bool = False

    def __post_init__(self) -> None:
        """Refuse values of other kinds, which would fail later, in the middle of a match."""
        for name, kind, optional in (
            ("fusion", FusionConfig, False),
            ("consensus", ConsensusConfig, True),
            ("post_processor", PostProcessorConfig, True),
            ("sides", SidesConfig, True),
            ("score_calibration", ScoreCalibration, True),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind) and not (optional and value is None):
                raise HomologError(f"{name}: expected a {kind.__name__}, got {value!r}")
        window, temperature = self.window, self.temperature
        whole = isinstance(window, (int, np.integer)) and not isinstance(window, bool)
        if window is not None and not (whole and window >= 0):
            raise HomologError(f"window: expected a number of cells from 0 on, got {window!r}")
        if not (_is_number(temperature) and 0 < temperature < math.inf):
            raise HomologError(f"temperature: expected a number above 0, got {temperature!r}")
        threshold = self.same_category_threshold
        if threshold is not None and not _is_number(threshold):
            raise HomologError(f"same_category_threshold: expected a number, got {threshold!r}")
        for name, known in (("similarity", _SIMILARITIES), ("coordinates", _COORDINATES)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise HomologError(
                    f"{name}: expected {' or '.join(map(repr, known))}, got {value!r}"
                )
        if not isinstance(self.exhaustive, (bool, np.bool_)):
            raise HomologError(f"exhaustive: expected True or False, got {self.exhaustive!r}")
        sigma = self.suppression_sigma
        if sigma is not None:
            if not (_is_number(sigma) and 0 < sigma < math.inf):
                raise HomologError(f"suppression_sigma: expected a number above 0, got {sigma!r}")
            if window is not None:
                raise HomologError(f"window: expected None with suppression_sigma, got {window}")
        if self.similarity == "inner-product":
            settings = self.post_processor
            if settings is None:
                raise HomologError("similarity: expected 'cosine' without a post-processor")
            for name, mixed in (
                ("consensus", self.consensus is not None),
                ("sides", self.sides is not None),
                ("zero_shot", settings.zero_shot != 0 or settings.zero_shot_recognised),
            ):
                if mixed:
                    raise HomologError(f"{name}: expected none with similarity='inner-product'")

    def locate(
        self, similarity_KHW: Float[Tensor, "K H W"], peaks_K2: Int[Tensor, "K 2"] | None = None
    ) -> Float[Tensor, "K 2"]:
        """The positions (x, y) in cells, between cells, that similarity maps say.

        Args:
            similarity_KHW: a similarity map a point, in units of this configuration's similarity;
                -inf where no match may lie.
            peaks_K2: the cells that similarity is not suppressed around; None for the largest.
        """
        if self.suppression_sigma is None:
            return window_soft_argmax(similarity_KHW, self.window, self.temperature)
        return suppressed_soft_argmax(
            similarity_KHW, self.suppression_sigma, self.temperature, peaks_K2
        )

    @property
    def calibration(self) -> CalibrationConfig:
        """What similarities of descriptors mean: as fitted, or the defaults."""
        fitted = None if self.post_processor is None else self.post_processor.calibration
        return fitted or CalibrationConfig()

    def without_post_processor(self) -> MatcherConfig:
        """The same before a post-processor was trained, with the pair score's threshold of then.

        Raises:
            HomologError: the backbone was fine-tuned with it.
        """
        settings = self.post_processor
        if settings is None:
            return self
        if settings.tuning is not None:
            raise HomologError(
                "post_processor: expected the one that the backbone was fine-tuned with, got None; "
                "try the model that it was trained from"
            )
        threshold = settings.zero_shot_threshold
        if threshold is None:
            threshold = self.same_category_threshold
        return dataclasses.replace(
            self, post_processor=None, same_category_threshold=threshold, score_calibration=None
        )

    def resolve_prompt(self, category: str | None) -> tuple[str | BackboneConfig, dict[str, str]]:
        """The backbone with its prompt for an image, and its keyword arguments for that image.

        Args:
            category: what the image shows, where that is known.

        Raises:
            HomologError: the prompt asks for the category, and it is not known.
        """
        backbone = self.backbone
        if isinstance(backbone, str) or not backbone.needs_category:
            return backbone, {}
        if category is None:
            raise HomologError(
                "prompt: expected the image's category for {category}, got none; write it out "
                "in the prompt, or give it to extract"
            )
        return backbone.with_category(category), {"category": category}

    def with_weights(
        self, weights: str | Sequence[str] | None, prompt: str | None
    ) -> MatcherConfig:
        """The same with other weights of its foundation models, or another prompt.

        Args:
            weights: a folder or hub name for each model, in order, and one for a UNet that
                replaces Stable Diffusion's own, after it; None for the default ones.
            prompt: of Stable Diffusion; None for the default one.

        Raises:
            HomologError: there are more or fewer models, none takes a prompt, or the prompt has
                another placeholder than `{category}`.
        """
        if weights is None and prompt is None:
            return self
        if isinstance(self.backbone, str):
            argument = "weights" if weights is not None else "prompt"
            raise HomologError(
                f"{argument}: expected none, for {self.backbone} brings its own weights and takes "
                f"no prompt, got {weights if weights is not None else prompt!r}"
            )
        fused = isinstance(self.backbone, FusedConfig)
        parts = self.backbone.parts if isinstance(self.backbone, FusedConfig) else (self.backbone,)
        if weights is not None:
            names = [weights] if isinstance(weights, str) else list(weights)
            slots = [
                (index, field)
                for index, part in enumerate(parts)
                for field in ("model", "unet")
                if getattr(part, field, None) is not None
            ]
            if len(names) != len(slots):
                replaced = ", ".join(str(getattr(parts[index], field)) for index, field in slots)
                raise HomologError(
                    f"weights: expected {len(slots)}, in place of {replaced}, got {len(names)}"
                )
            changed = list(parts)
            for (index, field), name in zip(slots, names, strict=True):
                changes: dict[str, Any] = {field: name}
                changed[index] = dataclasses.replace(changed[index], **changes)
            parts = tuple(changed)
        if prompt is not None:
            if not any(isinstance(part, StableDiffusionConfig) for part in parts):
                raise HomologError(
                    f"prompt: expected none, for only Stable Diffusion takes one, got {prompt!r}"
                )
            if unknown := set(re.findall(r"{.*?}", prompt)) - {"{category}"}:
                raise HomologError(
                    f"prompt: expected no placeholder but {{category}}, got "
                    f"{', '.join(sorted(unknown))}"
                )
            parts = tuple(
                dataclasses.replace(part, prompt=prompt)
                if isinstance(part, StableDiffusionConfig)
                else part
                for part in parts
            )
        backbone = FusedConfig(parts) if fused else parts[0]
        return dataclasses.replace(self, backbone=backbone, score_calibration=None)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> MatcherConfig:
        """The configuration that `to_plain` made a dictionary of, perhaps by way of JSON.

        Raises:
            KeyError, TypeError: it is not one.
        """
        values = field_values(cls, plain)
        if not isinstance(values["backbone"], str):
            values["backbone"] = backbone_from_dict(values["backbone"])
        fusion = dict(values["fusion"])
        fusion["groups"] = tuple(map(tuple, fusion["groups"]))
        fusion["weights"] = tuple(fusion["weights"])
        values["fusion"] = FusionConfig(**fusion)
        settings = values.get("post_processor")
        if settings is not None and settings.get("tuning") is not None:
            settings = {**settings, "tuning": TuningConfig.from_plain(settings["tuning"])}
        if settings is not None and settings.get("calibration") is not None:
            calibration = CalibrationConfig(**_with_tuples(settings["calibration"]))
            settings = {**settings, "calibration": calibration}
        values["post_processor"] = settings
        if values.get("sides") is not None:
            values["sides"] = _with_tuples(values["sides"])
        if values.get("score_calibration") is not None:
            values["score_calibration"] = ScoreCalibration(
                **{
                    name: MatchWeights(**plain)
                    for name, plain in values["score_calibration"].items()
                }
            )
        parts = {
            "consensus": ConsensusConfig,
            "post_processor": PostProcessorConfig,
            "sides": SidesConfig,
        }
        for name, kind in parts.items():
            if values.get(name) is not None:
                values[name] = kind(**field_values(kind, values[name]))
        return cls(**values)


def _with_tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The same with tuples in place of JSON's lists."""
    return {n: tuple(v) if isinstance(v, (list, tuple)) else v for n, v in plain.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
