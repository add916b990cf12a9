"""Training: of post-processors here, of side heads in `homolog.training.sides`."""

from homolog.training.recipes import (
    LossConfig,
    NetworkConfig,
    PoseVariants,
    TrainingConfig,
    ViewsConfig,
    published_ap10k,
    published_pf_pascal,
    published_spair,
    small_set,
)
from homolog.training.run import train

__all__ = [
    "LossConfig",
    "NetworkConfig",
    "PoseVariants",
    "TrainingConfig",
    "ViewsConfig",
    "published_ap10k",
    "published_pf_pascal",
    "published_spair",
    "small_set",
    "train",
]
