"""Training: of post-processors here, of side heads in `sides`, without labels in `adaptation`."""

from homolog.training.adaptation import AdaptationConfig, AdaptationResult, adapt
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
    "AdaptationConfig",
    "AdaptationResult",
    "LossConfig",
    "NetworkConfig",
    "PoseVariants",
    "TrainingConfig",
    "ViewsConfig",
    "adapt",
    "published_ap10k",
    "published_pf_pascal",
    "published_spair",
    "small_set",
    "train",
]
