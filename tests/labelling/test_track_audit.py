"""Audit of tracks: intervals that were exchanged on purpose are found and undone."""

import dataclasses

import numpy as np
import pytest
from helpers.beetles import NAMES, exchange, paint, track_table, walk

from homolog import HomologError
from homolog.data import label_files
from homolog.data.formats.document import DocumentBuilder, WriteOptions
from homolog.keypoints import KeypointSchema
from homolog.labelling.audit.exchanges import exchanged_intervals, most_probable
from homolog.labelling.audit.track_files import read_tracks
from homolog.labelling.audit.tracks import audit_tracks


def found(findings):
    return [(each.kind, each.instances, each.first, each.last) for each in findings]


def test_clean_tracks_have_no_findings():
    assert audit_tracks(walk(150, 3, 0)) == []


@pytest.mark.parametrize("seed", range(4))
def test_exchanges_are_found_to_the_frame(seed):
    """Of two animals and of the sides of one, overlapping, with keypoints missing."""
    clean = walk(150, 2, seed)
    spoiled, sides = exchange(clean, 30, 60 + 10 * seed, 1)
    spoiled, identities = exchange(spoiled, 50, 110, 0, 1)
    findings = audit_tracks(spoiled)
    assert found(findings) == [sides, identities]
    assert min(each.score for each in findings) > 0.95
    np.testing.assert_array_equal(spoiled.corrected(findings).points, clean.points)


@pytest.mark.parametrize("seed", range(3))
def test_precision_and_recall(seed):
    """Exchanges that last from 3 to 50 frames, begin anywhere, and reach the ends of the video."""
    rng = np.random.default_rng(seed)
    right = listed = spoiled_intervals = 0
    for draw in range(4):
        clean = walk(120, 2, 100 * seed + draw)
        start = int(rng.integers(0, 70))
        end = 119 if draw == 0 else start + int(rng.integers(3, 50))
        instances = (0, 1) if draw % 2 else (int(rng.integers(2)),)
        spoiled, truth = exchange(clean, start, end, *instances)
        findings = audit_tracks(spoiled)
        right += truth in found(findings)
        listed += len(findings)
        spoiled_intervals += 1
    assert right == spoiled_intervals and listed <= right + 1


def test_animals_that_miss_frames():
    """What is between two sightings counts as one step; long absences say nothing."""
    clean = walk(120, 2, 3)
    points = clean.points.copy()
    points[40:46, 1] = np.nan
    points[::7, 0] = np.nan
    clean = dataclasses.replace(clean, points=points)
    spoiled, truth = exchange(clean, 43, 80, 0, 1)
    findings = audit_tracks(spoiled)
    assert [each.kind for each in findings] == ["identities"]
    # The exchange begins where both were seen again, and ends where both were seen last.
    assert findings[0].first in range(43, 48) and findings[0].last == truth[3]


def test_most_of_the_video_is_right():
    """An exchange of more than half of the frames is the same as one of the rest."""
    clean = walk(100, 2, 4, missing=0)
    numbered = dataclasses.replace(clean, schema=KeypointSchema.numbered(len(NAMES)))
    spoiled, _ = exchange(numbered, 0, 69, 0, 1)
    assert found(audit_tracks(spoiled)) == [("identities", (0, 1), 70, 99)]


def test_without_sides_only_identities():
    clean = walk(80, 1, 5)
    spoiled, _ = exchange(clean, 20, 40, 0)
    numbered = dataclasses.replace(spoiled, schema=KeypointSchema.numbered(len(NAMES)))
    assert audit_tracks(numbered) == []
    assert len(audit_tracks(spoiled)) == 1


def test_viterbi_against_all_sequences():
    """The most probable of all sequences of ten frames, by brute force."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        evidence, motion = rng.normal(1, 4, 10), rng.normal(0, 8, 10)
        motion[0] = 0
        best, sequence = -np.inf, None
        for code in range(1024):
            states = np.array([code >> t & 1 for t in range(10)])
            switches = np.flatnonzero(np.diff(states)) + 1
            score = -(evidence * states).sum() - (motion[switches] + 5).sum() - states[0]
            if score > best:
                best, sequence = score, states.astype(bool)
        np.testing.assert_array_equal(most_probable(evidence, motion), sequence)


def test_intervals_of_exchanged_frames():
    evidence = np.array([5.0, 5, -9, -9, 5, 5, 5, -20])
    intervals = exchanged_intervals(evidence, np.zeros(8), [10, 11, 12, 14, 15, 16, 20, 21])
    assert [(first, last) for first, last, _ in intervals] == [(12, 14), (21, 21)]
    assert all(score > 0.99 for *_, score in intervals)


def test_appearance_tells_animals_apart_that_motion_does_not(colour_matcher):
    """Two animals are out of sight when their labels are exchanged, for good."""
    clean = walk(160, 2, 6, missing=0, scale=1.0)
    images = paint(clean, ("red", "blue"))
    points = clean.points.copy()
    points[60:95] = np.nan
    clean = dataclasses.replace(clean, points=points, schema=KeypointSchema.numbered(len(NAMES)))
    spoiled, _ = exchange(clean, 95, 159, 0, 1)
    assert audit_tracks(spoiled) == []

    def read(numbers):
        return {number: images[number] for number in numbers}

    (finding,) = audit_tracks(spoiled, colour_matcher, read)
    assert finding.kind == "identities" and finding.score > 0.9
    # Which of the two parts is the wrong one, nothing tells.
    assert (finding.first, finding.last) in ((0, 59), (95, 159))


def test_tables_are_corrected_without_other_changes(tmp_path):
    clean = walk(80, 2, 7)
    spoiled, sides = exchange(clean, 10, 20, 0)
    spoiled, identities = exchange(spoiled, 30, 50, 0, 1)
    path, out = tmp_path / "tracks.csv", tmp_path / "out.csv"
    path.write_text(track_table(spoiled))
    file = read_tracks(path)
    findings = audit_tracks(file.tracks[""])
    assert [(kind, *span) for kind, _, *span in found(findings)] == [
        (kind, *span) for kind, _, *span in (sides, identities)
    ]
    file.write(out, {"": findings})
    assert out.read_text() == track_table(clean)
    assert path.read_text() == track_table(spoiled)


def test_tracks_of_sleap(tmp_path):
    """Written and read again by sleap-io."""
    sleap_io = pytest.importorskip("sleap_io", reason="sleap-io is not installed")
    clean = walk(60, 2, 8)
    spoiled, _ = exchange(clean, 10, 20, 0)
    spoiled, _ = exchange(spoiled, 30, 45, 0, 1)
    skeleton = sleap_io.Skeleton(
        list(NAMES), symmetries=[(f"left_{p}", f"right_{p}")
                                 for p in ("antenna", "front_foot", "hind_foot")]
    )  # fmt: skip
    animals = [sleap_io.Track("a"), sleap_io.Track("b")]
    video = sleap_io.Video("walk.mp4", open_backend=False)
    frames = [
        sleap_io.LabeledFrame(
            video=video, frame_idx=frame,
            instances=[
                sleap_io.Instance.from_numpy(shape, skeleton, track=animal)
                for shape, animal in zip(spoiled.points[frame], animals, strict=True)
            ],
        )
        for frame in spoiled.frames
    ]  # fmt: skip
    path, out = tmp_path / "tracks.slp", tmp_path / "out.slp"
    sleap_io.save_file(sleap_io.Labels(frames), str(path))
    file = read_tracks(path)
    ((name, tracks),) = file.tracks.items()
    assert tracks.instances == ("a", "b")
    findings = audit_tracks(tracks)
    assert [each.kind for each in findings] == ["sides", "identities"]
    file.write(out, {name: findings})
    after = sleap_io.load_file(str(out))
    for frame in after.labeled_frames:
        for instance in frame.instances:
            index = ("a", "b").index(instance.track.name)
            np.testing.assert_allclose(
                instance.numpy(), clean.points[frame.frame_idx, index], atol=1e-3
            )


@pytest.mark.parametrize(
    "text, message",
    [
        ("frame,point,x,y\n0,a,1,1\n", "expected tracks in several frames, got 1"),
        ("frame,point,x,y\n0,a,1,1\n1,a,b,1\n", "line 3: expected a frame, a point, x and y"),
        ("frame,point,x,y\n0,a,1,1\n0,a,2,1\n", "line 3: expected each point once in frame 0"),
    ],
)
def test_tables_that_are_no_tracks(tmp_path, text, message):
    path = tmp_path / "tracks.csv"
    path.write_text(text)
    with pytest.raises(HomologError, match=message) as error:
        read_tracks(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_labels_of_images_are_no_tracks(tmp_path):
    builder = DocumentBuilder()
    image = builder.add_image("a.png", (64, 64))
    builder.add_annotation(image, "ant", {"head": (1, 2, 2), "tail": (5, 9, 2)})
    path = tmp_path / "labels.json"
    label_files.write(path, builder.build().document, WriteOptions())
    with pytest.raises(HomologError, match="expected frames of a video with their numbers"):
        read_tracks(path)
