"""Pairs: prepared once, asked many times, in every pose and in both directions."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.toys import ColourBackbone, random_image

from homolog import HomologError, KeypointSchema, Matcher, matching
from homolog.example import pair as example_pair
from homolog.image.poses import FLIP, IDENTITY, PoseVariant
from homolog.matching.consensus import Consensus, ConsensusConfig

SCHEMA = KeypointSchema.from_names(["nose", "left_paw", "right_paw", "left_ear", "right_ear"])
POINTS = np.array([[48.0, 20], [20, 60], [70, 55], [30, 10], [64, 14]])


def same(one, other) -> bool:
    return (one.keypoints1 == other.keypoints1).all() and one.pose == other.pose


@pytest.mark.parametrize("poses", ["none", "flip", "rotations", "all", ["flip"], ["rotate30"]])
def test_a_pair_answers_as_the_matcher_does(colour_matcher, poses):
    source, target = random_image(96, 64), random_image(64, 96, seed=1)
    points = POINTS * (1, 0.6)
    pair = colour_matcher.pair(source, target, poses=poses)
    assert same(pair.transfer(points), colour_matcher.transfer(source, target, points, poses=poses))
    assert same(pair.match(20), colour_matcher.match(source, target, 20, poses=poses))
    flow, expected = pair.flow(), colour_matcher.flow(source, target, poses=poses)
    np.testing.assert_array_equal(flow.forward.points1, expected.forward.points1)
    heat = pair.heatmap(points)
    np.testing.assert_array_equal(heat.similarity, pair.similarity(points).numpy())
    assert same(heat.matches, pair.transfer(points))
    np.testing.assert_array_equal(pair.transfer_points(points), heat.matches.keypoints1)


def test_the_alignment_says_what_decided(colour_matcher):
    source = random_image(96, 96)
    target = FLIP.apply(source)
    asked = colour_matcher.pair(source, target, poses=["flip"]).alignment
    assert (asked.pose, asked.decided_by, asked.distances) == (FLIP, "request", None)
    pair = colour_matcher.pair(source, target, poses="flip")
    assert pair.alignment.pose == FLIP and pair.alignment.decided_by == "distance"
    assert pair.alignment.distances[FLIP] < pair.alignment.distances[IDENTITY]
    assert pair.distance() == pair.alignment.distances[FLIP] == pair.distance(FLIP)
    # The pair knows the best pose; free points do not use a flip, named points and images do.
    assert pair.transfer(POINTS).pose == "identity" and "flip" in pair.transfer(POINTS).warning
    assert pair.flow().pose == "identity" and "flip" in pair.flow().warning
    assert pair.flow(flip=True).pose == "flip" and pair.flow(flip=True).warning is None
    named = colour_matcher.pair(source, target, poses="flip", schema=SCHEMA).transfer(POINTS)
    assert named.pose == "flip" and named.warning is None


def test_headings_decide_with_the_shipped_model(matcher, caplog):
    with example_pair() as example, caplog.at_level("INFO", "homolog"):
        facing = matcher.pair(example.image0, example.image1, poses="flip")
        alignment = facing.alignment
        assert alignment.decided_by == "heading" and alignment.distances is None
        assert f"pose {alignment.pose.name}, decided by the headings" in caplog.text
        assert not facing.transfer([[41, 186]]).pose_distances
        # Whatever decided, the distance is that of the best pose.
        assert facing.distance() == facing.distance(alignment.pose) > 0


def test_what_is_needed_twice_is_computed_once(monkeypatch):
    made = []
    make = Consensus.__init__

    def counted(self, *arguments):
        made.append(1)
        make(self, *arguments)

    monkeypatch.setattr(Consensus, "__init__", counted)
    backbone = ColourBackbone()
    config = Matcher.from_pretrained("embedded-zero-shot", device="cpu").config
    fusion = type(config.fusion)(groups=((0,), (1,)), weights=(1.0, 1.0))
    config = type(config)("colour", fusion, 2, 0.02, ConsensusConfig(), None)
    pair = Matcher(backbone, config).pair(random_image(96, 64), random_image(64, 96, seed=1))
    assert backbone.seen == 0, "nothing before it is needed"
    for _ in range(3):
        pair.transfer([[5, 5]])
        pair.heatmap([[5, 5]])
        pair.match()
        pair.flow()
    assert backbone.seen == 2
    assert len(made) == 2, "one consensus for each direction"


def test_reversed_pairs_answer_the_other_way(colour_matcher):
    source, target = random_image(96, 64), random_image(64, 96, seed=1)
    points = POINTS * (0.6, 1)
    back = colour_matcher.pair(source, target).reversed()
    assert same(back.transfer(points), colour_matcher.transfer(target, source, points))
    turned = colour_matcher.pair(source, PoseVariant(rotation=180).apply(source), poses="rotations")
    found = turned.reversed().transfer(POINTS * (1, 0.6))
    expected = PoseVariant(rotation=180).points(POINTS * (1, 0.6), (96, 64))
    assert np.abs(found.keypoints1 - expected).max() <= 8


def test_reversed_pairs_of_a_flipped_source_warn(colour_matcher):
    source = random_image(96, 96)
    pair = colour_matcher.pair(source, FLIP.apply(source), poses=["flip"], schema=SCHEMA)
    found = pair.reversed().transfer(POINTS)
    assert "flipped" in found.warning and "flipped" in pair.reversed().match().warning
    assert np.abs(found.keypoints1 - FLIP.points(POINTS, (96, 96))).max() <= 8
    assert colour_matcher.pair(source, source).reversed().transfer(POINTS).warning is None


def test_masks_decide_where_matches_lie_and_how_far_poses_are(colour_matcher):
    image, mask = random_image(96, 96), np.zeros((96, 96), np.uint8)
    mask[:, :48] = 255
    pair = colour_matcher.pair(image, image, mask0=mask, mask1=mask)
    assert pair.transfer([[80, 40]]).keypoints1[0, 0] <= 48
    source, target = pair.source_map(IDENTITY), pair.target_map
    assert not source.matchable_HW[:, 6:].any() and source.valid_HW.all()
    assert pair.distance() == matching.instance_matching_distance(
        source.descriptors_HWC, target.descriptors_HWC, source.matchable_HW, target.matchable_HW
    )


def test_several_images_go_through_the_backbone_together(matcher):
    images = [random_image(120, 90, seed) for seed in range(3)]
    together = matcher.extract(images, poses="flip")
    for image, features in zip(images, together, strict=True):
        alone = matcher.extract(image, poses="flip")
        for pose, found in features.by_pose.items():
            difference = found.descriptors_HWC - alone.by_pose[pose].descriptors_HWC
            assert difference.abs().max() <= 1e-5


def test_a_batch_that_does_not_fit_is_halved(colour_matcher):
    class SmallDevice(ColourBackbone):
        def __call__(self, canvases: torch.Tensor) -> list[torch.Tensor]:
            if len(canvases) > 2:
                raise torch.OutOfMemoryError
            return super().__call__(canvases)

    images = [random_image(96, 64, seed) for seed in range(7)]
    found = Matcher(SmallDevice(), colour_matcher.config).extract(images)
    for image, features in zip(images, found, strict=True):
        alone = colour_matcher.extract(image).descriptors
        torch.testing.assert_close(features.descriptors, alone, atol=1e-5, rtol=0)


# Results.


def test_matches_are_selected_by_mask_slice_and_index(colour_matcher):
    image = random_image(96, 96)
    matches = colour_matcher.transfer(image, image, POINTS, SCHEMA)
    assert matches.point_names == SCHEMA.names
    chosen = matches[np.array([True, False, True, False, False])]
    assert len(chosen) == 2 and chosen.point_names == ("nose", "right_paw")
    assert chosen.point_ids == (0, 2) and chosen.pair_score == matches.pair_score
    np.testing.assert_array_equal(chosen.keypoints0, POINTS[[0, 2]])
    assert matches[1:3].point_ids == (1, 2)
    assert matches[np.array([4, 0])].point_ids == (4, 0)
    assert len(matches[matches.matching_scores > 2]) == 0
    assert len(matches[np.zeros(5, bool)].to_dict()["keypoints0"]) == 0


def test_nothing_is_drawn_as_well(colour_matcher):
    image = random_image(96, 96)
    nothing = colour_matcher.transfer(image, image, POINTS, SCHEMA)[[]]
    assert len(nothing) == 0 and nothing.point_names == ()
    assert min(nothing.plot().size) > 300 and "<img" in nothing._repr_html_()


def test_results_compare_and_hash_by_identity(colour_matcher):
    image = random_image(96, 96)
    pair = colour_matcher.pair(image, image)
    for make in (pair.flow, pair.match, lambda: pair.heatmap([[5, 5]])):
        one, other = make(), make()
        assert one == one and one != other and len({one, other, one}) == 2


def test_results_show_themselves(colour_matcher, matcher):
    image = random_image(96, 96)
    pair = colour_matcher.pair(image, image, schema=SCHEMA)
    results = [pair.transfer(POINTS), pair.flow(), pair.heatmap([[5, 5]]), matcher.sides(image)]
    for result in results:
        assert "\n" not in repr(result) and repr(result).startswith(type(result).__name__ + "(")
        assert min(result.plot().size) > 300
        page = result._repr_html_()
        assert '<img src="data:image/png;base64,' in page and "<table>" in page
    assert "left_paw" in results[0]._repr_html_()
    assert repr(matcher) == "Matcher('embedded', device='cpu', precision='float32')"
    assert repr(matcher.with_config(window=7)) == repr(matcher)


def test_images_travel_with_a_result_but_not_into_json_or_a_pickle(colour_matcher):
    image = random_image(96, 96)
    matches = colour_matcher.transfer(image, image, POINTS, SCHEMA)
    assert not {"image0", "image1"} & set(matches.to_dict())
    back = pickle.loads(pickle.dumps(matches))
    assert back.image0 is None and back.point_names == matches.point_names
    np.testing.assert_array_equal(back.keypoints1, matches.keypoints1)
    with pytest.raises(HomologError, match="plot: expected a result with its images"):
        back.plot()
    assert "<img" not in back._repr_html_() and "<table>" in back._repr_html_()
    for result in (colour_matcher.flow(image, image), colour_matcher.heatmap(image, image, POINTS)):
        with pytest.raises(HomologError, match="plot: expected"):
            pickle.loads(pickle.dumps(result)).plot()


def test_data_frames(colour_matcher):
    image = random_image(96, 96)
    matches = colour_matcher.transfer(image, image, POINTS, SCHEMA)
    frame = matches.to_dataframe()
    assert list(frame.columns) == ["name", "x0", "y0", "x1", "y1", "score"]
    assert frame["name"].tolist() == list(SCHEMA.names)
    np.testing.assert_array_equal(frame[["x1", "y1"]].to_numpy(), matches.keypoints1)
    assert "name" not in colour_matcher.transfer(image, image, POINTS).to_dataframe().columns


def test_data_frames_without_pandas(colour_matcher, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    image = random_image(96, 96)
    with pytest.raises(HomologError, match="pandas: expected it to be installed"):
        colour_matcher.transfer(image, image, POINTS).to_dataframe()


WRONG = """
from PIL import Image
from homolog import HomologError, Matcher
matcher, image = Matcher.from_pretrained("embedded"), Image.new("RGB", (20, 20))
for ask in (
    lambda: matcher.pair(image, image, schema=17),
    lambda: matcher.pair(image, image, poses=5),
    lambda: matcher.match(image, image, "a"),
    lambda: matcher.match(image, image, 1.5),
    lambda: matcher.transfer(image, image, [[5, 5]], zoom="twice"),
    lambda: matcher.transfer(image, image, [[5, 5]], box0=7),
    lambda: matcher.extract(image, box=7, zoom=2),
    lambda: matcher.with_cache("folder"),
    lambda: matcher.with_config(guidance=None),
):
    try:
        ask()
    except HomologError as error:
        print(error)
"""


def test_wrong_arguments_are_named():
    """In a process of its own, where no checker of annotations comes first."""
    found = subprocess.run([sys.executable, "-c", WRONG], capture_output=True, text=True)
    assert found.stderr == ""
    expected = [
        "schema: expected ap10k, spair:<category>, a COCO file or a file of names, got 17",
        "poses: expected none, flip, rotations, all or a list of poses, got 5",
        "max_matches: expected a whole number from 1 on, got 'a'",
        "max_matches: expected a whole number from 1 on, got 1.5",
        "zoom: expected auto or None, got 'twice'",
        "box0: expected (x, y, width, height) in pixels, got 7",
        "zoom: expected auto or None, got 2",
        "cache: expected a FeatureCache, got 'folder'",
    ]
    assert found.stdout.splitlines()[:-1] == expected
    assert found.stdout.splitlines()[-1].startswith("changes: expected backbone, fusion, ")
