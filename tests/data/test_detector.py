"""Boxes of a detector from transformers, written as COCO results and read."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from helpers.foundation import save_detector
from helpers.toys import random_image

from homolog.data.boxes import read_boxes


def test_results_of_a_detector_are_read(tmp_path):
    """As the documentation does it, with a small random model."""
    processor = transformers.AutoImageProcessor.from_pretrained(save_detector(tmp_path / "model"))
    detector = transformers.AutoModelForObjectDetection.from_pretrained(tmp_path / "model").eval()
    (tmp_path / "images").mkdir()
    results, expected = [], {}
    for name, size in (("a.png", (120, 80)), ("b.png", (64, 200))):
        image = random_image(*size, seed=size[0])
        image.save(tmp_path / "images" / name)
        with torch.inference_mode():
            output = detector(**processor(images=image, return_tensors="pt"))
        (found,) = processor.post_process_object_detection(
            output, threshold=0.5, target_sizes=[size[::-1]]
        )
        expected[name] = found
        for score, label, (x0, y0, x1, y1) in zip(
            *(found[key].tolist() for key in ("scores", "labels", "boxes")), strict=True
        ):
            results.append(
                {
                    "image_id": name, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score,
                    "category_id": label, "category_name": detector.config.id2label[label],
                }
            )  # fmt: skip
    (tmp_path / "boxes.json").write_text(json.dumps(results))
    boxes = read_boxes(tmp_path / "boxes.json", tmp_path / "images")
    assert not boxes.problems and boxes.count == 8
    for name, found in expected.items():
        read = boxes.of(tmp_path / "images" / name)
        assert [each.score for each in read] == pytest.approx(found["scores"].tolist())
        assert min(each.score for each in read) > 0.5
        assert {each.category for each in read} <= {"cat", "dog"}
        for each, (x0, y0, x1, y1) in zip(read, found["boxes"].tolist(), strict=True):
            assert each.box == pytest.approx((x0, y0, x1 - x0, y1 - y0), abs=1e-3)
