"""The routes of labels under review: all of them, changes of points and objects, exports."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, StrictInt, StrictStr

from homolog.serve.exports import export, export_formats
from homolog.serve.review import Review
from homolog.serve.routes import app_state

JsonId = StrictInt | StrictStr
"""The id of an image, a category or an annotation, as it is in the file."""


class Correction(BaseModel):
    """A correction of one keypoint under review, as the page sends it.

    Attributes:
        annotation: id of the annotation; None for the only object of an image, which is added
            with its first point.
        keypoint: index of the keypoint in it.
        point: (x, y) in pixels; None to leave it where it is.
        visible: whether the point is labelled at all, be it visible or occluded.
        occluded: whether it is occluded; None to leave that as it is.
        image: id of the image, where there is no annotation yet.
        category: id of the category, where there is no annotation yet.
    """

    annotation: JsonId | None = None
    keypoint: int
    point: tuple[float, float] | None = None
    visible: bool = True
    occluded: bool | None = None
    image: JsonId | None = None
    category: JsonId | None = None


class WholeImage(BaseModel):
    """An image under review, as the page sends it.

    Attributes:
        image: id of the image in the labels.
    """

    image: JsonId


class NewInstance(BaseModel):
    """An instance that is added to an image under review, as the page sends it.

    Attributes:
        image: id of the image in the labels.
        category: id of the category.
        box: (x, y, width, height) in pixels.
    """

    image: JsonId
    category: JsonId
    box: tuple[float, float, float, float]


class NewBox(BaseModel):
    """The box of an instance as it is to be, as the page sends it.

    Attributes:
        box: (x, y, width, height) in pixels.
    """

    box: tuple[float, float, float, float]


class NewName(BaseModel):
    """The id that an instance is to have, as the page sends it.

    Attributes:
        instance: a number or a name.
    """

    instance: JsonId


class Sides(BaseModel):
    """Which keypoints are each other's mirror images, as the page sends it.

    Attributes:
        category: id of the category.
        counterparts: for each keypoint the index of its counterpart, or its own.
    """

    category: JsonId
    counterparts: list[int]


def parse_id(annotation: str) -> int | str:
    """The id of an annotation in an address, where it is written as JSON or as it is.

    >>> parse_id("7"), parse_id('"7"'), parse_id("bee-7")
    (7, '7', 'bee-7')
    """
    try:
        found = json.loads(annotation)
    except ValueError:
        return annotation
    return found if isinstance(found, (int, str)) else annotation


_AnnotationId = Annotated[int | str, Depends(parse_id)]


def add_review_routes(app: FastAPI) -> None:
    """Add the routes of labels under review to the application."""

    def review(request: Request) -> Review:
        found = app_state(request).review
        assert found is not None
        return found

    @app.get("/api/review")
    async def labels(request: Request) -> dict[str, Any]:
        return review(request).state()

    # Files are written one after the other, and not while a match is computed.

    @app.post("/api/review")
    async def correct(request: Request, correction: Correction) -> dict[str, Any]:
        def change() -> dict[str, Any]:
            return review(request).correct(
                correction.annotation, correction.keypoint, correction.point, correction.visible,
                correction.occluded, image=correction.image, category=correction.category,
            )  # fmt: skip

        return await app_state(request).image_thread(change)

    @app.post("/api/review/accept")
    async def accept(request: Request, whole: WholeImage) -> dict[str, Any]:
        return await app_state(request).image_thread(review(request).accept, whole.image)

    @app.post("/api/review/prediction")
    async def predict(request: Request, whole: WholeImage) -> dict[str, bool]:
        state = app_state(request)
        assert state.prefill is not None
        return {"ready": await state.match_thread(state.prefill.predict, whole.image)}

    @app.post("/api/review/prefill")
    async def prefill(request: Request, whole: WholeImage) -> dict[str, Any]:
        state = app_state(request)
        assert state.prefill is not None
        predicted = state.prefill.take(whole.image)
        if predicted is None:
            return {"annotations": []}
        return await state.image_thread(review(request).prefill, whole.image, predicted)

    @app.post("/api/review/sides")
    async def sides(request: Request, given: Sides) -> dict[str, Any]:
        return await app_state(request).image_thread(
            review(request).set_sides, given.category, given.counterparts
        )

    @app.post("/api/review/instances")
    async def add(request: Request, new: NewInstance) -> dict[str, Any]:
        return await app_state(request).image_thread(
            review(request).add, new.image, new.category, new.box
        )

    @app.post("/api/review/instances/{annotation:path}")
    async def set_box(request: Request, annotation: _AnnotationId, new: NewBox) -> dict[str, Any]:
        return await app_state(request).image_thread(review(request).set_box, annotation, new.box)

    @app.post("/api/review/names/{annotation:path}")
    async def rename(request: Request, annotation: _AnnotationId, new: NewName) -> dict[str, Any]:
        return await app_state(request).image_thread(
            review(request).rename, annotation, new.instance
        )

    @app.delete("/api/review/instances/{annotation:path}")
    async def delete(request: Request, annotation: _AnnotationId) -> dict[str, Any]:
        return await app_state(request).image_thread(review(request).delete, annotation)

    @app.post("/api/review/deleted/{annotation:path}")
    async def restore(request: Request, annotation: _AnnotationId) -> dict[str, Any]:
        return await app_state(request).image_thread(review(request).restore, annotation)

    @app.post("/api/review/undo")
    async def undo(request: Request) -> dict[str, Any]:
        return await app_state(request).image_thread(review(request).undo)

    @app.post("/api/review/redo")
    async def redo(request: Request) -> dict[str, Any]:
        return await app_state(request).image_thread(review(request).redo)

    @app.get("/api/review/formats")
    async def formats() -> list[dict[str, str]]:
        return export_formats()

    @app.get("/api/review/export/{format}")
    async def download(request: Request, format: str) -> Response:
        found = await app_state(request).image_thread(export, review(request), format)
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(found.name)}",
            "x-notes": quote("\n".join(found.notes)),
            "x-name": quote(found.name),
            "cache-control": "no-store",
        }
        return Response(found.content, media_type="application/octet-stream", headers=headers)
