"""The server behind the page: what it answers, and all that it refuses."""

import dataclasses
import io
import json
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from helpers.toys import ColourBackbone, random_picture
from PIL import Image

from homolog import HomologError, Matcher, cli, matching
from homolog.data.labels import Labels
from homolog.example import pair
from homolog.features import FusionConfig
from homolog.image.geometry import POSE_SETS
from homolog.matching.consensus import Consensus
from homolog.pair import Side
from homolog.presets import embedded_zero_shot
from homolog.serve import Options, create_app
from homolog.serve.uploads import readable

HOME = "http://127.0.0.1"


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory) -> Iterator[Path]:
    """A temp folder of these tests alone: what other programs have in theirs is not looked at."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


def client(matcher: Matcher, **options) -> TestClient:
    return TestClient(create_app(matcher, Options(**options)), base_url=HOME)


@pytest.fixture(scope="module")
def page(matcher):
    with client(matcher) as found:
        yield found


@pytest.fixture(scope="module")
def plain():
    """The same with a matcher that takes no time."""
    fusion = FusionConfig(groups=((0,), (1,)), weights=(1.0, 1.0))
    config = dataclasses.replace(embedded_zero_shot(), backbone="colour", fusion=fusion)
    with client(Matcher(ColourBackbone(), config)) as found:
        yield found


@pytest.fixture(scope="module")
def ids(page) -> list[str]:
    return page.get("/api/start").json()["example"]


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def send(page: TestClient, content: bytes, name: str = "a.png", **more):
    return page.post("/api/pictures", params={"name": name}, content=content, **more)


def unpacked(content: bytes):
    """What heat.js makes of a pair."""
    (length,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + length])
    at, arrays = 4 + length, []
    for about in header["arrays"]:
        arrays.append(np.frombuffer(content, about["type"], about["length"], at))
        at += -(-arrays[-1].nbytes // 4) * 4
    assert at == len(content)
    sides = []
    for number, side in enumerate(header["sides"]):
        values, scale, allowed = arrays[3 * number : 3 * number + 3]
        shape = tuple(side["grid"])
        factor = values.reshape(*shape, side["channels"]) * scale
        sides.append((side, torch.from_numpy(factor), allowed.reshape(shape).astype(bool)))
    return header, sides, arrays[6:]


class TestPair:
    def test_a_pair_from_upload_to_answer(self, page, matcher):
        with pair() as example:
            found = [
                send(page, path.read_bytes(), path.name).json()
                for path in (example.image0, example.image1)
            ]
            expected = matcher.transfer(example.image0, example.image1, [[109, 163]])
        assert [(p["name"], p["width"], p["height"]) for p in found] == [
            ("left.jpg", 640, 480), ("right.jpg", 640, 480)
        ]  # fmt: skip
        route = f"/api/pairs/{found[0]['id']}/{found[1]['id']}/identity"
        assert page.get(route).headers["content-type"] == "application/octet-stream"
        answer = page.get(f"{route}/point?source=0&x=109&y=163").json()
        assert (answer["x"], answer["y"]) == pytest.approx(expected.keypoints1[0], abs=1e-3)
        assert answer["score"] == pytest.approx(expected.matching_scores[0], abs=1e-5)
        for shown in ("image", "thumbnail"):
            content = page.get(f"/api/pictures/{found[0]['id']}/{shown}").content
            assert Image.open(io.BytesIO(content)).format == "JPEG"

    @pytest.mark.parametrize("pose", ["identity", "flip", "rotate90"])
    @pytest.mark.parametrize("source", [0, 1])
    def test_the_browser_finds_what_the_matcher_finds(self, page, ids, matcher, pose, source):
        """The same arithmetic on what was sent: nearly all peaks are at most a cell away."""
        header, sides, popularity = unpacked(
            page.get(f"/api/pairs/{ids[0]}/{ids[1]}/{pose}").content
        )
        with pair() as example:
            features = (
                matcher.extract(example.image0, [pose]),
                matcher.extract(example.image1),
            )
        whole = [Side.of(posed, None) for f in features for posed in f.by_pose.values()]
        there, back = whole[source], whole[1 - source]
        guide = Consensus(
            there.posed.descriptors_HWC, back.posed.descriptors_HWC, there.weight_HW,
            back.weight_HW, there.allowed_HW, back.allowed_HW, matcher.config.consensus,
        )  # fmt: skip
        cells = there.allowed_HW.nonzero().flip(1)[::3].float()
        expected = guide.similarity(cells)
        if pose == "identity" and source == 0:
            points = there.posed.transform.to_points(cells.double().numpy())
            heat = matcher.heatmap(*features, there.posed.transform.clip(points)[:20])
            assert np.allclose(heat.similarity, expected[:20].numpy(), atol=0.01)
        # The guidance of the page: the same map, with what was sent in place of descriptors.
        guide.source_HWC, guide.target_HWC = sides[source][1], sides[1 - source][1]
        guide.hubness_HW = torch.tensor(popularity[source]).view(guide.target_HWC.shape[:2])
        lengths = guide.source_HWC.norm(dim=2, keepdim=True)
        queries = (cells[None] + torch.tensor(guide.config.offsets)[:, None]).flatten(0, 1)
        sampled = matching.sample_descriptors(guide.source_HWC, queries)
        sampled *= matching.bilinear(lengths, queries)
        similarity = matching.similarity(sampled, guide.target_HWC)
        found = guide._guided(similarity.chunk(len(guide.config.offsets)), cells)
        off = (matching.argmax(found) - matching.argmax(expected)).abs().amax(1)
        assert (off <= 1).float().mean() > 0.95
        assert (off == 0).float().mean() > 0.8
        inside = torch.isfinite(expected)
        assert (found - expected)[inside].std() < 0.005
        # What is sent of the layout is the guide's own.
        assert header["guides"][source]["layout"]["affine"] == guide.affine_prior.affine.tolist()

    def test_ways_between_points_and_cells(self, page, ids, matcher):
        for pose in POSE_SETS["rotations"][1:3]:
            header, sides, _ = unpacked(
                page.get(f"/api/pairs/{ids[0]}/{ids[1]}/{pose.name}").content
            )
            with pair() as example:
                view = matcher.extract(example.image0, [pose]).by_pose[pose].view
            points = np.array([[10.0, 20.0], [600.0, 333.0]])
            three = np.column_stack([points, np.ones(2)])
            assert np.allclose(three @ np.array(sides[0][0]["to_cells"]), view.to_cells(points))
            assert np.allclose(three @ np.array(sides[0][0]["to_points"]), view.to_points(points))
            assert (sides[0][2] == view.valid_cells).all()
            assert header["pose"] == pose.name

    def test_distances_are_those_of_transfer(self, page, ids, matcher):
        with pair() as example:
            found = matcher.transfer(example.image0, example.image1, [[9, 9]], poses="flip")
        for name, distance in found.pose_distances.items():
            header, _, _ = unpacked(page.get(f"/api/pairs/{ids[0]}/{ids[1]}/{name}").content)
            assert header["distance"] == pytest.approx(distance, abs=1e-5)

    def test_published_matching_has_no_guidance(self, matcher):
        with client(matcher.with_config(consensus=None, window=None)) as page:
            ids = page.get("/api/start").json()["example"]
            header, _, rest = unpacked(page.get(f"/api/pairs/{ids[0]}/{ids[1]}/identity").content)
        assert header["guidance"] is header["window"] is None and rest == []
        assert header["guides"] == [None, None]

    def test_few_channels_and_few_cells(self, colour_matcher):
        with client(colour_matcher) as page:
            ids = [send(page, png(random_picture(40, 90, seed))).json()["id"] for seed in (0, 1)]
            _, sides, _ = unpacked(page.get(f"/api/pairs/{ids[0]}/{ids[1]}/flip").content)
            answer = page.get(f"/api/pairs/{ids[0]}/{ids[0]}/identity/point?source=1&x=20&y=45")
        assert sides[0][1].shape == (12, 12, 67 if sides[0][1].shape[2] == 67 else 70)
        assert (answer.json()["x"], answer.json()["y"]) == pytest.approx((20, 45), abs=8)

    def test_the_other_way(self, page, ids, matcher):
        with pair() as example:
            expected = matcher.transfer(example.image1, example.image0, [[237, 99]])
        query = f"/api/pairs/{ids[0]}/{ids[1]}/identity/point?source=1&x=237&y=99"
        answer = page.get(query).json()
        assert (answer["x"], answer["y"]) == pytest.approx(expected.keypoints1[0], abs=1e-3)

    def test_mutual_matches_and_warp(self, page, ids, matcher):
        route = f"/api/pairs/{ids[0]}/{ids[1]}/identity"
        found = page.get(f"{route}/matches").json()
        with pair() as example:
            expected = matcher.match(example.image0, example.image1, 40)
        assert np.allclose(found["keypoints0"], expected.keypoints0, atol=1e-3)
        warped = page.get(f"{route}/warp")
        assert Image.open(io.BytesIO(warped.content)).size == (640, 480)


class TestUploads:
    def test_too_many_bytes_told(self, colour_matcher):
        with client(colour_matcher, max_bytes=1000) as page:
            answer = send(page, bytes(1001))
            assert answer.status_code == 413 and "1,000 bytes" in answer.json()["detail"]

    def test_too_many_bytes_untold(self, colour_matcher):
        """A body whose length is not announced is cut where the limit is reached."""
        taken = 0

        def body():
            nonlocal taken
            for _ in range(1000):
                taken += 1
                yield b"\xff\xd8\xff" + bytes(997)

        with client(colour_matcher, max_bytes=5000) as page:
            answer = send(page, body())
            assert answer.status_code == 413
            assert list(page.app.state.desk.pictures._folder.iterdir()) == []

    def test_too_many_pixels(self, colour_matcher):
        small = Matcher(colour_matcher.backbone, colour_matcher.config, max_pixels=100)
        with client(small) as page:
            answer = send(page, png(Image.new("RGB", (20, 20))), "wide.png")
        assert answer.status_code == 400
        assert "wide.png has 20 x 20 pixels" in answer.json()["detail"]

    @pytest.mark.parametrize(
        "content",
        [b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"RIFF1234AVI ", b"\0" * 99],
    )
    def test_only_pictures(self, plain, content):
        answer = send(plain, content, "a.jpg")
        assert answer.status_code == 400
        assert "a.jpg: is no picture" in answer.json()["detail"]

    def test_a_broken_picture(self, plain):
        answer = send(plain, png(random_picture(64, 64))[:300], "half.png")
        assert answer.status_code == 400
        assert "half.png cannot be read" in answer.json()["detail"]
        assert tempfile.gettempdir() not in answer.text

    @pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
    def test_kinds(self, plain, form):
        buffer = io.BytesIO()
        random_picture(50, 40).save(buffer, form)
        assert send(plain, buffer.getvalue()).json()["width"] == 50

    def test_turned_upright(self, plain):
        buffer = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        random_picture(60, 40).save(buffer, "JPEG", exif=exif)
        found = send(plain, buffer.getvalue()).json()
        assert (found["width"], found["height"]) == (40, 60)
        shown = plain.get(f"/api/pictures/{found['id']}/image").content
        assert Image.open(io.BytesIO(shown)).size == (40, 60)

    @pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\a", "http://a/b"])
    def test_a_name_is_no_path(self, plain, temporary, name):
        found = send(plain, png(random_picture(30, 30)), name).json()
        assert "/" not in found["name"] and "\\" not in found["name"]
        assert list(temporary.glob("*/*")), "nothing was sent"
        assert all(path.parent.parent == temporary for path in temporary.glob("*/**/*"))

    def test_old_ones_give_way(self, colour_matcher):
        with client(colour_matcher, max_sent=2) as page:
            ids = [send(page, png(random_picture(30, 30, seed))).json()["id"] for seed in range(3)]
            answer = page.get(f"/api/pictures/{ids[0]}/image")
            assert answer.status_code == 404 and "load it again" in answer.json()["detail"]
            assert page.get(f"/api/pictures/{ids[2]}/image").status_code == 200

    def test_features_are_bounded(self, colour_matcher):
        with client(colour_matcher, memory=1) as page:
            ids = [send(page, png(random_picture(30, 30, seed))).json()["id"] for seed in range(8)]
            assert len(page.app.state.desk.work._features._things) == 4
            assert page.get(f"/api/pairs/{ids[0]}/{ids[1]}/flip").status_code == 200

    def test_nothing_is_left_behind(self, colour_matcher, temporary):
        before = set(temporary.iterdir())
        with client(colour_matcher) as page:
            send(page, png(random_picture(30, 30)))
            (folder,) = set(temporary.iterdir()) - before
            assert len(list(folder.iterdir())) == 1
        assert not folder.exists()


def test_readable_names():
    assert readable("a/b\\c\n.jpg") == "c.jpg"
    assert readable("\0") == "picture"
    assert len(readable("x" * 999)) == 120


class TestWhoMayAsk:
    PATHS = (
        "/api/pictures/..%2f..%2fetc%2fpasswd/image", "/api/pictures/%2fetc%2fpasswd/image",
        "/api/pictures/http:%2f%2flocalhost/image", "/static/..%2fapp.py", "/static/%2e%2e/app.py",
        "/static//etc/passwd", "/etc/passwd", "/..%2f..%2fetc/passwd", "/static/app.py",
        "/openapi.json", "/docs", "/api/pictures/file:%2f%2f%2fetc%2fpasswd/size",
    )  # fmt: skip

    @pytest.mark.parametrize("path", PATHS)
    def test_no_path_and_no_address(self, page, path):
        answer = page.get(path)
        assert answer.status_code == 404
        assert list(answer.json()) == ["detail"]

    def test_answers_say_what_browsers_may_do(self, page):
        for path in ("/", "/api/start", "/static/app.js", "/nothing"):
            headers = page.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'self'; img-src")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "access-control-allow-origin" not in headers

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
    def test_other_names(self, page, host):
        answer = page.get("/api/start", headers={"host": host})
        assert answer.status_code == 421 and "detail" in answer.json()

    @pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
    def test_own_names(self, page, host):
        assert page.get("/", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:9999"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ],
    )
    def test_other_sites(self, plain, headers):
        assert send(plain, png(random_picture(9, 9)), headers=headers).status_code == 403
        assert plain.get("/api/start", headers=headers).status_code == 403

    def test_the_page_itself(self, page):
        headers = {"origin": HOME, "sec-fetch-site": "same-origin"}
        assert page.get("/api/start", headers=headers).status_code == 200
        assert page.get("/", headers={"sec-fetch-site": "none"}).status_code == 200

    def test_a_token(self, colour_matcher):
        with client(colour_matcher, hosts=None, token="secret") as page:
            for path in ("/", "/api/start", "/static/app.js", "/?token=wrong", "/?token="):
                answer = page.get(path)
                assert answer.status_code == 401 and "detail" in answer.json()
            assert page.get("/", headers={"cookie": "homolog=wrong"}).status_code == 401
            assert page.get("/api/start?token=secret").status_code == 401
            cookie = page.get("/?token=secret").headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
            assert page.get("/api/start").status_code == 200

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/api/pairs/a/b/identity", 404),
            ("/api/pairs/{0}/{1}/rotate17", 400),
            ("/api/pairs/{0}/{1}/identity/point", 422),
            ("/api/pairs/{0}/{1}/identity/point?source=2&x=1&y=1", 400),
            ("/api/pairs/{0}/{1}/identity/point?source=0&x=nan&y=1", 400),
            ("/api/pairs/{0}/{1}/identity/point?source=0&x=inf&y=1", 400),
            ("/api/pairs/{0}/{1}/identity/point?source=0&x=641&y=1", 400),
            ("/api/pictures", 405),
            ("/api/review", 404),
        ],
    )
    def test_what_is_wrong_is_one_line(self, page, ids, path, status):
        answer = page.get(path.format(*ids))
        assert answer.status_code == status
        assert "\n" not in answer.json()["detail"]

    def test_no_traceback(self, colour_matcher, monkeypatch, caplog):
        with client(colour_matcher) as page:
            ids = page.get("/api/start").json()["example"]
            monkeypatch.setattr(page.app.state.desk.work, "pair", lambda *_: 1 / 0)
            answer = page.get(f"/api/pairs/{ids[0]}/{ids[1]}/identity")
            assert answer.status_code == 500
            assert "Traceback" not in answer.text and "division" not in answer.text
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert "ZeroDivisionError" in caplog.text


def test_eight_people_at_once(colour_matcher):
    """Each with two pictures of their own; everything is answered, and answered right."""
    answers: dict[int, tuple[float, float]] = {}
    pictures = [random_picture(90, 70, seed) for seed in range(9)]
    contents = [png(picture) for picture in pictures]
    with client(colour_matcher, memory=1) as page:

        def person(number: int) -> None:
            ids = [send(page, contents[n]).json()["id"] for n in (number, number + 1)]
            route = f"/api/pairs/{ids[0]}/{ids[1]}/identity"
            for path in (
                route,
                f"{route}/matches",
                f"{route}/warp",
                f"/api/pictures/{ids[0]}/image",
            ):
                assert page.get(path).status_code == 200
            answer = page.get(f"{route}/point?source=0&x=30&y=40").json()
            answers[number] = answer["x"], answer["y"]

        people = [threading.Thread(target=person, args=[number]) for number in range(8)]
        for thread in people:
            thread.start()
        for thread in people:
            thread.join()
    for number in range(8):
        found = colour_matcher.locate(pictures[number], pictures[number + 1], [[30, 40]])
        assert answers[number] == pytest.approx(found[0], abs=1e-3)


class TestFolder:
    def test_pictures_have_ids(self, colour_matcher, tmp_path):
        (tmp_path / "below").mkdir()
        random_picture(50, 40).save(tmp_path / "below" / "a.png")
        with client(colour_matcher, folder=tmp_path) as page:
            (found,) = page.get("/api/start").json()["folder"]
            assert found["name"] == "below/a.png" and str(tmp_path) not in found["id"]
            assert page.get(f"/api/pictures/{found['id']}/thumbnail").status_code == 200
            assert page.get(f"/api/pictures/{found['id']}").json()["width"] == 50

    def test_empty(self, colour_matcher, tmp_path):
        with (
            pytest.raises(HomologError, match="there is no picture in"),
            client(colour_matcher, folder=tmp_path),
        ):
            pass


@pytest.fixture
def labels(tmp_path) -> Path:
    """A picture with three points, two of them doubtful."""
    random_picture(200, 100).save(tmp_path / "a.png")
    points = [20, 30, 2, 90, 50, 2, 150, 60, 2]
    path = tmp_path / "labels.json"
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": 200, "height": 100}],
        "categories": [
            {"id": 1, "name": "bee", "keypoints": ["head", "left_wing", "right_wing"],
             "skeleton": [[1, 2], [1, 3]]}
        ],
        "annotations": [
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [10, 20, 160, 60], "area": 9600,
             "iscrowd": 0, "num_keypoints": 3, "keypoints": points,
             "homolog": {"scores": [0.9, 0.2, 0.4], "doubtful": [1, 2], "reviewed": [],
                         "predicted": points}}
        ],
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


class TestReview:
    def test_every_step_is_written(self, colour_matcher, labels):
        with client(colour_matcher, labels=labels) as page:
            state = page.get("/api/review").json()
            assert state["doubtful"] == [[3, 1], [3, 2]] and state["total"] == 2
            picture = state["images"][0]["picture"]
            assert page.get(f"/api/pictures/{picture}/image").status_code == 200
            assert page.get(f"/api/pictures/{picture}/size").json() == {"width": 200, "height": 100}
            step = {"annotation": 3, "keypoint": 1, "point": [95.5, 52]}
            answer = page.post("/api/review", json=step).json()
            assert answer["doubtful"] == [[3, 2]]
            assert Labels.read(labels).annotations[0]["keypoints"][3:6] == [95.5, 52, 2]
            step = {"annotation": 3, "keypoint": 2, "visible": False}
            page.post("/api/review", json=step)
        after = Labels.read(labels)
        assert after.annotations[0]["keypoints"][6:] == [0, 0, 0] and after.doubtful() == []

    @pytest.mark.parametrize(
        ("step", "status"),
        [
            ({"annotation": 9, "keypoint": 1}, 400),
            ({"annotation": 3, "keypoint": 3}, 400),
            ({"annotation": 3, "keypoint": 1, "point": [500, 2]}, 400),
            ({"annotation": 3, "keypoint": 1, "point": [1]}, 422),
            ({"annotation": 3}, 422),
        ],
    )
    def test_what_makes_no_sense(self, colour_matcher, labels, step, status):
        before = labels.read_bytes()
        with client(colour_matcher, labels=labels) as page:
            answer = page.post("/api/review", json=step)
            assert answer.status_code == status and "\n" not in answer.json()["detail"]
        assert labels.read_bytes() == before

    def test_a_file_that_others_change(self, colour_matcher, labels):
        with client(colour_matcher, labels=labels) as page:
            labels.write_text(labels.read_text() + " ")
            answer = page.post("/api/review", json={"annotation": 3, "keypoint": 1})
            assert answer.status_code == 400
            assert "another program has changed labels.json" in answer.json()["detail"]

    def test_pictures_outside_the_folder(self, colour_matcher, labels, tmp_path):
        inner = tmp_path / "inner"
        inner.mkdir()
        for name in ("../a.png", str(tmp_path / "a.png")):
            data = json.loads(labels.read_text())
            data["images"][0]["file_name"] = name
            (inner / "labels.json").write_text(json.dumps(data))
            with pytest.raises(HomologError, match="none of their pictures is in"):
                create_app(colour_matcher, Options(labels=inner / "labels.json"))

    def test_exemplars(self, colour_matcher, labels, tmp_path):
        data = json.loads(labels.read_text())
        del data["annotations"][0]["homolog"]
        (tmp_path / "hand.json").write_text(json.dumps(data))
        with client(colour_matcher, labels=labels, exemplars=tmp_path / "hand.json") as page:
            found = page.get("/api/review").json()["exemplars"]["bee"]["left_wing"]
            assert found["point"] == [90, 50]
            assert page.get(f"/api/pictures/{found['picture']}/image").status_code == 200


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["nowhere"], "folder: there is no folder nowhere"),
            (["--labels", "a.json"], "a.json"),
            (["--port", "99999"], "port: got 99999, takes 0 to 65535"),
            (["--host", "256.1.1.1"], "host: 256.1.1.1"),
            (["--exemplars", "a.json"], "exemplars: are shown beside labels under review"),
        ],
    )  # fmt: skip
    def test_one_line(self, capsys, tmp_path, monkeypatch, arguments, line):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as stop:
            cli.main(["serve", *arguments])
        printed = capsys.readouterr().err
        assert stop.value.code == 2 and line in printed and printed.count("\n") == 1

    def test_a_busy_port(self, capsys):
        import socket

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            with pytest.raises(SystemExit) as stop:
                cli.main(["serve", "--port", port])
        assert stop.value.code == 2
        assert f"port: cannot serve on 127.0.0.1:{port}" in capsys.readouterr().err

    def test_without_its_libraries(self, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "fastapi", None)
        with pytest.raises(SystemExit) as stop:
            cli.main(["serve"])
        assert stop.value.code == 2 and "pip install 'homolog[serve]'" in capsys.readouterr().err

    @pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
    def test_nothing_is_left_when_it_is_stopped(self, tmp_path, ending):
        command = [sys.executable, "-m", "homolog", "serve", "--port", "0", "--device", "cpu"]
        environment = {"TMPDIR": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("http://127.0.0.1:")
            deadline = time.monotonic() + 30
            while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
                time.sleep(0.05)
            (folder,) = tmp_path.iterdir()
            assert folder.name.startswith("homolog-") and folder.stat().st_mode & 0o077 == 0
            server.send_signal(ending)
            server.wait(20)
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
        assert list(tmp_path.iterdir()) == []
