"""What several tests share: toy backbones and models, made data sets."""

from helpers.typecheck import check as check
