"""The matcher that training builds on."""

from __future__ import annotations

from homolog.errors import HomologError
from homolog.matcher import Matcher


def zero_shot_part(matcher: Matcher) -> Matcher:
    """The same matcher without trained networks, whose zero-shot descriptors new ones are given.

    A side head is left out, and so is a post-processor that was trained without labels, as a
    default may have one.

    Args:
        matcher: the model that somebody asked to train.

    Raises:
        HomologError: it was trained on labels, which would be lost, or its backbone was.
    """
    settings = matcher.config.post_processor
    if settings is not None and (settings.trained_on == "labels" or settings.tuning is not None):
        raise HomologError(
            "model: expected a zero-shot model, or one adapted without labels, got one that is "
            "trained already; try it as the start of a run"
        )
    return matcher.with_config(post_processor=None, sides=None)
