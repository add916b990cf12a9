"""The default model adapted to photos of animals, whose sides it knows."""

import dataclasses
import json

import pytest
import real_images

from homolog import Matcher
from homolog.training.adaptation import (
    AdaptationConfig,
    HeadConfig,
    MiningConfig,
    SideTuningConfig,
    adapt,
    report,
)

PHOTOS = real_images.ROOT / "photos" / "quadrupeds"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"no photos at {PHOTOS}"),
]


def test_head_and_side_head_learn_together(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_draw", lambda *_: {})
    config = AdaptationConfig(
        rotations=False,
        rounds=1,
        mining=MiningConfig(neighbours=3, random_pairs=2, queries=60),
        head=HeadConfig(steps=3, images=4),
        sides=SideTuningConfig(steps=3, images=4),
    )
    photos = sorted(PHOTOS.iterdir())[:24]
    matcher = Matcher.from_pretrained("embedded", device="cpu")
    result = adapt(photos, tmp_path / "model", matcher, config)
    assert result.used >= 18
    adapted = Matcher.from_pretrained(tmp_path / "model", device="cpu")
    plain = dataclasses.replace(adapted.config, post_processor=matcher.config.post_processor)
    assert plain == matcher.config
    before, after = matcher.side_head.state_dict(), adapted.side_head.state_dict()
    assert before.keys() == after.keys()
    assert any(not before[name].equal(after[name]) for name in before)
    results = json.loads((tmp_path / "model" / "report" / "results.json").read_text())
    assert results["sides_tuned"] and results["images"]["recognised"] >= 12
