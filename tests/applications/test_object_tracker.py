"""Several objects followed through scenes made here, where all is known: where each is, and when
it is hidden."""

import csv
import gc
import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run
from helpers.toys import random_image
from helpers.videos import Scene, moving_objects, path, read_video, write_video
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError, Matcher
from homolog.applications import object_tracker
from homolog.applications.object_tracker import FrameObjects, ObjectTracker
from homolog.applications.tracked_object import TrackedObject
from homolog.applications.tracking import ObjectTracks, track
from homolog.descriptors import Features
from homolog.example import pair
from homolog.utils import progress


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)


def patchwork(seed: int, length: int = 64) -> Image.Image:
    return random_image(length, length, seed=seed)


def follow(matcher: Matcher, scene: Scene) -> list[FrameObjects]:
    tracker = ObjectTracker(matcher, scene.frames[0], scene.boxes[0])
    return [tracker.restart(), *(tracker.update(frame) for frame in scene.frames[1:])]


def stacked(found: list[FrameObjects], name: str) -> np.ndarray:
    return np.stack([getattr(each, name) for each in found])


def check(scene: Scene, found: list[FrameObjects], least: float = 0.7) -> None:
    """Whatever is taken to be in sight is where its own object is, in every frame."""
    overlaps, lost = scene.overlaps(stacked(found, "boxes")), stacked(found, "lost")
    assert overlaps[~lost].min() > least, "an object is taken for another, or its box is off"
    plain = scene.visible > 0.95
    plain[2:] &= plain[1:-1] & plain[:-2]
    assert not lost[plain].any(), "an object in plain sight is lost for more than two frames"
    assert lost[scene.visible < 0.05].all(), "a hidden object is taken to be in sight"
    assert not lost[-1].any()


CROSSING = path((20, 40), (240, 44), steps=11), path((240, 52), (20, 48), steps=11)


def test_different_objects_cross(colour_matcher):
    scene = moving_objects([patchwork(3), patchwork(4)], CROSSING)
    assert scene.visible.min() < 0.5
    check(scene, follow(colour_matcher, scene))


def test_twins_that_cross_are_told_apart_by_their_motion(colour_matcher, monkeypatch):
    scene = moving_objects([patchwork(3), patchwork(3)], CROSSING)
    check(scene, follow(colour_matcher, scene))
    # Taken to look different, both end on the one in front.
    monkeypatch.setattr(object_tracker, "_ALIKE", -np.inf)
    found = follow(colour_matcher, scene)
    overlaps = scene.overlaps(stacked(found, "boxes"))
    assert overlaps[-1, 0] < 0.1 and not found[-1].lost[0]


def test_different_objects_meet_and_turn_back(colour_matcher):
    """Motion says that they cross; what they look like says that they do not."""
    paths = (
        path((20, 40), (120, 44), (20, 48), steps=7),
        path((240, 52), (140, 48), (240, 44), steps=7),
    )
    scene = moving_objects([patchwork(3), patchwork(4)], paths)
    assert scene.visible.min() < 0.4
    check(scene, follow(colour_matcher, scene))


def test_hidden_objects_are_lost_and_found_again(colour_matcher):
    behind = path((20, 20), (240, 24), steps=11), path((230, 76), (10, 80), steps=11)
    scene = moving_objects([patchwork(3), patchwork(4)], behind, bar=(110, 190))
    found = follow(colour_matcher, scene)
    check(scene, found, least=0.55)
    lost = stacked(found, "lost")
    hidden = found[int(np.argmax(lost[:, 0]))]
    assert np.isnan(hidden.tracks.points[:2]).all() and (hidden.tracks.scores[:2] == 0).all()
    assert hidden.tracks.occluded[:2].all() and np.isfinite(hidden.boxes).all()


def test_an_object_leaves_and_comes_back(colour_matcher):
    paths = path((200, 40), (350, 40), (200, 40), steps=6), path((20, 48), (80, 48), steps=12)
    scene = moving_objects([patchwork(3), patchwork(4)], paths)
    found = follow(colour_matcher, scene)
    check(scene, found)
    centres = stacked(found, "boxes")[..., :2] + stacked(found, "boxes")[..., 2:] / 2
    lost = centres[stacked(found, "lost")]
    assert len(lost) and (lost >= 0).all() and (lost <= (320, 160)).all()


def test_sizes_are_followed(colour_matcher):
    """An object that comes nearer: its box grows with it."""
    image = patchwork(3, 120)
    frames, lengths = [], np.linspace(48, 72, 9).round().astype(int)
    for length in lengths:
        frame = Image.new("RGB", (200, 160), (128, 128, 128))
        frame.paste(image.resize((length, length), Image.Resampling.BOX), (100 - length // 2, 40))
        frames.append(frame)
    tracker = ObjectTracker(colour_matcher, frames[0], [(76, 40, 48, 48)])
    tracker.restart()
    for frame, length in zip(frames[1:], lengths[1:], strict=True):
        found = tracker.update(frame)
        assert not found.lost[0] and found.boxes[0, 2] == pytest.approx(length, rel=0.1)


def test_twins_of_photos_and_a_neighbour_with_the_shipped_model(matcher):
    """Two copies of one photographed animal pass each other; one of them covers half the other."""
    with pair() as example, Image.open(example.image0) as photo:
        photo = photo.convert("RGB").crop((0, 60, 480, 420)).resize((120, 90))
    paths = path((10, 30), (190, 40), steps=5), path((200, 75), (20, 60), steps=5)
    scene = moving_objects([photo, photo], paths)
    check(scene, follow(matcher, scene), least=0.6)


def test_points_are_on_the_objects_they_were_given_on(colour_matcher):
    """In the order given; where boxes overlap, on the object whose centre is nearer."""
    paths = path((20, 40), (100, 40), steps=4), path((64, 44), (144, 44), steps=4)
    scene = moving_objects([patchwork(3), patchwork(4)], paths)
    start = np.array([[110.0, 80], [30, 50], [80, 76], [50, 90]])
    tracker = ObjectTracker(colour_matcher, scene.frames[0], scene.boxes[0], start)
    assert tracker.owners.tolist() == [1, 0, 1, 0]
    first = tracker.restart()
    assert (first.tracks.points == start).all() and (first.scores == 1).all()
    for step, frame in enumerate(scene.frames[1:], start=1):
        found = tracker.update(frame)
        moved = scene.boxes[step, tracker.owners, :2] - scene.boxes[0, tracker.owners, :2]
        assert np.linalg.norm(found.tracks.points - start - moved, axis=1).max() < 0.1 * 64


def test_a_grid_of_points_by_default(colour_matcher):
    scene = moving_objects(
        [patchwork(3), patchwork(4, 32)],
        (path((20, 40), (20, 40), steps=1), path((200, 48), (200, 48), steps=1)),
    )
    tracker = ObjectTracker(colour_matcher, scene.frames[0], scene.boxes[0])
    points = tracker.restart().tracks.points
    for index, (x, y, width, height) in enumerate(scene.boxes[0]):
        own = points[tracker.owners == index]
        assert len(own) > 5 and (own > (x, y)).all() and (own < (x + width, y + height)).all()


@given(
    st.lists(
        st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2), min_size=2, max_size=4
    )
)
def test_overlaps_are_those_of_their_pixels(boxes):
    masks = np.zeros((len(boxes), 40, 40), bool)
    for mask, (x, y, width, height) in zip(masks, boxes, strict=True):
        mask[y : y + height, x : x + width] = True
    overlaps = object_tracker._overlaps(np.array(boxes, float))
    for i, j in np.ndindex(overlaps.shape):
        expected = 0 if i == j else (masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum()
        assert overlaps[i, j] == pytest.approx(expected)


def test_losses_in_words():
    lost = np.array([[0, 0], [1, 0], [1, 0], [0, 1], [1, 1]], bool)
    objects = ObjectTracks(("left", 7), np.array([0]), np.zeros((5, 2, 4)), lost, 1.0 - lost)
    assert objects.describe_losses(range(0, 10, 2)) == [
        "object left is lost from frame 2 to frame 6",
        "object 7 is lost from frame 6 to the end",
        "object left is lost from frame 8 to the end",
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch, colour_matcher) -> Path:
    """A folder with a video of two objects that cross, behind a bar, and its first frame."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    paths = path((20, 20), (240, 24), steps=11), path((230, 90), (10, 94), steps=11)
    scene = moving_objects([patchwork(3), patchwork(4)], paths, bar=(110, 190))
    write_video(tmp_path / "v.mp4", scene.frames)
    scene.frames[0].save("first.png")
    Path("boxes.csv").write_text(
        "image,instance,x,y,width,height\nfirst.png,mouse,20,20,64,64\nfirst.png,7,230,90,64,64\n"
    )
    return tmp_path


def test_the_command(capsys, folder):
    status, out, err = run(
        capsys, "track", "v.mp4", "--boxes", "boxes.csv", "--points", "250,100", "40,40", "60,60",
        "--json", "t.json", "--csv", "t.csv", "--out", "o.mp4",
    )  # fmt: skip
    assert status == 0, err
    data = json.loads(Path("t.json").read_text())
    assert data["instances"] == ["mouse", 7] and data["point_instances"] == [7, "mouse", "mouse"]
    lost = np.array([row["instances_lost"] for row in data["frames"]])
    assert lost.any(0).all() and not lost[[0, -1]].any()
    first, end = np.flatnonzero(np.diff(lost[:, 0].astype(int)))[:2] + 1
    assert f"note: object mouse is lost from frame {first} to frame {end}\n" in err
    assert (
        f"mouse  visible in {12 - lost[:, 0].sum()} of 12 frames" in out and "video: o.mp4" in err
    )
    rows = list(csv.DictReader(io.StringIO(Path("t.csv").read_text())))
    assert list(rows[0]) == ["frame", "seconds", "instance", "point", "x", "y", "score", "lost"]
    assert [row["point"] for row in rows[:3]] == ["1", "1", "2"]
    for row, (index, k) in zip(rows, np.ndindex(12, 3), strict=True):
        frame, owner = data["frames"][index], data["point_instances"][k]
        hidden = frame["instances_lost"][data["instances"].index(owner)]
        assert row["instance"] == str(owner) and row["frame"] == str(index)
        assert (row["x"] == "") == (frame["points"][k] is None) == hidden
        assert not hidden or (row["lost"], row["score"], frame["scores"][k]) == ("1", "0.0000", 0)
        if not hidden:
            assert [float(row["x"]), float(row["y"])] == pytest.approx(frame["points"][k], abs=1e-3)


def test_boxes_on_the_command_line_and_in_the_library(capsys, folder, colour_matcher):
    boxes = [(20.0, 20.0, 64.0, 64.0), (230.0, 90.0, 64.0, 64.0)]
    arguments = ["--box", "20,20,64,64", "230,90,64,64", "--every", "2", "--csv"]
    status, _, _ = run(capsys, "track", "v.mp4", *arguments, "t.csv")
    assert status == 0
    found = track(colour_matcher, "v.mp4", boxes=boxes, every=2)
    assert found.to_csv() == Path("t.csv").read_text()
    assert found.objects.instances == (1, 2) and found.names is None
    repeated = ["--box", "20,20,64,64", "--box", "230,90,64,64", "--every", "2", "--csv"]
    assert run(capsys, "track", "v.mp4", *repeated, "u.csv")[0] == 0
    assert Path("u.csv").read_text() == Path("t.csv").read_text()


def test_what_is_drawn(capsys, folder):
    """Each object in sight has an outline in a colour of its own; those that are lost have none."""
    found = track(
        Matcher.from_pretrained(), "v.mp4", boxes=[(20, 20, 64, 64), (230, 90, 64, 64)], out="o.mp4"
    )
    pixels, _ = read_video(folder / "o.mp4")
    red, cyan = ((245, 40, 40), (40, 245, 245))
    for drawn, boxes, lost in zip(pixels, found.objects.boxes, found.objects.lost, strict=True):
        scale = drawn.shape[1] / 320
        for (x, y, _, height), hidden, colour in zip(boxes * scale, lost, (red, cyan), strict=True):
            middle = int(y + height / 2)
            edge = drawn[middle - 20 : middle + 20, round(x) : round(x) + 3].reshape(-1, 3)
            near = np.abs(edge - np.array(colour, float)).max(axis=1) < 90
            assert (near.mean() > 0.5) != hidden


def test_memory_does_not_grow_with_frames_nor_regions_with_objects(colour_matcher, monkeypatch):
    """A batch of regions of one frame at most is alive besides the references."""
    monkeypatch.setattr(object_tracker, "_BATCH", 2)
    objects = [patchwork(seed, 40) for seed in range(3)]
    starts = [(10 + 60 * index, 60) for index in range(3)]
    paths = [path(start, (start[0] + 14, 64), steps=5) for start in starts]
    scene = moving_objects(objects, paths)
    gc.collect()
    others = sum(type(each) is Features for each in gc.get_objects())
    tracker = ObjectTracker(colour_matcher, scene.frames[0], scene.boxes[0])
    tracker.restart()
    alive, propose = [], TrackedObject.propose

    def counted(self, features, guided):
        alive.append(sum(type(each) is Features for each in gc.get_objects()) - others)
        return propose(self, features, guided)

    monkeypatch.setattr(TrackedObject, "propose", counted)
    for frame in scene.frames[1:]:
        found = tracker.update(frame)
    assert not found.lost.any()
    # Whole frames, now and then; three references; two regions, and the two before them.
    assert max(alive) <= 2 + 3 + 4 and max(alive[9:]) <= max(alive[:9])


WRONG = {
    "nothing to track": ([], "points: expected --points, --boxes or --box, got none of them"),
    "two ways": (["--box", "1,2,3,4", "--boxes", "boxes.csv"], "either --boxes or --box, got both"),
    "three numbers": (["--box", "1,2,3"], "box: expected x,y,width,height, got '1,2,3'"),
    "outside": (["--box", "9,9,9,9", "400,9,9,9"], "boxes[1]: expected (x, y, width, height)"),
    "point in no box": (
        ["--box", "20,20,64,64", "--points", "30,30", "200,9"],
        "points: expected points in the boxes, got (200, 9) at index 1",
    ),
    "no such file": (["--boxes", "none.csv"], "got none.csv"),
    "boxes of two frames": (["--boxes", "two.csv"], "expected those of one image, the annotated"),
    "boxes of another size": (
        ["--boxes", "large.csv"],
        "as large as the frame, 320 x 160 pixels, got",
    ),
    "too many": (["--box", *["9,9,9,9"] * 101], "boxes: expected at most 100, got 101"),
    "poses": (["--box", "9,9,9,9", "--poses", "flip"], "matched as they are, got 'flip'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(capsys, folder, name):
    Image.new("RGB", (320, 160)).save("second.png")
    Image.new("RGB", (640, 320)).save("large.png")
    Path("large.csv").write_text("image,x,y,width,height\nlarge.png,20,20,64,64\n")
    Path("two.csv").write_text(
        "image,x,y,width,height\nfirst.png,20,20,64,64\nsecond.png,230,90,64,64\n"
    )
    arguments, reason = WRONG[name]
    before = sorted(folder.iterdir())
    status, out, err = run(capsys, "track", "v.mp4", *arguments, "--json", "t.json")
    assert status == 2 and out == "" and reason in err
    assert err.startswith("homolog: ") and err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_wrong_arguments(colour_matcher, folder):
    box = (20, 20, 64, 64)
    for changes, reason in (
        ({"instances": [1, 2]}, "instances: expected 1, one for each box, got 2"),
        (
            {"boxes": [box, box], "instances": ["a", "a"]},
            "instances: expected each once, got 'a' twice",
        ),
        ({"names": ["nose"]}, "names: expected 0, one for each point, got 1"),
        ({"boxes": None}, "points: expected points, boxes or both, got neither"),
        ({"boxes": []}, "boxes: expected at least one box, got none"),
    ):
        with pytest.raises(HomologError) as error:
            track(colour_matcher, "v.mp4", **{"boxes": [box]} | changes)
        assert str(error.value) == reason
