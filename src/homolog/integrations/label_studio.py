"""Label Studio: a backend that predicts keypoints from a file of exemplars.

`label-studio-ml create` makes a folder with a `model.py`; that of homolog is

    from homolog.integrations.label_studio import backend

    NewModel = backend("few.json", max_objects=5)

See https://labelstud.io/guide/ml_create. This needs label-studio-ml, from its repository.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from homolog.data.formats.poses.label_studio_output import (
    IMAGE,
    KEYPOINTS,
    RECTANGLES,
    Tags,
    make_prediction,
)
from homolog.errors import HomologError
from homolog.integrations.predictor import Predictor
from homolog.utils.optional import require


def labelling_configuration(categories: Iterable[Mapping[str, Any]]) -> str:
    """The labelling configuration of a project for keypoints, in rectangles that are objects.

    Args:
        categories: as in a COCO file, with keypoints.

    >>> print(labelling_configuration([{"name": "bee", "keypoints": ["head", "tail"]}]))
    <View>
      <Image name="image" value="$image"/>
      <RectangleLabels name="object" toName="image">
        <Label value="bee"/>
      </RectangleLabels>
      <KeyPointLabels name="keypoint" toName="image">
        <Label value="head" model_index="0"/>
        <Label value="tail" model_index="1"/>
      </KeyPointLabels>
    </View>
    """
    listed = list(categories)
    # Label Studio exports keypoints to COCO and YOLO in the order of the indices.
    names = dict.fromkeys(name for category in listed for name in category["keypoints"])
    return "\n".join(
        [
            "<View>",
            f'  <Image name="{IMAGE}" value="${IMAGE}"/>',
            f'  <RectangleLabels name="{RECTANGLES}" toName="{IMAGE}">',
            *(f"    <Label value={quoteattr(str(c['name']))}/>" for c in listed),
            "  </RectangleLabels>",
            f'  <KeyPointLabels name="{KEYPOINTS}" toName="{IMAGE}">',
            *(
                f'    <Label value={quoteattr(str(name))} model_index="{index}"/>'
                for index, name in enumerate(names)
            ),
            "  </KeyPointLabels>",
            "</View>",
        ]
    )


def predict_tasks(
    predictor: Predictor,
    tasks: Sequence[Mapping[str, Any]],
    local_path: Callable[[str, Any], str],
    tags: Tags = (KEYPOINTS, RECTANGLES, IMAGE),
    value: str = IMAGE,
) -> list[dict[str, Any]]:
    """A prediction for each task, as Label Studio takes it.

    Args:
        predictor: predicts the keypoints.
        tasks: as Label Studio gives them.
        local_path: gives the path of a file from its address and the id of its task.
        tags: of the labelling configuration.
        value: the entry of a task's data that is the address of the image.

    Raises:
        HomologError: an image cannot be read.
    """
    categories = {category["id"]: category for category in predictor.categories}
    predictions = []
    for task in tasks:
        number = task.get("id")
        try:
            path = local_path(task["data"][value], number)
        except KeyError:
            raise HomologError(
                f"task {number}: expected data with {value!r}, got {', '.join(task['data'])}"
            ) from None
        annotations, size = predictor.annotations(path, f"task {number}")
        predictions.append(make_prediction(annotations, categories, size, tags))
    return predictions


def backend(
    exemplars: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    max_objects: int | None = None,
    model: str = "embedded",
    device: str | None = None,
) -> type[Any]:
    """A class for the `model.py` of a backend, derived from `LabelStudioMLBase`.

    The exemplars are read once, when the first image is predicted.

    Args:
        exemplars: a file of a few labelled images, in any format that `homolog annotate` takes;
            for example an export of the same project.
        images: the folder of its images, if they are not beside it.
        max_objects: how many objects an image may show; without it an image shows one.
        model: a preset, or the folder of a trained model.
        device: where to compute, such as `cuda`.

    Raises:
        HomologError: label-studio-ml is not installed.
    """
    base: Any = require("label_studio_ml.model", package="label-studio-ml").LabelStudioMLBase

    @functools.cache
    def predictor() -> Any:
        return Predictor(exemplars, images, model=model, device=device, max_objects=max_objects)

    def setup(self: Any) -> None:
        """Set the version that predictions are shown under."""
        self.set("model_version", "homolog")

    def predict(
        self: Any, tasks: Sequence[Mapping[str, Any]], context: Any = None, **_: Any
    ) -> list[dict[str, Any]]:
        """Predict the keypoints of the images of tasks."""
        tags, value = find_tags(self.parsed_label_config, predictor().categories)
        return predict_tasks(
            predictor(), tasks, lambda url, task: self.get_local_path(url, task_id=task),
            tags, value,
        )  # fmt: skip

    return type("HomologModel", (base,), {"setup": setup, "predict": predict})


def find_tags(
    configuration: Mapping[str, Any], categories: Sequence[Mapping[str, Any]]
) -> tuple[Tags, str]:
    """The names of the tags of a project's labelling configuration, and of its image in tasks.

    Args:
        configuration: as `parse_config` of Label Studio's SDK returns it.
        categories: of the exemplars, whose keypoints it has to have.

    Raises:
        HomologError: it lacks keypoints, or has none at all.
    """
    by_type: dict[str, dict[str, Any]] = {"KeyPointLabels": {}, "RectangleLabels": {}}
    for name, tag in configuration.items():
        if tag["type"] in by_type and any(each["type"] == "Image" for each in tag["inputs"]):
            by_type[tag["type"]].setdefault(name, tag)
    names = [str(name) for category in categories for name in category["keypoints"]]
    for name, tag in by_type["KeyPointLabels"].items():
        missing = [each for each in dict.fromkeys(names) if each not in tag["labels"]]
        if missing:
            raise HomologError(
                f"label config: expected KeyPointLabels with {', '.join(missing)}, got "
                f"{', '.join(tag['labels'])}"
            )
        image = tag["to_name"][0]
        rectangles = by_type["RectangleLabels"].items()
        around = (box for box, other in rectangles if image in other["to_name"])
        return (name, next(around, None), image), tag["inputs"][0]["value"]
    raise HomologError("label config: expected KeyPointLabels of an Image, got none")
