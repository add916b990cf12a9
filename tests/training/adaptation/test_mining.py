"""Mining: known maps are found again, and what speaks for a match is measured by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.toy_adaptation import RuledSides, cuts, save_images, toy_store
from helpers.toys import random_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from homolog.image.poses import IDENTITY, POSE_SETS, PoseVariant
from homolog.training.adaptation.mining import (
    PointMatcher,
    in_best_pose,
    local_affine_residuals,
    mine_pair,
)
from homolog.training.adaptation.teacher import Teacher, object_size

UPRIGHT, TURNS = POSE_SETS["none"], POSE_SETS["rotations"]


def box_mask(left: int, top: int, right: int, bottom: int, size=(96, 96)) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle((left, top, right - 1, bottom - 1), fill=255)
    return mask


def teacher_of(folder, images, masks=None, side_head=None) -> Teacher:
    store = toy_store(folder, images)
    config = store.matcher.config
    if side_head is not None:
        config = dataclasses.replace(config, sides=side_head.config)
    files = [] if masks is None else save_images(folder / "masks", masks)
    return Teacher(store, config, None, side_head, dict(zip(store.paths, files, strict=False)))


@pytest.fixture
def shifted(tmp_path) -> Teacher:
    """Two cuts of one scene, the second from 16 pixels (2 cells) further left, 8 (1) higher."""
    masks = [box_mask(0, 0, 80, 88), box_mask(16, 8, 96, 96)]
    return teacher_of(tmp_path, cuts((40, 40), (24, 32)), masks)


def test_a_shift_is_found_again(shifted):
    found = mine_pair(shifted, 0, 1, 200, UPRIGHT, np.random.default_rng(0))
    assert (found.source, found.target) == (0, 1)
    assert len(found) == 10 * 11  # every cell of the object
    assert len(np.unique(found.source_cells, axis=0)) == len(found)
    away = np.linalg.norm(found.target_cells - found.source_cells - (2, 1), axis=1)
    # At an image's border the toy's gradients differ.
    inner = (found.source_cells > 1).all(1) & (found.source_cells < (8.5, 9.5)).all(1)
    assert inner.sum() > 50 and away[inner].max() < 0.5 and np.median(away) < 0.2
    assert (found.on_object == 1).all()
    assert np.quantile(found.cycle_errors, 0.9) < 0.05
    assert np.quantile(found.affine_residuals, 0.9) < 0.05
    assert (found.coordinate_distances == 0).all() and (found.side_agreement == 1).all()


def test_what_speaks_for_a_match_by_hand(shifted):
    """Of two images with little in common, whose matches are good and bad."""
    paths = save_images(shifted.store.folder.parent / "more", [random_image(96, 96, 9)])
    store = type(shifted.store)(
        shifted.store.folder.parent / "three",
        shifted.store.matcher,
        [*shifted.store.paths, *paths],
        70,
    )
    teacher = Teacher(store, shifted.config, None, None, shifted.mask_paths)
    found = mine_pair(teacher, 0, 2, 60, UPRIGHT, np.random.default_rng(0))
    source, target = teacher.descriptor_map(0), teacher.descriptor_map(2)
    on_source, on_target = source.matchable_HW, target.saliency_HW > 0
    forth = PointMatcher(source, target, teacher.config)
    back = PointMatcher(target, source, teacher.config)
    size0, size1 = object_size(on_source), object_size(on_target)
    assert size0 == 11
    cells = torch.from_numpy(found.source_cells).float()
    torch.testing.assert_close(forth(cells).double(), torch.from_numpy(found.target_cells))
    for row, (x, y) in enumerate(found.source_cells):
        assert on_source[int(y), int(x)]
        match = forth(torch.tensor([[x, y]]).float())
        returned = back(match)[0].numpy()
        error = np.hypot(*(returned - (x, y))) / size0
        assert found.cycle_errors[row] == pytest.approx(error, abs=1e-4)
        column, line = (round(float(value)) for value in match[0])
        assert found.on_object[row] == float(on_target[line, column])
    assert 0 < found.on_object.mean() < 1
    residuals = residuals_by_hand(found.source_cells, found.target_cells, found.cycle_errors)
    certain = np.isfinite(residuals)
    assert certain.sum() > 10
    np.testing.assert_allclose(
        found.affine_residuals[certain], residuals[certain] / size1, atol=1e-3
    )


def residuals_by_hand(source, target, cycle_errors):
    """One least-squares problem after the other, a ridge as two more observations.

    NaN where several matches are the last of the nearest.
    """
    order = np.sort(cycle_errors)
    good = np.flatnonzero(cycle_errors <= order[(len(order) - 1) // 2])
    count = min(8, len(good) - 1)
    found = []
    for row, (point, match) in enumerate(zip(source, target, strict=True)):
        others = good[good != row]
        distances = np.linalg.norm(source[others] - point, axis=1)
        nearest = others[np.argsort(distances)][:count]
        last = np.sort(distances)[count - 1 : count + 1]
        if len(last) == 2 and np.isclose(*last):
            found.append(np.nan)
            continue
        centre, goal = source[nearest].mean(0), target[nearest].mean(0)
        # moved = offsets + offsets @ change, and change = 0 as two observations.
        offsets, moved = source[nearest] - centre, target[nearest] - goal
        left = np.concatenate([offsets, np.eye(2)])
        right = np.concatenate([moved - offsets, np.zeros((2, 2))])
        change, *_ = np.linalg.lstsq(left, right, rcond=None)
        expected = goal + (point - centre) @ (np.eye(2) + change)
        found.append(np.linalg.norm(match - expected))
    return np.array(found)


@given(seed=st.integers(0, 10_000), count=st.integers(8, 40))
def test_affine_residuals_by_hand(seed, count):
    rng = np.random.default_rng(seed)
    source, target = rng.uniform(0, 12, (2, count, 2))
    errors = rng.uniform(0, 1, count)
    given = (torch.from_numpy(each) for each in (source, target, errors))
    found = local_affine_residuals(*given).numpy()
    np.testing.assert_allclose(found, residuals_by_hand(source, target, errors), atol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_an_affine_map_leaves_little_and_an_outlier_stands_out(seed):
    rng = np.random.default_rng(seed)
    source = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), axis=-1).reshape(-1, 2)
    matrix = np.eye(2) + rng.uniform(-0.25, 0.25, (2, 2))
    target = source @ matrix + rng.uniform(-5, 5, 2)
    wrong = int(rng.integers(64))
    target[wrong] += (3, 4)
    errors = np.zeros(64)
    errors[wrong] = 1  # among the worse half, so that others do not follow it
    given = (torch.from_numpy(each) for each in (source, target, errors))
    found = local_affine_residuals(*given).numpy()
    assert found[wrong] == pytest.approx(5, abs=0.5)
    assert np.delete(found, wrong).max() < 0.5


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_matches_has_no_residuals(count):
    points = torch.rand(count, 2, generator=torch.manual_seed(0))
    found = local_affine_residuals(points, points.flip(0), torch.zeros(count))
    assert torch.equal(found, torch.zeros(count))


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_a_turned_copy_is_matched_in_the_right_pose(tmp_path, turn):
    image = random_image(120, 80, 4)
    teacher = teacher_of(tmp_path, [image, image.rotate(turn, expand=True)])
    goal = teacher.descriptor_map(1)
    assert in_best_pose(teacher, 0, goal, TURNS).transform.pose == PoseVariant(rotation=turn)
    found = mine_pair(teacher, 0, 1, 100, TURNS, np.random.default_rng(0))
    assert len(found) > 20
    store = teacher.store
    points = store.transform(0).to_points(found.source_cells)
    matches = store.transform(1).to_points(found.target_cells)
    # Turned counter-clockwise about the middle, x to the right and y down.
    x, y = (points - (60, 40)).T
    expected = {90: (y, -x), 180: (-x, -y), -90: (-y, x)}[turn]
    middle = (40, 60) if turn != 180 else (60, 40)
    away = np.linalg.norm(matches - (np.stack(expected, axis=1) + middle), axis=1)
    assert away.max() < 2  # pixels, of which a cell has 10
    assert found.cycle_errors.max() < 0.02 and found.affine_residuals.max() < 0.1
    assert ((points >= -3) & (points <= (123, 83))).all()  # of the upright image
    upright = mine_pair(teacher, 0, 1, 100, UPRIGHT, np.random.default_rng(0))
    assert upright.cycle_errors.mean() > found.cycle_errors.mean()


def test_one_pose_is_taken_as_it_is(tmp_path):
    image = random_image(96, 96, 4)
    teacher = teacher_of(tmp_path, [image, image.rotate(90)])
    for pose in (IDENTITY, PoseVariant(rotation=180)):
        found = in_best_pose(teacher, 0, teacher.descriptor_map(1), [pose])
        assert found is teacher.descriptor_map(0, pose)


def test_a_chain_is_one_match_after_the_other(tmp_path):
    images = [*cuts((40, 40), (30, 36)), random_image(96, 96, 7)]
    teacher = teacher_of(tmp_path, images)
    found = mine_pair(teacher, 0, 2, 50, UPRIGHT, np.random.default_rng(0), through=1)
    direct = mine_pair(teacher, 0, 2, 50, UPRIGHT, np.random.default_rng(0))
    np.testing.assert_array_equal(found.source_cells, direct.source_cells)
    maps = [teacher.descriptor_map(index) for index in range(3)]

    def match(cells, source, target):
        return PointMatcher(maps[source], maps[target], teacher.config)(cells)

    start = torch.from_numpy(found.source_cells).float()
    end = match(match(start, 0, 1), 1, 2)
    np.testing.assert_allclose(found.target_cells, end.numpy(), atol=1e-4)
    back = match(match(end, 2, 1), 1, 0)
    errors = (back - start).norm(dim=1).numpy() / object_size(maps[0].saliency_HW > 0)
    np.testing.assert_allclose(found.cycle_errors, errors, atol=1e-4)
    assert (found.source, found.target) == (0, 2)


def test_a_side_head_has_its_say_where_it_recognises_both_objects(tmp_path):
    head = RuledSides()
    teacher = teacher_of(tmp_path, cuts((40, 40), (24, 32)), side_head=head)
    found = mine_pair(teacher, 0, 1, 80, UPRIGHT, np.random.default_rng(0))
    zero_shot = [teacher.store.zero_shot(teacher.store.view(index)) for index in range(2)]
    rules = [each @ head.rule for each in zero_shot]
    for row, ends in enumerate(zip(found.source_cells, found.target_cells, strict=True)):
        values = []
        for rule, (x, y) in zip(rules, ends, strict=True):
            values.append(rule[min(max(round(y), 0), 11), min(max(round(x), 0), 11)])
        distance = float((values[0][1:4] - values[1][1:4]).norm())
        assert found.coordinate_distances[row] == pytest.approx(distance, abs=1e-3)
        agreement = float(values[0][0].tanh() * values[1][0].tanh())
        assert found.side_agreement[row] == pytest.approx(agreement, abs=1e-3)
    assert found.coordinate_distances.max() > 0.1

    unsure = teacher_of(tmp_path / "unsure", cuts((40, 40), (24, 32)), side_head=RuledSides(0.1))
    found = mine_pair(unsure, 0, 1, 80, UPRIGHT, np.random.default_rng(0))
    assert (found.coordinate_distances == 0).all() and (found.side_agreement == 1).all()


def test_points_are_drawn_by_the_generator_and_no_more_than_asked_for(shifted):
    draws = [
        mine_pair(shifted, 0, 1, 20, UPRIGHT, np.random.default_rng(seed)) for seed in (0, 0, 1)
    ]
    assert [len(each) for each in draws] == [20, 20, 20]
    for field in dataclasses.fields(draws[0]):
        one, other = (getattr(each, field.name) for each in draws[:2])
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(draws[0].source_cells, draws[2].source_cells)


def test_a_pair_of_few_cells_is_matched_all_the_same(tmp_path):
    masks = [box_mask(40, 40, 48, 48), box_mask(24, 32, 48, 48)]
    teacher = teacher_of(tmp_path, cuts((40, 40), (24, 32)), masks)
    found = mine_pair(teacher, 0, 1, 20, UPRIGHT, np.random.default_rng(0))
    assert len(found) == 1 and found.cycle_errors[0] == 0 and found.affine_residuals[0] == 0
