"""Label Studio: what a backend returns, and Label Studio itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import venv
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from homolog import HomologError
from homolog.data.label_files import read
from homolog.data.labels import is_manual
from homolog.integrations import label_studio
from homolog.integrations.label_studio import find_tags, labelling_configuration, predict_tasks

CATEGORIES = [{"name": "bee", "keypoints": ["head", "tail"]}]


def parsed(configuration):
    """What `parse_config` of Label Studio's SDK returns for a configuration."""
    root = ElementTree.fromstring(configuration)
    images = {tag.get("name"): tag.get("value").removeprefix("$") for tag in root.iter("Image")}
    found = {}
    for tag in root:
        if tag.get("toName"):
            found[tag.get("name")] = {
                "type": tag.tag,
                "to_name": [tag.get("toName")],
                "inputs": [{"type": "Image", "value": images[tag.get("toName")]}],
                "labels": [each.get("value") for each in tag.iter("Label")],
            }
    return found


def check_regions(regions, animals, size):
    """That regions are those of the husky: one rectangle, and keypoints near the truth."""
    (box,) = (each for each in regions if each["type"] == "rectanglelabels")
    points = {
        each["value"]["keypointlabels"][0]: each
        for each in regions
        if each["type"] == "keypointlabels"
    }
    assert {each["parentID"] for each in points.values()} == {box["id"]}
    errors = [
        np.hypot(
            points[name]["value"]["x"] * size[0] / 100 - x,
            points[name]["value"]["y"] * size[1] / 100 - y,
        )
        for name, (x, y), seen in zip(
            animals.names, animals.keypoints[1], animals.visible, strict=True
        )
        if seen and name in points
    ]
    assert len(errors) >= 0.7 * animals.visible.sum() and np.median(errors) < 40
    assert all(0 <= each["score"] <= 1 for each in points.values())
    assert not any("origin" in each for each in points.values())


def test_tasks_are_predicted_in_percent(predictor, animals):
    path = animals.folder / "husky.png"
    animals.images[1].save(path)
    asked = []

    def local_path(url, task):
        asked.append((url, task))
        return str(path)

    tasks = [{"id": 5, "data": {"photo": "/data/upload/1/0a1b2c3d-husky.png"}}]
    tags = ("parts", "animal", "img")
    (prediction,) = predict_tasks(predictor, tasks, local_path, tags, "photo")
    assert asked == [("/data/upload/1/0a1b2c3d-husky.png", 5)]
    assert prediction["model_version"] == "homolog" and 0 < prediction["score"] <= 1
    names = {(each["from_name"], each["to_name"]) for each in prediction["result"]}
    assert names == {("parts", "img"), ("animal", "img")}
    check_regions(prediction["result"], animals, animals.images[1].size)
    with pytest.raises(HomologError, match=r"^task 5: expected data with 'image', got photo$"):
        predict_tasks(predictor, tasks, local_path)


def test_a_backend_is_a_class_of_label_studio_ml(monkeypatch, predictor, animals):
    class LabelStudioMLBase:
        """The documented parts of label-studio-ml's class."""

        def __init__(self, project_id=None, label_config=None):
            self.values = {}
            self.parsed_label_config = parsed(label_config)
            self.setup()

        def set(self, key, value):
            self.values[key] = value

        def get_local_path(self, url, task_id=None):
            return str(animals.folder / url)

    package, module = ModuleType("label_studio_ml"), ModuleType("label_studio_ml.model")
    module.LabelStudioMLBase = LabelStudioMLBase
    monkeypatch.setitem(sys.modules, "label_studio_ml", package)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", module)
    read_once = []
    monkeypatch.setattr(
        label_studio, "Predictor", lambda *given, **more: read_once.append(given) or predictor
    )
    new_model = label_studio.backend(str(animals.few))
    assert read_once == [] and issubclass(new_model, LabelStudioMLBase)
    model = new_model(label_config=labelling_configuration(predictor.categories))
    assert model.values == {"model_version": "homolog"}
    animals.images[1].save(animals.folder / "husky.png")
    for _ in range(2):
        (prediction,) = model.predict([{"id": 1, "data": {"image": "husky.png"}}], context=None)
        check_regions(prediction["result"], animals, animals.images[1].size)
    assert read_once == [(str(animals.few), None)]


def test_without_label_studio_ml():
    if "label_studio_ml" in sys.modules:
        pytest.skip("label-studio-ml is installed")
    with pytest.raises(HomologError, match="try: pip install label-studio-ml"):
        label_studio.backend("few.json")


def test_tags_are_those_of_the_project():
    assert find_tags(parsed(labelling_configuration(CATEGORIES)), CATEGORIES) == (
        ("keypoint", "object", "image"),
        "image",
    )
    alone = """<View><Image name="i" value="$photo"/>
        <KeyPointLabels name="k" toName="i"><Label value="tail"/><Label value="head"/>
        </KeyPointLabels></View>"""
    assert find_tags(parsed(alone), CATEGORIES) == (("k", None, "i"), "photo")


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (
            "<View><Image name='i' value='$i'/></View>",
            "expected KeyPointLabels of an Image, got none",
        ),
        (
            "<View><Image name='i' value='$i'/><KeyPointLabels name='k' toName='i'>"
            "<Label value='head'/></KeyPointLabels></View>",
            "expected KeyPointLabels with tail, got head",
        ),
    ],
)
def test_configurations_without_the_keypoints(configuration, message):
    with pytest.raises(HomologError, match=f"^label config: {message}$"):
        find_tags(parsed(configuration), CATEGORIES)


def test_names_are_escaped_in_configurations():
    (label, *_) = ElementTree.fromstring(
        labelling_configuration([{"name": 'a & "b"', "keypoints": ["<x>"]}])
    ).iter("Label")
    assert label.get("value") == 'a & "b"'


# Label Studio itself


class Server:
    """Label Studio with a database of its own, and its API."""

    token = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self, program: Path, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = os.environ | {
            "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
            "COLLECT_ANALYTICS": "False",
            "LATEST_VERSION_CHECK": "0",
        }
        arguments = [
            *("start", "--init", "--no-browser", "--enable-legacy-api-token"),
            *("--internal-host", "127.0.0.1", "--port", str(self.port)),
            *("--data-dir", str(folder), "--username", "me@example.org"),
            *("--password", "some password", "--user-token", self.token),
        ]
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen(
            [program, *arguments], env=environment, stdout=self._log, stderr=self._log, cwd=folder
        )

    def wait(self, seconds: float = 400) -> None:
        """Until it answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self.call("GET", "/api/projects")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(1)
        log = Path(self._log.name).read_text()[-2000:]
        pytest.fail(f"Label Studio did not start: {log}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def call(self, method, path, data=None, kind="application/json"):
        """What the API answers: bytes of images, or JSON."""
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body,
            {"Authorization": f"Token {self.token}", "Content-Type": kind}, method=method,
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
            is_json = "json" in answer.headers["Content-Type"]
        return json.loads(content) if is_json else content

    def upload(self, project: int, image: Path) -> None:
        """Import an image as a task."""
        mark = uuid.uuid4().hex
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{image.name}"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = head.encode() + image.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        self.call("POST", f"/api/projects/{project}/import", body, kind)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The installed Label Studio, or one in an environment of its own: its libraries are others."""
    found = shutil.which("label-studio")
    if found is None:
        home = tmp_path_factory.mktemp("environment")
        venv.create(home, with_pip=True)
        done = subprocess.run(
            [home / "bin" / "pip", "install", "--quiet", "label-studio"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"Label Studio cannot be installed here: {done.stderr.strip()[-200:]}")
        found = str(home / "bin" / "label-studio")
    running = Server(Path(found), tmp_path_factory.mktemp("label-studio"))
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.mark.slow
def test_label_studio_takes_predictions_and_gives_back_annotations(
    server, predictor, animals, tmp_path
):
    project = server.call(
        "POST", "/api/projects",
        {"title": "animals", "label_config": labelling_configuration(predictor.categories)},
    )["id"]  # fmt: skip
    animals.images[1].save(tmp_path / "husky.png")
    server.upload(project, tmp_path / "husky.png")
    (task,) = server.call("GET", f"/api/tasks?project={project}")["tasks"]
    address = task["data"]["image"]
    assert address.endswith("-husky.png")

    def local_path(url, number):
        assert number == task["id"]
        (tmp_path / "copy.png").write_bytes(server.call("GET", url))
        return str(tmp_path / "copy.png")

    (prediction,) = predict_tasks(predictor, [task], local_path)
    server.call("POST", "/api/predictions", {"task": task["id"], **prediction})
    # As the API gives it back, unseen by anybody.
    content = server.call("GET", f"/api/tasks?project={project}&fields=all")
    (tmp_path / "tasks.json").write_text(json.dumps(content))
    found = read(tmp_path / "tasks.json")
    (annotation,) = found.document["annotations"]
    assert found.path(annotation["image_id"]) == tmp_path / "husky.png" and found.notes == ()
    assert not is_manual(annotation)
    (expected,) = predictor.predict(animals.images[1])
    names = found.document["categories"][0]["keypoints"]
    rows = dict(zip(names, np.reshape(annotation["keypoints"], (-1, 3)), strict=True))
    for name, point, seen in zip(expected.names, expected.points, expected.found, strict=True):
        if seen:
            np.testing.assert_allclose(rows[name][:2], point, atol=0.01)
    # A person moves a keypoint, submits, and exports.
    regions = [{**each, "origin": "prediction"} for each in prediction["result"]]
    moved = next(each for each in regions if each["type"] == "keypointlabels")
    moved["value"] |= {"x": 50.0, "y": 25.0}
    moved["origin"] = "prediction-changed"
    server.call("POST", f"/api/tasks/{task['id']}/annotations", {"result": regions})
    exported = server.call("GET", f"/api/projects/{project}/export?exportType=JSON")
    (tmp_path / "export.json").write_text(json.dumps(exported))
    after = read(tmp_path / "export.json")
    (annotation,) = after.document["annotations"]
    assert is_manual(annotation) and annotation["category_id"] == 1
    place = after.document["categories"][0]["keypoints"].index(moved["value"]["keypointlabels"][0])
    assert annotation["keypoints"][3 * place :][:2] == [320, 120]
    assert SimpleNamespace(**after.document["images"][0]).url == address
