"""Calls the library with values of every kind; prints the calls that fail otherwise than they may.

In a process of its own, where no checker of annotations comes first.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from homolog import HomologError, KeypointSchema, Matcher, PoseVariant
from homolog import model as module


class Anything:
    pass


points = torch.tensor([[5, 5], [2, 3], [4, 4]])
image = torch.rand(3, 20, 20)
VALUES: dict[str, Any] = {
    "nothing": None, "a text": "abc", "an empty text": "", "bytes": b"abc", "a number": 3,
    "a negative number": -1, "a fraction": 0.9, "NaN": float("nan"), "infinity": float("inf"),
    "true": True, "a complex number": 1j, "a huge number": 10**400, "an empty list": [],
    "a list of nothing": [None], "a list of texts": ["a"], "three numbers": [1, 2, 3],
    "four numbers": [1, 2, 3, 4], "a list of three": [[1, 2, 3]], "unequal rows": [[1], [1, 2]],
    "a superscript": ["²", "0", "1"], "a mapping": {"a": 1}, "a set": {1, 2},
    "an object": Anything(),
    "a number of no dimension": np.array(3.0),
    "objects": np.array([[None, 1], [2, 3]], dtype=object),
    "complex numbers": np.ones((3, 2), complex), "texts": np.array([["a", "b"]]),
    "masked": np.ma.masked_array(np.ones((3, 2)), mask=[[1, 0], [0, 0], [0, 0]]),
    "no points": np.zeros((0, 2)), "three dimensions": np.zeros((2, 2, 2)),
    "points of NaN": [[float("nan"), 1.0]], "booleans": [[True, False]],
    "a date": np.array(["2020-01-01"], "M8"),
    "records": np.zeros(2, dtype=[("a", float)]), "a function": abs, "a class": int,
    "a file that is not there": Path("missing"), "a long text": "x" * 5000, "a zero byte": "a\0b",
    "a tensor of no dimension": torch.tensor(3.0), "bfloat16": points.bfloat16(),
    "float16": points.half(), "int8": points.to(torch.int8), "bool": points > 2,
    "complex": points.to(torch.complex64), "with a gradient": points.float().requires_grad_(),
    "sparse": torch.eye(2).to_sparse(), "meta": torch.ones(3, 2, device="meta"),
    "an image of bfloat16": image.bfloat16(), "of float8": image.to(torch.float8_e4m3fn),
    "of int8": image.to(torch.int8), "of int64": (255 * image).long(), "of bool": image > 0.5,
    "of objects": np.ones((20, 20, 3), object), "of complex numbers": np.ones((20, 20, 3), complex),
    "of big-endian numbers": np.ones((20, 20, 3), ">u2"), "empty": np.zeros((0, 5, 3), np.uint8),
    "of five channels": np.ones((20, 20, 5), np.uint8),
    "a batch": np.ones((1, 20, 20, 3), np.uint8),
    "masked pixels": np.ma.masked_array(np.ones((20, 20, 3), np.uint8), mask=True),
    "a Pillow image of floats": Image.new("F", (5, 5)), "without pixels": Image.new("RGB", (0, 5)),
}  # fmt: skip


def calls(matcher: Matcher) -> dict[str, Callable[[Any], Any]]:
    """The calls, by their name."""
    source = matcher.extract(np.zeros((60, 80, 3), np.uint8))
    target = matcher.extract(np.ones((50, 40, 3), np.uint8))
    places = [[5, 5], [20, 30], [40, 10]]
    schema = KeypointSchema.from_names(["nose", "left_eye", "right_eye"])
    pair, named = matcher.pair(source, target), matcher.pair(source, target, schema=schema)
    flow, heatmap = pair.flow(), pair.heatmap(places)
    two = {"keypoints": ["a", "b"]}
    found: dict[str, Callable[[Any], Any]] = {
        "transfer": pair.transfer, "point_ids": lambda v: named.transfer(places, v),
        "transfer_points": pair.transfer_points, "similarity": pair.similarity,
        "heatmap": pair.heatmap, "match": pair.match, "flow": pair.flow,
        "distance": pair.distance, "reversed": pair.reversed, "consensus": pair.consensus,
        "source_map": pair.source_map, "load_image": matcher.load_image,
        "load_regions": lambda v: matcher.load_regions(source, v), "sides": matcher.load_image,
        "preprocess": lambda v: matcher.preprocess(source, v), "with_cache": matcher.with_cache,
        "descriptor_map": lambda v: matcher.descriptor_map(source, v),
        "flow.at": flow.forward.at, "flow.dense": flow.forward.dense,
        "flow.confidence": flow.forward.confidence, "flow.smoothed": flow.forward.smoothed,
        "probability": heatmap.probability, "from_names": KeypointSchema.from_names,
        "from_pairs, names": lambda v: KeypointSchema.from_pairs(v, []),
        "from_pairs, pairs": lambda v: KeypointSchema.from_pairs(["a", "b"], v),
        "with_sides": schema.with_sides, "coco": KeypointSchema.coco, "load": KeypointSchema.load,
        "keypoints": lambda v: KeypointSchema.coco({"keypoints": v}),
        "flip_indices": lambda v: KeypointSchema.coco({**two, "flip_indices": v}),
        "flip_pairs": lambda v: KeypointSchema.coco({**two, "flip_pairs": v}),
        "spair": KeypointSchema.spair, "numbered": KeypointSchema.numbered,
        "names": lambda v: KeypointSchema(v, (0, 1)),
        "mirror": lambda v: KeypointSchema(("a", "b"), v),
        "groups": lambda v: KeypointSchema(("a", "b"), (0, 1), v),
        "flip of a pose": PoseVariant, "rotation": lambda v: PoseVariant(rotation=v),
        "parse": PoseVariant.parse,
        "extract, box": lambda v: matcher.extract([source, target], box=v),
        "extract, mask": lambda v: matcher.extract([source, target], mask=v),
        "extract, poses": lambda v: matcher.extract(source, v),
        "extract, category": lambda v: matcher.load_image(Image.new("RGB", (9, 9)), "image", v),
    }  # fmt: skip
    for name in ("poses", "mask0", "box1", "zoom", "mirror", "refine", "quality", "schema"):
        found[f"pair, {name}"] = lambda v, name=name: matcher.pair(source, target, **{name: v})
    for name in (
        "window",
        "temperature",
        "same_category_threshold",
        "fusion",
        "consensus",
        "sides",
        "similarity",
        "suppression_sigma",
        "coordinates",
    ):
        found[f"with_config, {name}"] = lambda v, name=name: matcher.with_config(**{name: v})
    for name in ("name", "device", "max_pixels", "weights", "prompt", "cache"):
        found[f"from_pretrained, {name}"] = lambda v, name=name: Matcher.from_pretrained(
            **{name: v}
        )
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    matcher = Matcher.from_pretrained("embedded", device="cpu")
    # What is loaded does not matter here, only what is refused.
    module.backbones.create = lambda *_: matcher.backbone
    module.load_bundled = lambda *_: matcher.side_head
    for name, call in calls(matcher).items():
        for kind, value in VALUES.items():
            try:
                call(value)
            except HomologError as error:
                if "\n" in str(error) or len(str(error)) > 1000:
                    print(f"{name}: {kind}: more than a line: {error}")
            except Exception as error:
                print(f"{name}: {kind}: {type(error).__name__}: {error}")
    print("done", len(VALUES), file=sys.stderr)


if __name__ == "__main__":
    main()
