"""All models of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from homolog.errors import HomologError
from homolog.synth.gltf import read_model
from homolog.synth.model import Model, ModelError

SUFFIXES = (".glb", ".gltf")


def load_models(
    folder: Path, models: Sequence[str] | None = None
) -> tuple[list[Model], dict[str, str]]:
    """Read the models of a folder.

    Args:
        folder: of .glb and .gltf files, looked for in its subfolders too.
        models: file names without their endings, to read only these.

    Returns:
        The models in the order of their names, and the reasons by file for those that cannot be
        used.

    Raises:
        HomologError: there is no such folder, no such model, or none that can be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HomologError(f"models: expected a folder, got {folder}")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise HomologError(f"models: expected {' or '.join(SUFFIXES)} files in {folder}, got none")
    if models is not None:
        names = {path.stem for path in paths}
        if missing := [name for name in models if name not in names]:
            known = ", ".join(sorted(names))
            raise HomologError(f"models: expected names of {known} in {folder}, got {missing[0]!r}")
        paths = [path for path in paths if path.stem in set(models)]
    found: dict[str, Model] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            if path.stem in found:
                raise ModelError("another model has this name")
            found[path.stem] = read_model(path)
        except ModelError as error:
            skipped[str(path.relative_to(folder))] = str(error)
    if not found:
        raise no_usable_model(folder, skipped)
    return list(found.values()), skipped


def no_usable_model(folder: Path, skipped: Mapping[str, str]) -> HomologError:
    """The error for a folder none of whose models can be used; it names up to three reasons."""
    reasons = "; ".join(f"{name} {reason}" for name, reason in list(skipped.items())[:3])
    return HomologError(f"models: expected a model that can be used in {folder}, got {reasons}")
