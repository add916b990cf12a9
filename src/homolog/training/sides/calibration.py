"""Calibration of a side head: how much its predictions count in similarity."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float

from homolog.data import Annotation, DataSet
from homolog.descriptors import Features
from homolog.evaluation.metrics import left_right_confusion, relative_errors
from homolog.evaluation.views import FeatureStore, ObjectViews, ViewKey, queries
from homolog.image.poses import IDENTITY
from homolog.matcher import Matcher
from homolog.networks.sides import (
    SideHead,
    SideMaps,
    SidesConfig,
    append_sides,
    objectness_confidence,
)
from homolog.training.sides.examples import Examples
from homolog.training.sides.rendered import RenderedDataset
from homolog.training.sides.scoring import predict_logits
from homolog.utils.progress import ProgressBar
from homolog.utils.stats import fit_logistic

_SIDE_WEIGHTS = (0.0, 0.1, 0.2)
_COORDINATE_WEIGHTS = (0.0, 0.1, 0.2, 0.3)
_NEGLIGIBLE = 0.0025  # loss of PCK that does no harm
_PRIOR_SPREADS = (20.0, 10.0)  # of the slope and the offset of the presence, before any image


@torch.no_grad()
def fit_presence(
    network: SideHead, examples: Examples, renders: RenderedDataset, rows: Sequence[int]
) -> tuple[float, float] | None:
    """Calibrate the probability that an image shows an object at all.

    Images of the rendered set say so (`presence_calibration`).

    Args:
        network: a trained side head.
        examples: of all images of the rendered set.
        renders: says which of them show no object.
        rows: the images with objects to use; images without objects are all used.

    Returns:
        Slope and offset of the logit; None if there are not both kinds of images.
    """
    with_objects = [row for row in rows if renders.objects[row]]
    without = [row for row, objects in enumerate(renders.objects) if not objects]
    if not with_objects or not without:
        return None
    chosen = with_objects + without
    objectness = torch.stack(
        [predict_logits(network, examples, row)[..., 0] for row in chosen]
    ).sigmoid()
    confidence = objectness_confidence(objectness).double().numpy()
    return presence_calibration(confidence[: len(with_objects)], confidence[len(with_objects) :])


def presence_calibration(
    with_objects: Float[np.ndarray, "N"], without: Float[np.ndarray, "M"]
) -> tuple[float, float]:
    """Slope and offset of the logit that an image shows an object, by logistic regression.

    Args:
        with_objects: `objectness_confidence` of images with objects.
        without: that of images without; they have the same total weight.
    """
    confidence = np.concatenate([with_objects, without])
    present = np.arange(len(confidence)) < len(with_objects)
    weights = len(confidence) / 2 / np.where(present, len(with_objects), len(without))
    return fit_logistic(confidence, present, weights, (0.0, 0.0), _PRIOR_SPREADS)


@torch.no_grad()
def calibrate(
    matcher: Matcher, network: SideHead, sets: Sequence[DataSet]
) -> tuple[SidesConfig, list[tuple[SidesConfig, float]]]:
    """Choose how much sides and canonical coordinates count in similarity, on held-out pairs.

    A keypoint within 0.10 of the box counts for a choice, one on its mirror counterpart counts
    against it. The mean over the sets decides, so that none counts more by being larger, among the
    weights with which no set's PCK is lower than without by more than a quarter of a point and more
    than the standard error of the difference. Objects that share an image are matched in the
    regions around their boxes.

    Args:
        matcher: a matcher without a side head; it may have a post-processor.
        network: a trained side head.
        sets: of held-out pairs.

    Returns:
        The network's configuration with the best weights, and all that were tried with their mean.

    Raises:
        HomologError: an image cannot be read.
    """
    assert matcher.side_head is None
    # Sides are told from zero-shot descriptors, which the matcher's need not be; so they are asked
    # of a matcher with a side head, where they do not count yet.
    without_weight = dataclasses.replace(network.config, side_weight=0.0, coordinate_weight=0.0)
    matcher = Matcher(
        matcher.backbone, dataclasses.replace(matcher.config, sides=without_weight),
        matcher.max_pixels, matcher.cache, matcher.network, network,
    )  # fmt: skip
    stores = [FeatureStore(matcher, ObjectViews.of(data), max_bytes=sys.maxsize) for data in sets]
    keys = {a: s.key(a) for d, s in zip(sets, stores, strict=True) for a in d.annotations}
    features: dict[ViewKey, Features] = {}
    maps: dict[ViewKey, SideMaps] = {}
    with ProgressBar(len(set(keys.values()))) as progress:
        for data, store in zip(sets, stores, strict=True):
            for annotation in data.annotations:
                if (key := keys[annotation]) in features:
                    continue
                progress.update("extracting features to calibrate on", len(features))
                features[key] = store(annotation)
                found = features[key].by_pose[IDENTITY].sides
                assert found is not None
                maps[key] = found
    configs, means, harmless = [], [], []
    baseline: list[Float[np.ndarray, "N"]] = []
    with ProgressBar(len(_SIDE_WEIGHTS) * len(_COORDINATE_WEIGHTS)) as progress:
        weights = itertools.product(_SIDE_WEIGHTS, _COORDINATE_WEIGHTS)
        for index, (side_weight, coordinate_weight) in enumerate(weights):
            progress.update("calibrating", index)
            config = dataclasses.replace(
                network.config, side_weight=side_weight, coordinate_weight=coordinate_weight
            )
            with_sides = {key: add_sides(features[key], maps[key], config) for key in features}
            shown = {annotation: with_sides[key] for annotation, key in keys.items()}
            correct, confused = zip(
                *(score_pairs(matcher, data, shown) for data in sets), strict=True
            )
            baseline = baseline or list(correct)  # the first weights are zero
            gains = [now - before for now, before in zip(correct, baseline, strict=True)]
            configs.append(config)
            right, mirrored = (np.mean([s.mean() for s in each]) for each in (correct, confused))
            means.append(float(right - mirrored))
            allowed = [max(g.std() / math.sqrt(len(g)), _NEGLIGIBLE) for g in gains]
            harmless.append(all(g.mean() >= -a for g, a in zip(gains, allowed, strict=True)))
    best = configs[int(np.argmax(np.where(harmless, means, -np.inf)))]
    return best, list(zip(configs, means, strict=True))


def add_sides(features: Features, maps: SideMaps, config: SidesConfig) -> Features:
    """Features of a matcher with a side head, made from those of one without.

    Args:
        features: in the upright pose; sides do not count in their descriptors.
        maps: the side head's predictions.
        config: how much these count in similarity.
    """
    plain = features.descriptor_map()
    descriptors = append_sides(plain.descriptors_HWC, maps, config)
    with_sides = dataclasses.replace(plain, descriptors_HWC=descriptors, sides=maps)
    return dataclasses.replace(features, by_pose={IDENTITY: with_sides})


def score_pairs(
    matcher: Matcher, data: DataSet, features: Mapping[Annotation, Features]
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """Of each pair the fraction of keypoints that are correct, and of those on their counterparts.

    Args:
        matcher: the matcher that made the features.
        data: N pairs.
        features: of their annotated objects.
    """
    correct, confused = [], []
    for pair in data.pairs:
        ids, target = pair.keypoint_ids, pair.target
        source = features[pair.source]
        prepared = matcher.pair(source, features[target])
        points = prepared.transfer_points(queries(pair.source.keypoints[ids], source))
        errors = relative_errors(points, target.keypoints[ids], target.reference_length("box"))
        schema = data.schemas[pair.category]
        _, mirrored = left_right_confusion(points, ids, target.keypoints, schema)
        correct.append(np.mean(errors <= 0.1))
        confused.append(np.mean(mirrored))
    return np.array(correct), np.array(confused)
