"""The command that converts published weights."""

from __future__ import annotations

from pathlib import Path


def convert(checkpoint: Path, out: Path) -> None:
    """Convert a published post-processor's checkpoint into a model folder.

    Parameters
    ----------
    checkpoint
        The `.pth` file as published; no code in it is run.
    out
        The folder to write.
    """
    from homolog import checkpoints

    network = checkpoints.convert(checkpoint, out)
    channels = " + ".join(map(str, network.feature_dims))
    count = sum(parameter.numel() for parameter in network.parameters())
    print(
        f"post-processor of feature maps with {channels} channels, width "
        f"{network.projection_dim}, {count:,} parameters"
    )
    print(f"saved: {out}")
