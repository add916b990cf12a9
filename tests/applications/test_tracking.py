"""Points tracked through videos made here, where their true positions are known."""

import csv
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.toys import random_image
from helpers.videos import GREY, moving, read_video, write_video
from PIL import Image

from homolog import HomologError, Matcher, cli
from homolog.applications import point_tracker
from homolog.applications.tracking import Tracker, track
from homolog.utils import progress


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)


@pytest.fixture
def video(tmp_path) -> tuple[Path, np.ndarray]:
    frames, truth = moving(12)
    return write_video(tmp_path / "v.mp4", frames), truth


def errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Errors as fractions of the object's size."""
    return np.linalg.norm(found - truth, axis=-1) / 96


def test_points_follow_the_object(colour_matcher, video):
    path, truth = video
    found = track(colour_matcher, path, truth[0], ["a", "b", "c", "d"])
    assert found.frames == tuple(range(12)) and found.size == (192, 144) and found.warning is None
    assert found.seconds == pytest.approx(np.arange(12) / 10)
    assert errors(found.points, truth).max() < 0.1 and errors(truth[:1], truth).max() > 0.9
    assert (found.points[0] == truth[0]).all() and (found.scores[0] == 1).all()
    assert not found.occluded.any() and found.scores.min() > 0.3
    assert np.isfinite(found.points).all() and found.scores.max() <= 1


def test_any_frame_may_be_the_annotated_one(colour_matcher, video):
    path, truth = video
    found = track(colour_matcher, path, truth[5], frame=5, every=3)
    assert found.frames == (0, 3, 6, 9)
    assert errors(found.points, truth[::3]).max() < 0.1


def test_errors_do_not_accumulate(matcher):
    """The embedded matcher, many frames of the same image slightly moved: no drift."""
    patchwork = random_image(240, 240, seed=3).resize((120, 120))
    points = np.array([[30.0, 40.0], [60.0, 60.0], [90.0, 85.0]])
    tracker, ends = None, []
    for step in range(7):
        shift = (20 + 8 * (step % 3), 30 + 6 * (step % 2))
        frame = Image.new("RGB", (200, 200), GREY)
        frame.paste(patchwork, shift)
        if tracker is None:
            tracker = Tracker(matcher, frame, points + shift)
            tracks = tracker.restart()
        else:
            tracks = tracker.update(frame)
        ends.append(np.linalg.norm(tracks.points - points - shift, axis=1).max() / 120)
    assert max(ends[-3:]) < 0.1 and np.mean(ends[-3:]) < np.mean(ends[1:4]) + 0.02


def test_of_two_similar_objects_the_one_tracked_before_is_kept(colour_matcher, monkeypatch):
    """Two copies of an object: without the previous frame, both match equally well."""
    patchwork = random_image(64, 64, seed=3)

    def frame(first: int, second: int) -> Image.Image:
        image = Image.new("RGB", (192, 96), GREY)
        image.paste(patchwork, (second, 16))
        image.paste(patchwork, (first, 16))
        return image

    # The tracked one moves to the right; the other enters on the left, in whole cells of the toy
    # backbone, so that their descriptors are equal.
    starts = [(64, 200), (80, 200), (96, 16), (112, 0), (112, 16), (112, 32)]
    misses = {}
    for penalty in (point_tracker._MOTION_PENALTY, 0.0):
        monkeypatch.setattr(point_tracker, "_MOTION_PENALTY", penalty)
        tracker = Tracker(colour_matcher, frame(*starts[0]), [[64 + 32, 48]])
        tracker.restart()
        ends = [tracker.update(frame(*start)).points[0, 0] - start[0] - 32 for start in starts[1:]]
        misses[penalty] = np.abs(ends)
    assert misses[point_tracker._MOTION_PENALTY].max() > 40 and misses[0.1].max() < 10


def test_hidden_points_are_occluded_and_come_back(colour_matcher):
    frames, truth = moving(6)
    for frame in frames[2:4]:
        frame.paste((250, 10, 250), (0, 0, 192, 144))
    tracker = Tracker(colour_matcher, frames[0], truth[0])
    tracks = [tracker.restart(), *(tracker.update(frame) for frame in frames[1:])]
    assert [bool(each.occluded.all()) for each in tracks] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert not tracks[-1].occluded.any() and errors(tracks[-1].points, truth[-1]).max() < 0.1
    hidden, visible = tracks[2:4], tracks[4:]
    assert max(each.scores.max() for each in hidden) < min(each.scores.min() for each in visible)
    assert all(np.isfinite(each.points).all() for each in tracks)


def test_the_drawn_video(colour_matcher, video, tmp_path):
    path, truth = video
    out = tmp_path / "o.mp4"
    found = track(colour_matcher, path, truth[0], every=2, out=out)
    pixels, seconds = read_video(out)
    assert len(pixels) == 6 and seconds == pytest.approx(np.arange(6) / 5)
    assert pixels[0].shape == (480, 640, 3)
    plain = [np.asarray(frame.resize((640, 480)), float) for frame in moving(12)[0][::2]]
    for drawn, frame, points in zip(pixels, plain, found.points, strict=True):
        changed = np.abs(drawn - frame).max(axis=2) > 60
        assert changed.mean() < 0.1
        for x, y in (points * 640 / 192).astype(int):
            assert changed[y - 12 : y + 12, x - 12 : x + 12].mean() > 0.1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mp4", "v.mp4"]


def test_one_frame_at_a_time(colour_matcher, tmp_path, monkeypatch):
    """However long a video is, features and images of few frames are alive."""
    import gc

    from homolog.descriptors import Features

    frames, truth = moving(10)
    path = write_video(tmp_path / "v.mp4", frames * 2)
    gc.collect()
    others = sum(type(each) is Features for each in gc.get_objects())  # of tests before this one
    alive = []
    update = Tracker.update

    def counted(self, image):
        found = update(self, image)
        kinds = [type(each) for each in gc.get_objects()]
        alive.append((kinds.count(Features) - others, kinds.count(Image.Image)))
        return found

    monkeypatch.setattr(Tracker, "update", counted)
    found = track(colour_matcher, path, truth[0], out=tmp_path / "o.mp4")
    assert len(found.frames) == 20
    features, images = zip(*alive, strict=True)
    assert max(features) <= 4 and max(images[10:]) <= max(images[:10]) + 2


def test_json_and_csv(capsys, video, tmp_path, monkeypatch, colour_matcher):
    _, truth = video
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    Path("p.csv").write_text("x,y,name\n" + "".join(f"{x},{y},n{x:g}\n" for x, y in truth[0]))
    cli.main(["track", "v.mp4", "--points", "p.csv", "--out", "o.mp4", "--json", "t.json",
              "--csv", "t.csv", "--every", "4"])  # fmt: skip
    printed = capsys.readouterr()
    assert "n24  visible in 3 of 3 frames" in printed.out and "video: o.mp4" in printed.err
    data = json.loads(Path("t.json").read_text())
    assert data["video"] == "v.mp4" and data["model"] == "embedded" and data["size"] == [192, 144]
    assert [row["frame"] for row in data["frames"]] == [0, 4, 8]
    rows = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    assert len(rows) == 12 and list(rows[0]) == [
        "frame", "seconds", "point", "x", "y", "score", "lost",
    ]  # fmt: skip
    for row, (time, k) in zip(rows, np.ndindex(3, 4), strict=True):
        frame = data["frames"][time]
        assert row["point"] == data["names"][k] == f"n{truth[0, k, 0]:g}"
        assert float(row["x"]) == pytest.approx(frame["points"][k][0], abs=1e-3)
        assert float(row["y"]) == pytest.approx(frame["points"][k][1], abs=1e-3)
        assert float(row["score"]) == pytest.approx(frame["scores"][k], abs=1e-4)
        assert float(row["seconds"]) == pytest.approx(frame["seconds"]) == pytest.approx(0.4 * time)
        assert bool(int(row["lost"])) == frame["lost"][k]


WRONG = {
    "missing": (["none.mp4"], "video: expected a video file, got none.mp4, which does not exist"),
    "folder": (["."], "video: expected a video file, got ., which is a directory"),
    "text": (["text.mp4"], "video: expected a video file, got text.mp4: "),
    "empty": (["empty.mp4"], "video: expected a video file, got empty.mp4: "),
    "no index": (["cut.mp4"], "video: expected a video file, got cut.mp4: "),
    "sound": (["sound.wav"], "got sound.wav, which has no video stream"),
    "frame": (["v.mp4", "--frame", "12"], "frame: expected 0 to 11, got 12: v.mp4 has 12 frames"),
    "negative frame": (["v.mp4", "--frame=-1"], "frame: expected a number from 0, got -1"),
    "every": (["v.mp4", "--every", "0"], "every: expected at least 1, got 0"),
    "outside": (["v.mp4", "--points", "500,3"], "(500, 3)"),
    "not a point": (["v.mp4", "--points", "5"], "points: expected x,y, got '5'"),
    "ending": (["v.mp4", "--out", "o.gif"], "ending in .mp4 or .mov or .mkv, got o.gif"),
    "folder of out": (["v.mp4", "--out", "no/o.mp4"], "cannot write no/o.mp4"),
    "itself": (["v.mp4", "--out", "v.mp4"], "out: expected another file than the video, got v.mp4"),
    "json": (["v.mp4", "--json", "o.txt"], "json: expected a name ending in .json, got o.txt"),
    "csv": (["v.mp4", "--csv", "o.txt"], "csv: expected a name ending in .csv, got o.txt"),
    "poses": (["v.mp4", "--poses", "flip"], "matched as they are, got 'flip'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(capsys, video, tmp_path, monkeypatch, colour_matcher, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    Path("text.mp4").write_text("no video")
    Path("empty.mp4").touch()
    Path("cut.mp4").write_bytes(Path("v.mp4").read_bytes()[:2000])
    Path("sound.wav").write_bytes(
        b"RIFF" + struct.pack("<I4s4sIHHIIHH4sI", 236, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8,
                              b"data", 200) + bytes(200)
    )  # fmt: skip
    before = sorted(tmp_path.iterdir())
    arguments, reason = WRONG[name]
    if "--points" not in arguments:
        arguments = [*arguments, "--points", "20,30"]
    if not {"--out", "--json", "--csv"} & set(arguments):
        arguments = [*arguments, "--out", "o.mp4"]
    with pytest.raises(SystemExit) as stop:
        cli.main(["track", *arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith("homolog: ") and error.count("\n") == 1
    assert reason in error
    assert sorted(tmp_path.iterdir()) == before, "nothing is left behind"


def test_nothing_to_write_and_names(capsys, video, colour_matcher):
    with pytest.raises(SystemExit):
        cli.main(["track", str(video[0]), "--points", "20,30"])
    assert "out: expected --out, --json or --csv, got none of them" in capsys.readouterr().err
    with pytest.raises(HomologError, match="names: expected 2, one for each point, got 1"):
        track(colour_matcher, video[0], [[20, 30], [30, 30]], ["one"])
