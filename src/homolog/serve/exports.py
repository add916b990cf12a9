"""Exports: labels under review as files of every format that can be written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from homolog.data import label_files
from homolog.data.formats.document import WriteOptions
from homolog.errors import HomologError
from homolog.serve.review import Review
from homolog.utils.temporary import temporary_folder


@dataclass(frozen=True)
class Export:
    """Labels as a file.

    Attributes:
        name: of the file.
        content: of the file.
        notes: a line for each kind of thing that the format cannot hold.
    """

    name: str
    content: bytes
    notes: Sequence[str]


def export_formats() -> list[dict[str, str]]:
    """The names and titles of the formats that labels can be exported to."""
    return [
        {"name": each.name, "title": each.title}
        for each in label_files.FORMATS
        if each.write is not None
    ]


def export(review: Review, format: str) -> Export:
    """The labels under review in another format; several files are packed as one ZIP file.

    Args:
        review: the labels.
        format: the name of the format.

    Raises:
        HomologError: there is no such format, or the labels cannot be written in it.
    """
    chosen = label_files.output_format(Path("labels"), "export", format)
    assert chosen.write is not None
    with temporary_folder() as temporary:
        folder = temporary.resolve()
        path = folder / f"{review.path.stem}{chosen.suffixes[0]}"
        try:
            notes = chosen.write(path, review.document(), WriteOptions(argument="export"))
        except HomologError as error:
            raise HomologError(str(error).replace(f"{folder}/", "")) from None
        contents = {
            # Where it was written is nothing that a client should know, nor of any use to it.
            each.relative_to(folder): each.read_bytes().replace(str(folder).encode(), b".")
            for each in sorted(folder.rglob("*"))
            if each.is_file()
        }
    if list(contents) == [Path(path.name)]:
        return Export(path.name, contents[Path(path.name)], notes)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, content in contents.items():
            archive.writestr(inner.as_posix(), content)
    return Export(f"{path.stem}-{chosen.name}.zip", buffer.getvalue(), notes)
