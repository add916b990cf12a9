"""The annotator: from an image to a COCO annotation with a score for each keypoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.exemplars import ExemplarSet
from homolog.data.labels import EXTRA
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image.geometry import PoseVariant
from homolog.labelling.exemplars import EXEMPLAR_POSES, Exemplars, KeypointPrediction
from homolog.matcher import Matcher

Record = dict[str, Any]
"""The entry of an image in the resume log: its size and annotation, or why there is none."""


@dataclass(frozen=True)
class AnnotateConfig:
    """Which predicted keypoints a person should review, and the poses that exemplars are tried in.

    Attributes:
        review: keypoints with a lower score are marked doubtful.
        poses: of the exemplars.
    """

    review: float = 0.8
    poses: tuple[PoseVariant, ...] = EXEMPLAR_POSES


class Annotator:
    """Annotates one image after another; each worker process makes one of its own.

    Args:
        matcher: extracts the descriptors.
        exemplars: the labelled images.
        config: which keypoints are doubtful, and the poses of the exemplars.
    """

    def __init__(self, matcher: Matcher, exemplars: ExemplarSet, config: AnnotateConfig):
        self.matcher = matcher
        self.config = config
        self.exemplars = Exemplars(matcher, exemplars.annotations, exemplars.schemas, config.poses)
        self._ids = {c["name"]: c["id"] for c in exemplars.categories}

    def load(self, path: Path) -> Features | HomologError:
        """An image without descriptors yet, or why it cannot be read."""
        try:
            # With several categories, that of the image is not known before it is annotated.
            (category,) = self._ids if len(self._ids) == 1 else (None,)
            return self.matcher.load_image(path, str(path), category)
        except HomologError as error:
            return error

    def record(self, name: str, image: Features | HomologError) -> Record:
        """The entry of an image in the resume log.

        Args:
            name: of the image.
            image: what `load` returned.
        """
        if isinstance(image, HomologError):
            return {"file_name": name, "failed": str(image)}
        features = self.matcher.extract(image)
        prediction = self.exemplars.find(features)
        size = {"width": features.width, "height": features.height}
        return {"file_name": name, **size, "annotation": self._annotation(prediction)}

    def _annotation(self, prediction: KeypointPrediction) -> dict[str, Any]:
        visible = prediction.visibility >= 0.5
        points = np.round(np.where(visible[:, None], prediction.points, 0), 2)
        keypoints = np.column_stack([points, np.where(visible, 2, 0)])
        x0, y0, x1, y1 = prediction.box
        # A keypoint is doubtful, too, where the exemplars disagree on whether it is visible.
        doubtful = (prediction.scores < self.config.review) & visible
        doubtful |= (prediction.visibility > 0.25) & (prediction.visibility < 0.75)
        flat = [int(v) if v == int(v) else float(v) for v in keypoints.flatten()]
        score = round(float(prediction.scores[visible].mean()), 4) if visible.any() else 0.0
        return {
            "category_id": self._ids[prediction.category],
            "bbox": [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)],
            "area": round((x1 - x0) * (y1 - y0), 2),
            "iscrowd": 0,
            "num_keypoints": int(visible.sum()),
            "keypoints": flat,
            "score": score,
            EXTRA: {
                "scores": [round(float(score), 4) for score in prediction.scores],
                "doubtful": np.flatnonzero(doubtful).tolist(),
                "reviewed": [],
                "predicted": list(flat),
                "exemplars": [list(exemplar) for exemplar in prediction.exemplars],
            },
        }
