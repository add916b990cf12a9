"""Training: of post-processors here, of side heads in `sides`, without labels in `adaptation`."""

from homolog.training.adaptation import AdaptationConfig, AdaptationResult, adapt
from homolog.training.recipes import (
    AnnealingConfig,
    DistillationConfig,
    LossConfig,
    MiningConfig,
    NetworkConfig,
    PoseVariants,
    TrainingConfig,
    ViewsConfig,
    marco,
    published_ap10k,
    published_pf_pascal,
    published_spair,
    small_set,
)
from homolog.training.run import train

__all__ = [
    "AdaptationConfig",
    "AdaptationResult",
    "AnnealingConfig",
    "DistillationConfig",
    "LossConfig",
    "MiningConfig",
    "NetworkConfig",
    "PoseVariants",
    "TrainingConfig",
    "ViewsConfig",
    "adapt",
    "marco",
    "published_ap10k",
    "published_pf_pascal",
    "published_spair",
    "small_set",
    "train",
]
