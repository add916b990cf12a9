"""What decides where a point goes, and the settings that come with the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from homolog.features import FusionConfig
from homolog.guidance import GuidanceConfig


@dataclass(frozen=True)
class PostProcessorConfig:
    """What a trained network is given, and what becomes of its answer.

    Attributes:
        input: `maps` as the backbone makes them, as published, or zero-shot `descriptors`.
        zero_shot: the share of the zero-shot similarity in the similarity of two descriptors.
    """

    input: Literal["maps", "descriptors"]
    zero_shot: float = 0.0


@dataclass(frozen=True)
class MatcherConfig:
    """Everything that decides where a point goes.

    Attributes:
        backbone: name of a registered backbone.
        fusion: how its maps become descriptors.
        window: half-width of the soft-argmax window, in cells; None for all cells.
        temperature: of the soft-argmax.
        guidance: how much the rest of both pictures guides where a point goes; None for similarity
            alone, as published.
        same_kind: the pair score from which two pictures probably show things of one kind.
        post_processor: how a trained network takes part; None for zero-shot descriptors.
    """

    backbone: str
    fusion: FusionConfig
    window: int | None
    temperature: float
    guidance: GuidanceConfig | None
    same_kind: float
    post_processor: PostProcessorConfig | None = None

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> MatcherConfig:
        """The configuration that `dataclasses.asdict` made a dictionary of, perhaps through JSON.

        Raises:
            KeyError, TypeError: it is none.
        """
        values = dict(plain)
        fusion = dict(values["fusion"])
        fusion["groups"] = tuple(map(tuple, fusion["groups"]))
        fusion["weights"] = tuple(fusion["weights"])
        values["fusion"] = FusionConfig(**fusion)
        for name, kind in (("guidance", GuidanceConfig), ("post_processor", PostProcessorConfig)):
            if values.get(name) is not None:
                values[name] = kind(**values[name])
        return cls(**values)


def embedded() -> MatcherConfig:
    """The default: EfficientNet-Lite0 and -Lite2, chosen as told in docs/experiments.md."""
    lite0, lite2 = (0.36, 0.36, 0.36), (1.0, 1.0, 1.0)
    return MatcherConfig(
        backbone="efficientnet-lite",
        fusion=FusionConfig(
            groups=((0,), (1,), (2,), (3,), (4,), (5,)),
            weights=lite0 + lite2,
            kernel=2.0,
            center=True,
        ),
        window=4,
        temperature=0.02,
        guidance=GuidanceConfig(),
        same_kind=0.42,
    )


PRESETS: Mapping[str, Callable[[], MatcherConfig]] = {"embedded": embedded}
