"""The routes of the page's interface: images and pairs of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from homolog.errors import HomologError
from homolog.serve.bodies import UPLOAD
from homolog.serve.jobs import POSES, ZOOM, PairRequest, parse_box, parse_pose, parse_zoom
from homolog.serve.uploads import StoredImage, UploadTooLarge

if TYPE_CHECKING:
    from homolog.serve.app import AppState

_IMAGE_EDGE, _THUMBNAIL_EDGE = 2048, 240  # pixels of the longer edge
_IMMUTABLE = {"cache-control": "private, max-age=3600"}


def app_state(request: Request) -> AppState:
    """The state of the application that answers a request."""
    state: AppState = request.app.state.homolog
    return state


async def _pair_request(
    request: Request,
    first: str,
    second: str,
    pose: str,
    box0: str | None = None,
    box1: str | None = None,
    zoom: str = "none",
) -> PairRequest:
    """The pair that an address names: two images, a pose, and perhaps boxes and zoom."""
    images = app_state(request).images
    return PairRequest(
        images[first], images[second], parse_pose(pose),
        parse_box(box0, "box0"), parse_box(box1, "box1"), parse_zoom(zoom),
    )  # fmt: skip


_Wanted = Annotated[PairRequest, Depends(_pair_request)]


def add_image_routes(app: FastAPI) -> None:
    """Add the routes of images: the start of the page, uploads, and images as JPEG."""

    @app.get("/api/start")
    async def start(request: Request) -> dict[str, Any]:
        state = app_state(request)
        return {
            "model": state.options.model,
            "poses": [pose.name for pose in POSES],
            "zoom": ZOOM or "none",
            "max_bytes": state.options.max_bytes,
            "max_pixels": state.max_pixels,
            "folder": [{"id": image.id, "name": image.name} for image in state.folder],
            "example": [image.id for image in state.example],
            "review": state.review is not None,
        }

    @app.post(UPLOAD)
    async def upload(request: Request, name: str = "image") -> Response:
        state = app_state(request)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > state.options.max_bytes:
            raise UploadTooLarge(
                f"{name}: expected at most {state.options.max_bytes:,} bytes, got {int(length):,}"
            )
        try:
            image = await state.images.receive(request.stream(), name)
        except ClientDisconnect:
            raise HTTPException(400, "image: expected a whole file, got a part of one") from None
        try:
            await state.image_thread(state.images.check, image)
            return JSONResponse(await describe(state, image))
        except HomologError:
            state.images.remove(image)
            raise

    @app.get("/api/pictures/{id}")
    async def about(request: Request, id: str) -> dict[str, Any]:
        return await describe(app_state(request), app_state(request).images[id])

    @app.get("/api/pictures/{id}/size")
    async def size(request: Request, id: str) -> dict[str, int]:
        state = app_state(request)
        width, height = await state.image_thread(state.images.size, state.images[id])
        return {"width": width, "height": height}

    @app.get("/api/pictures/{id}/image")
    async def image(request: Request, id: str) -> Response:
        return await jpeg(app_state(request), id, _IMAGE_EDGE)

    @app.get("/api/pictures/{id}/thumbnail")
    async def thumbnail(request: Request, id: str) -> Response:
        return await jpeg(app_state(request), id, _THUMBNAIL_EDGE)

    async def jpeg(state: AppState, id: str, max_edge: int) -> Response:
        content = await state.image_thread(state.images.as_jpeg, state.images[id], max_edge)
        return Response(content, media_type="image/jpeg", headers=_IMMUTABLE)

    async def describe(state: AppState, image: StoredImage) -> dict[str, Any]:
        """An image's id, name and size; its features are extracted on the way."""
        features = await state.match_thread(state.service.features, image)
        width, height = features.size
        return {"id": image.id, "name": image.name, "width": width, "height": height}


def add_pair_routes(app: FastAPI) -> None:
    """Add the routes of image pairs: packed for the browser, matches of points, the warp."""
    route = "/api/pairs/{first}/{second}/{pose}"

    @app.get(route)
    async def pair(request: Request, wanted: _Wanted) -> Response:
        state = app_state(request)
        content = await state.match_thread(state.service.pack, wanted)
        return Response(content, media_type="application/octet-stream")

    @app.get(f"{route}/point")
    async def point(
        request: Request, wanted: _Wanted, source: int, x: float, y: float
    ) -> dict[str, float | bool | None]:
        state = app_state(request)
        if source not in (0, 1):
            raise HomologError(f"source: expected 0 or 1, got {source}")
        return await state.match_thread(state.service.transfer, wanted, source, x, y)

    @app.get(f"{route}/matches")
    async def matches(request: Request, wanted: _Wanted) -> dict[str, Any]:
        state = app_state(request)
        return await state.match_thread(state.service.match, wanted)

    @app.get(f"{route}/warp")
    async def warp(request: Request, wanted: _Wanted) -> Response:
        state = app_state(request)
        content = await state.match_thread(state.service.warp, wanted)
        return Response(content, media_type="image/jpeg", headers=_IMMUTABLE)
