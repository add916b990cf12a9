"""The server behind the page: routes, and what runs for as long as it does."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from homolog import example
from homolog.errors import HomologError
from homolog.image import reading
from homolog.matcher import Matcher
from homolog.serve.jobs import POSES, MatchService, SerialExecutor, pose_named
from homolog.serve.review import Review
from homolog.serve.security import Guard
from homolog.serve.uploads import ImageStore, Picture, TooLarge, Unknown

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names of a machine for itself."""

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_SHOWN, _THUMBNAIL = 2048, 240  # pixels of the longer side
_PER_PICTURE = {"cache-control": "private, max-age=3600"}


@dataclass(frozen=True)
class Options:
    """What is served, to whom, and how much of it.

    Attributes:
        model: what the matcher is called.
        folder: pictures to choose from; with labels, theirs.
        labels: keypoint labels to review.
        exemplars: labels made by hand, shown beside those under review.
        hosts: names that the server may be called by; None for any.
        token: what clients have to show; None for nothing.
        max_bytes: of a picture that is sent.
        max_sent: pictures kept at a time of those that are sent.
        memory: bytes that features may take.
    """

    model: str = "embedded"
    folder: Path | None = None
    labels: Path | None = None
    exemplars: Path | None = None
    hosts: frozenset[str] | None = LOOPBACK
    token: str | None = None
    max_bytes: int = 50_000_000
    max_sent: int = 64
    memory: int = 256 * 2**20


class Correction(BaseModel):
    """What somebody says of a point.

    Attributes:
        annotation: id of the annotation.
        keypoint: which of its keypoints.
        point: (x, y) in pixels; None where it is.
        visible: whether it can be seen.
    """

    annotation: int
    keypoint: int
    point: tuple[float, float] | None = None
    visible: bool = True


class AppState:
    """All that lies ready while the server runs."""

    def __init__(self, matcher: Matcher, options: Options, folder: Path):
        self.pictures = ImageStore(folder, options.max_bytes, options.max_sent, matcher.max_pixels)
        self.work = MatchService(matcher, options.memory)
        # Showing pictures does not wait for matching them.
        self.matching, self.showing = SerialExecutor("matching"), SerialExecutor("showing")
        self.folder: list[Picture] = []
        self.review: Review | None = None
        if options.labels is not None:
            place = options.folder or options.labels.parent
            self.review = Review(options.labels, place, options.exemplars, self.pictures)
        elif options.folder is not None:
            self.folder = [
                self.pictures.add(path, path.relative_to(options.folder).as_posix())
                for path in reading.find([options.folder], "folder")
            ]
            if not self.folder:
                raise HomologError(f"folder: there is no picture in {options.folder}")


def check(options: Options) -> None:
    """Find out before anything is loaded whether it can be served.

    Raises:
        HomologError: a file or folder is missing or wrong.
    """
    if options.folder is not None and not options.folder.is_dir():
        raise HomologError(f"folder: there is no folder {options.folder}")
    if options.exemplars is not None and options.labels is None:
        raise HomologError("exemplars: are shown beside labels under review, give labels")
    nowhere = ImageStore(Path(), 0, 0, 0)
    if options.labels is not None:
        place = options.folder or options.labels.parent
        Review(options.labels, place, options.exemplars, nowhere)


def create_app(matcher: Matcher, options: Options | None = None) -> FastAPI:
    """The server, to be run by uvicorn or any other ASGI server.

    What clients send is kept in a folder of its own, removed when the server ends.

    Args:
        matcher: finds the points.
        options: what is served.

    Raises:
        HomologError: a file or folder is missing or wrong.
    """
    given = options or Options()
    check(given)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homolog-")))
            desk = app.state.desk = AppState(matcher, given, folder)
            pair = stack.enter_context(example.pair())
            app.state.example = [
                desk.pictures.add(path, name)
                for path, name in ((pair.image0, "fox.jpg"), (pair.image1, "husky.jpg"))
            ]
            stack.callback(desk.showing.close)
            stack.callback(desk.matching.close)
            await desk.matching(desk.work.warm_up)
            yield

    # The pages that describe the interface would load scripts from elsewhere.
    app = FastAPI(title="homolog", lifespan=lifespan, openapi_url=None)
    app.add_middleware(Guard, hosts=given.hosts, token=given.token)
    _add_errors(app)
    _add_page(app)
    _add_pictures(app, given, matcher)
    _add_pairs(app)
    if given.labels is not None:
        _add_review(app)
    return app


def _desk(request: Request) -> AppState:
    desk: AppState = request.app.state.desk
    return desk


def _line(status: int, what: str) -> JSONResponse:
    return JSONResponse({"detail": " ".join(what.split())}, status)


def _add_errors(app: FastAPI) -> None:
    """Whatever goes wrong is told in one line."""

    @app.exception_handler(HomologError)
    async def wrong(request: Request, error: Exception) -> Response:
        if isinstance(error, Unknown):
            return _line(404, str(error))
        return _line(413 if isinstance(error, TooLarge) else 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def misshapen(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "request"
        return _line(422, f"{name}: {first['msg'].lower()}")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _line(error.status_code, str(error.detail).lower())


def _add_page(app: FastAPI) -> None:
    """The page's own files, and no others."""
    files = _static()

    @app.get("/")
    async def index() -> Response:
        return files["index.html"]

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name]


@cache
def _static() -> Mapping[str, Response]:
    folder = resources.files("homolog.serve").joinpath("static")
    return {
        path.name: Response(
            path.read_bytes(),
            media_type=_TYPES[Path(path.name).suffix],
            headers={"cache-control": "no-cache"},
        )
        for path in folder.iterdir()
    }


def _add_pictures(app: FastAPI, options: Options, matcher: Matcher) -> None:
    """What there is, pictures sent, and pictures shown."""

    @app.get("/api/start")
    async def start(request: Request) -> dict[str, Any]:
        return {
            "model": options.model,
            "poses": [pose.name for pose in POSES],
            "max_bytes": options.max_bytes,
            "max_pixels": matcher.max_pixels,
            "folder": [{"id": p.id, "name": p.name} for p in _desk(request).folder],
            "example": [picture.id for picture in request.app.state.example],
            "review": options.labels is not None,
        }

    @app.post("/api/pictures")
    async def send(request: Request, name: str = "picture") -> Response:
        desk = _desk(request)
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > options.max_bytes:
            raise TooLarge(f"{name}: has more than {options.max_bytes:,} bytes, the most taken")
        try:
            picture = await desk.pictures.receive(request.stream(), name)
        except ClientDisconnect:
            return _line(400, "picture: broken off")
        try:
            return JSONResponse(await _known(desk, picture))
        except HomologError:
            desk.pictures.forget(picture)
            raise

    @app.get("/api/pictures/{id}")
    async def about(request: Request, id: str) -> dict[str, Any]:
        return await _known(_desk(request), _desk(request).pictures[id])

    @app.get("/api/pictures/{id}/size")
    async def size(request: Request, id: str) -> dict[str, int]:
        desk = _desk(request)
        width, height = await desk.showing(desk.pictures.size, desk.pictures[id])
        return {"width": width, "height": height}

    @app.get("/api/pictures/{id}/image")
    async def image(request: Request, id: str) -> Response:
        return await shown(_desk(request), id, _SHOWN)

    @app.get("/api/pictures/{id}/thumbnail")
    async def thumbnail(request: Request, id: str) -> Response:
        return await shown(_desk(request), id, _THUMBNAIL)

    async def shown(desk: AppState, id: str, side: int) -> Response:
        content = await desk.showing(desk.pictures.shown, desk.pictures[id], side)
        return Response(content, media_type="image/jpeg", headers=_PER_PICTURE)

    async def _known(desk: AppState, picture: Picture) -> dict[str, Any]:
        """A picture's size; its features are made meanwhile."""
        features = await desk.matching(desk.work.features, picture)
        width, height = features.size
        return {"id": picture.id, "name": picture.name, "width": width, "height": height}


def _add_pairs(app: FastAPI) -> None:
    """What is found between two pictures."""
    route = "/api/pairs/{first}/{second}/{pose}"

    @app.get(route)
    async def pair(request: Request, first: str, second: str, pose: str) -> Response:
        desk = _desk(request)
        content = await desk.matching(desk.work.pair, *_asked(desk, first, second, pose))
        return Response(content, media_type="application/octet-stream")

    @app.get(f"{route}/point")
    async def point(
        request: Request, first: str, second: str, pose: str, source: int, x: float, y: float
    ) -> dict[str, float]:
        desk = _desk(request)
        if source not in (0, 1):
            raise HomologError(f"source: got {source}, takes 0 or 1")
        asked = _asked(desk, first, second, pose)
        return await desk.matching(desk.work.point, *asked, source, x, y)

    @app.get(f"{route}/matches")
    async def matches(request: Request, first: str, second: str, pose: str) -> dict[str, Any]:
        desk = _desk(request)
        return await desk.matching(desk.work.matches, *_asked(desk, first, second, pose))

    @app.get(f"{route}/warp")
    async def warp(request: Request, first: str, second: str, pose: str) -> Response:
        desk = _desk(request)
        content = await desk.matching(desk.work.warp, *_asked(desk, first, second, pose))
        return Response(content, media_type="image/jpeg", headers=_PER_PICTURE)

    def _asked(desk: AppState, first: str, second: str, pose: str) -> tuple[Any, ...]:
        return desk.pictures[first], desk.pictures[second], pose_named(pose)


def _add_review(app: FastAPI) -> None:
    """Labels looked at."""

    def review(request: Request) -> Review:
        found = _desk(request).review
        assert found is not None
        return found

    @app.get("/api/review")
    async def state(request: Request) -> dict[str, Any]:
        return review(request).state()

    @app.post("/api/review")
    async def correct(request: Request, correction: Correction) -> dict[str, Any]:
        given = correction
        # Files are written one after the other, and not while a picture is waited for.
        return await _desk(request).showing(
            review(request).correct, given.annotation, given.keypoint, given.point, given.visible
        )
