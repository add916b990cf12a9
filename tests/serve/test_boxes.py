"""Boxes of objects on the page: matched as the library matches them, and kept within bounds."""

import io

import numpy as np
import pytest
from helpers.serve import client, unpack, upload_id
from helpers.toys import random_image
from PIL import Image

from homolog.example import pair
from homolog.image.poses import FLIP, IDENTITY
from homolog.serve.jobs import MatchService, PairRequest
from homolog.serve.uploads import StoredImage

BOX0, BOX1 = (60.0, 120.0, 340.0, 240.0), (150.0, 40.0, 400.0, 400.0)
QUERY = "box0=60,120,340,240&box1=150,40,400,400"


@pytest.fixture(scope="module")
def route(ids) -> str:
    return f"/api/pairs/{ids[0]}/{ids[1]}/identity"


@pytest.mark.parametrize("zoom", ["none", "auto"])
@pytest.mark.parametrize(("query", "boxes"), [(QUERY, (BOX0, BOX1)), ("box0=60,120,340,240",
                                                                     (BOX0, None))])  # fmt: skip
def test_points_are_matched_in_their_boxes(page, route, matcher, zoom, query, boxes):
    with pair() as example:
        expected = matcher.transfer(
            example.image0, example.image1, [[109, 163]], box0=boxes[0], box1=boxes[1],
            zoom=None if zoom == "none" else zoom,
        )  # fmt: skip
        backward = matcher.pair(
            example.image0, example.image1, box0=boxes[0], box1=boxes[1],
            zoom=None if zoom == "none" else zoom,
        ).reversed().transfer([[237, 99]])  # fmt: skip
    answer = page.get(f"{route}/point?{query}&zoom={zoom}&source=0&x=109&y=163").json()
    assert (answer["x"], answer["y"]) == pytest.approx(expected.keypoints1[0], abs=1e-3)
    assert answer["score"] == pytest.approx(expected.matching_scores[0], abs=1e-5)
    answer = page.get(f"{route}/point?{query}&zoom={zoom}&source=1&x=237&y=99").json()
    assert (answer["x"], answer["y"]) == pytest.approx(backward.keypoints1[0], abs=1e-3)


def test_the_object_is_found_when_zooming_without_boxes(page, route, matcher):
    with pair() as example:
        expected = matcher.pair(example.image0, example.image1, zoom="auto")
    header, images, _ = unpack(page.get(f"{route}?zoom=auto").content)
    regions = [each.region for each in (expected.image0, expected.image1)]
    assert [entry["region"] for entry, _, _ in images] == [
        None if region is None else region.to_list() for region in regions
    ]
    assert header["distance"] == pytest.approx(expected.distance(), abs=1e-4)


@pytest.mark.parametrize("pose", [IDENTITY, FLIP])
def test_what_a_browser_is_sent_is_of_the_regions(page, ids, matcher, pose):
    content = page.get(f"/api/pairs/{ids[0]}/{ids[1]}/{pose.name}?{QUERY}").content
    header, images, _ = unpack(content)
    with pair() as example:
        expected = [
            matcher.extract(example.image0, [pose], box=BOX0).by_pose[pose],
            matcher.extract(example.image1, box=BOX1).by_pose[IDENTITY],
        ]
    points = np.array([[100.0, 200.0], [300.0, 333.0]])
    homogeneous = np.column_stack([points, np.ones(2)])
    for (entry, _, matchable), found in zip(images, expected, strict=True):
        transform = found.transform
        assert entry["size"] == [640, 480]
        assert entry["region"] == transform.region.to_list()
        assert np.allclose(homogeneous @ np.array(entry["to_cells"]), transform.to_cells(points))
        assert np.allclose(homogeneous @ np.array(entry["to_points"]), transform.to_points(points))
        assert (matchable == transform.valid_cells).all()
    similarity = np.einsum("hwc,yxc->hwyx", *(found.descriptors_HWC.numpy() for found in expected))
    sent = np.einsum("hwc,yxc->hwyx", *(factor.numpy() for _, factor, _ in images))
    valid = np.ix_(*(found.valid_HW.numpy().ravel().nonzero()[0] for found in expected))
    shape = (similarity.shape[0] * similarity.shape[1], -1)
    assert np.abs((sent - similarity).reshape(shape)[valid]).max() < 0.05
    assert header["pose"] == pose.name


def test_matches_and_warp_lie_in_the_regions(page, route):
    found = page.get(f"{route}/matches?{QUERY}").json()
    for name, (x, y, width, height) in (("0", found["region0"]), ("1", found["region1"])):
        points = np.array(found[f"keypoints{name}"])
        assert len(points) and (points >= (x, y)).all()
        assert (points <= (x + width, y + height)).all()
    warped = np.asarray(Image.open(io.BytesIO(page.get(f"{route}/warp?{QUERY}").content)), float)
    x, y, width, height = found["region1"]
    outside = np.full(warped.shape[:2], True)
    outside[max(0, y - 16) : y + height + 16, max(0, x - 16) : x + width + 16] = False  # JPEG
    assert warped.shape == (480, 640, 3) and np.abs(warped[outside] - 225).max() < 4
    assert np.abs(warped[~outside] - 225).mean() > 30


def test_a_point_beyond_its_region(page, route):
    answer = page.get(f"{route}/point?{QUERY}&source=0&x=630&y=20")
    assert answer.status_code == 400
    assert "around the source's box, got (630, 20)" in answer.json()["detail"]
    # With zoom it is matched in the whole images.
    assert page.get(f"{route}/point?{QUERY}&zoom=auto&source=0&x=630&y=20").status_code == 200


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("box0=1,2,3", "box0: expected x,y,width,height, got '1,2,3'"),
        ("box0=a,b,c,d", "box0: expected x,y,width,height"),
        ("box1=", "box1: expected x,y,width,height, got ''"),
        ("box1=700,10,20,20", "box1: expected (x, y, width, height) in pixels, got (700, 10, "),
        ("box0=10,10,0,20", "which is empty or flipped"),
        ("box0=10,10,nan,20", "which is not finite"),
        ("box0=10,10,inf,20", "which is not finite"),
        ("box0=0.1,0.1,0.5,0.5", "try to multiply shares"),
        ("box0=300,200,600,400", "which reaches beyond the image"),
        ("zoom=twice", "zoom: expected auto or none, got 'twice'"),
    ],
)
@pytest.mark.parametrize("rest", ["", "/matches", "/warp"])
def test_boxes_that_cannot_be_right(page, route, query, message, rest):
    answer = page.get(f"{route}{rest}?{query}")
    assert answer.status_code == 400
    assert message in answer.json()["detail"] and "\n" not in answer.json()["detail"]


def test_features_of_boxes_are_bounded(colour_matcher, tmp_path):
    random_image(90, 60).save(tmp_path / "a.png")
    image = StoredImage("a", "a.png", tmp_path / "a.png")
    service, backbone = MatchService(colour_matcher, max_bytes=1), colour_matcher.backbone
    first, seen = (10.0, 10.0, 30.0, 30.0), backbone.seen
    service.pair(PairRequest(image, image, box0=first))
    assert backbone.seen == seen + 2, "the whole image, and the box"
    service.pair(PairRequest(image, image, box0=first, box1=first))
    assert backbone.seen == seen + 2
    for x in range(8):
        service.features(image, box=(20.0 + x, 10.0, 30.0, 30.0))
    seen = backbone.seen
    service.features(image, box=(27.0, 10.0, 30.0, 30.0))
    assert backbone.seen == seen
    service.features(image, box=first)
    assert backbone.seen > seen, "made room for others"


def test_zoom_leaves_nothing_behind_in_the_whole_image(colour_matcher, tmp_path):
    """The features of a whole image that stay in the cache do not grow with the boxes tried."""
    random_image(90, 60).save(tmp_path / "a.png")
    image = StoredImage("a", "a.png", tmp_path / "a.png")
    service = MatchService(colour_matcher, max_bytes=2**30)
    whole = service.features(image)
    for x in range(5):
        found = service.features(image, box=(20.0 + x, 10.0, 30.0, 30.0), zoom="auto")
        assert found.region is not None and found.context is not None
    assert service.features(image) is whole and not whole.zoomed


def test_boxes_of_an_upload_that_was_removed(colour_matcher):
    with client(colour_matcher, max_uploads=1) as page:
        ids = [upload_id(page, random_image(30, 30, seed)) for seed in range(2)]
        answer = page.get(f"/api/pairs/{ids[0]}/{ids[1]}/identity?box0=2,2,9,9")
    assert answer.status_code == 404
