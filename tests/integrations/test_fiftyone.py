"""FiftyOne: the model of its zoo, with the documented types, and with FiftyOne itself."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from homolog import HomologError
from homolog.integrations import fiftyone as integration


@pytest.fixture
def fiftyone(monkeypatch, tmp_path):
    """The documented parts of FiftyOne that are used, in its place."""

    @dataclass
    class Labels:
        label: str | None = None
        points: list | None = None
        confidence: list | None = None
        keypoints: list | None = None
        labels: list | None = None
        edges: list | None = None

    package = ModuleType("fiftyone")
    package.Keypoint = package.Keypoints = package.KeypointSkeleton = Labels
    package.config = type("Config", (), {"model_zoo_dir": str(tmp_path / "zoo")})
    models = ModuleType("fiftyone.core.models")
    models.Model = type("Model", (), {})
    for name, module in (
        ("fiftyone", package),
        ("fiftyone.core", ModuleType("fiftyone.core")),
        ("fiftyone.core.models", models),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return package


def test_keypoints_are_relative_and_missing_ones_are_nan(fiftyone, predictor, animals):
    model = integration.keypoint_model(predictor)
    (found,) = predictor.predict(animals.images[1])
    found.points[3] = np.nan
    image = np.asarray(animals.images[1])
    (keypoint,) = model.predict(image).keypoints
    expected = found.points / (image.shape[1], image.shape[0])
    seen = np.isfinite(expected[:, 0])
    points = np.array(keypoint.points)
    assert keypoint.label == "animal" and len(points) == len(animals.names)
    np.testing.assert_allclose(points[seen], expected[seen])
    assert points[seen].min() >= 0 and points[seen].max() <= 1
    np.testing.assert_allclose(keypoint.confidence, found.scores)
    assert model.media_type == "image" and model.transforms is None


def test_the_skeleton_is_that_of_the_exemplars(fiftyone, predictor, animals):
    model = integration.keypoint_model(predictor)
    assert model.skeleton.labels == list(animals.names)
    assert model.skeleton.edges == [[0, 1], [1, 2]]
    assert list(model.skeletons) == ["animal"]


def test_the_model_is_put_where_the_zoo_is(fiftyone, tmp_path):
    folder = integration.install_zoo_model()
    assert folder == tmp_path / "zoo" / "homolog_keypoints"
    assert sorted(each.name for each in folder.iterdir()) == ["__init__.py", "manifest.json"]
    (model,) = json.loads((folder / "manifest.json").read_text())["models"]
    assert model["base_name"] == integration.MODEL_NAME
    integration.download_model("homolog", str(folder / model["base_filename"]))
    assert (folder / "homolog.json").is_file()
    other = integration.install_zoo_model(tmp_path / "other")
    assert other == tmp_path / "other" / "homolog_keypoints"


def test_load_model_takes_what_the_zoo_passes_on(fiftyone, monkeypatch, predictor):
    given = []
    monkeypatch.setattr(
        integration, "Predictor", lambda *some, **more: given.append((some, more)) or predictor
    )
    integration.load_model("homolog", "m.json", exemplars="few.json", max_objects=3, ensure=True)
    assert given == [(("few.json", None), {"model": "embedded", "device": None, "max_objects": 3})]


def test_without_fiftyone(predictor, monkeypatch):
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(HomologError, match="fiftyone: expected it to be installed"):
        integration.keypoint_model(predictor)


def test_the_source_of_the_zoo_comes_with_the_package():
    source = resources.files("homolog.integrations.fiftyone_zoo")
    assert source.joinpath("manifest.json").is_file()


REAL = """
import sys
sys.path += sys.argv[4:]
import fiftyone as fo, fiftyone.core.models as fom, fiftyone.zoo as foz
import numpy as np
from PIL import Image
from homolog.integrations.fiftyone import install_zoo_model
install_zoo_model()
model = foz.load_zoo_model("homolog", exemplars=sys.argv[1])
assert isinstance(model, fom.Model) and isinstance(model.skeleton, fo.KeypointSkeleton)
model.skeleton.validate()
found = model.predict(np.asarray(Image.open(sys.argv[2])))
assert isinstance(found, fo.Keypoints)
again = fo.Keypoints.from_dict(found.to_dict())
with open(sys.argv[3], "w") as file:
    file.write(again.to_json())
"""


@pytest.mark.slow
def test_fiftyone_itself_loads_the_model_and_takes_its_keypoints(animals, predictor, tmp_path):
    """Without a data set, which needs MongoDB."""
    found = shutil.which("fiftyone")
    python = Path(sys.executable) if found is None else Path(found).parent / "python"
    if found is None:
        # FiftyOne needs other versions of some libraries.
        venv.create(tmp_path / "environment", with_pip=True)
        python = tmp_path / "environment" / "bin" / "python"
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "fiftyone"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"FiftyOne cannot be installed here: {done.stderr.strip()[-200:]}")
    animals.images[1].save(tmp_path / "husky.png")
    out = tmp_path / "keypoints.json"
    source = Path(integration.__file__).parents[2]
    environment = os.environ | {
        "FIFTYONE_MODEL_ZOO_DIR": str(tmp_path / "zoo"),
        "FIFTYONE_DO_NOT_TRACK": "1",
    }
    done = subprocess.run(
        [
            *(python, "-c", REAL, animals.few, tmp_path / "husky.png", out),
            *(source, *site.getsitepackages()),
        ],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (keypoint,) = json.loads(out.read_text())["keypoints"]
    (expected,) = predictor.predict(animals.images[1])
    points = np.array(
        [[np.nan if isinstance(v, dict) else v for v in point] for point in keypoint["points"]],
        dtype=float,
    )
    np.testing.assert_allclose(points * (640, 480), expected.points, atol=1e-3)
    np.testing.assert_allclose(keypoint["confidence"], expected.scores)
