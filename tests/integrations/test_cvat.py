"""The functions for CVAT, run by the SDK's own driver and by the command line's own loaders."""

from __future__ import annotations

import argparse
import logging
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image

from homolog import HomologError
from homolog.applications.point_tracker import Tracker
from homolog.integrations import cvat, cvat_tracking

aa = pytest.importorskip("cvat_sdk.auto_annotation")
driver = pytest.importorskip("cvat_sdk.auto_annotation.driver")
models = pytest.importorskip("cvat_sdk.models")
common = pytest.importorskip("cvat_cli._internal.common")
agent = pytest.importorskip("cvat_cli._internal.agent_driver_tracking")


def context(**changes):
    return driver._DetectionFunctionContextImpl(frame_name="a.jpg", **changes)


def task_labels(spec, shift):
    """The labels of a task, with the names of a function but other ids."""
    return [
        SimpleNamespace(
            id=label.id + shift,
            name=label.name,
            type="skeleton",
            attributes=[],
            sublabels=[
                SimpleNamespace(id=each.id + 2 * shift, name=each.name, attributes=[])
                for each in label.sublabels
            ],
        )
        for label in spec.labels
    ]


def annotate(monkeypatch, function, images, **options):
    """What the driver uploads to a task of these images."""
    samples = [
        SimpleNamespace(
            frame_index=number + 3,
            frame_name=f"{number}.jpg",
            media=SimpleNamespace(load_image=lambda image=image: image),
        )
        for number, image in enumerate(images)
    ]
    dataset = SimpleNamespace(labels=task_labels(function.spec, 100), samples=samples)
    monkeypatch.setattr(driver, "TaskDataset", lambda *_, **__: dataset)
    client = MagicMock(logger=logging.getLogger("cvat"))
    aa.annotate_task(client, 7, function, **options)
    sent = client.tasks.api.partial_update_annotations.call_args
    return sent.kwargs["patched_labeled_data_request"].shapes


def test_the_driver_takes_the_skeletons_of_several_objects(monkeypatch, tray_predictor, animals):
    function = cvat.SkeletonDetector(tray_predictor, point_threshold=0.0)
    shapes = annotate(monkeypatch, function, [animals.tray])
    assert len(shapes) == 2
    left = min(shapes, key=lambda shape: shape.elements[0].points[0])
    assert (left.type.value, left.label_id, left.frame, left.source) == ("skeleton", 100, 3, "auto")
    assert [each.label_id - 200 for each in left.elements] == list(range(len(animals.names)))
    shown = [not each.outside for each in left.elements] & animals.visible
    assert shown.sum() >= 0.7 * animals.visible.sum()
    points = np.array([each.points for each in left.elements])
    errors = np.linalg.norm(points - animals.halved[0], axis=1)
    assert np.median(errors[shown]) < 12


def test_nothing_like_an_exemplar_is_no_skeleton(tray_predictor):
    function = cvat.SkeletonDetector(tray_predictor)
    assert function.detect(context(), Image.new("RGB", (300, 200), "grey")) == []


def test_names_are_those_of_the_exemplars(predictor, animals):
    (label,) = cvat.SkeletonDetector(predictor).spec.labels
    assert (label.name, label.type) == ("animal", "skeleton")
    assert [each.name for each in label.sublabels] == list(animals.names)


def test_objects_below_the_threshold_of_confidence_are_left_out(predictor, animals):
    function = cvat.SkeletonDetector(predictor)
    (found,) = predictor.predict(animals.images[1])
    for least, count in ((None, 1), (found.score - 0.01, 1), (found.score + 0.01, 0)):
        assert len(function.detect(context(conf_threshold=least), animals.images[1])) == count


def test_doubtful_keypoints_are_outside_and_have_a_position_all_the_same(predictor, animals):
    (found,) = predictor.predict(animals.images[1])
    least = float(np.median(found.scores))
    (shape,) = cvat.SkeletonDetector(predictor, least).detect(context(), animals.images[1])
    outside = np.array([each.outside for each in shape.elements])
    np.testing.assert_array_equal(outside, ~found.found | (found.scores < least))
    assert outside.any() and not outside.all()
    assert np.isfinite([each.points for each in shape.elements]).all()


def test_occluded_keypoints_are_occluded(predictor, animals, monkeypatch):
    (found,) = predictor.predict(animals.images[1])
    found.occluded[3] = True
    monkeypatch.setattr(predictor, "predict", lambda *_: [found])
    (shape,) = cvat.SkeletonDetector(predictor).detect(context(), animals.images[1])
    assert [bool(each.occluded) for each in shape.elements] == found.occluded.tolist()


def test_cvat_cli_makes_the_function_from_its_parameters(monkeypatch, predictor, animals):
    made = []
    monkeypatch.setattr(
        cvat, "Predictor", lambda *given, **more: (made.append((given, more)), predictor)[1]
    )
    parser = argparse.ArgumentParser()
    parser.set_defaults(_executor=None)
    common.configure_function_implementation_arguments(parser)
    given = parser.parse_args(
        (
            f"--function-module homolog.integrations.cvat -p exemplars=str:{animals.few} "
            "-p max_objects=int:3 -p point_threshold=float:0.4"
        ).split()
    )
    loader = common.FunctionLoader(given.function_module, None, given.function_parameters)
    function = loader.load()
    assert isinstance(function.spec, aa.DetectionFunctionSpec)
    assert function._point_threshold == 0.4
    ((positions, options),) = made
    assert positions == (str(animals.few), None)
    assert options == {"model": "embedded", "device": None, "max_objects": 3}


def test_parameters_that_cannot_be_used(animals):
    with pytest.raises(HomologError, match=r"^point_threshold: expected a probability .* got 2"):
        cvat.create(str(animals.few), point_threshold=2.0)


# Tracking


@pytest.fixture(scope="module")
def shape_tracker():
    return cvat_tracking.create()


def moved(image, shift):
    frame = Image.new("RGB", image.size, "white")
    frame.paste(image, shift)
    return frame


def run_agent(monkeypatch, function, frames, shapes):
    """The shapes that an agent's worker returns for each frame after the first."""
    monkeypatch.setattr(agent, "worker_current_function", lambda: function)
    ids = iter(map(str, range(10)))
    agent.AgentTrackingFunctionDriver.init_worker(lambda: next(ids))
    states = agent._worker_job_init_tracking(1, frames[0], shapes)
    return [agent._worker_job_track(1, frame, states) for frame in frames[1:]]


def test_an_agent_follows_points_and_rectangles(monkeypatch, shape_tracker, animals):
    frames = [moved(animals.images[0], (8 * k, 4 * k)) for k in range(3)]
    points = animals.keypoints[0][animals.visible][:6]
    shapes = [
        aa.TrackableShape(type="polyline", points=points.flatten().tolist()),
        aa.TrackableShape(type="rectangle", points=[100.0, 80.0, 500.0, 440.0]),
    ]
    found = run_agent(monkeypatch, shape_tracker, frames, shapes)
    for k, (line, rectangle) in enumerate(found, start=1):
        assert (line.type, rectangle.type) == ("polyline", "rectangle")
        shifts = np.reshape(line.points, (-1, 2)) - points
        assert np.abs(np.median(shifts, axis=0) - (8 * k, 4 * k)).max() < 6
        shifts = np.reshape(rectangle.points, (2, 2)) - [[100, 80], [500, 440]]
        assert np.abs(shifts - (8 * k, 4 * k)).max() < 12


def test_the_agent_reports_what_is_tracked(shape_tracker):
    fields = agent.AgentTrackingFunctionDriver.get_remote_function_fields(shape_tracker.spec)
    assert fields == {"supported_shape_types": ["points", "polygon", "polyline", "rectangle"]}


def test_shapes_out_of_sight_are_none(monkeypatch, shape_tracker, animals):
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    frames = [animals.images[0], Image.fromarray(noise)]
    points = animals.keypoints[0][animals.visible][:4]
    shapes = [
        aa.TrackableShape(type="points", points=points.flatten().tolist()),
        aa.TrackableShape(type="rectangle", points=[100.0, 80.0, 500.0, 440.0]),
    ]
    assert run_agent(monkeypatch, shape_tracker, frames, shapes) == [[None, None]]


def test_points_beyond_the_border_are_taken_to_it(shape_tracker, animals):
    features = shape_tracker.preprocess_image(None, animals.images[0])
    shape = aa.TrackableShape(type="points", points=[-3.0, 10.0, 700.0, 20.0])
    state = shape_tracker.init_tracking_state(None, features, shape)
    assert isinstance(state, Tracker)
    np.testing.assert_array_equal(state.points, [[0, 10], [640, 20]])
