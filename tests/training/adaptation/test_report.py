"""The report of an adaptation: counts, examples by percentile, and what is said of both."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toy_adaptation import RuledSides, cuts, toy_store
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from homolog import HomologError
from homolog.config import MatcherConfig
from homolog.image.poses import IDENTITY, POSE_SETS
from homolog.training.adaptation import examples as choosing
from homolog.training.adaptation.config import MiningConfig
from homolog.training.adaptation.examples import Examples, at_percentiles
from homolog.training.adaptation.images import ImageSet, LeftOut
from homolog.training.adaptation.mining import PseudoMatches, mine_pair
from homolog.training.adaptation.report import (
    AdaptationReport,
    MinedRound,
    WeightTrial,
    write_report,
)
from homolog.training.adaptation.teacher import Teacher

CONFIG = MiningConfig(fewest=3)
TESTS = ("object", "cycle", "coordinates", "side", "affine")


def pseudo_matches(source, target, on_object, cycle, coordinates, side, affine):
    count = len(cycle)
    cells = np.random.default_rng(count).uniform(0, 11, (2, count, 2))
    arrays = (np.array(each, dtype=float) for each in (on_object, cycle, coordinates, side, affine))
    return PseudoMatches(source, target, *cells, *arrays)


values = st.tuples(
    st.sampled_from([0, 1]),
    st.sampled_from([0.0, 0.05, 0.06]),
    st.sampled_from([0.0, 0.35, 0.4]),
    st.sampled_from([-0.5, 0.0, 1.0]),
    st.sampled_from([0.0, 0.1, 0.2]),
)


@given(st.lists(st.lists(values, min_size=1, max_size=8), max_size=5))
def test_counts_are_those_of_a_look_at_every_match(pairs):
    mined = [
        pseudo_matches(number, number + 1, *zip(*rows, strict=True))
        for number, rows in enumerate(pairs)
    ]
    found = MinedRound.of(mined, CONFIG)
    failed, alone = dict.fromkeys(TESTS, 0), dict.fromkeys(TESTS, 0)
    kept, too_few, used = 0, 0, []
    for number, rows in enumerate(pairs):
        passed = 0
        for on_object, cycle, coordinates, side, affine in rows:
            wrong = [
                name
                for name, fails in zip(
                    TESTS,
                    (not on_object, cycle > 0.05, coordinates > 0.35, side < 0, affine > 0.1),
                    strict=True,
                )
                if fails
            ]
            for name in wrong:
                failed[name] += 1
                alone[name] += wrong == [name]
            passed += not wrong
        if passed >= 3:
            kept += passed
            used.append(number)
        else:
            too_few += passed
    assert (found.pairs, found.matches) == (len(pairs), sum(map(len, pairs)))
    assert (found.kept, found.too_few, found.used_pairs) == (kept, too_few, len(used))
    assert found.used_images == len({i for n in used for i in (n, n + 1)})
    if pairs:
        assert (found.failed, found.failed_alone) == (failed, alone)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_examples_have_the_values_at_the_percentiles(numbers):
    chosen = at_percentiles(list(enumerate(numbers)), numbers)
    ordered = sorted(numbers)
    for percentile, (index, value) in chosen:
        assert numbers[index] == value == ordered[round(percentile / 100 * (len(numbers) - 1))]
    indices = [index for _, (index, _) in chosen]
    assert len(set(indices)) == len(indices) == (3 if len(numbers) > 2 else len(numbers))


def report(**changed):
    images = ImageSet(
        tuple(Path(f"photos/{number}.jpg") for number in range(40)), (1,) * 40,
        (
            LeftOut(Path("photos/b|c.jpg"), "a copy of photos/a.jpg"),
            LeftOut(Path("photos/d.jpg"), "a copy of photos/a.jpg"),
            LeftOut(Path("photos/e.jpg"), "cannot be read: expected an image, got e.jpg"),
        ),
    )  # fmt: skip
    found = MinedRound(
        50, 30, 35, 1000, 400, dict.fromkeys(TESTS, 200), dict.fromkeys(TESTS, 20), 7
    )
    made = AdaptationReport(
        source="photos", model="embedded", images=images, held_aside=4, recognised=None,
        config=MiningConfig(), rounds=[found],
        trials=[WeightTrial(1.0, 0.4), WeightTrial(0.3, 0.55)],
        zero_shot=0.3, before=0.4, after=0.55, sides_tuned=False,
        seconds={"matching": 100.0, "training the head": 1150.0},
    )  # fmt: skip
    return dataclasses.replace(made, **changed)


def tables(text):
    """Cells of each table of a Markdown text."""
    found = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
    return [
        [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in table.strip().split("\n")]
        for table in found
    ]


def test_what_is_said_has_the_numbers():
    text = report().to_markdown()
    for said in (
        "55.0 % of the points", "40.0 % were before", "40 images were used", "4 of these",
        "3 images were left out", "`b|c.jpg`".replace("|", "\\|"), "cannot be read",
        "50 pairs", "1,000 matches", "400 (40.0 %)", "30 pairs of 35 images", "20.0 %", "2.0 %",
        "0.7 %", "| 0.30 | 55.0 | chosen |", "| all | 1,250 |", "without their labels",
    ):  # fmt: skip
        assert said in text, said
    assert "No better" not in text and "Round" not in text and "jpg)" not in text
    for table in tables(text):
        assert len({len(row) for row in table}) == 1, table


def test_a_model_that_is_no_better_is_said_to_be_none():
    for after in (0.4, 0.3):
        made = report(after=after)
        assert not made.is_better and made.summary().startswith("No better than before")
        assert made.summary() in made.to_markdown()
        assert made.to_dict()["consistency"] == {"before": 0.4, "after": after, "better": False}
    assert report().is_better and report().to_dict()["consistency"]["better"]


def test_what_holds_for_some_runs_alone_is_said_of_these():
    assert "The side head knows the objects of 30 images" in report(recognised=30).to_markdown()
    assert "Round 2: " in report(rounds=report().rounds * 2).to_markdown()
    assert "the new head has no part" in report(zero_shot=1.0).to_markdown()
    labelled = report(exemplars=3).to_markdown()
    assert "labels of 3 objects" in labelled and "No label" not in labelled
    assert "Masks were used." in report(notes=["Masks were used."]).to_markdown()
    nothing = report(images=ImageSet((), ())).to_markdown()
    assert "left out" not in nothing


def test_machines_get_the_same_numbers():
    plain = json.loads(json.dumps(report(recognised=30).to_dict(), allow_nan=False))
    assert plain["images"] == {
        "used": 40, "held_aside": 4, "recognised": 30,
        "left_out": {"copies of other images": 2, "images that cannot be read": 1},
    }  # fmt: skip
    assert plain["rounds"][0]["kept"] == 400 and plain["rounds"][0]["failed"]["cycle"] == 200
    assert plain["weights"][1] == {"zero_shot": 0.3, "consistency": 0.55}


CORNERS = [(x, y) for x in (0, 30, 60) for y in (0, 30)]


def teacher(store, side_head=None, **changed):
    config: MatcherConfig = dataclasses.replace(store.matcher.config, **changed)
    if side_head is not None:
        config = dataclasses.replace(config, sides=side_head.config)
    return Teacher(store, config, None, side_head)


@pytest.fixture
def store(tmp_path):
    return toy_store(tmp_path, cuts(*CORNERS), components=1000)


def toy_examples(store, poses=(IDENTITY,), after=None, before=None):
    before = before or teacher(store)
    pairs = [(a, b) for a in range(len(store)) for b in range(len(store)) if a != b]
    rng = np.random.default_rng(0)
    mined = [mine_pair(before, *pair, 80, list(poses), rng) for pair in pairs]
    return Examples(before, after or before, mined, MiningConfig(), pairs[:10], list(poses))


@pytest.mark.parametrize("rotated", [False, True])
def test_compared_points_are_matched_as_the_matcher_does(tmp_path, rotated):
    images = cuts((0, 0), (0, 0) if rotated else (20, 10))
    poses = [IDENTITY]
    if rotated:
        images[0] = images[0].transpose(Image.Transpose.ROTATE_90)
        poses = list(POSE_SETS["rotations"])
    store = toy_store(tmp_path, images, components=1000)
    before = teacher(store)
    examples = Examples(before, before, [], MiningConfig(), [(0, 1)], poses)
    ((pair,), names) = choosing.compared_pairs(examples)
    expected = store.matcher.transfer(
        *store.paths, pair.source_points, poses="rotations" if rotated else "none"
    )
    assert (expected.pose != "identity") == rotated
    np.testing.assert_allclose(pair.before, expected.keypoints1, atol=0.3)
    np.testing.assert_array_equal(pair.before, pair.after)
    assert names == ["`0.png`, `1.png`"]


def test_an_image_leads_back_to_itself_and_other_scenes_do_not(tmp_path):
    image = cuts((0, 0))[0]
    store = toy_store(tmp_path, [image, image, *cuts((0, 0), seed=5)], components=1000)
    before = teacher(store)
    examples = Examples(before, before, [], MiningConfig(), [(0, 1), (0, 2)], [IDENTITY])
    (other, same), _ = choosing.compared_pairs(examples)
    if other.titles[1] > same.titles[1]:
        other, same = same, other
    shares = {e.target: e.consistent[0].mean() for e in (
        choosing._Followed.of(examples, 0, target) for target in (1, 2)
    )}  # fmt: skip
    assert shares[1] > 0.95 > 0.6 > shares[2]


def test_points_are_drawn_far_from_each_other():
    points = np.random.default_rng(0).uniform(0, 1, (40, 2))
    chosen = choosing._spread_points(points, 10).tolist()
    for step in range(1, 10):
        nearest = np.linalg.norm(points[:, None] - points[chosen[:step]], axis=2).min(1)
        assert nearest[chosen[step]] == nearest.max()
    assert len(choosing._spread_points(points[:3], 10)) == 3


def test_everything_is_written_and_the_same_each_time(store, tmp_path):
    head = RuledSides()
    tuned = RuledSides()
    tuned.rule = -tuned.rule
    examples = toy_examples(store, after=teacher(store, tuned), before=teacher(store, head))
    log = tmp_path / "head"
    log.mkdir()
    lines = [json.dumps({"step": step, "loss": 5.0 / step}) for step in range(1, 30)]
    (log / "log.jsonl").write_text("\n".join(lines))
    contents = []
    for number in range(2):
        folder = tmp_path / f"report{number}"
        write_report(folder, report(sides_tuned=True), examples, {"head": log, "side head": log})
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "report.md", "results.json", "matches.jpg", "before_after.jpg", "sides.jpg", "loss.png",
    }  # fmt: skip
    text = contents[0]["report.md"].decode()
    for name in ("matches.jpg", "before_after.jpg", "sides.jpg", "loss.png"):
        assert f"]({name})" in text
        with Image.open(tmp_path / "report0" / name) as drawn:
            assert max(drawn.size) <= 1700
    assert json.loads(contents[0]["results.json"]) == report(sides_tuned=True).to_dict()


def test_only_what_there_is_to_draw_is_drawn(store, tmp_path):
    before = teacher(store)
    nothing = Examples(before, before, [], MiningConfig(), [], [IDENTITY])
    write_report(tmp_path / "report", report(sides_tuned=True), nothing, {})
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.md", "results.json"}
    assert "](" not in (tmp_path / "report" / "report.md").read_text()
    strange = teacher(store, RuledSides(objectness=0.1))
    unknown = Examples(strange, strange, [], MiningConfig(), [(0, 1)], [IDENTITY])
    assert choosing.compared_sides(unknown) == ([], [])


def test_work_is_bounded_however_many_pairs_were_held_aside(store, monkeypatch):
    examples = toy_examples(store)
    many = dataclasses.replace(
        examples, held_aside=[p for p in examples.held_aside for _ in range(100)]
    )
    followed = []
    original = choosing._Followed.of
    monkeypatch.setattr(
        choosing._Followed, "of", lambda *given: followed.append(given) or original(*given)
    )
    pairs, _ = choosing.compared_pairs(many)
    assert len(followed) == 40 and len(pairs) == 3


def test_sides_that_changed_most_come_last(tmp_path):
    images = [*cuts((0, 0), (30, 30)), ImageOps.invert(cuts((50, 50))[0])]
    store = toy_store(tmp_path, images, components=1000)
    before, after = RuledSides(), RuledSides()
    after.rule = before.rule + 0.5 * torch.randn(before.rule.shape, generator=torch.manual_seed(3))
    pairs = [(0, 1), (1, 2), (2, 0)]
    examples = Examples(
        teacher(store, before), teacher(store, after), [], MiningConfig(), pairs, [IDENTITY]
    )
    found, names = choosing.compared_sides(examples)
    changes = [
        float(np.average(abs(one.left - two.left), weights=one.confidence)) for _, one, two in found
    ]
    assert changes == sorted(changes) and len(set(names)) == 3


def test_what_cannot_be_read_or_written_is_said_in_a_line(store, tmp_path):
    examples = toy_examples(store)
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    with pytest.raises(HomologError, match=f"^out: cannot make {blocked}"):
        write_report(blocked, report(), examples, {})
    for path in store.paths:
        path.unlink()
    with pytest.raises(HomologError, match="image"):
        write_report(tmp_path / "report", report(), examples, {})
