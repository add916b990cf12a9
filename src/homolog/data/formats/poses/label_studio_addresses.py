"""Addresses of images in the tasks of Label Studio."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image

from homolog.data.reading import ImageFinder
from homolog.errors import HomologError

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts in front of the name of an uploaded file."""


def image_address(data: Mapping[str, Any], regions: Sequence[Mapping[str, Any]]) -> str:
    """The address of the image of a task.

    Raises:
        ValueError: none or several of its data are images.
    """
    suffixes = Image.registered_extensions()
    named = {
        key: value
        for key, value in data.items()
        if isinstance(value, str) and PurePosixPath(_path_of(value)).suffix.lower() in suffixes
    }
    shown = sorted({str(region.get("to_name")) for region in regions})
    for key in ("image", "img", *shown):
        if len(named) > 1 and key in named:
            return str(named[key])
    if len(named) != 1:
        raise ValueError(f"data: expected one image, got {', '.join(named) or 'none'}")
    return str(next(iter(named.values())))


def _path_of(address: str) -> str:
    """The path that an address ends with, without the server."""
    parts = urlsplit(address.replace("\\", "/"))
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path)


def image_name(address: str, finder: ImageFinder) -> str:
    """The name of an image's file, without what Label Studio put in front of it if that is gone."""
    path = PurePosixPath(_path_of(address))
    if "upload" in path.parts:
        plain = _UPLOADED.sub("", path.name, count=1)
        for name in (path.name, plain):
            try:
                finder.find(name)
            except HomologError:
                continue
            return name
        return plain
    if address.startswith(("http://", "https://")) or path.is_absolute():
        return path.name
    return str(path)
