"""`homolog labels`: convert, map and check, from their arguments to their files."""

import json

import numpy as np
import pytest
from helpers.beetles import (
    NAMES,
    beetles,
    exchange,
    exchanged,
    paint,
    swapped,
    track_table,
    walk,
)
from helpers.command import run
from helpers.videos import write_video
from PIL import Image

from homolog import Matcher
from homolog.data import label_files
from homolog.data.formats.document import DocumentBuilder, WriteOptions
from homolog.data.labels import Labels, manual_keypoints


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, colour_matcher):
    """The working folder, and a model that needs no weights."""
    monkeypatch.setattr(
        Matcher, "from_pretrained", classmethod(lambda cls, *_, **__: colour_matcher)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_beetles(path, annotations, *, images=True, **members):
    """A file of labels, perhaps with images that tell nothing."""
    builder = DocumentBuilder()
    for each in annotations:
        image = builder.add_image(each.name, each.size)
        points = {name: (x, y, 2) for name, (x, y) in zip(NAMES, each.keypoints, strict=True)}
        builder.add_annotation(image, "beetle", points, **members)
        if images:
            Image.new("RGB", each.size, (90, 120, 90)).save(path.parent / each.name)
    label_files.write(path, builder.build().document, WriteOptions())


def spoiled_beetles(count=16):
    annotations = beetles(count, 2)
    annotations[3] = exchanged(annotations[3])
    annotations[7] = swapped(annotations[7], 0, 5)
    return annotations


class TestConvert:
    def test_formats_are_told_by_names(self, folder, capsys):
        write_beetles(folder / "a.json", beetles(3), images=False)
        status, out, _ = run(capsys, "labels", "convert", "a.json", "b.csv")
        assert (status, out) == (0, "3 images, 3 objects, 24 points, from coco to csv: b.csv\n")
        assert run(capsys, "labels", "convert", "b.csv", "c.json")[0] == 0
        before, after = (json.loads((folder / name).read_text()) for name in ("a.json", "c.json"))
        for one, other in zip(before["annotations"], after["annotations"], strict=True):
            np.testing.assert_allclose(one["keypoints"], other["keypoints"], atol=0.01)
        assert before["categories"][0]["keypoints"] == after["categories"][0]["keypoints"]

    def test_points_far_outside_their_image_are_not_passed_on(self, folder, capsys):
        write_beetles(folder / "a.json", beetles(3), images=False)
        document = json.loads((folder / "a.json").read_text())
        document["annotations"][1]["keypoints"][:3] = [9000, 20, 2]
        (folder / "a.json").write_text(json.dumps(document))
        status, out, err = run(capsys, "labels", "convert", "a.json", "b.csv")
        assert (status, out) == (2, "") and "in the image of" in err and err.count("\n") == 1
        assert not (folder / "b.csv").exists()

    def test_what_is_there_is_never_replaced(self, folder, capsys):
        write_beetles(folder / "a.json", beetles(3), images=False)
        (folder / "b.csv").write_text("mine")
        status, out, err = run(capsys, "labels", "convert", "a.json", "b.csv")
        assert (status, out) == (2, "")
        assert err == "homolog: out: expected a name that is not taken, got b.csv\n"
        assert (folder / "b.csv").read_text() == "mine"

    @pytest.mark.parametrize(
        "arguments, message",
        [
            ("missing.json b.csv", "labels: expected an existing file, got missing.json"),
            ("a.json b.xyz", "out: expected a name in"),
            ("a.json b.csv --to word", "format: expected"),
            ("a.json b.csv --from word", "format: expected"),
            ("a.json b.csv --images no", "images: expected a folder, got no"),
            ("a.json b.csv --map no.csv", "no.csv: expected a readable file"),
            ("a.json b.csv --sides head:paw", "sides: expected names of keypoints"),
            ("bad.json b.csv", "bad.json"),
        ],
    )
    def test_errors_have_one_line(self, folder, capsys, arguments, message):
        write_beetles(folder / "a.json", beetles(3), images=False)
        (folder / "bad.json").write_text('{"images": [')
        status, out, err = run(capsys, "labels", "convert", *arguments.split())
        assert (status, out) == (2, "")
        assert message in err and err.count("\n") == 1
        assert not (folder / "b.csv").exists()

    def test_what_a_format_cannot_hold_is_said(self, folder, capsys):
        write_beetles(folder / "a.json", beetles(3), images=False, iscrowd=0, tool={"by": "me"})
        _, _, err = run(capsys, "labels", "convert", "a.json", "b.csv")
        assert err.startswith("note: ") and "tool" in err

    def test_sides_that_are_told(self, folder, capsys):
        write_beetles(folder / "a.json", beetles(3), images=False)
        arguments = ["a.json", "b.json", "--sides", "head:tail"]
        assert run(capsys, "labels", "convert", *arguments)[0] == 0
        (category,) = json.loads((folder / "b.json").read_text())["categories"]
        assert category["flip_indices"] == [7, 2, 1, 4, 3, 6, 5, 0]

    @pytest.mark.parametrize(
        "name", [each.name for each in label_files.FORMATS if each.read and each.write]
    )
    def test_every_format_and_back(self, folder, capsys, name):
        """The labelled points survive, whatever else a format cannot hold."""
        format = next(each for each in label_files.FORMATS if each.name == name)
        write_beetles(folder / "a.json", beetles(3))
        out = f"b{format.suffixes[0]}"
        status, _, err = run(capsys, "labels", "convert", "a.json", out, "--to", name)
        assert status == 0, err
        arguments = "labels", "convert", out, "c.json", "--from", name, "--images", "."
        status, _, err = run(capsys, *arguments)
        assert status == 0, err
        before, after = (json.loads((folder / each).read_text()) for each in ("a.json", "c.json"))
        points = [
            {
                images[each["image_id"]].rpartition("/")[2].partition(".")[0]: np.reshape(
                    each["keypoints"], (-1, 3)
                )
                for each in data["annotations"]
            }
            for data in (before, after)
            for images in [{image["id"]: image["file_name"] for image in data["images"]}]
        ]
        assert points[0].keys() == points[1].keys()
        for image, truth in points[0].items():
            np.testing.assert_allclose(points[1][image][:, :2], truth[:, :2], atol=0.02)


class TestMap:
    def test_from_a_proposal_to_labels(self, folder, capsys):
        """Proposed, corrected by hand, and applied."""
        write_beetles(folder / "a.json", beetles(3), images=False)
        other = {
            "L_F_paw": (1, 1, 2),
            "R_F_paw": (9, 1, 2),
            "Skull": (5, 5, 2),
            "abdomen": (3, 3, 2),
        }
        builder = DocumentBuilder()
        builder.add_annotation(builder.add_image("x.png"), "bug", other)
        label_files.write(folder / "b.json", builder.build().document, WriteOptions())
        status, out, err = run(capsys, "labels", "map", "a.json", "b.json", "--out", "m.csv")
        assert status == 0 and "names alone are compared" in err
        rows = [line.split()[:2] for line in out.splitlines()]
        assert ["left_front_foot", "L_F_paw"] in rows and ["tail", "-"] in rows
        assert ["-", "abdomen"] in rows
        table = (folder / "m.csv").read_text()
        assert ",abdomen,0.0\n" in table and "tail,,0.0\n" in table
        (folder / "m.csv").write_text(
            table.replace(",abdomen,0.0\n", "tail,abdomen,1\n").replace("tail,,0.0\n", "")
        )
        status, out, err = run(capsys, "labels", "convert", "a.json", "c.json", "--map", "m.csv")
        assert status == 0 and "'left_antenna' has no partner: its 3 labels are left out" in err
        after = json.loads((folder / "c.json").read_text())
        assert after["categories"][0]["keypoints"] == ["L_F_paw", "R_F_paw", "Skull", "abdomen"]
        truth = beetles(3)[1].keypoints[[3, 4, 0, 7]]
        found = np.array(after["annotations"][1]["keypoints"]).reshape(-1, 3)
        np.testing.assert_allclose(found[:, :2], truth, atol=1e-6)

    def test_images_are_looked_at(self, folder, capsys):
        write_beetles(folder / "a.json", beetles(2))
        status, out, _ = run(capsys, "labels", "map", "a.json", "a.json")
        assert status == 0
        for line in out.splitlines()[1:]:
            source, target, *scores = line.split()
            assert source == target and len(scores) == 3 and scores[2] != "-"


class TestCheck:
    @pytest.mark.parametrize("images", [True, False])
    def test_findings_report_sheet_and_marks(self, folder, capsys, images):
        write_beetles(folder / "a.json", spoiled_beetles(), images=images)
        before = (folder / "a.json").read_text()
        status, out, err = run(
            capsys, "labels", "check", "a.json", "--out", "r.json", "--sheet", "s.png",
            "--labels", "l.json",
        )  # fmt: skip
        assert status == 0 and "16 objects, 2 findings" in err
        assert ("compared by shape alone" in err) != images
        lines = sorted(line.split("  ", 1)[1] for line in out.splitlines())
        assert lines == [
            "3.png (annotation 4): left and right are exchanged",
            "7.png (annotation 8): head and left_hind_foot are exchanged",
        ]
        report = json.loads((folder / "r.json").read_text())
        assert report["objects"] == 16
        kinds = {each["image"]: each["kind"] for each in report["findings"]}
        assert kinds == {"3.png": "sides", "7.png": "swap"}
        assert all(0.5 <= each["score"] <= 1 for each in report["findings"])
        with Image.open(folder / "s.png") as sheet:
            assert sheet.width > 500
        assert (folder / "a.json").read_text() == before

    def test_marks_change_nothing_else(self, folder, capsys):
        """The page shows what is doubtful; all labels still count as made by hand."""
        write_beetles(folder / "a.json", spoiled_beetles(), attributes={"age": 2})
        run(capsys, "labels", "check", "a.json", "--labels", "l.json")
        before, after = (json.loads((folder / name).read_text()) for name in ("a.json", "l.json"))
        marked = Labels.read(folder / "l.json")
        assert {number for number, _ in marked.doubtful()} == {4, 8}
        assert [k for number, k in marked.doubtful() if number == 8] == [0, 5]
        for entry in after["annotations"]:
            assert manual_keypoints(entry) == set(range(len(NAMES)))
            entry.pop("homolog", None)
        assert after == before

    def test_marks_of_labels_that_were_reviewed(self, folder, capsys):
        """A hand-made point among predicted ones stays hand-made; predicted ones stay predicted."""
        write_beetles(folder / "a.json", spoiled_beetles())
        data = json.loads((folder / "a.json").read_text())
        entry = data["annotations"][7]
        entry["homolog"] = {
            "scores": [0.9] * 8, "doubtful": [1], "reviewed": [0, 2],
            "predicted": list(entry["keypoints"]),
        }  # fmt: skip
        (folder / "a.json").write_text(json.dumps(data))
        run(capsys, "labels", "check", "a.json", "--labels", "l.json")
        (after,) = (
            each
            for each in json.loads((folder / "l.json").read_text())["annotations"]
            if each["id"] == 8
        )
        assert manual_keypoints(after) == {0, 2}
        assert after["homolog"]["doubtful"] == [0, 1, 5]
        assert after["homolog"]["reviewed"] == [2]

    def test_several_files_are_compared_together(self, folder, capsys):
        """One of which is wrong as a whole, so that it does not contradict itself."""
        annotations = beetles(20, 4)
        write_beetles(folder / "a.json", annotations[:16], images=False)
        write_beetles(folder / "b.json", map(exchanged, annotations[16:]), images=False)
        assert run(capsys, "labels", "check", "b.json")[1] == ""
        status, out, _ = run(capsys, "labels", "check", "a.json", "b.json")
        assert status == 0 and len(out.splitlines()) == 4
        assert all("b.json: " in line and "left and right" in line for line in out.splitlines())

    @pytest.mark.parametrize(
        "arguments, message",
        [
            ("few.json", "expected at least 4 labelled objects of one category, got 3 in few.json"),
            ("a.json a.json", "expected each file once, got a.json twice"),
            ("a.json other.json", "expected the same keypoints of 'beetle' in all files"),
            ("a.json --labels a.json", "labels: expected another file than the inputs, got a.json"),
            ("a.json --labels few.json", "labels: expected a name that is not taken, got few.json"),
            ("a.json --sheet s.txt", "sheet: expected a name ending in"),
            ("a.json --apply", "apply: expected --video with it, got none"),
            ("a.json --images no", "images: expected a folder, got no"),
            ("t.csv", "video: expected --video with tracks, got t.csv without it"),
            ("a.json --video v.mp4 --sheet s.png", "sheet: expected none with --video, got s.png"),
        ],
    )
    def test_errors_have_one_line(self, folder, capsys, arguments, message):
        write_beetles(folder / "a.json", beetles(5), images=False)
        write_beetles(folder / "few.json", beetles(3), images=False)
        (folder / "t.csv").write_text("frame,point,x,y\n0,a,1,1\n")
        builder = DocumentBuilder()
        builder.add_annotation(builder.add_image("x.png"), "beetle", {"head": (1, 1, 2)})
        label_files.write(folder / "other.json", builder.build().document, WriteOptions())
        status, out, err = run(capsys, "labels", "check", *arguments.split())
        assert (status, out) == (2, "")
        assert message in err and err.count("\n") == 1

    def test_sides_that_nobody_tells(self, folder, capsys):
        write_beetles(folder / "a.json", spoiled_beetles(), images=False)
        text = (folder / "a.json").read_text()
        for number, name in enumerate(NAMES):
            text = text.replace(f'"{name}"', f'"p{number}"')
        (folder / "a.json").write_text(text)
        _, out, err = run(capsys, "labels", "check", "a.json")
        assert "exchanged sides of 'beetle' are not looked for" in err and "--sides" in err
        assert "left and right" not in out
        sides = ("--sides", "p1:p2", "p3:p4", "p5:p6")
        _, out, err = run(capsys, "labels", "check", "a.json", *sides)
        assert "left and right are exchanged" in out and "not looked for" not in err


class TestCheckTracks:
    @pytest.fixture
    def truth(self, folder):
        """A table of tracks with exchanges, and its video; returned without them."""
        clean = walk(60, 2, 9)
        spoiled, _ = exchange(clean, 10, 20, 0)
        spoiled, _ = exchange(spoiled, 30, 45, 0, 1)
        (folder / "t.csv").write_text(track_table(spoiled))
        images = paint(clean, ("red", "blue"))
        write_video(folder / "v.mp4", [images[frame] for frame in clean.frames])
        return clean

    def test_intervals_are_listed_and_undone(self, folder, capsys, truth):
        before = (folder / "t.csv").read_text()
        command = ["labels", "check", "t.csv", "--video", "v.mp4", "--out", "r.json", "--apply"]
        status, out, err = run(capsys, *command)
        assert status == 0 and "2 findings" in err
        sides, identities, corrected = out.splitlines()
        assert sides.endswith("frames 10 to 20: left and right of 0 are exchanged")
        assert identities.endswith("frames 30 to 45: 0 and 1 are exchanged")
        assert corrected == "corrected: t-corrected.csv"
        assert (folder / "t-corrected.csv").read_text() == track_table(truth)
        assert (folder / "t.csv").read_text() == before
        report = json.loads((folder / "r.json").read_text())
        assert [(each["kind"], each["first"], each["last"]) for each in report["findings"]] == [
            ("sides", 10, 20), ("identities", 30, 45),
        ]  # fmt: skip
        status, out, err = run(capsys, *command)
        assert status == 2 and "apply: expected a name that is not taken" in err

    def test_a_corrected_file_has_no_findings(self, folder, capsys, truth):
        (folder / "t.csv").write_text(track_table(truth))
        command = ["labels", "check", "t.csv", "--video", "v.mp4", "--apply"]
        status, out, err = run(capsys, *command)
        assert (status, out, err) == (0, "", "0 findings\n")
        assert not (folder / "t-corrected.csv").exists()

    def test_a_video_that_is_none(self, folder, capsys, truth):
        (folder / "v.mp4").write_text("no video")
        status, out, err = run(capsys, "labels", "check", "t.csv", "--video", "v.mp4")
        assert (status, out) == (2, "") and "video: expected" in err and err.count("\n") == 1
