"""What a browser is sent of a pair: with it, it matches as the matcher does."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import marco_parity as marco
from helpers.serve import client, unpack, upload_id
from helpers.toys import random_image

from homolog import matching
from homolog.example import pair
from homolog.image.poses import POSE_SETS
from homolog.matching.consensus import Consensus
from homolog.serve import compression
from homolog.serve.compression import CompressedPair


@pytest.mark.parametrize("pose", ["identity", "flip", "rotate90"])
@pytest.mark.parametrize("source", [0, 1])
def test_the_browser_matches_as_the_matcher_does(page, ids, matcher, pose, source):
    """The same arithmetic on what was sent: nearly all peaks are at most a cell away."""
    header, images, hubness = unpack(page.get(f"/api/pairs/{ids[0]}/{ids[1]}/{pose}").content)
    with pair() as example:
        features = matcher.extract(example.image0, [pose]), matcher.extract(example.image1)
    maps = [found for each in features for found in each.by_pose.values()]
    forward, backward = maps[source], maps[1 - source]
    consensus = Consensus(
        forward.descriptors_HWC, backward.descriptors_HWC, forward.saliency_HW,
        backward.saliency_HW, forward.matchable_HW, backward.matchable_HW,
        matcher.config.consensus,
    )  # fmt: skip
    cells = forward.matchable_HW.nonzero().flip(1)[::3].float()
    expected = consensus.similarity(cells)
    if pose == "identity" and source == 0:
        points = forward.transform.to_points(cells.double().numpy())
        heat = matcher.heatmap(*features, forward.transform.clip(points)[:20])
        assert np.allclose(heat.similarity, expected[:20].numpy(), atol=0.01)
    # The page's consensus: the same corrections of the similarity that was sent.
    from_HWR, to_HWR = images[source][1], images[1 - source][1]
    similarity = from_HWR.flatten(0, 1) @ to_HWR.flatten(0, 1).T
    consensus.hubness_HW = torch.tensor(hubness[source]).view(to_HWR.shape[:2])
    rows = (cells[:, 1] * from_HWR.shape[1] + cells[:, 0]).long()
    found = consensus.rows(similarity, rows)
    off = (matching.argmax(found) - matching.argmax(expected)).abs().amax(1)
    assert (off <= 1).float().mean() > 0.95
    assert (off == 0).float().mean() > 0.8
    inside = torch.isfinite(expected)
    assert (found - expected)[inside].std() < 0.005
    # The affine prior that is sent is that of the consensus.
    sent = header["guides"][source]["layout"]
    assert sent["affine"] == consensus.affine_prior.affine.tolist()


def test_maps_between_points_and_cells(page, ids, matcher):
    for pose in POSE_SETS["rotations"][1:3]:
        header, images, _ = unpack(page.get(f"/api/pairs/{ids[0]}/{ids[1]}/{pose.name}").content)
        with pair() as example:
            transform = matcher.extract(example.image0, [pose]).by_pose[pose].transform
        points = np.array([[10.0, 20.0], [600.0, 333.0]])
        homogeneous = np.column_stack([points, np.ones(2)])
        entry, _, matchable = images[0]
        assert np.allclose(homogeneous @ np.array(entry["to_cells"]), transform.to_cells(points))
        assert np.allclose(homogeneous @ np.array(entry["to_points"]), transform.to_points(points))
        assert (matchable == transform.valid_cells).all()
        assert header["pose"] == pose.name


def test_distances_are_those_of_transfer(page, ids, matcher):
    # Without a side head, distances decide.
    plain = matcher.with_config(sides=None)
    with client(plain) as other, pair() as example:
        ids = other.get("/api/start").json()["example"]
        found = plain.transfer(example.image0, example.image1, [[9, 9]], poses="flip")
        assert set(found.pose_distances) == {"identity", "flip"}
        for name, distance in found.pose_distances.items():
            header, _, _ = unpack(other.get(f"/api/pairs/{ids[0]}/{ids[1]}/{name}").content)
            assert header["distance"] == pytest.approx(distance, abs=1e-5)


def test_published_matching_has_no_consensus(matcher):
    with client(matcher.with_config(consensus=None, window=None)) as page:
        ids = page.get("/api/start").json()["example"]
        header, _, rest = unpack(page.get(f"/api/pairs/{ids[0]}/{ids[1]}/identity").content)
    assert header["guidance"] is header["window"] is None and rest == []
    assert header["guides"] == [None, None]


def test_few_channels_and_few_cells(colour_matcher):
    with client(colour_matcher) as page:
        ids = [upload_id(page, random_image(40, 90, seed)) for seed in (0, 1)]
        _, images, _ = unpack(page.get(f"/api/pairs/{ids[0]}/{ids[1]}/flip").content)
        answer = page.get(f"/api/pairs/{ids[0]}/{ids[0]}/identity/point?source=1&x=20&y=45")
    assert images[0][1].shape == (12, 12, 70)
    assert (answer.json()["x"], answer.json()["y"]) == pytest.approx((20, 45), abs=8)


@marco.needs_figures
@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which runs the page's code")
def test_the_browser_reads_positions_as_marco_does(tmp_path):
    """The page's own code, on what it is sent, against the matcher's similarity and positions."""
    pytest.importorskip("transformers")
    published = marco.matcher()
    images = [marco.FOLDER / f"image{index}.png" for index in (0, 1)]
    found = published.pair(*images)
    (tmp_path / "pair.bin").write_bytes(CompressedPair(found).pack())
    points = marco.tensors()["keypoints"].numpy()
    expected = found.transfer(points).keypoints1
    shutil.copy(Path(compression.__file__).parent / "static" / "heat.js", tmp_path / "heat.mjs")
    program = f"""
      import {{ Pair }} from "./heat.mjs";
      import {{ readFileSync }} from "node:fs";
      const bytes = readFileSync({json.dumps(str(tmp_path / "pair.bin"))});
      const pair = new Pair(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
      const points = {json.dumps(points.tolist())};
      console.log(JSON.stringify(points.map((point) => pair.heatmap(0, point).point)));
    """
    (tmp_path / "run.mjs").write_text(program)
    done = subprocess.run(
        ["node", tmp_path / "run.mjs"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    off = np.linalg.norm(np.array(json.loads(done.stdout)) - expected, axis=1)
    assert np.median(off) < 2, off
