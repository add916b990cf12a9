"""What a run trains: the network, its landmarks, and the matcher that it becomes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from homolog import checkpoints
from homolog.backbones import Backbone, adapters
from homolog.backbones.dino import DinoBackbone
from homolog.config import PostProcessorConfig
from homolog.data import DataSet
from homolog.errors import HomologError
from homolog.extractor import DescriptorExtractor
from homolog.matcher import Matcher
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.networks.upsampler import Upsampler
from homolog.presets import MARCO_MATCHING
from homolog.training.objective import TrainedNetwork
from homolog.training.placement import Placement
from homolog.training.recipes import TrainingConfig
from homolog.training.sampler import BatchSampler
from homolog.training.samples import MaskSource, SampleLoader
from homolog.training.starts import Start
from homolog.utils.tensor_files import load_state

_PCA_IMAGES = 64  # images from which principal components are taken
_PCA_EVERY = 4  # cells of them
_LANDMARK_WEIGHTS = ("positions", "find.", "place.")


class ModelBundle:
    """A network in training, with the backbone and the configuration it is saved with.

    Args:
        matcher: a zero-shot matcher; if its backbone is trained, too, it is changed in place.
        network: the network to be trained.
        config: of the run.
        start: a trained model, from which what is trained of the backbone starts.

    Raises:
        HomologError: the backbone is to be trained and cannot be, or the model to start from was
            trained in other parts of it.
    """

    def __init__(
        self,
        matcher: Matcher,
        network: TrainedNetwork,
        config: TrainingConfig,
        start: Start | None = None,
    ):
        on_maps = config.network.kind in ("published", "upsampler")
        self.matcher = matcher
        self.network = network
        self.tuned_backbone: DinoBackbone | None = None
        if config.tuning is not None:
            if not on_maps:
                raise HomologError(
                    "tuning: expected a recipe whose network takes the backbone's own maps, "
                    f"got {config.recipe}"
                )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                adapters.prepare(matcher.backbone, config.tuning)
            assert isinstance(matcher.backbone, DinoBackbone)
            self.tuned_backbone = matcher.backbone
        if start is not None:
            start.load_tuned(matcher.backbone, config.tuning)
        self.config = dataclasses.replace(
            matcher.config,
            window=config.window,
            consensus=matcher.config.consensus if config.consensus else None,
            post_processor=PostProcessorConfig(
                "maps" if on_maps else "descriptors", config.network.zero_shot, config.tuning
            ),
            score_calibration=None,
        )
        if config.network.similarity == "inner-product":
            self.config = dataclasses.replace(
                self.config,
                temperature=config.loss.temperature,
                **MARCO_MATCHING,
            )
        self.training_backbone = resized(matcher.backbone, config.canvas_scale)

    def backbone_in_training(self) -> DinoBackbone | None:
        """The backbone for canvases of the size in training, if it is trained, too."""
        if self.tuned_backbone is None:
            return None
        assert isinstance(self.training_backbone, DinoBackbone)
        return self.training_backbone

    def placement(self) -> Placement:
        """Where keypoints lie on the descriptors, in training."""
        backbone, corners = self.training_backbone, self.config.coordinates == "corners"
        scale = getattr(self.network, "scale", 1)
        return Placement.of(backbone.canvas_size, backbone.grid, scale, corners)

    def trained_matcher(self) -> Matcher:
        """A matcher with the weights so far."""
        # Cached feature maps are those of the backbone as it was.
        cache = self.matcher.cache if self.tuned_backbone is None else None
        return Matcher(
            self.matcher.backbone, self.config, self.matcher.max_pixels, cache, self.network
        )

    def save(self, folder: Path) -> None:
        """Save the weights so far as a model.

        Raises:
            HomologError: the folder cannot be written.
        """
        if self.tuned_backbone is None:
            checkpoints.save(folder, self.network, self.config)
            return
        state = adapters.tuned_state(self.tuned_backbone)
        digest = hashlib.sha256(b"".join(t.cpu().numpy().tobytes() for t in state.values()))
        assert self.config.post_processor is not None
        post_processor = dataclasses.replace(
            self.config.post_processor, backbone_digest=digest.hexdigest()[:16]
        )
        config = dataclasses.replace(self.config, post_processor=post_processor)
        checkpoints.save(folder, self.network, config, state)


def create_network(
    data: DataSet,
    matcher: Matcher,
    config: TrainingConfig,
    landmarks: Mapping[int, float],
    start: Start | None = None,
) -> TrainedNetwork:
    """A network of the kind that a configuration asks for, on the matcher's device.

    Args:
        data: the training set.
        matcher: a zero-shot matcher, for whose features the network is.
        config: of the run; its seed decides the initial weights.
        landmarks: as `find_landmarks` returns them.
        start: a trained model to take the initial weights from.

    Raises:
        HomologError: the model to start from does not fit.
    """
    assert matcher.network is None
    backbone, fusion, width = matcher.backbone, matcher.config.fusion, config.network.projection_dim
    size = backbone.canvas_size
    canvas = torch.zeros(size, size, 3, dtype=torch.uint8)
    extractor = DescriptorExtractor(backbone, matcher.config)
    maps = next(extractor.feature_maps([canvas], next(iter(data.schemas))))
    channels = [features.shape[1] for features in maps]
    fused_channels = [sum(channels[index] for index in group) for group in fusion.groups]
    network: TrainedNetwork
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.network.kind == "published":
            network = PostProcessor(channels, width)
        elif config.network.kind == "upsampler":
            network = Upsampler(sum(channels), config.network.upsamplers)
        elif config.network.kind == "residual":
            network = PostProcessor(fused_channels, width, residual=True)
        else:
            total = sum(fused_channels)
            network = AttentionHead(
                total, width, components=min(256, total), landmarks=list(landmarks.values())
            )
    if start is not None:
        start.check(matcher)
        load_state(network, with_new_landmarks(network, start.network), start.name)
    return network.to(backbone.device)


def resized(backbone: Backbone, scale: float) -> Backbone:
    """The same backbone for canvases of another size.

    Args:
        backbone: a DINO model, where the size is another.
        scale: the size as a share of its own; it is rounded to what the model takes.

    Raises:
        HomologError: it is of another kind.
    """
    if scale == 1:
        return backbone
    if not isinstance(backbone, DinoBackbone):
        raise HomologError(
            "canvas_scale: expected 1 for a backbone that takes canvases of one size, "
            f"got {scale:g}"
        )
    stride = round(max(grid.stride for grid in backbone.grids))
    size = max(1, round(scale * backbone.canvas_size / stride)) * stride
    config = dataclasses.replace(backbone.config, canvas_size=size)
    return DinoBackbone(backbone.model, config)


def with_new_landmarks(network: TrainedNetwork, trained: nn.Module) -> dict[str, Tensor]:
    """The weights of a trained network for one like it, which may have landmarks beside.

    A head that learned without labels has none. Those of the new network then add nothing at first.

    Args:
        network: the new network; where it alone has landmarks, their last layer becomes zero.
        trained: the trained one.
    """
    state = trained.state_dict()
    if (
        isinstance(network, AttentionHead)
        and isinstance(trained, AttentionHead)
        and len(network.positions)
        and not len(trained.positions)
    ):
        last = network.place[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        own = network.state_dict()
        state = {**state, **{n: w for n, w in own.items() if n.startswith(_LANDMARK_WEIGHTS)}}
    return state


def find_landmarks(data: DataSet, config: TrainingConfig) -> dict[int, float]:
    """The keypoints on the axis of a category, and where along the axis they lie.

    Keypoints that are their own mirror counterparts lie on the axis. Positions are in lengths from
    the first to the last of them.

    Args:
        data: the training set.
        config: of the run.

    Returns:
        Position by keypoint id; empty for networks without an axis, several categories, or fewer
        than two such keypoints that are visible together.
    """
    if config.network.kind != "context" or len(data.schemas) != 1:
        return {}
    (schema,) = data.schemas.values()
    if not schema.sides_known:
        return {}
    ids = [index for index, counterpart in enumerate(schema.mirror) if index == counterpart]
    points = np.array([annotation.keypoints[ids] for annotation in data.annotations])
    usually_visible = np.isfinite(points[..., 0]).mean(axis=0) > 0.5
    ids = [i for i, usual in zip(ids, usually_visible, strict=True) if usual]
    points = points[:, usually_visible]
    points = points[np.isfinite(points).all(axis=(1, 2))]
    if len(ids) < 2 or len(points) == 0:
        return {}
    distances = np.median(np.linalg.norm(points[:, :, None] - points[:, None], axis=3), axis=0)
    first, last = np.unravel_index(distances.argmax(), distances.shape)
    axis = points[:, last] - points[:, first]
    squared_length = (axis**2).sum(axis=1)
    if not squared_length.all():
        return {}
    along = ((points - points[:, [first]]) * axis[:, None]).sum(axis=2) / squared_length[:, None]
    return dict(zip(ids, np.median(along, axis=0).round(4).tolist(), strict=True))


def create_loader(
    data: DataSet,
    sampler: BatchSampler,
    bundle: ModelBundle,
    fit_components: bool,
    masks: MaskSource | None = None,
) -> SampleLoader:
    """The loader of the network's inputs.

    Args:
        data: the training set.
        sampler: draws the images from which principal components are taken.
        bundle: the network; one that has principal components is given its inputs in these.
        fit_components: whether to take the network's principal components first.
        masks: finds the masks of objects; None where they are not needed.

    Raises:
        HomologError: an image cannot be read.
    """
    matcher, network = bundle.matcher, bundle.network
    backbone = bundle.training_backbone
    extractor = DescriptorExtractor(backbone, bundle.config, network, cache=matcher.cache)
    if not isinstance(network, AttentionHead):
        canvases = bundle.tuned_backbone is not None
        return SampleLoader(
            extractor, data.schemas, matcher.max_pixels, canvases=canvases, masks=masks
        )
    if fit_components:
        plain = SampleLoader(extractor, data.schemas, matcher.max_pixels)
        features = []
        for step in range(_PCA_IMAGES):
            sample = plain(*sampler.draw(step, 0).images[0])
            features.append(sample.features_HWC.flatten(0, 1)[::_PCA_EVERY])
        network.fit(torch.cat(features).float().to(matcher.backbone.device))
    return SampleLoader(extractor, data.schemas, matcher.max_pixels, network.reduce, masks=masks)
