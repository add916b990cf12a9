"""Loading of foundation models from the hub or a folder, with errors that say what to do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from homolog.backbones.configs import Precision
from homolog.errors import HomologError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def from_pretrained(kind: Any, name: str, **options: Any) -> Any:
    """Load a model, a scheduler or a tokenizer, never unpickling anything.

    Args:
        kind: the class whose `from_pretrained` is called.
        name: `owner/name` on the hub, or a folder.
        options: its further arguments.

    Raises:
        HomologError: it cannot be loaded; the message says what to do.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    part = options.get("subfolder") or "the model"
    if ("/" not in name or name.startswith((".", "/", "~"))) and not Path(name).is_dir():
        raise HomologError(f"model: expected a folder or a hub's owner/name, got {name}")
    try:
        with _without_warnings("huggingface_hub"):  # of retries; what matters is raised
            return kind.from_pretrained(name, **options)
    except Exception as error:  # the libraries raise many kinds for the same few reasons
        causes = [error, error.__cause__, error.__context__]
        if any(isinstance(cause, GatedRepoError) for cause in causes):
            reason = (
                "its licence is not accepted yet; try accepting it on its page, then: hf auth login"
            )
        elif any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
            reason = "the hub has no model of that name; try a mirror or a folder (weights)"
        elif isinstance(error, (OSError, ValueError, ImportError, RuntimeError, KeyError)):
            reason = " ".join(str(error).split())
            if not Path(name).is_dir():
                reason = (
                    f"it is not in the cache and the hub cannot be reached ({reason[:120]}); try "
                    f"`hf download {name}` on another machine, and give the folder"
                )
        else:
            raise
        raise HomologError(f"model: expected {part} of {name}, got none: {reason}") from None


@contextlib.contextmanager
def _without_warnings(logger_name: str) -> Iterator[None]:
    """Silence a library's logger below the level of errors."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def dtype_of(precision: Precision, device: torch.device, on_gpu: torch.dtype) -> torch.dtype:
    """The number format that a precision stands for on a device.

    Args:
        precision: as configured.
        device: where the model computes.
        on_gpu: the format that `auto` stands for on a GPU; elsewhere it is float32.
    """
    if precision == "auto":
        return on_gpu if device.type == "cuda" else torch.float32
    return _DTYPES[precision]
