"""CVAT's XML, as CVAT's own exporter lays it out."""

from __future__ import annotations

import re
import time
from xml.etree import ElementTree as Tree

import pytest
import real_images
from helpers.datasets import refused
from helpers.specimens import SIZES, assert_same_points, contents, document_of, rows_of, save_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homolog import HomologError
from homolog.data.formats.document import DocumentBuilder, ReadOptions, WriteOptions
from homolog.data.label_files import read, write

LABELS = """<labels>
<label><name>bee</name><color>#c06060</color><type>skeleton</type>
  <attributes><attribute><name>sex</name></attribute></attributes>
  <svg>&lt;line x1="1" data-node-from="1" data-node-to="2"&gt;</svg></label>
<label><name>head</name><type>points</type><attributes></attributes><parent>bee</parent></label>
<label><name>wing</name><type>points</type><attributes></attributes><parent>bee</parent></label>
<label><name>crumb</name><type>rectangle</type><attributes></attributes></label>
</labels>"""
IMAGES = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>9</id><name>hive</name><size>2</size><mode>annotation</mode>{LABELS}</task></meta>
  <image id="0" name="a.png" width="60" height="40">
    <skeleton label="bee" source="manual" z_order="0">
      <points label="wing" source="manual" outside="0" occluded="1" points="20.50,5.00">
      </points>
      <points label="head" source="manual" outside="0" occluded="0" points="10.00,30.25">
      </points>
      <attribute name="sex">f</attribute>
    </skeleton>
    <skeleton label="bee" source="auto" z_order="2" group_id="4">
      <points label="head" source="auto" outside="0" occluded="0" points="40.00,30.00">
        <attribute name="worn">true</attribute>
      </points>
      <points label="wing" source="auto" outside="1" occluded="0" points="3.00,3.00">
      </points>
    </skeleton>
    <box label="crumb" source="manual" occluded="0" xtl="1" ytl="2" xbr="3" ybr="4" z_order="0">
    </box>
  </image>
  <image id="1" name="sub/d.jpg" width="64" height="48">
  </image>
</annotations>
"""
VIDEO = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>hive</name><mode>interpolation</mode>{LABELS}
    <original_size><width>60</width><height>40</height></original_size></task>
    <source>hive.mp4</source></meta>
  <track id="3" label="bee" source="manual">
    <skeleton frame="0" keyframe="1" z_order="0">
      <points label="head" keyframe="1" outside="0" occluded="0" points="1.00,2.00"></points>
      <points label="wing" keyframe="1" outside="0" occluded="1" points="3.00,4.00"></points>
    </skeleton>
    <skeleton frame="1" keyframe="0" z_order="0">
      <points label="head" keyframe="0" outside="0" occluded="0" points="2.00,3.00"></points>
      <points label="wing" keyframe="0" outside="0" occluded="1" points="4.00,5.00"></points>
    </skeleton>
    <skeleton frame="2" keyframe="1" z_order="0">
      <points label="head" keyframe="1" outside="1" occluded="0" points="2.00,3.00"></points>
      <points label="wing" keyframe="1" outside="1" occluded="0" points="4.00,5.00"></points>
    </skeleton>
  </track>
  <track id="4" label="bee" source="manual">
    <skeleton frame="1" keyframe="1" z_order="0">
      <points label="head" keyframe="1" outside="0" occluded="0" points="9.00,9.00"></points>
    </skeleton>
  </track>
</annotations>
"""


@pytest.fixture
def folder(tmp_path):
    save_images(tmp_path / "images")
    (tmp_path / "images" / "sub").mkdir()
    (tmp_path / "images" / "d.jpg").rename(tmp_path / "images" / "sub" / "d.jpg")
    return tmp_path


def save(folder, text):
    path = folder / "annotations.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_images(folder):
    file = read(save(folder, IMAGES))
    assert file.format == "cvat" and not file.missing
    (category,) = file.document["categories"]
    assert (category["name"], category["keypoints"]) == ("bee", ["head", "wing"])
    first, second = file.document["annotations"]
    assert first["keypoints"] == [10, 30.25, 2, 20.5, 5, 1] and first["attributes"] == {"sex": "f"}
    assert second["keypoints"] == [40, 30, 2, 0, 0, 0]
    assert "cvat" not in first and second["cvat"] == {
        "source": "auto", "z_order": "2", "group_id": "4", "points": {"head": {"worn": "true"}},
    }  # fmt: skip
    assert [image["file_name"] for image in file.document["images"]] == ["a.png", "sub/d.jpg"]
    assert "left out: box (1)" in file.notes[0]
    assert write(folder / "b.xml", file.document) == []
    assert read(folder / "b.xml").document == file.document


def test_what_cvat_reads(folder):
    write(folder / "b.xml", read(save(folder, IMAGES)).document)
    root = Tree.parse(folder / "b.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [label.findtext("parent") for label in root.iter("label")] == [None, "bee", "bee"]
    skeleton = root.find("image/skeleton")
    assert skeleton.attrib == {"label": "bee", "source": "manual", "z_order": "0"}
    assert [point.attrib for point in skeleton.iter("points")] == [
        {
            "label": "head",
            "source": "manual",
            "outside": "0",
            "occluded": "0",
            "points": "10,30.25",
        },
        {"label": "wing", "source": "manual", "outside": "0", "occluded": "1", "points": "20.5,5"},
    ]


def test_video(folder):
    file = read(save(folder, VIDEO))
    assert [(a["image_id"], a["instance_id"]) for a in file.document["annotations"]] == [
        (1, 3), (2, 3), (2, 4),
    ]  # fmt: skip
    assert [rows.tolist() for _, rows in rows_of(file.document)] == [
        [[1, 2, 2], [3, 4, 1]], [[2, 3, 2], [4, 5, 1]], [[9, 9, 2], [0, 0, 0]],
    ]  # fmt: skip
    images = file.document["images"]
    assert [(image["video"], image["frame"]) for image in images] == [
        ("hive.mp4", 0),
        ("hive.mp4", 1),
    ]
    assert (images[0]["width"], images[0]["height"]) == (60, 40)
    assert "frame 1 of hive.mp4" in file.missing[2]
    assert "interpolated by CVAT: 1" in file.notes[0]
    assert write(folder / "b.xml", file.document) == []
    root = Tree.parse(folder / "b.xml").getroot()
    ended = [int(track[-1].get("frame")) for track in root.iter("track")]
    assert ended == [2, 2]
    assert {point.get("outside") for track in root.iter("track") for point in track[-1]} == {"1"}
    again = read(folder / "b.xml").document
    for document in (again, file.document):
        for each in document["annotations"]:
            each.pop("cvat", None)  # that a frame was interpolated
            each.pop("id")
        document["annotations"].sort(key=lambda each: (each["image_id"], each["instance_id"]))
    assert again["annotations"] == file.document["annotations"]
    assert again["images"] == images and again["categories"] == file.document["categories"]


def test_tracks_without_an_id(folder):
    text = VIDEO.replace('id="3"', "").replace('id="4"', 'id=" "')
    document = read(save(folder, text)).document
    assert [each["instance_id"] for each in document["annotations"]] == [0, 0, 1]
    document = read(save(folder, VIDEO.replace('id="3"', 'id="queen"'))).document
    assert [each["instance_id"] for each in document["annotations"]] == ["queen", "queen", 4]


def test_frames_that_are_exported(folder):
    (folder / "images" / "a.png").rename(folder / "images" / "frame_000001.png")
    file = read(save(folder, VIDEO))
    assert file.document["images"][1]["file_name"] == "frame_000001.png"
    assert file.paths[2] == folder / "images" / "frame_000001.png"


def test_points_without_skeletons(folder):
    points = '<points label="{}" occluded="0" points="{},5" group_id="{}"/>'
    several = [("head", 1, 1), ("wing", 2, 1), ("head", 30, 2)]
    text = "".join(points.format(*each) for each in several)
    file = read(save(folder, f'<annotations><image name="a.png">{text}</image></annotations>'))
    assert [rows.tolist() for _, rows in rows_of(file.document)] == [
        [[1, 5, 2], [2, 5, 2]], [[30, 5, 2], [0, 0, 0]],
    ]  # fmt: skip
    text = "".join(points.format(*each) for each in [*several, ("wing", 3, 1)])
    path = save(folder, f'<annotations>\n<image name="a.png">{text}</image></annotations>')
    refused(lambda: read(path), "line 2", "wing")


def test_sizes(folder):
    text = IMAGES.replace('width="60" height="40"', 'width="120" height="80"')
    file = read(save(folder, text))
    assert file.document["annotations"][0]["keypoints"] == [5, 15.125, 2, 10.25, 2.5, 1]
    assert any("scaled" in note for note in file.notes)
    text = IMAGES.replace('width="60" height="40"', 'width="100" height="80"')
    refused(lambda: read(save(folder, text)), "60 x 40")
    text = IMAGES.replace('width="60" height="40"', 'width="x"')
    assert read(save(folder, text)).document["images"][0]["width"] == 60


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("annotations>", "others>", ["<others>"]),
        ('name="a.png"', "", ["line 12", "name"]),
        ('points="10.00,30.25"', 'points="10.00"', ["line 16", "'10.00'"]),
        ('points="10.00,30.25"', 'points="nan,1"', ["line 16", "nan"]),
        ('points="10.00,30.25"', 'points="1,2;3,4"', ["line 16", "one point"]),
        ('points="10.00,30.25"', "", ["line 16", "x and y"]),
        ('label="head"', "", ["line 16", "label"]),
        ('label="head" source="manual"', 'label="wing"', ["line 16", "wing"]),
        ('<skeleton label="bee"', "<skeleton", ["line 13", "label"]),
        ("</annotations>", "", ["expected XML"]),
    ],
)
def test_files_that_cannot_be_read(folder, old, new, parts):
    path = save(folder, IMAGES.replace(old, new))
    assert "\n" not in refused(lambda: read(path, format="cvat"), "annotations.xml", *parts)


def test_files_without_keypoints(folder):
    for text in ("<annotations/>", "<annotations><image name='a.png'/></annotations>"):
        refused(
            lambda text=text: read(save(folder, text)), "expected skeletons or points, got none"
        )
    refused(lambda: read(save(folder, "")), "other content")
    refused(lambda: read(save(folder, ""), format="cvat"), "expected XML")
    refused(lambda: read(save(folder, "<html></html>")), "other content")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused(folder, encoding):
    bombs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    for declared in (bombs, '<!ENTITY a9 SYSTEM "file:///etc/hostname">', ""):
        text = (
            f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE annotations '
            f'[<!ENTITY a0 "ha">{declared}]><annotations>&a9;</annotations>'
        )
        started = time.monotonic()
        path = save(folder, text.encode(encoding))
        refused(lambda path=path: read(path, format="cvat"), "annotations.xml, line 1", "DOCTYPE")
        assert time.monotonic() - started < 5


def test_deep_files(folder):
    depth = 200_000
    text = "<annotations>" + "<a>" * depth + "</a>" * depth + "</annotations>"
    refused(lambda: read(save(folder, text)), "line 1", "at most 100")


def test_names_that_xml_cannot_hold(folder):
    builder = DocumentBuilder()
    image = builder.add_image("a\x01.png", (60, 40))
    builder.add_annotation(image, "w", {"p": (1, 2, 2)}, attributes={"list": [1], "yes": True})
    document = builder.build().document
    refused(lambda: write(folder / "b.xml", document), "XML", "a\\x01.png")
    document["images"][0]["file_name"] = "a <&>\"'.png"
    notes = write(folder / "b.xml", document)
    assert notes == ["CVAT's XML holds only text and numbers as attributes, not list"]
    root = Tree.parse(folder / "b.xml").getroot()
    assert root.find("image").get("name") == "a <&>\"'.png"
    assert root.findtext("image/skeleton/attribute") == "true"


def test_what_the_format_cannot_hold_is_said(folder):
    builder = DocumentBuilder([{"id": 1, "name": "w", "keypoints": ["p"], "flip_indices": [0]}])
    image = builder.add_image("a.png", (60, 40), video="v.mp4", frame=3)
    builder.add_image("b c.png", (60, 40))
    builder.add_annotation(image, "w", {"p": (1, 2, 2)}, instance_id=7, box=(0, 0, 9, 9))
    (note,) = write(folder / "b.xml", builder.build().document)
    assert note == (
        "CVAT's XML has no place for these members, of images: frame, video; of annotations: bbox, "
        "instance_id; of categories: flip_indices"
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_written_comes_back(folder, data):
    document = document_of(data.draw(contents(occluded=True)))
    write(folder / "b.xml", document, WriteOptions(folder / "images"))
    found = read(folder / "b.xml", ReadOptions(folder)).document
    images = [name for name, _ in rows_of(document)]
    order = sorted(range(len(images)), key=lambda n: images.index(images[n]))
    document["annotations"] = [document["annotations"][n] for n in order]
    assert_same_points(found, document)
    assert [a.get("attributes") for a in found["annotations"]] == [
        a.get("attributes") for a in document["annotations"]
    ]
    assert {image["file_name"]: image["width"] for image in found["images"]} == {
        image["file_name"]: SIZES[image["file_name"]][0] for image in document["images"]
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files(folder, data):
    text = data.draw(st.sampled_from([IMAGES, VIDEO]))
    content = bytearray(text.encode())
    values = [found.span(1) for found in re.finditer(r'[=]"([^"]*)"', text)]
    for _ in range(data.draw(st.integers(1, 3))):
        start, end = data.draw(st.sampled_from(values))
        if data.draw(st.booleans()):
            start = data.draw(st.integers(0, len(content)))
            end = start + data.draw(st.integers(0, 3))
        content[start:end] = data.draw(st.binary(max_size=4) | st.sampled_from([b"-1", b"1e9,1"]))
    try:
        read(save(folder, bytes(content)), format="cvat")
    except HomologError as error:
        assert "\n" not in str(error)


cases = real_images.ROOT.parent / "cases"


@pytest.mark.skipif(not cases.is_dir(), reason="needs the cases beside HOMOLOG_DATA")
def test_a_case():
    refused(lambda: read(cases / "other_formats" / "cvat.xml"), "cvat.xml", "skeletons")
