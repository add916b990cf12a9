"""Which object is which: by id, then by overlap; each once."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from homolog.labelling.instances import free_instance, match_instances
from homolog.labelling.neighbours import overlap

BOXES = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 30)] * 2)
OBJECTS = st.lists(st.tuples(st.one_of(st.none(), st.integers(1, 4)), BOXES), max_size=5)


def test_by_id_then_by_place():
    here, near, far = (0, 0, 10, 10), (1, 0, 10, 10), (50, 50, 10, 10)
    assert match_instances([(1, here), (2, near)], [(2, near), (1, here)]) == [1, 0]
    # The id decides between two that overlap, even where the box has moved.
    assert match_instances([(1, near)], [(2, near), (1, (5, 0, 10, 10))]) == [1]
    # Ids given anew do not exchange objects, and an object elsewhere is another.
    assert match_instances([(1, here), (2, far)], [(2, here), (1, far)]) == [0, 1]
    assert match_instances([(1, here)], [(1, far)]) == [None]
    assert match_instances([(None, here)], [("a", near)]) == [0]
    assert match_instances([(1, here), (2, near)], [(1, near)]) == [0, None]
    assert match_instances([], [(1, here)]) == [] and match_instances([(1, here)], []) == [None]


@given(OBJECTS, OBJECTS)
def test_each_is_used_once_and_none_that_could_be_is_left(objects, others):
    found = match_instances(objects, others)
    used = [each for each in found if each is not None]
    assert len(set(used)) == len(used) and len(found) == len(objects)
    for (number, box), position in zip(objects, found, strict=True):
        if position is not None:
            other, other_box = others[position]
            least = 0.1 if number is not None and number == other else 0.5
            assert overlap(box, other_box) >= least
    free = [each for n, each in enumerate(others) if n not in used]
    alone = [each for each, position in zip(objects, found, strict=True) if position is None]
    for (_, box), (_, other_box) in itertools.product(alone, free):
        assert overlap(box, other_box) < 0.5


@given(BOXES, BOXES)
def test_overlap_is_that_of_pixels(box0, box1):
    painted = np.zeros((2, 64, 64), bool)
    for layer, (x, y, width, height) in zip(painted, (box0, box1), strict=True):
        layer[y : y + height, x : x + width] = True
    expected = (painted[0] & painted[1]).sum() / (painted[0] | painted[1]).sum()
    np.testing.assert_allclose(overlap(box0, box1), expected)


def test_empty_boxes_overlap_nothing():
    assert overlap((3, 3, 0, 0), (3, 3, 0, 0)) == 0


@given(st.lists(st.one_of(st.none(), st.text(max_size=1), st.integers(-1, 6))))
def test_a_free_number(taken):
    found = free_instance(taken)
    assert found not in taken and all(each in taken for each in range(1, found))
