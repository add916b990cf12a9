"""The command that takes over published weights."""

from __future__ import annotations

from pathlib import Path


def convert(checkpoint: Path, out: Path) -> None:
    """Turn a published post-processor's checkpoint into a homolog folder.

    Parameters
    ----------
    checkpoint
        The `.pth` file as published; no code in it is run.
    out
        The folder to make.
    """
    from homolog.checkpoints import convert as converted

    network = converted(checkpoint, out)
    maps = " + ".join(map(str, network.feature_dims))
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"post-processor of maps {maps}, width {network.projection_dim}, {count:,} parameters")
    print(f"saved: {out}")
