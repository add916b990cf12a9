"""What is known of single keypoints, against loops over all others."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog import KeypointSchema
from homolog.evaluation import keypoints

SCHEMA = KeypointSchema(
    ("nose", "left_paw", "right_paw", "left_hip", "right_hip"),
    (0, 2, 1, 4, 3),
    ((1, 2, 3, 4),),
)
COORDINATE = st.sampled_from([0.0, 1.0, 2.0, 5.0])
POINT = st.tuples(COORDINATE, COORDINATE)
TARGET = st.lists(st.one_of(POINT, st.just((math.nan, math.nan))), min_size=5, max_size=5)
PREDICTED = st.lists(st.one_of(POINT, st.just((math.nan, 0.0))), min_size=5, max_size=5)


def distance(a, b):
    found = math.hypot(a[0] - b[0], a[1] - b[1])
    return math.inf if math.isnan(found) else found


@given(PREDICTED, TARGET)
def test_loops_over_all_keypoints(predicted, target):
    points, truth, ids = np.array(predicted), np.array(target), np.arange(5)
    shown = [not math.isnan(x) for x, _ in target]
    nearest = keypoints.nearest_is_right(points, ids, truth)
    of_group = keypoints.group_errors(points, ids, truth, SCHEMA, 10.0)
    split = keypoints.mirror_split(ids, np.array(shown), SCHEMA)
    to_mirror = keypoints.mirror_errors(points, ids, truth, SCHEMA, 10.0)
    for k in range(5):
        own = distance(predicted[k], target[k])
        others = [distance(predicted[k], target[j]) for j in range(5) if shown[j]]
        assert nearest[k] == (own < math.inf and own <= min(others))
        group = [k] if k == 0 else [1, 2, 3, 4]
        members = [distance(predicted[k], target[j]) for j in group if shown[j]]
        closest = min(members, default=math.inf)
        assert of_group.members_K[k] == len(members)
        assert of_group.nearest_K[k] == pytest.approx(closest / 10)
        assert of_group.chosen_K[k] == (own < math.inf and own <= closest)
        mirror = SCHEMA.mirror[k]
        n1x, n11, n10 = keypoints.NO_MIRROR, keypoints.MIRROR_VISIBLE, keypoints.MIRROR_HIDDEN
        assert split[k] == (n1x if mirror == k else n11 if shown[mirror] else n10)
        expected = math.inf if mirror == k else distance(predicted[k], target[mirror])
        assert to_mirror[k] == pytest.approx(expected / 10)


def test_whether_mirror_counterparts_are_known():
    assert keypoints.knows_mirrors([KeypointSchema.numbered(3), SCHEMA])
    assert not keypoints.knows_mirrors([KeypointSchema.numbered(3)])
