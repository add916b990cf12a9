"""FiftyOne: a model of its zoo that predicts keypoints from a file of exemplars.

The folder `homolog/integrations/fiftyone_zoo` is a source of zoo models. `install_zoo_model` puts
it where FiftyOne looks for them:

    import fiftyone.zoo as foz
    from homolog.integrations.fiftyone import install_zoo_model

    install_zoo_model()
    model = foz.load_zoo_model("homolog", exemplars="few.json")
    dataset.default_skeleton = model.skeleton
    dataset.apply_model(model, label_field="keypoints")

See https://docs.voxel51.com/model_zoo/remote.html. This needs `pip install fiftyone`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.poses.members import skeleton_edges
from homolog.errors import HomologError
from homolog.image.reading import ImageLike
from homolog.integrations.predictor import PredictedObject, Predictor
from homolog.utils.optional import require
from homolog.utils.outputs import write_atomically

MODEL_NAME = "homolog"
"""The name of the model in the zoo."""
# The name in the manifest, too. FiftyOne imports the folder under it, so it must not be `homolog`.
_FOLDER = "homolog_keypoints"


def install_zoo_model(zoo: str | os.PathLike[str] | None = None) -> Path:
    """Put the model where FiftyOne looks for those of its zoo.

    Args:
        zoo: the folder of the model zoo; by default that of FiftyOne's configuration.

    Returns:
        The folder with the manifest.

    Raises:
        HomologError: FiftyOne is not installed, or the folder cannot be written.
    """
    root = Path(require("fiftyone").config.model_zoo_dir if zoo is None else zoo)
    folder = root / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with resources.as_file(resources.files("homolog.integrations.fiftyone_zoo")) as source:
            for name in ("__init__.py", "manifest.json"):
                shutil.copyfile(source / name, folder / name)
    except OSError as error:
        raise HomologError(f"zoo: cannot write {folder}: {error.strerror}") from None
    return folder


def download_model(model_name: str, model_path: str) -> None:
    """Write the file that FiftyOne expects of a model; what it needs comes with homolog.

    Args:
        model_name: the name of the model.
        model_path: the file.

    Raises:
        HomologError: it cannot be written.
    """
    write_atomically(Path(model_path), json.dumps({"model": model_name}).encode(), "model_path")


def load_model(
    model_name: str,
    model_path: str,
    exemplars: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    max_objects: int | None = None,
    model: str = "embedded",
    device: str | None = None,
    **_: Any,
) -> Any:
    """Load the model, as `foz.load_zoo_model` does with its keyword arguments.

    Args:
        model_name: the name of the model.
        model_path: the file that `download_model` wrote.
        exemplars: a file of a few labelled images, in any format that `homolog annotate` takes.
        images: the folder of its images, if they are not beside it.
        max_objects: how many objects an image may show; without it an image shows one.
        model: a preset, or the folder of a trained model.
        device: where to compute, such as `cuda`.

    Returns:
        A `fiftyone.core.models.Model`, whose `predict` returns `fiftyone.Keypoints`.

    Raises:
        HomologError: FiftyOne is not installed, or the exemplars or the model cannot be used.
    """
    return keypoint_model(
        Predictor(exemplars, images, model=model, device=device, max_objects=max_objects)
    )


def keypoint_model(predictor: Predictor) -> Any:
    """A model of FiftyOne that predicts keypoints.

    Args:
        predictor: predicts them.

    Raises:
        HomologError: FiftyOne is not installed.
    """
    fiftyone = require("fiftyone")
    base: Any = require("fiftyone.core.models").Model

    class KeypointModel(base):  # type: ignore[misc]
        """Predicts the keypoints of the objects in images, from exemplars."""

        media_type = "image"
        ragged_batches = True
        transforms = None
        preprocess = False

        def __init__(self) -> None:
            self.skeletons = {
                category["name"]: make_skeleton(category) for category in predictor.categories
            }
            self.skeleton = next(iter(self.skeletons.values()))

        def predict(self, arg: ImageLike) -> Any:
            """The keypoints of an image, given as an array (height, width, 3), as FiftyOne does."""
            height, width = np.asarray(arg).shape[:2]
            objects = predictor.predict(arg)
            return fiftyone.Keypoints(
                keypoints=[_keypoint(each, (width, height)) for each in objects]
            )

    def _keypoint(found: PredictedObject, size: tuple[int, int]) -> Any:
        points = (found.points / size).tolist()
        return fiftyone.Keypoint(
            label=found.category,
            points=[(x, y) for x, y in points],
            confidence=[float(score) for score in found.scores],
        )

    return KeypointModel()


def make_skeleton(category: Mapping[str, Any]) -> Any:
    """The `fiftyone.KeypointSkeleton` of a category, to be set on a data set.

    Args:
        category: as in a COCO file, with keypoints and perhaps a skeleton.

    Raises:
        HomologError: FiftyOne is not installed.
    """
    return require("fiftyone").KeypointSkeleton(
        labels=list(category["keypoints"]), edges=[list(edge) for edge in skeleton_edges(category)]
    )
