"""Labelled pictures, and where their keypoints lie in another picture.

All exemplars are looked at once, in all poses; a further picture once. What is compared is kept
to the directions that the exemplars' own descriptors span, so that twenty exemplars in eight poses
cost little beside the backbone (docs/experiments.md).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.data.pairs import Annotation, Box
from homolog.descriptors import DescriptorMap, Features
from homolog.errors import HomologError
from homolog.image.geometry import IDENTITY, PoseVariant
from homolog.keypoints import KeypointSchema
from homolog.labelling.calibration import TRAINED, Calibration
from homolog.matcher import Matcher
from homolog.matching.consensus import AffinePrior, ConsensusConfig, neighbourhood_average

DIRECTIONS = 96
_PLACES = 64  # of the thing besides its keypoints: for what lies around, and for the layout
_BLENDED = 3  # exemplars in one pose each that a picture is labelled from
_ASKED, _LIKELY = 12, 16  # keypoints by which a first choice is made, and of how many
_BLEND = 0.015  # temperature at which better ones outweigh others, in units of similarity
_NEAR = 0.1  # of the box's longer side: what counts as the same place

EXEMPLAR_POSES = tuple(
    PoseVariant(flip, turn) for flip in (False, True) for turn in (0.0, 90.0, 180.0, -90.0)
)
"""All poses that keep a picture's pixels: exemplars are tried in these."""


@dataclass(frozen=True)
class KeypointPrediction:
    """Where the keypoints of a thing lie in a picture.

    Attributes:
        category: what the thing is.
        points: (x, y) in pixels, one a keypoint.
        scores: probability that each is within a tenth of the box's longer side of the truth.
        visible: the share of the exemplars blended, by weight, in which each keypoint is visible.
        box: around the thing, as the exemplars' boxes are around theirs.
        exemplars: the names and poses of the exemplars blended, best first.
        evidence: what the scores were read from, a row a keypoint.
    """

    category: str
    points: Float[np.ndarray, "K 2"]
    scores: Float[np.ndarray, "K"]
    visible: Float[np.ndarray, "K"]
    box: Box
    exemplars: tuple[tuple[str, str], ...]
    evidence: Float[np.ndarray, "K 4"]


@dataclass(frozen=True, eq=False)
class _Variant:
    """An exemplar in one pose.

    Attributes:
        annotation: the exemplar.
        pose: of it.
        cells_K2: (x, y) of the keypoints in cells; of those not visible, of no meaning.
        visible_K: which are visible.
        queries_SKC: descriptors at the keypoints and around them (`ConsensusConfig.offsets`).
        places_P2: (x, y) of places on the thing, in cells.
        places_PC: descriptors there.
        margins: how far the box reaches beyond the visible keypoints, left, top, right and bottom,
            in shares of the longer side of the box around these.
    """

    annotation: Annotation
    pose: PoseVariant
    cells_K2: Float[Tensor, "K 2"]
    visible_K: Bool[Tensor, "K"]
    queries_SKC: Float[Tensor, "S K C"]
    places_P2: Int[Tensor, "P 2"]
    places_PC: Float[Tensor, "P C"]
    margins: Float[np.ndarray, "4"]


class Exemplars:
    """Finds the keypoints of labelled pictures in others.

    Args:
        matcher: makes the features.
        annotations: the labelled pictures, each with at least one visible keypoint.
        schemas: what the keypoints mean, by category.
        poses: of the exemplars. A flip exchanges left and right, so that it is left out where
            nothing says which keypoints these are.

    Raises:
        HomologError: there are no exemplars, or a picture cannot be read.
    """

    def __init__(
        self,
        matcher: Matcher,
        annotations: Sequence[Annotation],
        schemas: Mapping[str, KeypointSchema],
        poses: Sequence[PoseVariant] = EXEMPLAR_POSES,
    ):
        self.config: MatcherConfig = matcher.config
        self.schemas = schemas
        if not annotations:
            raise HomologError("exemplars: got none, takes at least one labelled picture")
        around = self.config.consensus or ConsensusConfig()
        self._own: dict[Annotation, DescriptorMap] = {}
        variants: list[_Variant] = []
        for annotation in annotations:
            schema = schemas[annotation.category]
            wanted = [p for p in poses if schema.sides_known or not p.flip]
            # One pose at a time: all of them at once would take eight times the memory.
            read = matcher.load_image(annotation.path, str(annotation.path), annotation.category)
            for pose in wanted:
                posed = matcher.extract(dataclasses.replace(read, by_pose={}), [pose]).by_pose[pose]
                variants.append(_variant(annotation, schema, posed, around))
                if pose == IDENTITY:
                    self._own[annotation] = posed
        rows = torch.cat([torch.cat([v.queries_SKC[0], v.places_PC]) for v in variants])
        self.basis_CD = _basis(rows)
        self.variants = [
            dataclasses.replace(
                v,
                queries_SKC=v.queries_SKC @ self.basis_CD,
                places_PC=v.places_PC @ self.basis_CD,
            )
            for v in variants
        ]
        self._own = {a: self._reduced(posed) for a, posed in self._own.items()}
        self._all = [v.queries_SKC[0][v.visible_K] for v in self.variants]
        self._some = [_spread(rows, _ASKED) for rows in self._all]
        self.calibration = Calibration()
        if matcher.network is not None:
            # It was perhaps trained on these very pictures: they cannot say how sure it may be.
            self.calibration = TRAINED
        elif len(self._own) > 2:
            self.calibration = self._calibrated()

    def find(self, features: Features) -> KeypointPrediction:
        """The keypoints of the thing in a picture.

        Args:
            features: of the picture, in the pose in which it is.
        """
        return self._find(self._reduced(features.by_pose[IDENTITY]), None)

    def _reduced(self, posed: DescriptorMap) -> DescriptorMap:
        return dataclasses.replace(
            posed,
            descriptors_HWC=posed.descriptors_HWC @ self.basis_CD,
            saliency_HW=posed.saliency_HW,
        )

    def _calibrated(self) -> Calibration:
        """What the exemplars say of each other, and how often that is right."""
        evidence, right, pictures = [], [], []
        for number, (annotation, posed) in enumerate(self._own.items()):
            others = (v.annotation for v in self.variants if v.annotation is not annotation)
            if all(other.category != annotation.category for other in others):
                continue
            found = self._find(posed, annotation)
            if found.category != annotation.category:
                continue
            seen = annotation.visible
            distances = np.linalg.norm(found.points - annotation.keypoints, axis=1)[seen]
            evidence.append(found.evidence[seen])
            right.append(distances <= _NEAR * annotation.reference_length("box"))
            pictures.append(np.full(int(seen.sum()), number))
        if not evidence:
            return self.calibration
        return self.calibration.adapted(
            np.concatenate(evidence), np.concatenate(right), np.concatenate(pictures)
        )

    def _find(self, target: DescriptorMap, without: Annotation | None) -> KeypointPrediction:
        """As `find`, perhaps as if an exemplar were not there."""
        chosen, quality = self._shortlist(target, without)
        maps = self._maps(chosen, target)
        peaks = [
            m.flatten(1).amax(1)[v.visible_K].mean() for v, m in zip(chosen, maps, strict=True)
        ]
        weights = (torch.stack(peaks) / _BLEND).softmax(0)
        order = weights.argsort(descending=True).tolist()
        best = chosen[order[0]].annotation.category
        own = [i for i in order if chosen[i].annotation.category == best]
        chosen, weights = [chosen[i] for i in own], weights[own] / weights[own].sum()
        maps_VKHW = torch.stack([maps[i] for i in own])
        seen_VK = torch.stack([v.visible_K for v in chosen]) * weights[:, None]
        visible_K = seen_VK.sum(0)
        # Of exemplars that do not show a keypoint, the others speak; of one that none shows, all.
        shares_VK = torch.where(visible_K > 0, seen_VK / visible_K, weights[:, None])
        blended = (shares_VK[:, :, None, None] * maps_VKHW.clamp_min(-1e4)).sum(0)
        blended = blended.masked_fill(~target.valid_HW, -torch.inf)
        config = self.config
        cells = matching.window_soft_argmax(blended, config.window, config.temperature)
        box = _box(cells, visible_K, chosen, weights, target)
        side = max(box[2] - box[0], box[3] - box[1])
        evidence = self._evidence(
            blended, maps_VKHW, cells, side, chosen, shares_VK, quality, target
        )
        view = target.transform
        points = view.clip(view.to_points(cells.double().cpu().numpy()))
        corners = view.clip(view.to_points(np.array([box[:2], box[2:]])))
        return KeypointPrediction(
            category=best,
            points=points,
            scores=self.calibration.probability(evidence),
            visible=visible_K.double().cpu().numpy(),
            box=(*map(float, corners[0]), *map(float, corners[1])),  # type: ignore[arg-type]
            exemplars=tuple((v.annotation.name, v.pose.name) for v in chosen),
            evidence=evidence,
        )

    def _shortlist(
        self, target: DescriptorMap, without: Annotation | None
    ) -> tuple[list[_Variant], float]:
        """The exemplars and poses whose keypoints have the nearest counterparts in the picture.

        The instance matching distance over the keypoints alone: a cell each for the source, every
        other row and column of the target.
        """
        thin = target.descriptors_HWC[matching.subsample_cells(target.valid_HW).unbind(1)]
        likely = self._nearest(self._some, range(len(self.variants)), thin, without)[:_LIKELY]
        found = self._nearest(self._all, [number for _, number in likely], thin, without)
        return [self.variants[number] for _, number in found[:_BLENDED]], found[0][0]

    def _nearest(
        self,
        queries: Sequence[Float[Tensor, "_K D"]],
        numbers: Sequence[int],
        thin_MD: Float[Tensor, "M D"],
        without: Annotation | None,
    ) -> list[tuple[float, int]]:
        """How like the picture some variants are, and their numbers, most like first."""
        usable = [n for n in numbers if self.variants[n].annotation is not without]
        best = (torch.cat([queries[n] for n in usable]) @ thin_MD.T).amax(1)
        means = torch.stack([part.mean() for part in best.split([len(queries[n]) for n in usable])])
        order = means.argsort(descending=True, stable=True).tolist()
        values = means.tolist()
        return [(values[i], usable[i]) for i in order]

    def _maps(
        self, chosen: Sequence[_Variant], target: DescriptorMap
    ) -> list[Float[Tensor, "K H W"]]:
        """Similarity maps of each exemplar's keypoints, guided as the matcher's are."""
        height, width = target.valid_HW.shape
        cells_D = target.descriptors_HWC.flatten(0, 1).T
        guidance = self.config.consensus
        maps = []
        for variant in chosen:
            if guidance is None:
                found = (variant.queries_SKC[0] @ cells_D).unflatten(1, (height, width))
                maps.append(found.masked_fill(~target.valid_HW, -torch.inf))
                continue
            count = len(variant.cells_K2)
            rows = torch.cat([variant.queries_SKC.flatten(0, 1), variant.places_PC])
            both = rows @ cells_D
            found, logits = both.split([len(guidance.offsets) * count, len(variant.places_PC)])
            logits = logits / guidance.temperature
            popularity = logits.logsumexp(0) - math.log(len(logits))
            popularity *= guidance.temperature / 2
            steps = (found - popularity).view(len(guidance.offsets), count, height, width)
            guided = neighbourhood_average(steps.unbind(0), guidance)
            thin = matching.subsample_cells(target.valid_HW)
            y, x = thin.unbind(1)
            near = logits[:, y * width + x]
            likelihood = near.softmax(1) * near.softmax(0) * target.saliency_HW[y, x]
            layout = AffinePrior.fit(
                likelihood, variant.places_P2, thin.flip(1), max(height, width) - 1
            )
            if layout is not None:
                guided += guidance.affine_weight * layout.log_likelihood(
                    variant.cells_K2, (height, width)
                )
            maps.append(guided.masked_fill_(~target.valid_HW, -torch.inf))
        return maps

    def _evidence(
        self,
        blended_KHW: Float[Tensor, "K H W"],
        maps_VKHW: Float[Tensor, "V K H W"],
        cells_K2: Float[Tensor, "K 2"],
        side: float,
        chosen: Sequence[_Variant],
        shares_VK: Float[Tensor, "V K"],
        quality: float,
        target: DescriptorMap,
    ) -> Float[np.ndarray, "K 4"]:
        """What tells right answers from wrong ones.

        Whether the map has one place only; whether the place leads back to the keypoint and not to
        another; whether exemplars agree; how like the best exemplar is.
        """
        there = matching.window_log_prob(blended_KHW, cells_K2)
        answers = matching.sample_descriptors(target.descriptors_HWC, cells_K2)
        back, agree = torch.zeros_like(there), torch.zeros_like(there)
        near = _NEAR * max(side, 1.0)
        for variant, maps_KHW, shares_K in zip(chosen, maps_VKHW, shares_VK, strict=True):
            sources = torch.cat([variant.queries_SKC[0][variant.visible_K], variant.places_PC])
            at = torch.cat([variant.cells_K2[variant.visible_K], variant.places_P2.to(cells_K2)])
            logits = answers @ F.normalize(sources, dim=1).T / matching.SCORE_TEMPERATURE
            own = torch.cdist(variant.cells_K2, at) <= near
            mass = logits.masked_fill(~own, -torch.inf).logsumexp(1) - logits.logsumexp(1)
            back += shares_K * mass.exp()
            peaks = matching.argmax(maps_KHW)
            agree += shares_K * ((peaks - cells_K2).norm(dim=1) <= near)
        rows = (there.exp(), back, agree, torch.full_like(there, quality))
        return torch.stack(rows, dim=1).double().cpu().numpy()


def _variant(
    annotation: Annotation, schema: KeypointSchema, posed: DescriptorMap, guidance: ConsensusConfig
) -> _Variant:
    view, descriptors = posed.transform, posed.descriptors_HWC
    keypoints = annotation.keypoints
    if view.pose.flip:  # the left paw is now where the right paw would be
        keypoints = keypoints[list(schema.mirror)]
    visible = np.isfinite(keypoints[:, 0])
    cells = torch.from_numpy(view.to_cells(np.nan_to_num(keypoints))).to(descriptors)
    steps = cells.new_tensor(guidance.offsets)
    queries = matching.sample_descriptors(descriptors, (cells[None] + steps[:, None]).flatten(0, 1))
    places = (posed.saliency_HW > 0).nonzero()
    if not len(places):
        places = matching.subsample_cells(posed.valid_HW)
    places = _spread(places, _PLACES)
    x0, y0, x1, y1 = annotation.box
    corners = view.to_cells(np.array([[x0, y0], [x1, y1], [x0, y1], [x1, y0]]))
    seen = view.to_cells(keypoints[visible])
    low, high = seen.min(0), seen.max(0)
    margins = np.concatenate([low - corners.min(0), corners.max(0) - high])
    return _Variant(
        annotation,
        view.pose,
        cells,
        torch.from_numpy(visible).to(descriptors.device),
        queries.unflatten(0, (len(guidance.offsets), len(cells))),
        places.flip(1),
        descriptors[places.unbind(1)],
        margins / _unit(low, high),
    )


def _spread(rows: Tensor, count: int) -> Tensor:
    """At most so many rows, evenly spread."""
    index = torch.linspace(0, len(rows) - 1, min(count, len(rows))).round().long()
    return rows[index.to(rows.device)]


def _unit(low: Float[np.ndarray, "2"], high: Float[np.ndarray, "2"]) -> float:
    """What margins are shares of: the longer side around keypoints, or a cell if there is none."""
    return max(float((high - low).max()), 1.0)


def _box(
    cells_K2: Float[Tensor, "K 2"],
    visible_K: Float[Tensor, "K"],
    chosen: Sequence[_Variant],
    weights_V: Float[Tensor, "V"],
    target: DescriptorMap,
) -> Box:
    """The thing's box in cells."""
    kept = visible_K >= min(0.5, float(visible_K.max()))
    seen = cells_K2[kept].double().cpu().numpy()
    margins = weights_V.double().cpu().numpy() @ np.stack([v.margins for v in chosen])
    low, high = seen.min(0), seen.max(0)
    reach = margins * _unit(low, high)
    x0, y0 = (low - reach[:2]).tolist()
    x1, y1 = (high + reach[2:]).tolist()
    return x0, y0, x1, y1


def _basis(rows_NC: Float[Tensor, "N C"]) -> Float[Tensor, "C D"]:
    """The directions that descriptors differ most in; all of them, if they are few."""
    channels = rows_NC.shape[1]
    if channels <= DIRECTIONS:
        return torch.eye(channels).to(rows_NC)
    _, vectors = torch.linalg.eigh(rows_NC.T @ rows_NC)
    return vectors[:, -DIRECTIONS:].contiguous()
