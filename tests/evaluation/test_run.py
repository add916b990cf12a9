"""Predictions of a matcher: every image once, resumed after interruptions, within memory."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
from helpers import datasets
from helpers.toy_evaluation import BOTH, SCHEMA, read_lines, score_file
from helpers.toys import ColourBackbone

from homolog import HomologError, Matcher, evaluation
from homolog.data import Pair, pf_willow
from homolog.evaluation.report import Report
from homolog.features import FeatureCache
from homolog.utils.locks import lock_folder


def test_one_backbone_pass_for_each_image_and_pose(colour_matcher, data, tmp_path):
    path = evaluation.predict(colour_matcher, data, tmp_path / "run", poses=BOTH)
    assert colour_matcher.backbone.seen == 3 * 2
    found = read_lines(path)
    assert [line["pair"] for line in found] == [pair.name for pair in data.pairs]
    for line, pair in zip(found, data.pairs, strict=True):
        direct = colour_matcher.transfer(
            pair.source.path, pair.target.path,
            pair.source.keypoints[pair.source.visible], SCHEMA,
            np.flatnonzero(pair.source.visible).tolist(), poses=BOTH,
        )  # fmt: skip
        rows = [direct.point_ids.index(k) for k in line["keypoint_ids"]]
        np.testing.assert_allclose(line[evaluation.ALIGNED], direct.keypoints1[rows])
        plain = colour_matcher.transfer(
            pair.source.path, pair.target.path, pair.source.keypoints[pair.keypoint_ids]
        )
        np.testing.assert_allclose(line[evaluation.UNALIGNED], plain.keypoints1)


class Interrupted(ColourBackbone):
    """A backbone that is interrupted after some images."""

    def __init__(self, after: int):
        super().__init__()
        self.after = after

    def __call__(self, canvases):
        if self.seen == self.after:
            raise KeyboardInterrupt
        return super().__call__(canvases)


def test_an_interrupted_run_resumes(colour_matcher, data, tmp_path):
    whole = evaluation.predict(colour_matcher, data, tmp_path / "whole")
    broken = Matcher(Interrupted(2), colour_matcher.config)
    with pytest.raises(KeyboardInterrupt):
        evaluation.predict(broken, data, tmp_path / "run")
    path = tmp_path / "run" / "predictions.jsonl"
    assert len(read_lines(path)) == 1
    with path.open("a") as file:
        file.write('{"pair": "a-c", "keypoi')  # killed while writing
    evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert path.read_text() == whole.read_text()
    before = colour_matcher.backbone.seen
    evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert colour_matcher.backbone.seen == before, "nothing left to do"


def test_a_folder_of_another_run_is_refused(colour_matcher, data, tmp_path):
    evaluation.predict(colour_matcher, data, tmp_path / "run")
    with pytest.raises(HomologError, match="holds another run"):
        evaluation.predict(colour_matcher.with_config(window=1), data, tmp_path / "run")
    with pytest.raises(HomologError, match="holds another run"):
        evaluation.predict(colour_matcher, data.subsample(2), tmp_path / "run")


def test_features_that_exceed_the_memory_are_cached_on_disk(colour_matcher, data, tmp_path):
    plain = evaluation.predict(colour_matcher, data, tmp_path / "plain")
    cached = Matcher(ColourBackbone(), colour_matcher.config, cache=FeatureCache(tmp_path / "c"))
    first = evaluation.predict(cached, data, tmp_path / "first")
    assert cached.backbone.seen == 3
    small = Matcher(ColourBackbone(), colour_matcher.config)
    second = evaluation.predict(small, data, tmp_path / "second", memory=1)
    # One image is extracted once more, to find out how much memory it takes.
    assert small.backbone.seen == 3 + 1
    assert first.read_text() == second.read_text()
    for ours, line in zip(read_lines(first), read_lines(plain), strict=True):
        np.testing.assert_allclose(ours[evaluation.ALIGNED], line[evaluation.ALIGNED], atol=0.2)
    assert not list((tmp_path / "second").glob(".features-*")), "the temporary cache is gone"


def test_a_truncated_cache_file_is_replaced(colour_matcher, data, tmp_path):
    cache = FeatureCache(tmp_path / "cache")
    matcher = Matcher(ColourBackbone(), colour_matcher.config, cache=cache)
    path = data.pairs[0].source.path
    good = matcher.extract(path).descriptors
    (file,) = cache.folder.rglob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert matcher.extract(path).descriptors.equal(good)
    assert matcher.backbone.seen == 2 and file.read_bytes() == whole
    assert matcher.extract(path).descriptors.equal(good) and matcher.backbone.seen == 2
    other = Matcher(ColourBackbone(), matcher.with_config().config, cache=cache)
    other.extract(path, "flip")
    assert other.backbone.seen == 1, "the flipped image has a file of its own"


def test_missing_images_are_reported_before_the_work(colour_matcher, data, tmp_path):
    data.pairs[-1].source.path.unlink()
    with pytest.raises(HomologError, match=r"c\.png: expected the image of c, got none"):
        evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert colour_matcher.backbone.seen == 0 and not (tmp_path / "run").exists()


def test_keypoints_outside_the_image_are_moved_to_its_border(colour_matcher, data, tmp_path):
    data.pairs[0].source.keypoints[0] = (97.5, 20)
    found = evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert len(read_lines(found)) == 6
    notes = Report.of(data, score_file(data, found), "toy").notes
    assert any("lie outside" in note and "(97.5, 20)" in note for note in notes)


def test_lazy_pairs_are_resumed(colour_matcher, tmp_path):
    """Pairs that are made when they are accessed: the first four are done, two remain."""
    data = pf_willow.load(datasets.make_pf_willow(tmp_path / "willow", ["duck(S)"]))
    path = evaluation.predict(colour_matcher, data, tmp_path / "run")
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(keepends=True)[:4]))
    evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert path.read_text() == whole and len(read_lines(path)) == 6


def test_a_pair_without_visible_source_keypoints(colour_matcher, data, tmp_path):
    """It has empty predictions, aligned or not, and does not count."""
    data.pairs[0].source.keypoints[:] = np.nan
    pair = Pair.of("a-b", data.pairs[0].source, data.pairs[0].target)
    few = dataclasses.replace(data, pairs=[pair, data.pairs[-1]])
    path = evaluation.predict(colour_matcher, few, tmp_path / "run", poses=BOTH)
    assert read_lines(path)[0][evaluation.ALIGNED] == []
    for field in (evaluation.ALIGNED, evaluation.UNALIGNED):
        predictions, _ = evaluation.read_predictions(path, few, field)
        assert predictions["a-b"].shape == (0, 2)
        assert np.isnan(evaluation.score(few, predictions).pck_of_pairs(0.1)[0])


def test_lines_have_what_kap_and_n01_need(colour_matcher, data, tmp_path):
    """Points of keypoints that only the source shows, and similarities of the maps matched in."""
    path = evaluation.predict(colour_matcher, data, tmp_path / "run", poses=BOTH)
    predictions, _ = evaluation.read_predictions(path, data)
    assert list(predictions.details) == [pair.name for pair in data.pairs]
    for pair in data.pairs:
        details = predictions.details[pair.name]
        given = np.flatnonzero(pair.source.visible)
        hidden = [k for k in given if not pair.target.visible[k]]
        assert details.source_only_ids.tolist() == hidden
        source, target = colour_matcher.extract([pair.source.path, pair.target.path])
        prepared = colour_matcher.pair(source, target, poses=BOTH, schema=SCHEMA)
        found = prepared.transfer(pair.source.keypoints[given], given.tolist())
        rows = [found.point_ids.index(k) for k in hidden]
        np.testing.assert_allclose(details.source_only_Q2, found.keypoints1[rows])
        similarities = details.similarities
        assert similarities.ids_S.tolist() == given.tolist()
        assert (similarities.threshold, similarities.alphas) == ("box", (0.1, 0.05))
        best = np.fmax(similarities.inside_SA, similarities.outside_SA)
        _, maps = prepared.transfer_with_maps(pair.source.keypoints[given], given.tolist())
        finite = [each[each.isfinite()] for _, _, each in maps]
        low, high = min(map(float, map(min, finite))), max(map(float, map(max, finite)))
        for rows, _, each in maps:
            expected = (each.flatten(1).amax(1).numpy() - low) / (high - low)
            np.testing.assert_allclose(best[rows], np.stack([expected] * 2, 1), atol=1e-5)
    rows = {row.kind for row in evaluation.score(data, predictions).rows()}
    assert {"kap", "kap_published", "geco_n01_mirror"} <= rows


def test_an_old_run_resumes_with_a_note(colour_matcher, data, tmp_path):
    """Lines that were written before have nothing of KAP; the report says of how many it is."""
    path = evaluation.predict(colour_matcher, data, tmp_path / "run")
    lines = read_lines(path)
    old = [{k: line[k] for k in ("pair", "keypoint_ids", evaluation.ALIGNED)} for line in lines[:2]]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in old))
    report = evaluation.evaluate(colour_matcher, data, tmp_path / "run", "toy")
    assert read_lines(path) == old + lines[2:]
    assert any(note.startswith("KAP and n01 are of 4 of 6 pairs") for note in report.notes)


def test_one_process_writes_a_folder(colour_matcher, data, tmp_path):
    path = evaluation.predict(colour_matcher, data, tmp_path / "run")
    whole = path.read_text()
    with lock_folder(tmp_path / "run"):
        for work in (evaluation.predict, partial(evaluation.evaluate, model="toy")):
            with pytest.raises(
                HomologError, match=r"^out: expected a folder that no other process"
            ):
                work(colour_matcher, data, tmp_path / "run")
    path.write_text(whole + whole)  # as two processes leave it that were not kept apart
    report = evaluation.evaluate(colour_matcher, data, tmp_path / "run", "toy")
    assert path.read_text() == whole and report.notes == []
