"""What a run starts from: a zero-shot matcher, and perhaps the weights of a trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from homolog import backbones, checkpoints
from homolog.backbones import Backbone, TuningConfig, adapters
from homolog.backbones.dino import DinoBackbone
from homolog.config import MatcherConfig
from homolog.errors import HomologError
from homolog.matcher import Matcher
from homolog.networks.upsampler import Upsampler
from homolog.presets import zero_shot
from homolog.training.recipes import TrainingConfig
from homolog.training.zero_shot import zero_shot_part
from homolog.utils.tensor_files import read_tensors


@dataclass(frozen=True)
class Start:
    """A trained model that a run starts from.

    Attributes:
        name: what error messages call it.
        config: its matcher's.
        network: its post-processor.
        tuned: the weights of what is trained of its backbone, by name; None for a frozen one.
    """

    name: str
    config: MatcherConfig
    network: nn.Module
    tuned: Mapping[str, Tensor] | None

    @classmethod
    def read(cls, folder: Path) -> Start:
        """The model in a folder.

        Raises:
            HomologError: there is none, it is damaged, or it has no post-processor.
        """
        config, network = checkpoints.load(str(folder), torch.device("cpu"))
        if network is None:
            raise HomologError(f"start: expected a model with a post-processor, got {folder}")
        tuned = None
        if config.post_processor is not None and config.post_processor.tuning is not None:
            tuned = read_tensors(folder / checkpoints.BACKBONE, "start")
        return cls(str(folder), config, network, tuned)

    @property
    def tuning(self) -> TuningConfig | None:
        """What is trained of its backbone."""
        return None if self.config.post_processor is None else self.config.post_processor.tuning

    def check(self, matcher: Matcher) -> None:
        """Refuse a model of another backbone.

        Raises:
            HomologError: it was trained on another than the matcher's.
        """
        if self.config.backbone != matcher.config.backbone:
            raise HomologError(
                f"start: expected a model trained on {matcher.config.backbone}, got {self.name}, "
                f"trained on {self.config.backbone}"
            )

    def load_tuned(self, backbone: Backbone, tuning: TuningConfig | None) -> None:
        """Give what is trained of a backbone the weights that it has in this model.

        Args:
            backbone: prepared for training, if it is trained.
            tuning: what of it is trained; None for a frozen one.

        Raises:
            HomologError: the model was trained in other parts of it.
        """
        given = self.tuning
        if given is None and tuning is None:
            return
        expected, got = ("a frozen backbone" if t is None else repr(t) for t in (tuning, given))
        if tuning is not None and given is not None and self.tuned is not None:
            same = dataclasses.replace(
                given, blocks=tuning.blocks, learning_rate=tuning.learning_rate
            )
            assert isinstance(backbone, DinoBackbone)
            count = len(backbone.blocks)
            if same == tuning and given.chosen(count) == tuning.chosen(count):
                adapters.load_tuned(backbone, self.tuned, self.name)
                return
        raise HomologError(
            f"start: expected a model that was trained with {expected}, got {self.name}, with {got}"
        )


def starting_point(
    matcher: Matcher, config: TrainingConfig, start: Path | None
) -> tuple[Matcher, TrainingConfig, Start | None]:
    """The zero-shot matcher that training builds on, and the weights that it starts from.

    A model of MARCO's kind is trained further by a recipe of that kind: its backbone without the
    adapters is the zero-shot matcher, and its adapters and upsamplers are the recipe's then.

    Args:
        matcher: what somebody asked to train.
        config: of the run.
        start: the folder of a trained model to start from.

    Raises:
        HomologError: the matcher was trained on labels, in a way that the recipe does not go on
            with, or there are two models to start from.
    """
    settings = matcher.config.post_processor
    is_marco = config.network.kind == "upsampler" and isinstance(matcher.network, Upsampler)
    if not is_marco or settings is None or isinstance(matcher.config.backbone, str):
        return zero_shot_part(matcher), config, None if start is None else Start.read(start)
    assert isinstance(matcher.network, Upsampler)
    if start is not None:
        raise HomologError(
            f"start: expected none for a model that is trained already, {matcher.name}, got {start}"
        )
    backbone, tuned = matcher.backbone, None
    if settings.tuning is not None:
        tuned = adapters.applied_state(backbone, settings.tuning)
        backbone = backbones.create(matcher.config.backbone, backbone.device)
    trained = Start(matcher.name, matcher.config, matcher.network, tuned)
    plain = Matcher(
        backbone, zero_shot(matcher.config.backbone, (0,)), matcher.max_pixels, matcher.cache,
        name=matcher.name,
    )  # fmt: skip
    network = dataclasses.replace(config.network, upsamplers=len(matcher.network.upscale))
    tuning = settings.tuning
    if tuning is not None and config.tuning is not None:
        tuning = dataclasses.replace(tuning, learning_rate=config.tuning.learning_rate)
    return plain, dataclasses.replace(config, network=network, tuning=tuning), trained
