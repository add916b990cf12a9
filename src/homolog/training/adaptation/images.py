"""Images of an adaptation: which of a folder are used, and why the others are not."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.image import folders, formats, reading
from homolog.training.adaptation import copies
from homolog.training.adaptation.sources import image_paths, is_list
from homolog.utils.outputs import write_text_atomically
from homolog.utils.prefetch import prefetch
from homolog.utils.progress import ProgressBar

FEWEST = 12
"""Images that an adaptation needs: of the tenth that is kept aside there must be a pair, and each
of the others wants about ten to be matched with."""

_UNREADABLE, _COPY, _NO_OBJECT = "cannot be read", "a copy of", "no object is found"
_CHANGED, _OTHER_KIND, _EMPTY_MASK = "changed", "of another kind", "its mask is empty"
_KINDS = {
    _UNREADABLE: "images that cannot be read",
    _COPY: "copies of other images",
    _NO_OBJECT: "images in which no object is found",
    _OTHER_KIND: "images of another kind than the others",
    _EMPTY_MASK: "images whose mask is empty",
    _CHANGED: "images that changed while the command ran",
}
_COLUMNS = ("file", "used", "reason", "bytes")
_WORKERS = 4  # threads that decode


class UnsuitableImagesError(HomologError):
    """Images that cannot be adapted to: there are too few, or their matches are not consistent."""


@dataclass(frozen=True)
class LeftOut:
    """An image that is not used.

    Attributes:
        path: of its file.
        reason: why, such as `a copy of b.jpg`.
    """

    path: Path
    reason: str

    @classmethod
    def unreadable(cls, path: Path, error: HomologError) -> LeftOut:
        """An image that cannot be read.

        Args:
            path: of its file.
            error: what was raised when it was read under the name `image`.
        """
        message = str(error).removeprefix("image: ").replace(str(path), path.name)
        return cls(path, f"{_UNREADABLE}: {message}")

    @classmethod
    def without_object(cls, path: Path, why: str) -> LeftOut:
        """An image in which no object is found.

        Args:
            path: of its file.
            why: is none found.
        """
        return cls(path, f"{_NO_OBJECT}: {why}")

    @classmethod
    def of_another_kind(cls, path: Path, score: float, usual: float) -> LeftOut:
        """An image that is like no others.

        Args:
            path: of its file.
            score: how similar the most similar images are to it.
            usual: what others of these have.
        """
        return cls(
            path,
            f"{_OTHER_KIND}: the images most similar to it score {score:.2f}, theirs {usual:.2f}",
        )

    @classmethod
    def with_empty_mask(cls, path: Path) -> LeftOut:
        """An image whose mask has no pixels of an object."""
        return cls(path, _EMPTY_MASK)

    @property
    def kind(self) -> str:
        """What it is, in the plural, with all others left out for such a reason."""
        kinds = (kind for start, kind in _KINDS.items() if self.reason.startswith(start))
        return next(kinds, "other images")


@dataclass(frozen=True)
class ImageSet:
    """The images of an adaptation.

    Attributes:
        files: those that are used, in a fixed order.
        file_bytes: the size of each of these files, by which one that has changed is recognised.
        left_out: the others.
        notes: what was passed over or left out, a line for each kind.
    """

    files: tuple[Path, ...]
    file_bytes: tuple[int, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    def without(self, left_out: Iterable[LeftOut]) -> ImageSet:
        """The set without some more images.

        Args:
            left_out: images of the set.
        """
        more = tuple(left_out)
        gone = {each.path for each in more}
        assert gone <= set(self.files), "only images of the set can be left out"
        kept = [i for i, path in enumerate(self.files) if path not in gone]
        return dataclasses.replace(
            self,
            files=tuple(self.files[i] for i in kept),
            file_bytes=tuple(self.file_bytes[i] for i in kept),
            left_out=self.left_out + more,
            notes=(*self.notes, *left_out_notes(more)),
        )


def read_images(
    source: Any,
    *,
    max_pixels: int = reading.MAX_PIXELS,
    exclude: Iterable[Path] = (),
    first: Iterable[Path] = (),
) -> ImageSet:
    """The images to adapt to: all that can be read, without copies.

    Every image is decoded once, at a reduced resolution. Copies are those of `find_copies`, and
    images of one colour are left out as well.

    Args:
        source: a folder, which is searched with all below; a text file that has a path on each
            line, relative to its own folder; or several paths of images and folders.
        max_pixels: leave out images with more pixels than this.
        exclude: folders whose files are no images of the set, such as those of masks.
        first: images that are used as well, and of which others may be copies.

    Raises:
        HomologError: a folder or list does not exist or cannot be read, or fewer than `FEWEST`
            images are left.
    """
    paths = image_paths(source)
    where = str(source) if isinstance(source, (str, os.PathLike)) else f"{len(paths)} paths"
    listed = is_list(source)  # what is not there is then left out, one by one
    found = folders.search([path for path in paths if not listed or os.path.exists(path)], "images")
    missing = [path for path in paths if listed and not os.path.exists(path)]
    hidden = [folder.resolve() for folder in exclude]

    def outside(path: Path) -> bool:
        return not any(path.resolve().is_relative_to(folder) for folder in hidden)

    leading = list(dict.fromkeys(first))
    own = {path.resolve() for path in leading}
    others = [path for path in (*found.files, *missing) if path.resolve() not in own]
    files = [*leading, *filter(outside, others)]
    left_out = [_without_decoder(path) for path in filter(outside, found.unreadable)]
    kept, thumbnails, sizes, file_bytes = [], [], [], []
    for path, seen in zip(files, _look_at(files, max_pixels), strict=True):
        if isinstance(seen, LeftOut):
            left_out.append(seen)
        elif copies.is_of_one_colour(seen.thumbnail):
            left_out.append(LeftOut.without_object(path, "it is of one colour"))
        else:
            kept.append(path)
            thumbnails.append(seen.thumbnail)
            sizes.append(seen.size)
            file_bytes.append(seen.file_bytes)
    twins = copies.find_copies(
        thumbnails, sizes, [i for i, path in enumerate(kept) if path.resolve() in own]
    )
    left_out += [LeftOut(kept[i], f"{_COPY} {kept[twins[i]]}") for i in sorted(twins)]
    used = [i for i in range(len(kept)) if i not in twins]
    notes = dataclasses.replace(found, unreadable=()).notes + left_out_notes(left_out)
    images = ImageSet(
        tuple(kept[i] for i in used),
        tuple(file_bytes[i] for i in used),
        tuple(left_out),
        tuple(notes),
    )
    check_enough(images, where)
    return images


def check_enough(images: ImageSet, where: str) -> None:
    """Refuse a set of too few images.

    Args:
        images: the set.
        where: the images come from, for the message.

    Raises:
        UnsuitableImagesError: there are fewer than `FEWEST`.
    """
    count, dropped = len(images.files), images.left_out
    if count >= FEWEST:
        return
    if not count and not dropped:
        raise UnsuitableImagesError(
            f"images: expected a folder of at least {FEWEST} images, or a text file with a path on "
            f"each line, got {where}, which has no images"
        )
    reasons = ""
    if dropped:
        kind, members = max(_by_kind(dropped).items(), key=lambda item: len(item[1]))
        reasons = (
            f"; {len(dropped)} left out, of which {len(members)} are {kind}, such as "
            f"{members[0].path}: {members[0].reason}"
        )
    raise UnsuitableImagesError(
        f"images: expected at least {FEWEST} images, some to match and some to keep aside, got "
        f"{count} in {where}{reasons}"
    )


def changed_images(
    images: ImageSet, *, max_pixels: int = reading.MAX_PIXELS
) -> tuple[LeftOut, ...]:
    """The images of a set that are gone, cannot be read any more, or have changed in size.

    For a run that meets an image that it could read before: it goes on without these. New images in
    the folder are not looked for; the set of the run's beginning is that of the run.

    Args:
        images: the set, as it was read.
        max_pixels: as it was then.
    """
    found = []
    now = _look_at(images.files, max_pixels)
    for path, before, seen in zip(images.files, images.file_bytes, now, strict=True):
        if isinstance(seen, LeftOut):
            found.append(seen)
        elif seen.file_bytes != before:
            reason = f"{_CHANGED}: it has {seen.file_bytes} bytes and had {before} at the beginning"
            found.append(LeftOut(path, reason))
    return tuple(found)


def left_out_notes(left_out: Iterable[LeftOut]) -> list[str]:
    """A line for each kind of reason why images are left out.

    >>> left_out_notes([LeftOut(Path("b.jpg"), "a copy of a.jpg")])
    ['copies of other images, left out: 1 (b.jpg)']
    """
    lines = []
    for kind, members in _by_kind(left_out).items():
        advice = next((f"; try {r.partition('; try ')[2]}" for m in members
                       if "; try " in (r := m.reason)), "")  # fmt: skip
        names = abbreviate((str(member.path) for member in members), 3)
        lines.append(f"{kind}, left out: {len(members)} ({names}){advice}")
    return lines


def write_images_csv(path: Path, images: ImageSet) -> None:
    """Write which images are used, and why the others are not.

    Paths are absolute, so that a run that is resumed elsewhere finds its images.

    Raises:
        HomologError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for file, size in zip(images.files, images.file_bytes, strict=True):
        writer.writerow([os.path.abspath(file), "yes", "", size])
    for each in images.left_out:
        writer.writerow([os.path.abspath(each.path), "no", each.reason, ""])
    write_text_atomically(path, text.getvalue())


def read_images_csv(path: Path) -> ImageSet:
    """The images that `write_images_csv` wrote, without notes.

    Raises:
        HomologError: the file cannot be read, or is none of these.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        columns, *rows = csv.reader(io.StringIO(text, newline=""))
        if tuple(columns) != _COLUMNS:
            raise ValueError(f"the columns {', '.join(columns)}")
        used = [(Path(file), int(size)) for file, use, _, size in rows if use == "yes"]
        left_out = [LeftOut(Path(file), reason) for file, use, reason, _ in rows if use == "no"]
    except OSError as error:
        raise HomologError(f"out: cannot read {path}: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise HomologError(
            f"out: expected a table with the columns {', '.join(_COLUMNS)}, got {path}: {error}"
        ) from None
    return ImageSet(
        tuple(file for file, _ in used), tuple(size for _, size in used), tuple(left_out)
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is remembered of an image.

    Attributes:
        thumbnail: of its pixels.
        size: width and height of the upright image, in pixels.
        file_bytes: the size of its file.
    """

    thumbnail: copies.Thumbnail
    size: tuple[int, int]
    file_bytes: int


def _look_at(files: Sequence[Path], max_pixels: int) -> Iterator[_Seen | LeftOut]:
    """Decode images in threads."""
    jobs: list[Callable[[], _Seen | LeftOut]] = [
        partial(_look_at_one, path, max_pixels) for path in files
    ]
    with ProgressBar(len(files)) as progress:
        for done, seen in enumerate(prefetch(jobs, _WORKERS, 4 * _WORKERS)):
            progress.update("reading images", done)
            yield seen


def _look_at_one(path: Path, max_pixels: int) -> _Seen | LeftOut:
    try:
        loaded = reading.load_image(
            path, longest_edge=copies.THUMBNAIL_EDGE, max_pixels=max_pixels, name="image"
        )
        file_bytes = path.stat().st_size
    except HomologError as error:
        return LeftOut.unreadable(path, error)
    except OSError as error:  # gone since
        return LeftOut.unreadable(path, HomologError(error.strerror or str(error)))
    return _Seen(copies.thumbnail(loaded.image), (loaded.width, loaded.height), file_bytes)


def _without_decoder(path: Path) -> LeftOut:
    """An image of a kind that cannot be read."""
    kind = path.suffix.lower()
    advice = "; try pip install 'homolog[heic]'" if kind in formats.HEIF_SUFFIXES else ""
    return LeftOut(path, f"{_UNREADABLE}: there is no decoder for {kind}{advice}")


def _by_kind(left_out: Iterable[LeftOut]) -> dict[str, list[LeftOut]]:
    """Images that are left out, by kind of reason."""
    found = defaultdict(list)
    for each in left_out:
        found[each.kind].append(each)
    return found
