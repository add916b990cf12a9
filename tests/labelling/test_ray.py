"""A folder annotated by worker processes, one of which is killed."""

import os
import signal
import sys
from functools import partial

import pytest
import ray
from helpers import crowds, toy_annotate
from helpers.toy_training import toy_data, toy_matcher

from homolog.data.boxes import read_boxes
from homolog.data.exemplars import read
from homolog.image.poses import IDENTITY
from homolog.labelling.annotator import AnnotateConfig
from homolog.labelling.propagate import annotate
from homolog.labelling.ray import ray_executor


@pytest.fixture
def folder(tmp_path):
    toy_data(tmp_path / "images", 6)
    return tmp_path / "images"


@pytest.fixture
def exemplars(tmp_path):
    return toy_annotate.exemplars(tmp_path / "exemplars")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One for all tests here, as `ray_executor` starts it; its workers find the tests' modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        yield
    ray.shutdown()


def test_two_workers_one_of_which_is_killed(folder, exemplars, tmp_path):
    """Ray makes the same file as one process, though a worker dies on the way."""
    (folder / "broken.png").write_bytes(b"not an image")
    expected = annotate(toy_matcher(), exemplars, folder, tmp_path / "labels.json")
    local = (tmp_path / "labels.json").read_bytes()
    (tmp_path / "pids").mkdir()
    make = partial(toy_annotate.slow_matcher, tmp_path / "pids")
    executor = ray_executor(make, exemplars, AnnotateConfig(), num_workers=2)
    killed = []

    def watched(files, name_of):
        for record in executor(files, name_of):
            pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
            if not killed and len(pids) == 2:
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])
            yield record

    out = tmp_path / "ray.json"
    summary = annotate(toy_matcher(), exemplars, folder, out, executor=watched)
    assert killed and summary == expected
    assert out.read_bytes() == local
    assert len(list((tmp_path / "pids").iterdir())) >= 3  # another one took its place


def test_objects_in_boxes(tmp_path):
    """Workers get the boxes, and label each object as one process does."""
    known = read(crowds.make_crowds(tmp_path / "known", (1,)))
    targets = crowds.make_crowds(tmp_path, (2, 1))
    boxes = read_boxes(targets, tmp_path / "images")
    config = AnnotateConfig(poses=(IDENTITY,))
    arguments = toy_matcher(), known, tmp_path / "images"
    annotate(*arguments, tmp_path / "local.json", config=config, boxes=boxes)
    executor = ray_executor(toy_matcher, known, config, num_workers=1, boxes=boxes)
    annotate(*arguments, tmp_path / "ray.json", config=config, boxes=boxes, executor=executor)
    assert (tmp_path / "ray.json").read_bytes() == (tmp_path / "local.json").read_bytes()
