"""The page's server, asked by a test client."""

import io
import json
import struct
from typing import Any

import numpy as np
import torch
from fastapi.testclient import TestClient
from PIL import Image

from homolog import Matcher
from homolog.serve import Options, create_app

HOME = "http://127.0.0.1"


def client(matcher: Matcher, **options: Any) -> TestClient:
    return TestClient(create_app(matcher, Options(**options)), base_url=HOME)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def upload(page: TestClient, content: Any, name: str = "a.png", **more: Any) -> Any:
    return page.post("/api/pictures", params={"name": name}, content=content, **more)


def upload_id(page: TestClient, image: Image.Image) -> str:
    return upload(page, png(image)).json()["id"]


def unpack(content: bytes) -> tuple[dict[str, Any], list[tuple[Any, ...]], list[np.ndarray]]:
    """A packed pair as heat.js reads it.

    The header; for each image its entry in the header, its channels and its matchable cells; and
    the arrays that follow.
    """
    (length,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + length])
    position, arrays = 4 + length, []
    for entry in header["arrays"]:
        arrays.append(np.frombuffer(content, entry["type"], entry["length"], position))
        position += -(-arrays[-1].nbytes // 4) * 4
    assert position == len(content)
    images = []
    for number, entry in enumerate(header["sides"]):
        values, scale, matchable = arrays[3 * number : 3 * number + 3]
        shape = tuple(entry["grid"])
        factor = values.reshape(*shape, entry["channels"]) * scale
        images.append((entry, torch.from_numpy(factor), matchable.reshape(shape).astype(bool)))
    return header, images, arrays[6:]
