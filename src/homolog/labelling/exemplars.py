"""Exemplars: labelled images, from which the keypoints of other images are predicted.

Descriptors are computed once for every exemplar in every pose, and once for every other image.
They are projected onto the principal directions of the exemplars' own descriptors, so that
comparing with twenty exemplars in eight poses costs little beside the backbone
(docs/experiments.md).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.data.pairs import Annotation, Box
from homolog.descriptors import DescriptorMap, Features
from homolog.errors import HomologError
from homolog.image.poses import PoseVariant
from homolog.keypoints import KeypointSchema
from homolog.labelling.calibration import (
    TRAINED,
    Calibration,
    LeftOut,
    adapt,
    series,
    shape_residuals,
)
from homolog.labelling.exemplar_features import exemplar_features
from homolog.labelling.mirrored import MirroredExemplars, poses_of
from homolog.labelling.posed_exemplars import (
    PosedExemplar,
    PreparedExemplar,
    cycle_agreement,
    evenly_spaced,
    predict_box,
    principal_directions,
)
from homolog.matcher import Matcher
from homolog.matching.consensus import ConsensusConfig, SimilarityCorrection
from homolog.zoom import Zoom

DIRECTIONS = 96
"""Number of principal directions that descriptors are projected onto."""

_BLENDED = 3  # exemplars, in one pose each, that an image is labelled from
# A coarse search by a few keypoints of each exemplar makes a list for the full search.
_COARSE_KEYPOINTS, _COARSE_EXEMPLARS = 12, 16
_BLEND_TEMPERATURE = 0.015  # of the softmax over exemplars, in units of similarity
_CORRECT = 0.1  # the error up to which a keypoint is correct, as a share of the box's longer edge
# In units of similarity, of the log of the probability that a cell is not a neighbour's.
_SHARE_WEIGHT = 0.2
_LOWEST = -1e4  # in place of -inf, so that sums with a weight of 0 stay finite

EXEMPLAR_POSES = tuple(
    PoseVariant(flip, turn) for flip in (False, True) for turn in (0.0, 90.0, 180.0, -90.0)
)
"""All poses that move pixels without resampling them: exemplars are tried in these."""


@dataclass(frozen=True, eq=False)
class Blend:
    """What a prediction was read from.

    Attributes:
        exemplars: those that were blended, in one pose each, best first.
        shares_VK: how much each counts for each keypoint.
        similarity_KHW: the blended similarity to each cell; -inf where no keypoint may lie.
    """

    exemplars: Sequence[PosedExemplar]
    shares_VK: Float[Tensor, "V K"]
    similarity_KHW: Float[Tensor, "K H W"]


@dataclass(frozen=True)
class KeypointPrediction:
    """The predicted keypoints of an image's object.

    Attributes:
        category: of the object.
        points: (x, y) in pixels, one for each keypoint.
        scores: the probability that each is within a tenth of the box's longer edge of the truth.
        visibility: the share of the blended exemplars, by weight, in which each keypoint is
            labelled, among those whose keypoint somebody has looked for.
        occlusion: the share of those in which it is labelled, by weight, that have it occluded.
        box: (x0, y0, x1, y1) of the object in pixels, extrapolated from the exemplars' boxes.
        exemplars: the names and poses of the blended exemplars, best first.
        confidence_features: a row for each keypoint, from which the scores were computed: whether
            its similarity map has one peak only, whether the position leads back to the keypoint,
            whether the exemplars agree, how similar the best exemplar is, and how far the keypoint
            is from where the exemplars' shapes have it, as a share of the box's longer edge.
        likeness: the mean similarity of the best exemplar's keypoints to what is most like them.
        blend: what the points were read from.
        mirrored: whether the object seems mirrored, and its keypoints do not tell their sides, so
            that left and right ones are probably exchanged.
    """

    category: str
    points: Float[np.ndarray, "K 2"]
    scores: Float[np.ndarray, "K"]
    visibility: Float[np.ndarray, "K"]
    occlusion: Float[np.ndarray, "K"]
    box: Box
    exemplars: tuple[tuple[str, str], ...]
    confidence_features: Float[np.ndarray, "K 5"]
    likeness: float
    blend: Blend = field(repr=False)
    mirrored: bool = False


class Exemplars:
    """Predicts keypoints of images from a few labelled images, the exemplars.

    Args:
        matcher: extracts the descriptors.
        annotations: the labelled images, each with at least one visible keypoint.
        schemas: what the keypoints mean, by category.
        poses: of the exemplars. Flips are left out where a schema does not know left from right,
            because a flip exchanges them.
        regions: whether every exemplar is looked at in the region around its box, because other
            images are; otherwise only those are that share an image.
        zoom: `auto` if other images are zoomed in on.
        mirror: whether other images are joined with their mirrored views.
        prepared: what was computed before of some of the annotations, to which is added what is
            computed of the others.
        known: of annotations that are partly labelled, of which keypoints somebody has said where
            they are, or that they are not visible. The others do not count.

    Raises:
        HomologError: there are no exemplars or poses to use, or an image cannot be read.
    """

    def __init__(
        self,
        matcher: Matcher,
        annotations: Sequence[Annotation],
        schemas: Mapping[str, KeypointSchema],
        poses: Sequence[PoseVariant] = EXEMPLAR_POSES,
        *,
        regions: bool = False,
        zoom: Zoom = None,
        mirror: bool = False,
        prepared: MutableMapping[Annotation, PreparedExemplar] | None = None,
        known: Mapping[Annotation, Bool[np.ndarray, "K"]] | None = None,
    ):
        self.config: MatcherConfig = matcher.config
        self.schemas = schemas
        if not annotations:
            raise HomologError("exemplars: expected at least one labelled image, got none")
        consensus = self.config.consensus or ConsensusConfig()
        usable = {category: poses_of(schema, poses) for category, schema in schemas.items()}
        known = known or {}
        store: MutableMapping[Annotation, PreparedExemplar] = {} if prepared is None else prepared
        fresh = [annotation for annotation in annotations if annotation not in store]
        for annotation, descriptor_map in exemplar_features(
            matcher, fresh, usable, regions=regions, zoom=zoom, mirror=mirror
        ):
            schema = schemas[annotation.category]
            each = PosedExemplar.create(
                annotation, schema, descriptor_map, consensus, known.get(annotation)
            )
            store.setdefault(annotation, PreparedExemplar()).add(each, descriptor_map)
        wanted = set(annotations)
        used = {annotation: each for annotation, each in store.items() if annotation in wanted}
        posed: list[PosedExemplar] = []
        mirrored: list[PosedExemplar] = []
        for each in (each for exemplar in used.values() for each in exemplar.posed):
            exchanged = each.pose.flip and not schemas[_category(each)].sides_known
            (mirrored if exchanged else posed).append(each)
        upright = {a: each.upright for a, each in used.items() if each.upright is not None}
        if not posed:
            raise HomologError(
                "poses: expected one without a flip, because the keypoints do not say which of "
                f"them are left and right, got {', '.join(pose.name for pose in poses)}"
            )
        rows = torch.cat([torch.cat([each.queries_SKC[0], each.anchors_PC]) for each in posed])
        self.basis_CD = principal_directions(rows, DIRECTIONS)
        self._mirrored = MirroredExemplars(posed, mirrored)
        self.posed = [
            dataclasses.replace(
                each,
                queries_SKC=each.queries_SKC @ self.basis_CD,
                anchors_PC=each.anchors_PC @ self.basis_CD,
            )
            for each in posed
        ]
        self._keypoints = [each.queries_SKC[0][each.visible_K] for each in self.posed]
        self._coarse_keypoints = [
            evenly_spaced(rows, _COARSE_KEYPOINTS) for rows in self._keypoints
        ]
        self.calibration = Calibration(weights=self.config.calibration)
        settings = self.config.post_processor
        if settings is not None and settings.trained_on == "labels":
            # Perhaps on those of these very images: they cannot tell how good it is.
            self.calibration = TRAINED
        elif len(upright) > 2:
            self.calibration = self._adapt_calibration(
                {annotation: self._project(each) for annotation, each in upright.items()}
            )

    def find(
        self,
        image: Features | DescriptorMap,
        category: str | None = None,
        log_shares_HW: Float[Tensor, "H W"] | None = None,
        without: Collection[Annotation] = (),
        name: str | None = None,
    ) -> KeypointPrediction:
        """The keypoints of the object in an image, or in a region of one.

        Args:
            image: features of the image as it is, or descriptors, on whose matchable cells the
                keypoints lie.
            category: of the object, if it is known and exemplars have it.
            log_shares_HW: the log of the probability that each cell is the object's and not its
                neighbours' (`homolog.labelling.neighbours`).
            without: exemplars that are left out (`has_others`).
            name: of the image, if it is known: keypoints of images of the same series as an
                exemplar are more probably correct (`homolog.labelling.calibration.series`).
        """
        target = image.descriptor_map() if isinstance(image, Features) else image
        same_series = None
        if name is not None:
            others = (each.annotation for each in self.posed if each.annotation not in without)
            same_series = series(name) in {series(annotation.name) for annotation in others}
        found = self._predict(self._project(target), without, category, log_shares_HW, same_series)
        mirrored = self._mirrored.seems_mirrored(target, found.category, without)
        return dataclasses.replace(found, mirrored=mirrored)

    def has_others(self, without: Collection[Annotation], category: str | None = None) -> bool:
        """Whether there are exemplars, of a category if that is given, besides these."""
        return bool(self._candidates(without, category))

    def shortlist(
        self,
        target: DescriptorMap,
        without: Collection[Annotation] = (),
        category: str | None = None,
    ) -> tuple[list[PosedExemplar], float]:
        """The few exemplars, in one pose each, whose keypoints resemble an image most.

        Ranked by the instance matching distance over keypoints alone, to every other row and
        column of the target.

        Args:
            target: the image's descriptors, projected onto the principal directions.
            without: exemplars that are left out.
            category: of the exemplars to choose from; None for all of them.

        Returns:
            Three if there are as many, best first, and then those that it takes to know of every
            keypoint, where exemplars are partly labelled; and the mean similarity of the best
            one's keypoints to their nearest neighbours.
        """
        cells_MC = target.descriptors_HWC[matching.subsample_cells(target.matchable_HW).unbind(1)]
        candidates = self._candidates(without, category)
        coarse = _rank(self._coarse_keypoints, candidates, cells_MC)
        chosen = [index for _, index in coarse[:_COARSE_EXEMPLARS]]
        ranked = _rank(self._keypoints, chosen, cells_MC)
        found = [self.posed[index] for _, index in ranked[:_BLENDED]]
        of_category = [each for each in found if each.annotation.category == _category(found[0])]
        known_K = torch.stack([each.known_K for each in of_category]).any(0)
        for _, index in coarse:
            each = self.posed[index]
            if known_K.all():
                break
            if _category(each) == _category(found[0]) and bool((each.known_K & ~known_K).any()):
                found.append(each)
                known_K = known_K | each.known_K
        return found, ranked[0][0]

    def _candidates(self, without: Collection[Annotation], category: str | None) -> list[int]:
        """Positions of the exemplars of a category, or of all, but for some."""
        return [
            index
            for index, each in enumerate(self.posed)
            if each.annotation not in without and category in (None, _category(each))
        ]

    def _project(self, descriptor_map: DescriptorMap) -> DescriptorMap:
        descriptors = descriptor_map.descriptors_HWC @ self.basis_CD
        return dataclasses.replace(descriptor_map, descriptors_HWC=descriptors)

    def _adapt_calibration(self, upright: Mapping[Annotation, DescriptorMap]) -> Calibration:
        """The calibration adapted to what the other exemplars predict for each of them.

        Exemplars of a series of images are predicted once from all others, and once from those of
        other series, as images of other series will be.
        """
        samples = []
        for index, (annotation, descriptor_map) in enumerate(upright.items()):
            mates = [a for a in upright if series(a.name) == series(annotation.name)]
            left_out = [[annotation], mates] if len(mates) > 1 else [[annotation]]
            for without in left_out:
                if all(a in without or a.category != annotation.category for a in upright):
                    continue
                predicted = self._predict(descriptor_map, without)
                if predicted.category != annotation.category:
                    continue
                labelled = annotation.visible
                points = np.where(labelled[:, None], annotation.keypoints, np.inf)
                errors = np.linalg.norm(predicted.points - points, axis=1)
                correct = errors <= _CORRECT * annotation.reference_length("box")
                what = (annotation.category, predicted.confidence_features, labelled, correct)
                belongs, all_others = len(mates) > len(without), len(without) == 1
                samples.append(LeftOut(index, *what, belongs, all_others))
        mirrors = {category: schema.mirror for category, schema in self.schemas.items()}
        if not samples:
            return self.calibration
        return adapt(samples, mirrors, self.config.calibration)

    def _predict(
        self,
        target: DescriptorMap,
        without: Collection[Annotation] = (),
        category: str | None = None,
        log_shares_HW: Float[Tensor, "H W"] | None = None,
        same_series: bool | None = None,
    ) -> KeypointPrediction:
        """As `find`, from projected descriptors."""
        exemplars, quality = self.shortlist(target, without, category)
        maps = [self._similarity(each, target) for each in exemplars]
        peaks = [
            similarity.flatten(1).amax(1)[each.visible_K].mean()
            for each, similarity in zip(exemplars, maps, strict=True)
        ]
        weights = (torch.stack(peaks) / _BLEND_TEMPERATURE).softmax(0)
        order = weights.argsort(descending=True).tolist()
        category = exemplars[order[0]].annotation.category
        order = [i for i in order if exemplars[i].annotation.category == category]
        exemplars, weights = [exemplars[i] for i in order], weights[order] / weights[order].sum()
        maps_VKHW = torch.stack([maps[i] for i in order])
        visible_VK = torch.stack([each.visible_K for each in exemplars]) * weights[:, None]
        visibility_K = visible_VK.sum(0)
        # A keypoint is predicted by the exemplars in which it is visible, or else by all.
        shares_VK = torch.where(visibility_K > 0, visible_VK / visibility_K, weights[:, None])
        known_VK = torch.stack([each.known_K for each in exemplars])
        if not known_VK.all():  # whoever has not looked for a keypoint has no vote
            known_K = (known_VK * weights[:, None]).sum(0)
            visibility_K = (visibility_K / known_K.clamp_min(1e-12)).clamp_max(1)
        occlusion_K = (torch.stack([each.occluded_K for each in exemplars]) * shares_VK).sum(0)
        blended = (shares_VK[:, :, None, None] * maps_VKHW.clamp_min(_LOWEST)).sum(0)
        if log_shares_HW is not None:
            blended = blended + _SHARE_WEIGHT * log_shares_HW
        blended = blended.masked_fill(~target.matchable_HW, -torch.inf)
        cells = self.config.locate(blended * target.typical_length**2)
        box = predict_box(cells, visibility_K, exemplars, weights)
        length = max(box[2] - box[0], box[3] - box[1], 1.0)
        radius = _CORRECT * length
        agreement = torch.stack(
            [
                cycle_agreement(target, cells, each, similarity, radius)
                for each, similarity in zip(exemplars, maps_VKHW, strict=True)
            ]
        )
        back, agree = (shares_VK[:, None] * agreement).sum(0)
        unique = matching.window_log_prob(blended, cells).exp()
        shapes = [each.shape_K2 for each in exemplars]
        residuals = shape_residuals(cells.double().cpu().numpy(), shapes, length)
        residual = torch.from_numpy(residuals).to(unique)
        rows = (unique, back, agree, torch.full_like(unique, quality), residual)
        confidence_features = torch.stack(rows, dim=1).double().cpu().numpy()
        transform = target.transform
        points = transform.to_points(cells.double().cpu().numpy(), clip=True)
        corners = transform.to_points(np.array([box[:2], box[2:]]), clip=True)
        return KeypointPrediction(
            category=category,
            points=points,
            scores=self.calibration.probability(confidence_features, category, same_series),
            visibility=visibility_K.double().cpu().numpy(),
            occlusion=occlusion_K.double().cpu().numpy(),
            box=(*map(float, corners[0]), *map(float, corners[1])),  # type: ignore[arg-type]
            exemplars=tuple((each.annotation.name, each.pose.name) for each in exemplars),
            confidence_features=confidence_features,
            likeness=quality,
            blend=Blend(exemplars, shares_VK, blended),
        )

    def _similarity(self, exemplar: PosedExemplar, target: DescriptorMap) -> Float[Tensor, "K H W"]:
        """Similarity of an exemplar's keypoints to each cell, corrected as the matcher's is."""
        consensus, shape = self.config.consensus, target.matchable_HW.shape
        cells_CM = target.descriptors_HWC.flatten(0, 1).T
        if consensus is None:
            similarity = (exemplar.queries_SKC[0] @ cells_CM).unflatten(1, shape)
            return similarity.masked_fill(~target.matchable_HW, -torch.inf)
        rows = torch.cat([exemplar.queries_SKC.flatten(0, 1), exemplar.anchors_PC])
        count = len(exemplar.anchors_PC)
        similarity, anchors = (rows @ cells_CM).split([len(rows) - count, count])
        correction = SimilarityCorrection(
            anchors / consensus.temperature, exemplar.anchors_P2, None,
            target.saliency_HW, target.matchable_HW, consensus,
        )  # fmt: skip
        maps = similarity.unflatten(1, shape).chunk(len(consensus.offsets))
        corrected = correction.correct(maps, exemplar.cells_K2)
        # Hubness is a sum over anchors; as a mean it lets exemplars with more and fewer compare.
        return corrected + consensus.temperature / 2 * math.log(count)


def _category(exemplar: PosedExemplar) -> str:
    return exemplar.annotation.category


def _rank(
    queries: Sequence[Float[Tensor, "_K C"]],
    candidates: Sequence[int],
    cells_MC: Float[Tensor, "M C"],
) -> list[tuple[float, int]]:
    """Exemplars by the mean similarity of their keypoints to the nearest cells, best first."""
    nearest = (torch.cat([queries[i] for i in candidates]) @ cells_MC.T).amax(1)
    parts = nearest.split([len(queries[i]) for i in candidates])
    means = torch.stack([part.mean() for part in parts])
    order = means.argsort(descending=True, stable=True).tolist()
    values = means.tolist()
    return [(values[i], candidates[i]) for i in order]
