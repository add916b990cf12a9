"""The whole way with a toy backbone whose answers are known, and with the embedded one."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers.toys import ColourBackbone, random_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from homolog import Features, HomologError, KeypointSchema, Matcher, PoseVariant
from homolog.example import pair
from homolog.image.geometry import Grid
from homolog.image.poses import FLIP, IDENTITY

CELL = 8.0  # of the toy backbone, in pixels of its 96-pixel canvas

quarter_turns = st.builds(
    PoseVariant, flip=st.booleans(), rotation=st.sampled_from([0, 90, 180, -90])
)
# Sizes that fit the canvas as they are: turning the picture turns the canvas to the last bit.
sizes = st.sampled_from([(96, 96), (96, 64), (64, 96), (32, 96)])
per_example = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def inside(size: tuple[int, int], seed: int, count: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.9, (count, 2)) * size


def cell_centres(features: Features) -> np.ndarray:
    posed = features.by_pose[IDENTITY]
    return posed.transform.to_points(
        posed.transform.grid.cells[posed.transform.valid_cells.ravel()]
    )


@per_example
@given(size=sizes, seed=st.integers(0, 1000))
def test_matching_a_picture_with_itself_is_the_identity(colour_matcher, size, seed):
    features = colour_matcher.extract(random_image(*size, seed))
    points = cell_centres(features)
    matches = colour_matcher.transfer(features, features, points)
    np.testing.assert_array_equal(matches.keypoints0, points)
    assert np.abs(matches.keypoints1 - points).max() <= 0.75 * CELL * max(size) / 96
    assert matches.pair_score == pytest.approx(1, abs=1e-3)
    mutual = colour_matcher.match(features, features)
    error = np.abs(mutual.keypoints1 - mutual.keypoints0) * 96 / max(size)
    assert np.median(error) < 0.2 * CELL and error.max() <= 0.75 * CELL


@per_example
@given(pose=quarter_turns, size=sizes, seed=st.integers(0, 1000))
def test_turning_both_pictures_turns_the_answer(colour_matcher, pose, size, seed):
    first, second = random_image(*size, seed), random_image(*size, seed + 1)
    points = inside(size, seed)
    straight = colour_matcher.transfer(first, second, points)
    turned = colour_matcher.transfer(
        pose.apply(first), pose.apply(second), pose.points(points, size)
    )
    found = pose.inverse_points(turned.keypoints1, size)
    np.testing.assert_allclose(found, straight.keypoints1, atol=0.5 * max(size) / 96)
    np.testing.assert_allclose(turned.matching_scores, straight.matching_scores, atol=0.05)


@per_example
@given(rotation=st.sampled_from([90.0, 180.0, -90.0]), size=sizes, seed=st.integers(0, 1000))
def test_alignment_finds_the_rotation_for_free_points(colour_matcher, rotation, size, seed):
    pose, picture = PoseVariant(rotation=rotation), random_image(*size, seed)
    features = colour_matcher.extract(picture)
    points = cell_centres(features)
    matches = colour_matcher.transfer(features, pose.apply(picture), points, poses="rotations")
    assert matches.pose == pose.name and matches.warning is None
    assert set(matches.pose_distances) == {"identity", "rotate90", "rotate180", "rotate-90"}
    assert min(matches.pose_distances, key=matches.pose_distances.get) == pose.name
    error = np.abs(matches.keypoints1 - pose.points(points, size)).max()
    assert error <= 0.75 * CELL * max(size) / 96


SCHEMA = KeypointSchema.from_names(["nose", "left_paw", "right_paw", "left_ear", "right_ear"])
PLACES = np.array([[48.0, 20], [20, 60], [70, 55], [30, 10], [64, 14]])


def test_named_points_are_looked_up_at_their_counterparts_in_a_flip(colour_matcher):
    """A picture and its mirror image: what was the right paw's place is now the left paw's."""
    picture = random_image(96, 96)
    matches = colour_matcher.transfer(picture, FLIP.apply(picture), PLACES, SCHEMA, poses="flip")
    assert matches.pose == "flip" and matches.warning is None and matches.found_in_pose.all()
    expected = FLIP.points(PLACES, (96, 96))[[0, 2, 1, 4, 3]]
    assert np.abs(matches.keypoints1 - expected).max() <= CELL
    assert matches.point_ids == (0, 1, 2, 3, 4)


def test_points_without_their_counterpart_stay_in_the_picture_as_it_is(colour_matcher):
    picture = random_image(96, 96)
    given_ids = ["left_paw", "nose", "right_ear", "left_ear"]
    rows = [SCHEMA.names.index(name) for name in given_ids]
    flipped = colour_matcher.transfer(
        picture, FLIP.apply(picture), PLACES[rows], SCHEMA, given_ids, poses="flip"
    )
    assert flipped.found_in_pose.tolist() == [False, True, True, True]
    straight = colour_matcher.transfer(picture, FLIP.apply(picture), PLACES[rows])
    np.testing.assert_allclose(flipped.keypoints1[0], straight.keypoints1[0])
    assert flipped.matching_scores[0] == pytest.approx(straight.matching_scores[0])


def test_a_flip_is_reported_but_not_used_for_free_points(colour_matcher):
    picture = random_image(96, 96)
    mirrored = FLIP.apply(picture)
    free = colour_matcher.transfer(picture, mirrored, PLACES, poses="flip")
    plain = colour_matcher.transfer(picture, mirrored, PLACES)
    assert free.pose == "identity" and "flip" in free.warning and "schema" in free.warning
    np.testing.assert_array_equal(free.keypoints1, plain.keypoints1)
    assert free.pose_distances["flip"] < free.pose_distances["identity"]
    for call in (colour_matcher.match, colour_matcher.flow):
        assert call(picture, mirrored, poses="flip").pose == "identity"


def test_flips_of_points_whose_sides_nobody_told_are_refused(colour_matcher):
    """Nobody says which of them are left and which right; `none`: each is its own counterpart."""
    picture = random_image(96, 96)
    schema, mirrored = KeypointSchema.numbered(5), FLIP.apply(picture)
    for poses in ("flip", "all", ["flip"], ["identity", "flip+rotate90"], FLIP):
        with pytest.raises(HomologError, match=r"poses: expected none with a flip, .* try --sides"):
            colour_matcher.transfer(picture, mirrored, PLACES, schema, poses=poses)
    plain = colour_matcher.transfer(picture, mirrored, PLACES, schema, poses="rotations")
    assert plain.point_ids == (0, 1, 2, 3, 4)
    own = colour_matcher.transfer(
        picture, mirrored, PLACES, schema.with_sides("none"), poses="flip"
    )
    assert own.pose == "flip" and own.warning is None
    assert np.abs(own.keypoints1 - FLIP.points(PLACES, (96, 96))).max() <= CELL


def test_poses_may_be_none_and_schemas_named(colour_matcher, tmp_path):
    picture = random_image(96, 96)
    plain = colour_matcher.transfer(picture, picture, PLACES)
    none = colour_matcher.transfer(picture, picture, PLACES, poses=None)
    np.testing.assert_array_equal(plain.keypoints1, none.keypoints1)
    points = np.linspace(10, 80, 34).reshape(17, 2)
    named = colour_matcher.transfer(picture, picture, points, schema="ap10k", poses="flip")
    assert named.point_names == KeypointSchema.ap10k().names
    path = tmp_path / "names.txt"
    path.write_text("\n".join(SCHEMA.names))
    read = colour_matcher.transfer(picture, picture, PLACES, schema=path)
    assert read.point_names == SCHEMA.names
    with pytest.raises(HomologError, match=r"schema: expected ap10k, .*, got 'elephants'"):
        colour_matcher.pair(picture, picture, schema="elephants")


def test_a_pose_asked_for_is_used(colour_matcher):
    picture = random_image(96, 96)
    forced = colour_matcher.transfer(picture, FLIP.apply(picture), PLACES, poses=["flip"])
    assert forced.pose == "flip" and "mirror" in forced.warning and not forced.pose_distances
    assert np.abs(forced.keypoints1 - FLIP.points(PLACES, (96, 96))).max() <= CELL


def test_each_pose_goes_through_the_backbone_once(colour_matcher):
    backbone, picture = colour_matcher.backbone, random_image(96, 64)
    features = colour_matcher.extract(picture)
    other = colour_matcher.extract(random_image(64, 96, seed=1))
    assert backbone.seen == 2
    for _ in range(3):
        colour_matcher.transfer(features, other, [[5, 5]], poses="all")
        colour_matcher.match(features, other, poses="rotations")
        colour_matcher.flow(features, other)
        colour_matcher.heatmap(features, other, [[5, 5]], poses="flip")
    assert backbone.seen == 2 + 4
    assert set(features.by_pose) == {
        IDENTITY,
        FLIP,
        *(PoseVariant(rotation=r) for r in (90, 180, -90)),
    }


def test_features_are_as_good_as_pictures(colour_matcher, tmp_path):
    first, second = random_image(96, 64), random_image(50, 96, seed=1)
    first.save(tmp_path / "a.png")
    one, other = colour_matcher.extract([tmp_path / "a.png", np.asarray(second)], poses="flip")
    assert isinstance(one, Features) and one.size == (96, 64)
    assert one.descriptors.shape == (12, 12, 70)
    points = inside((96, 64), 0)
    np.testing.assert_allclose(
        colour_matcher.transfer(one, other, points).keypoints1,
        colour_matcher.transfer(first, second, points).keypoints1,
    )
    assert colour_matcher.extract(one) is one


def test_features_of_another_matcher_are_refused(colour_matcher, matcher):
    features = colour_matcher.extract(random_image(20, 20))
    with pytest.raises(HomologError, match=r"image1: .*another matcher"):
        matcher.match(random_image(20, 20), features)
    wider = colour_matcher.with_config(window=5)
    assert wider.match(features, features).pair_score == pytest.approx(1, abs=1e-3)


def test_masks_say_where_answers_lie(colour_matcher):
    picture = random_image(96, 96)
    left = np.zeros((96, 96), np.uint8)
    left[:, :48] = 255
    matches = colour_matcher.transfer(picture, picture, [[80, 40]], mask1=left)
    assert matches.keypoints1[0, 0] <= 48
    mutual = colour_matcher.match(picture, picture, mask0=left, mask1=left)
    assert len(mutual) and mutual.keypoints0[:, 0].max() <= 48
    flow = colour_matcher.flow(picture, picture, mask0=left)
    assert flow.forward.consistent[:, :6].any() and not flow.forward.consistent[:, 6:].any()


def test_poses_are_compared_over_masks(colour_matcher):
    """A thing upside down on a background that is not: only the masks tell."""
    background, thing = random_image(96, 96), random_image(48, 48, seed=3)
    mask = np.zeros((96, 96), bool)
    mask[24:72, 24:72] = True
    first, second = background.copy(), background.copy()
    first.paste(thing, (24, 24))
    second.paste(thing.transpose(Image.Transpose.ROTATE_180), (24, 24))
    plain = colour_matcher.transfer(first, second, [[30, 30]], poses="rotations")
    masked = colour_matcher.transfer(
        first, second, [[30, 30]], poses="rotations", mask0=mask, mask1=mask
    )
    assert plain.pose == "identity" and masked.pose == "rotate180"
    assert np.abs(masked.keypoints1 - [[66, 66]]).max() <= CELL


def test_mutual_matches_come_best_first(matcher):
    with pair() as example:
        prepared = matcher.pair(example.image0, example.image1)
        matches = prepared.match(max_matches=15)
        more = prepared.match(max_matches=60)
    assert len(matches) == 15
    apart = np.linalg.norm(matches.keypoints0[:, None] - matches.keypoints0, axis=2)
    assert apart[~np.eye(15, dtype=bool)].min() >= 30, "spread over the thing"
    np.testing.assert_array_equal(more.keypoints0[:15], matches.keypoints0)


def test_flow_leads_there_and_back(colour_matcher):
    picture = random_image(96, 64)
    flow = colour_matcher.flow(
        picture, PoseVariant(rotation=180).apply(picture), poses=["rotate180"]
    )
    points = inside((96, 64), 3)
    there = flow.forward.at(points)
    assert np.abs(there - PoseVariant(rotation=180).points(points, (96, 64))).max() <= CELL
    assert np.abs(flow.backward.at(there) - points).max() <= CELL
    assert flow.forward.consistent[3:9].mean() > 0.9
    assert not flow.forward.consistent[:2].any(), "no flow beside the picture"
    dense = flow.forward.dense()
    assert dense.shape == (64, 96, 2)
    np.testing.assert_allclose(dense[20, 30], flow.forward.at(np.array([[30.5, 20.5]]))[0])
    assert flow.forward.dense((24, 16)).shape == (16, 24, 2)
    smooth = flow.forward.smoothed()
    assert np.abs(smooth.at(points) - there).max() <= 2 * CELL


def test_smoothing_repairs_what_stands_alone(colour_matcher):
    picture = random_image(96, 96)
    field = colour_matcher.flow(picture, picture).forward
    wrong, sure = field.points1.copy(), field.consistent.copy()
    wrong[5, 5], sure[5, 5] = (0, 0), False
    repaired = dataclasses.replace(field, points1=wrong, consistent=sure).smoothed()
    assert np.abs(repaired.points1[5, 5] - field.points1[5, 5]).max() <= CELL
    assert repaired.consistent[5, 5]


def test_heatmaps_peak_at_the_answer(colour_matcher):
    picture = random_image(96, 96)
    heat = colour_matcher.heatmap(picture, picture, PLACES)
    probability = heat.probability(0.01)
    np.testing.assert_allclose(probability.sum((1, 2)), 1, rtol=1e-4)
    for k, map_HW in enumerate(probability):
        y, x = np.unravel_index(map_HW.argmax(), map_HW.shape)
        assert (
            np.abs(heat.transform1.to_points(np.array([[x, y]], float)) - PLACES[k]).max() <= CELL
        )
    np.testing.assert_array_equal(heat.matches.keypoints0, PLACES)


def test_one_pixel_and_extreme_shapes(matcher):
    tiny, thin = Image.new("RGB", (1, 1), "red"), random_image(5000, 20)
    for first, second in ((tiny, thin), (thin, tiny), (tiny, tiny)):
        middle = [[first.width / 2, first.height / 2]]
        matches = matcher.transfer(first, second, middle, poses="all")
        assert np.isfinite(matches.matching_scores).all() and np.isfinite(matches.pair_score)
        assert (matches.keypoints1 >= 0).all() and (matches.keypoints1 <= second.size).all()
        assert len(matcher.match(first, second))
        assert np.isfinite(matcher.flow(first, second).forward.points1).all()


def test_results_are_ready_for_json(colour_matcher):
    picture = random_image(96, 96)
    matches = colour_matcher.transfer(picture, picture, PLACES, SCHEMA, poses="flip")
    plain = json.loads(json.dumps(matches.to_dict(), allow_nan=False))
    assert plain["keypoints0"] == PLACES.tolist()
    for name in ("keypoints1", "matching_scores", "pair_score"):
        np.testing.assert_array_equal(plain[name], getattr(matches, name))
    assert (plain["pose"], plain["size0"]) == (matches.pose, [96, 96])
    assert len(matches) == 5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"points": []}, "points: expected at least one point"),
        ({"points": [[97, 3]]}, "points: expected points in the image"),
        ({"points": [[float("nan"), 3]]}, "points: expected finite numbers"),
        ({"point_ids": [0]}, "point_ids: expected a schema"),
        ({"schema": SCHEMA}, "point_ids: expected a point for each of 5 keypoints, got 1"),
        ({"poses": "sideways"}, "poses"),
        ({"mask0": np.zeros((96, 96))}, "mask0: expected at least one pixel"),
        ({"mask1": np.ones((9, 96))}, "mask1: expected the size of its image.* got 96 x 9"),
        ({"image0": "missing.png"}, "image0: expected an image file, got missing.png"),
        ({"image1": "missing.png"}, "image1: expected an image file, got missing.png"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments_are_named(colour_matcher, arguments, reason):
    picture = random_image(96, 96)
    arguments = {"image0": picture, "image1": picture, "points": [[1, 2]]} | arguments
    with pytest.raises(HomologError, match=f"^{reason}") as error:
        colour_matcher.transfer(**arguments)
    assert "\n" not in str(error.value)


def test_presets_and_devices_are_checked():
    for arguments, reason in (
        ({"name": "nonesuch"}, "name: expected one of embedded, .* got 'nonesuch'"),
        ({"device": "nonesuch"}, "device: expected one that is available here, got 'nonesuch'"),
        ({"device": "cuda:99"}, "device: expected one that is available here, got 'cuda:99'"),
    ):
        with pytest.raises(HomologError, match=reason):
            Matcher.from_pretrained(**arguments)
    with pytest.raises(HomologError, match="max_matches"):
        Matcher.from_pretrained().match(
            Image.new("RGB", (9, 9)), Image.new("RGB", (9, 9)), max_matches=0
        )


def test_broken_pictures_among_many_are_found_before_the_work(colour_matcher, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(HomologError, match=r"image 1: .*broken"):
        colour_matcher.extract([random_image(20, 20), tmp_path / "broken.png"])
    assert colour_matcher.backbone.seen == 0


def test_the_embedded_matcher_on_the_example_pair(matcher):
    """Rendered animals of two kinds: more than half the visible keypoints land near the truth."""
    with pair() as example:
        points = example.keypoints0[example.visible]
        matches = matcher.transfer(example.image0, example.image1, points)
        error = np.linalg.norm(matches.keypoints1 - example.keypoints1[example.visible], axis=1)
        span = np.ptp(example.keypoints1, axis=0).max()
        assert (error <= 0.1 * span).mean() > 0.5
        assert matches.pair_score > matcher.config.same_category_threshold
        right = error <= 0.1 * span
        assert matches.matching_scores[right].mean() > matches.matching_scores[~right].mean()


def test_the_embedded_matcher_gives_the_same_bits_twice(matcher):
    picture = random_image(200, 150)
    a, b = matcher.extract(picture), matcher.extract(picture)
    assert torch.equal(a.descriptors, b.descriptors)


class LargeBackbone(ColourBackbone):
    """The published grid: 60 x 60 cells."""

    side = 840
    grid = Grid.from_patches(840, 14)
    grids = (grid, grid)

    def __call__(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        return [torch.randn(len(canvases), 8, 60, 60) for _ in self.grids]


class LargestTensors(TorchDispatchMode):
    """Notes the storage of every tensor as large as a 3,600 x 3,600 similarity."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: list[int] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (list, tuple)) else [out]:
            if (
                isinstance(tensor, torch.Tensor)
                and tensor.untyped_storage().nbytes() >= 4 * 3600**2
            ):
                self.storages.append(tensor.untyped_storage()._cdata)
        return out


@pytest.mark.parametrize("name", ["match", "flow"])
def test_the_whole_similarity_is_held_once(colour_matcher, name):
    matcher = Matcher(LargeBackbone(), colour_matcher.config)
    first, second = matcher.extract([random_image(300, 200), random_image(200, 300)])
    with LargestTensors() as seen:
        getattr(matcher, name)(first, second)
    assert len(set(seen.storages)) == 1


@pytest.mark.parametrize("poses", ["none", "all"])
def test_given_points_need_no_whole_similarity(colour_matcher, poses):
    matcher = Matcher(LargeBackbone(), colour_matcher.config)
    first, second = matcher.extract([random_image(300, 200), random_image(200, 300)])
    with LargestTensors() as seen:
        matcher.transfer(first, second, [[10, 10]], poses=poses)
    assert not seen.storages
