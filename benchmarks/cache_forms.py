"""What the forms of cached features cost in accuracy, and how large they are.

    python benchmarks/cache_forms.py

Dogs, zero-shot; the compact form's principal components are taken from other images.
"""

from __future__ import annotations

import tempfile
from typing import get_args

import real_images
from accuracy import evaluate

from homolog import Matcher
from homolog.features import FeatureCache
from homolog.features.codecs import CodecName

# Values an image and pose at the published size: maps of 640, 1280, 1280 and 768 channels.
PUBLISHED = 640 * 60**2 + 1280 * 30**2 + 1280 * 15**2 + 768 * 60**2
IMAGES = 2 * 1800  # SPair-71k's, as they are and flipped


def main() -> None:
    dogs, others = real_images.dogs(), real_images.willow().annotations[::2]
    print("| form | MB an image | SPair-71k at the published size, GB | PCK@0.10 | PCK@0.05 |")
    print("|---|---|---|---|---|")
    for form in get_args(CodecName):
        matcher = Matcher.from_pretrained("embedded")
        with tempfile.TemporaryDirectory() as folder:
            cache = FeatureCache(folder, codec=form)
            if not cache.fitted:
                cache.fit([matcher.feature_maps(annotation.path) for annotation in others])
            matcher = matcher.with_cache(cache)
            found = evaluate(matcher, dogs)
            size = cache.size() / len(dogs.annotations)
        values = sum(
            features[0].numel() for features in matcher.feature_maps(dogs.annotations[0].path)
        )
        published = size / values * PUBLISHED * IMAGES / 1e9
        print(
            f"| {form} | {size / 1e6:.2f} | {published:.1f} | {found['PCK@0.10']:.1f} "
            f"| {found['PCK@0.05']:.1f} |"
        )


if __name__ == "__main__":
    main()
