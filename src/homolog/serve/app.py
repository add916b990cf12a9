"""The server behind the page: its options, its state, and the application itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from homolog import example
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.folders import search
from homolog.matcher import Matcher
from homolog.serve.jobs import MatchService, SerialExecutor
from homolog.serve.prefill import Prefill
from homolog.serve.review import Review
from homolog.serve.review_routes import add_review_routes
from homolog.serve.routes import add_image_routes, add_pair_routes
from homolog.serve.security import Guard
from homolog.serve.uploads import ImageStore, StoredImage, UnknownImage, UploadTooLarge
from homolog.utils.temporary import temporary_folder

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names by which a machine calls itself."""

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


@dataclass(frozen=True)
class Options:
    """Options of the server: what is served, to whom, and within which limits.

    Attributes:
        model: the name of the model, shown and exported by the page.
        folder: images to choose from; with labels, the folder of their images.
        labels: keypoint labels to review, or to begin.
        keypoints: what is labelled, if labels are begun: a file with names of keypoints.
        exemplars: labels made by hand, shown beside those under review.
        exemplar_images: where the images of these lie, if not near them or in `folder`.
        hosts: host names that requests may be addressed to; None for any.
        token: the secret that clients have to present; None for none.
        max_bytes: the largest upload accepted, in bytes.
        max_uploads: how many uploads are stored at a time.
        cache_bytes: how many bytes cached features may take.
    """

    model: str = "embedded"
    folder: Path | None = None
    labels: Path | None = None
    keypoints: str | None = None
    exemplars: Path | None = None
    exemplar_images: Path | None = None
    hosts: frozenset[str] | None = LOOPBACK
    token: str | None = None
    max_bytes: int = 50_000_000
    max_uploads: int = 64
    cache_bytes: int = 256 * 2**20


class AppState:
    """Everything that lives as long as the server: images, features, threads, labels.

    Args:
        matcher: matches the images.
        options: what is served.
        uploads: an empty folder for uploads.

    Raises:
        HomologError: a file or folder is missing or wrong.
    """

    def __init__(self, matcher: Matcher, options: Options, uploads: Path):
        self.options = options
        self.max_pixels = matcher.max_pixels
        self.images = ImageStore(uploads, options.max_bytes, options.max_uploads, self.max_pixels)
        self.service = MatchService(matcher, options.cache_bytes)
        # Images are shown without waiting for matches.
        self.match_thread, self.image_thread = SerialExecutor("match"), SerialExecutor("image")
        self.example: list[StoredImage] = []
        self.folder: list[StoredImage] = []
        self.review: Review | None = None
        self.prefill: Prefill | None = None
        if options.labels is not None:
            self.review = _review(options, self.images)
            self.prefill = Prefill(matcher, self.review)
            self.folder = list(self.review.images.values())
        if options.folder is not None:
            listed = {image.path: image for image in self.folder}
            self.folder = [
                listed.get(path.resolve())
                or self.images.add(path, path.relative_to(options.folder).as_posix())
                for path in reading.find_images([options.folder], "folder")
            ]
            if not self.folder:
                raise HomologError(f"folder: expected a folder of images, got {options.folder}, "
                                   "which has none")  # fmt: skip


def check_options(options: Options) -> list[str]:
    """Find out, before a model is loaded, whether the options can be served.

    Returns:
        What was decided in reading the files, a line each.

    Raises:
        HomologError: a file or folder is missing or wrong.
    """
    if options.folder is not None and not options.folder.is_dir():
        raise HomologError(f"folder: expected a folder, got {options.folder}, which is none")
    if options.exemplars is not None and options.labels is None:
        raise HomologError("exemplars: expected labels to review beside them, got none")
    if options.keypoints is not None and options.labels is None:
        raise HomologError("keypoints: expected a file of labels to begin with them, got none")
    if options.exemplar_images is not None and options.exemplars is None:
        raise HomologError("exemplar_images: expected exemplars with it, got none")
    notes = [] if options.folder is None else search([options.folder], "folder").notes
    if options.labels is not None:
        notes += _review(options, ImageStore(Path(), 0, 0, 0)).notes
    return notes


def create_app(matcher: Matcher, options: Options | None = None) -> FastAPI:
    """The server as an ASGI application, to be run by uvicorn or any other ASGI server.

    Uploads are stored in a temporary folder, which is removed when the server ends, or, if it was
    killed, when the next one starts.

    Args:
        matcher: matches the images.
        options: what is served; the page alone by default.

    Raises:
        HomologError: a file or folder is missing or wrong.
    """
    given = options or Options()
    check_options(given)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            uploads = stack.enter_context(temporary_folder())
            state = app.state.homolog = AppState(matcher, given, uploads)
            pair = stack.enter_context(example.pair())
            for path, name in ((pair.image0, "fox.jpg"), (pair.image1, "husky.jpg")):
                state.example.append(state.images.add(path, name))
            stack.callback(state.image_thread.close)
            stack.callback(state.match_thread.close)
            await state.match_thread(state.service.warm_up)
            yield

    # The pages that describe an interface would load scripts from elsewhere.
    app = FastAPI(title="homolog", lifespan=lifespan, openapi_url=None)
    app.add_middleware(Guard, hosts=given.hosts, token=given.token)
    _add_error_handlers(app)
    _add_static_files(app)
    add_image_routes(app)
    add_pair_routes(app)
    if given.labels is not None:
        add_review_routes(app)
    return app


def _review(options: Options, images: ImageStore) -> Review:
    assert options.labels is not None
    folder = options.folder or options.labels.parent
    from_nothing = options.keypoints is not None
    return Review(
        options.labels, folder, options.exemplars, images, from_nothing=from_nothing,
        exemplar_images=options.exemplar_images,
    )  # fmt: skip


def _add_error_handlers(app: FastAPI) -> None:
    """Answer every error by one line of JSON."""

    @app.exception_handler(HomologError)
    async def user_error(request: Request, error: Exception) -> Response:
        if isinstance(error, UnknownImage):
            return _error_response(404, str(error))
        return _error_response(413 if isinstance(error, UploadTooLarge) else 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _error_response(422, describe_invalid(error.errors()))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _error_response(error.status_code, str(error.detail).lower())


_EXPECTED = {
    "missing": "a value", "int_type": "an integer", "int_parsing": "an integer",
    "int_from_float": "an integer", "float_type": "a number", "float_parsing": "a number",
    "finite_number": "a finite number", "bool_type": "true or false",
    "bool_parsing": "true or false", "string_type": "text", "list_type": "a list",
    "tuple_type": "a list", "model_attributes_type": "a JSON object",
}  # fmt: skip
"""What was expected where pydantic finds a kind of error."""


def describe_invalid(errors: Sequence[Mapping[str, Any]]) -> str:
    """One line on what is wrong with a request, as other errors are written.

    Args:
        errors: as pydantic lists them.
    """
    place = errors[0]["loc"][1:]
    if errors[0]["type"] == "json_invalid":
        return "request: expected JSON, got something else"
    # Of a value that may be of several types, each gives an error, with the type at its end.
    same = [e for e in errors if e["loc"][1:2] == place[:1] and e["input"] is errors[0]["input"]]
    found = [_EXPECTED.get(each["type"], each["msg"].lower()) for each in same]
    name = ".".join(str(part) for part in place if part not in ("int", "str")) or "request"
    given = "none" if errors[0]["type"] == "missing" else repr(errors[0]["input"])
    if not place:
        given = "something else"
    return f"{name}: expected {' or '.join(dict.fromkeys(found))}, got {given[:80]}"


def _error_response(status: int, message: str) -> JSONResponse:
    return JSONResponse({"detail": " ".join(message.split())}, status)


def _add_static_files(app: FastAPI) -> None:
    """Serve the page's own files, and no others."""
    files = _static_files()

    @app.get("/")
    async def index() -> Response:
        return files["index.html"]

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name]


@cache
def _static_files() -> Mapping[str, Response]:
    folder = resources.files("homolog.serve").joinpath("static")
    return {
        path.name: Response(
            path.read_bytes(),
            media_type=_MEDIA_TYPES[Path(path.name).suffix],
            headers={"cache-control": "no-cache"},
        )
        for path in folder.iterdir()
    }
