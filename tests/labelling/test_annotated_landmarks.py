"""From a few specimens in a TPS file to a TPS file of all, with the embedded model."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import real_images

from homolog.data import exemplars
from homolog.data.label_files import read, write
from homolog.labelling import propagate
from homolog.labelling.landmark_report import landmark_report

WINGS = real_images.ROOT / "wings"


@pytest.mark.skipif(not WINGS.is_dir(), reason="needs the wings in HOMOLOG_DATA")
def test_wings(matcher, tmp_path):
    whole = read(WINGS / "wings.tps")
    names = [image["file_name"] for image in whole.document["images"][:4]]
    folder = tmp_path / "images"
    folder.mkdir()
    for name in names:
        shutil.copy(WINGS / "images" / name, folder)
    # Two are labelled: eight landmarks with names, and a curve of the other four.
    lines = (WINGS / "wings.tps").read_text().split("LM=12\n")[1:3]
    few = []
    for number, text in enumerate(lines):
        rows = text.replace(". ", " ").replace(".\n", "\n").splitlines()
        curve = ["CURVES=1", "POINTS=4", *rows[8:12]]
        few += ["LM=8", *rows[:8], *curve, *rows[12:], "SCALE=0.01", f"COMMENT=wing {number}"]
    (tmp_path / "few.tps").write_text("\n".join(few))
    (tmp_path / "few.names.txt").write_text("\n".join(f"vein {n}" for n in range(1, 9)))
    labelled = exemplars.read(tmp_path / "few.tps")
    propagate.annotate(matcher, labelled, folder, tmp_path / "all.tps")
    text = (tmp_path / "all.tps").read_text()
    assert text.startswith("\n".join(few[: len(few) // 2]))  # what was labelled is as it was
    assert text.count("LM=8\n") == text.count("CURVES=1\nPOINTS=4\n") == 4
    assert (tmp_path / "curveslide.csv").read_text() == "before,slide,after\n9,10,11\n10,11,12\n"
    file = read(tmp_path / "all.tps")
    keypoints = file.document["categories"][0]["keypoints"]
    assert keypoints[0] == "vein 1" and keypoints[8:] == [f"curve1 {n}" for n in range(1, 5)]
    file.document["categories"][0]["keypoints"] = [str(n) for n in range(1, 13)]
    report = landmark_report(file, whole)
    errors = 100 * report.relative_errors
    assert errors[:2].max() < 1e-6 and errors[2:].mean() < 2
    assert np.isfinite(report.scales[:2]).all() and np.isnan(report.scales[2:]).all()
    # Through any other format, and back.
    for name, kind in (("b.json", None), ("b", "labelme"), ("b.xml", None)):
        write(tmp_path / name, read(tmp_path / "all.tps").document, format=kind)
        again = read(tmp_path / name)
        write(tmp_path / "c.tps", again.document)
        assert again.document["categories"][0]["keypoints"] == keypoints
        (tmp_path / "c.names.txt").unlink()
    write(tmp_path / "d.tps", read(tmp_path / "b.json").document)
    assert (tmp_path / "d.tps").read_text() == text
