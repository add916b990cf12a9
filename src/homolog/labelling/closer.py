"""Closer looks at predicted keypoints: crops of the image, matched with crops of the exemplars.

The descriptors of an exemplar's keypoints in its crops are computed when it is first blended in
some pose, and are all that is kept of these. An image's own crops are few, and shared by all
exemplars: their descriptors are averaged, which averages similarities.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from torch import Tensor

from homolog.data.pairs import Annotation
from homolog.descriptors import DescriptorMap, Features
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.keypoints import KeypointSchema
from homolog.labelling.exemplar_features import object_box
from homolog.labelling.exemplars import KeypointPrediction
from homolog.matcher import Matcher
from homolog.matching.refinement import RefinementConfig
from homolog.refining import Look


class CloserLooks:
    """Refines predicted keypoints.

    Args:
        matcher: extracts descriptors.
        schemas: what the keypoints mean, by category.
        config: how they are refined; None for the defaults.
    """

    def __init__(
        self,
        matcher: Matcher,
        schemas: Mapping[str, KeypointSchema],
        config: RefinementConfig | None = None,
    ):
        self.matcher = matcher
        self.schemas = schemas
        self.config = config or RefinementConfig()
        refiner = matcher.refiner(self.config)
        assert refiner is not None, "it says how to refine"
        self._refiner = refiner
        self._queries: dict[tuple[Annotation, PoseVariant], list[Float[Tensor, "S K C"]]] = {}

    def refine(
        self, features: Features, descriptor_map: DescriptorMap, prediction: KeypointPrediction
    ) -> KeypointPrediction:
        """The same prediction with its points moved to where closer looks agree.

        Args:
            features: of the image, or of the region around the object.
            descriptor_map: its descriptors, as the keypoints were predicted with them.
            prediction: the keypoints.

        Raises:
            HomologError: an image can no longer be read.
        """
        x0, y0, x1, y1 = prediction.box
        if x1 - x0 < 1 or y1 - y0 < 1:  # flat, as around a single keypoint
            return prediction
        refiner = self._refiner
        extent = refiner.loader.region_around((x0, y0, x1 - x0, y1 - y0), features.size)
        blend, points = prediction.blend, prediction.points
        asked = [
            self._of_exemplar(each.annotation, each.pose, features.mirror)
            for each in blend.exemplars
        ]
        closer = []
        for number, scale in enumerate(self.config.scales):
            blended_SKC = sum(
                share_K[:, None] * own[number]
                for share_K, own in zip(blend.shares_VK, asked, strict=True)
            )
            assert isinstance(blended_SKC, Tensor), "a prediction without exemplars"
            crops = refiner.crops(scale, features, points, extent)
            self.matcher.extract(crops.used)
            closer.append(refiner.similarity(blended_SKC, crops, IDENTITY, points, extent))
        look = Look(features, descriptor_map, None)
        moved = refiner.moved(look, points, blend.similarity_KHW, closer, extent)
        return dataclasses.replace(prediction, points=moved)

    def _of_exemplar(
        self, annotation: Annotation, pose: PoseVariant, mirror: bool
    ) -> list[Float[Tensor, "S K C"]]:
        """Descriptors of an exemplar's keypoints and their neighbours in crops of each scale."""
        key = annotation, pose
        if key not in self._queries:
            self._queries[key] = self._look_at(annotation, pose, mirror)
        return self._queries[key]

    def _look_at(
        self, annotation: Annotation, pose: PoseVariant, mirror: bool
    ) -> list[Float[Tensor, "S K C"]]:
        path, category = annotation.path, annotation.category
        features = self.matcher.load_image(path, str(path), category, mirror=mirror)
        refiner = self._refiner
        box = object_box(annotation, features.size) or (0.0, 0.0, *map(float, features.size))
        extent = refiner.loader.region_around(box, features.size)
        keypoints = annotation.keypoints
        if pose.flip:  # the left paw is now where the right paw would be
            keypoints = keypoints[list(self.schemas[category].mirror)]
        points = np.nan_to_num(keypoints)
        found = []
        for scale in self.config.scales:
            crops = refiner.crops(scale, features, points, extent)
            self.matcher.extract(crops.used, [pose])
            found.append(refiner.queries(crops, pose, points, extent))
        return found
