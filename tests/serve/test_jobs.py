"""Matches that the server computes: right, cached within bounds, and for many clients at once."""

import io
import threading

import numpy as np
import pytest
from helpers.serve import client, png, upload, upload_id
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError
from homolog.example import pair
from homolog.serve.jobs import MatchService, PairRequest, parse_pose
from homolog.serve.uploads import StoredImage


def test_a_pair_from_upload_to_answer(page, matcher):
    with pair() as example:
        found = [
            upload(page, path.read_bytes(), path.name).json()
            for path in (example.image0, example.image1)
        ]
        expected = matcher.transfer(example.image0, example.image1, [[109, 163]])
    assert [(image["name"], image["width"], image["height"]) for image in found] == [
        ("left.jpg", 640, 480), ("right.jpg", 640, 480)
    ]  # fmt: skip
    route = f"/api/pairs/{found[0]['id']}/{found[1]['id']}/identity"
    assert page.get(route).headers["content-type"] == "application/octet-stream"
    answer = page.get(f"{route}/point?source=0&x=109&y=163").json()
    assert (answer["x"], answer["y"]) == pytest.approx(expected.keypoints1[0], abs=1e-3)
    assert answer["score"] == pytest.approx(expected.matching_scores[0], abs=1e-5)
    for size in ("image", "thumbnail"):
        content = page.get(f"/api/pictures/{found[0]['id']}/{size}").content
        assert Image.open(io.BytesIO(content)).format == "JPEG"


def test_the_other_direction(page, ids, matcher):
    with pair() as example:
        expected = matcher.transfer(example.image1, example.image0, [[237, 99]])
    query = f"/api/pairs/{ids[0]}/{ids[1]}/identity/point?source=1&x=237&y=99"
    answer = page.get(query).json()
    assert (answer["x"], answer["y"]) == pytest.approx(expected.keypoints1[0], abs=1e-3)


def test_mutual_matches_and_warp(page, ids, matcher):
    route = f"/api/pairs/{ids[0]}/{ids[1]}/identity"
    found = page.get(f"{route}/matches").json()
    with pair() as example:
        expected = matcher.match(example.image0, example.image1, 40)
    assert np.allclose(found["keypoints0"], expected.keypoints0, atol=1e-3)
    warped = page.get(f"{route}/warp")
    assert Image.open(io.BytesIO(warped.content)).size == (640, 480)


@pytest.fixture
def images(tmp_path) -> list[StoredImage]:
    """Eight images in a folder."""
    stored = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        random_image(30, 30, number).save(path)
        stored.append(StoredImage(str(number), path.name, path))
    return stored


def test_features_are_bounded(colour_matcher, images):
    service, backbone = MatchService(colour_matcher, max_bytes=1), colour_matcher.backbone
    for image in images:
        service.features(image)
    assert backbone.seen == 8
    for image in images[:3:-1]:
        service.features(image)
    assert backbone.seen == 8, "the last four are still there"
    service.features(images[3])
    assert backbone.seen == 9


def test_pairs_are_prepared_once_and_bounded(colour_matcher, images):
    service = MatchService(colour_matcher, max_bytes=1)
    wanted = PairRequest(images[0], images[1])
    first = service.pair(wanted)
    service.pack(wanted)
    service.transfer(wanted, 0, 10, 10)
    service.transfer(wanted, 1, 10, 10)
    assert service.pair(PairRequest(images[0], images[1])) is first
    service.pair(PairRequest(images[2], images[3]))
    assert service.pair(wanted) is first
    service.pair(PairRequest(images[4], images[5]))
    service.pair(PairRequest(images[6], images[7]))
    assert service.pair(wanted) is not first


def test_small_caches_answer_like_large_ones(colour_matcher):
    with client(colour_matcher, cache_bytes=1) as page:
        ids = [upload_id(page, random_image(30, 30, seed)) for seed in range(8)]
        assert page.get(f"/api/pairs/{ids[0]}/{ids[1]}/flip").status_code == 200


def test_poses_of_the_page():
    assert parse_pose("flip").flip
    with pytest.raises(HomologError, match=r"pose: expected one of identity, .*, got 'rotate17'"):
        parse_pose("rotate17")


def test_eight_people_at_once(colour_matcher):
    """Each with two images of their own; everything is answered, and answered right."""
    answers: dict[int, tuple[float, float]] = {}
    images = [random_image(90, 70, seed) for seed in range(9)]
    contents = [png(image) for image in images]
    with client(colour_matcher, cache_bytes=1) as page:

        def person(number: int) -> None:
            ids = [upload(page, contents[n]).json()["id"] for n in (number, number + 1)]
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
        pair = colour_matcher.pair(images[number], images[number + 1])
        assert answers[number] == pytest.approx(pair.transfer_points([[30, 40]])[0], abs=1e-3)
