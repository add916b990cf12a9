"""Exemplars in one pose each: descriptors at their keypoints, and around them on the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import matching
from homolog.data.pairs import Annotation, Box
from homolog.descriptors import DescriptorMap
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.keypoints import KeypointSchema
from homolog.matching.consensus import ConsensusConfig

_ANCHORS = 64  # cells of the object besides its keypoints


@dataclass(frozen=True, eq=False)
class PosedExemplar:
    """A labelled image in one pose, reduced to what keypoints are transferred with.

    Attributes:
        annotation: the labelled image.
        pose: of the image.
        cells_K2: (x, y) of the keypoints in cells; without meaning where they are not labelled.
        visible_K: which keypoints are labelled, occluded ones included.
        known_K: of which keypoints somebody has said where they are, or that they are not visible.
        occluded_K: which keypoints are labelled, but hidden behind something.
        queries_SKC: descriptors at the keypoints and around them (`ConsensusConfig.offsets`).
        anchors_P2: (x, y) of cells evenly spread over the object.
        anchors_PC: descriptors there.
        margins: how far the box extends beyond the visible keypoints on the left, top, right and
            bottom, as fractions of the longer edge of the box around these.
    """

    annotation: Annotation
    pose: PoseVariant
    cells_K2: Float[Tensor, "K 2"]
    visible_K: Bool[Tensor, "K"]
    known_K: Bool[Tensor, "K"]
    occluded_K: Bool[Tensor, "K"]
    queries_SKC: Float[Tensor, "S K C"]
    anchors_P2: Int[Tensor, "P 2"]
    anchors_PC: Float[Tensor, "P C"]
    margins: Float[np.ndarray, "4"]

    @property
    def shape_K2(self) -> Float[np.ndarray, "K 2"]:
        """The keypoints in cells; NaN where they are not visible."""
        cells, visible = self.cells_K2.double().cpu().numpy(), self.visible_K.cpu().numpy()
        return np.where(visible[:, None], cells, np.nan)

    @classmethod
    def create(
        cls,
        annotation: Annotation,
        schema: KeypointSchema,
        descriptor_map: DescriptorMap,
        consensus: ConsensusConfig,
        known: Bool[np.ndarray, "K"] | None = None,
    ) -> PosedExemplar:
        """The exemplar of a labelled image whose descriptors are known.

        Args:
            annotation: the labelled image.
            schema: knows the mirror counterparts of its keypoints.
            descriptor_map: of the image in the pose.
            consensus: says where neighbours of keypoints are.
            known: of which keypoints somebody has said where they are, or that they are not
                visible; of all by default.
        """
        transform, descriptors = descriptor_map.transform, descriptor_map.descriptors_HWC
        keypoints, occluded = annotation.keypoints, annotation.occluded
        if occluded is None:
            occluded = np.zeros(len(keypoints), dtype=bool)
        if known is None:
            known = np.ones(len(keypoints), dtype=bool)
        if transform.pose.flip:  # the left paw is now where the right paw would be
            order = list(schema.mirror)
            keypoints, occluded, known = keypoints[order], occluded[order], known[order]
        visible = np.isfinite(keypoints[:, 0])
        cells = descriptor_map.cells_of(np.nan_to_num(keypoints))
        offsets = cells.new_tensor(consensus.offsets)
        around = (cells[None] + offsets[:, None]).flatten(0, 1)
        queries = matching.sample_descriptors(descriptors, around)
        anchors = (descriptor_map.saliency_HW > 0).nonzero()
        if not len(anchors):
            anchors = matching.subsample_cells(descriptor_map.valid_HW)
        anchors = evenly_spaced(anchors, _ANCHORS)
        x0, y0, x1, y1 = annotation.box
        corners = transform.to_cells(np.array([[x0, y0], [x1, y1], [x0, y1], [x1, y0]]))
        low, high = _bounds(transform.to_cells(keypoints[visible]))
        margins = np.concatenate([low - corners.min(0), corners.max(0) - high])
        return cls(
            annotation,
            transform.pose,
            cells,
            torch.from_numpy(visible).to(descriptors.device),
            torch.from_numpy(known | visible).to(descriptors.device),
            torch.from_numpy(occluded & visible).to(descriptors.device),
            queries.unflatten(0, (len(consensus.offsets), len(cells))),
            anchors.flip(1),
            descriptors[anchors.unbind(1)],
            margins / _longer_edge(low, high),
        )


@dataclass(eq=False)
class PreparedExemplar:
    """What has been computed of an exemplar, to be used again.

    Attributes:
        posed: the exemplar in every pose.
        upright: its descriptors as it is; None if it was tried in other poses only.
    """

    posed: list[PosedExemplar] = field(default_factory=list)
    upright: DescriptorMap | None = None

    def add(self, posed: PosedExemplar, descriptor_map: DescriptorMap) -> None:
        """Add a pose of the exemplar, which these are the descriptors of."""
        self.posed.append(posed)
        if descriptor_map.transform.pose == IDENTITY:
            self.upright = descriptor_map


def predict_box(
    cells_K2: Float[Tensor, "K 2"],
    visibility_K: Float[Tensor, "K"],
    exemplars: Sequence[PosedExemplar],
    weights_V: Float[Tensor, "V"],
) -> Box:
    """The object's box in cells, around its keypoints as the exemplars' boxes are around theirs.

    Of exemplars that are partly labelled, each places the box around those keypoints that it has.

    Args:
        cells_K2: (x, y) of the predicted keypoints in cells.
        visibility_K: the share of the exemplars in which each keypoint is visible.
        exemplars: those that the keypoints come from.
        weights_V: how much each of them counts.
    """
    if not all(each.known_K.all() for each in exemplars):
        points = cells_K2.double().cpu().numpy()
        boxes = []
        for each in exemplars:
            low, high = _bounds(points[each.visible_K.cpu().numpy()])
            margins = each.margins * _longer_edge(low, high)
            boxes.append([*(low - margins[:2]), *(high + margins[2:])])
        x0, y0, x1, y1 = (weights_V.double().cpu().numpy() @ np.array(boxes)).tolist()
        return x0, y0, x1, y1
    used = visibility_K >= min(0.5, float(visibility_K.max()))
    low, high = _bounds(cells_K2[used].double().cpu().numpy())
    margins = weights_V.double().cpu().numpy() @ np.stack([each.margins for each in exemplars])
    margins = margins * _longer_edge(low, high)
    x0, y0 = (low - margins[:2]).tolist()
    x1, y1 = (high + margins[2:]).tolist()
    return x0, y0, x1, y1


def cycle_agreement(
    target: DescriptorMap,
    cells_K2: Float[Tensor, "K 2"],
    exemplar: PosedExemplar,
    maps_KHW: Float[Tensor, "K H W"],
    radius: float,
) -> Float[Tensor, "2 K"]:
    """How an exemplar agrees with the predicted keypoints: followed back, and by its own peaks.

    Args:
        target: the image's descriptors.
        cells_K2: (x, y) of the predicted keypoints in cells.
        exemplar: the exemplar.
        maps_KHW: its similarity maps.
        radius: in cells, within which positions are the same.

    Returns:
        The probability that each keypoint, matched among the exemplar's keypoints and anchors,
        leads back to itself; and whether the exemplar's map has its peak there.
    """
    found = matching.sample_descriptors(target.descriptors_HWC, cells_K2)
    visible = exemplar.visible_K
    sources = torch.cat([exemplar.queries_SKC[0][visible], exemplar.anchors_PC])
    positions = torch.cat([exemplar.cells_K2[visible], exemplar.anchors_P2.to(cells_K2)])
    logits = found @ F.normalize(sources, dim=1).T / matching.SCORE_TEMPERATURE
    own = torch.cdist(exemplar.cells_K2, positions) <= radius
    back = (logits.masked_fill(~own, -torch.inf).logsumexp(1) - logits.logsumexp(1)).exp()
    agree = (matching.argmax(maps_KHW) - cells_K2).norm(dim=1) <= radius
    return torch.stack([back, agree.to(back)])


def evenly_spaced(rows: Tensor, count: int) -> Tensor:
    """At most `count` of the rows of a tensor, evenly spaced."""
    count = min(count, len(rows))
    index = torch.linspace(0, len(rows) - 1, count, dtype=torch.float32).round().long()
    return rows[index.to(rows.device)]


def principal_directions(rows_NC: Float[Tensor, "N C"], count: int) -> Float[Tensor, "C M"]:
    """An orthonormal basis of the directions in which descriptors vary most.

    Args:
        rows_NC: descriptors.
        count: of directions; all of them if there are fewer.
    """
    channels = rows_NC.shape[1]
    if channels <= count:
        return torch.eye(channels).to(rows_NC)
    _, vectors = torch.linalg.eigh(rows_NC.T @ rows_NC)
    return vectors[:, -count:].contiguous()


def _bounds(
    points: Float[np.ndarray, "K 2"],
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    return points.min(0), points.max(0)


def _longer_edge(low: Float[np.ndarray, "2"], high: Float[np.ndarray, "2"]) -> float:
    """The longer edge of the box around keypoints in cells, at least one cell."""
    return max(float((high - low).max()), 1.0)
