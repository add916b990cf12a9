"""Commands about labels: convert them between formats and vocabularies, and check them."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from homolog.cli import labels_report
from homolog.cli.options import IMAGE_SUFFIXES, ModelOptions, SidesOption, with_sides
from homolog.errors import HomologError
from homolog.utils.outputs import check_output, write_atomically

if TYPE_CHECKING:  # imported only when there is work to do
    from PIL import Image

app = App(name="labels", help="Convert keypoint labels, compare vocabularies, and check labels.")
app.command(labels_report.report)


@app.command
def convert(
    source: Path,
    out: Path,
    *,
    images: Path | None = None,
    names: Path | None = None,
    source_format: Annotated[str | None, Parameter(name="--from")] = None,
    out_format: Annotated[str | None, Parameter(name="--to")] = None,
    mapping: Annotated[Path | None, Parameter(name="--map")] = None,
    sides: SidesOption = (),
) -> None:
    """Write labels of one format in another.

    Formats are told by the names of the files and by what these hold. What the other format cannot
    hold is said, a line each.

    Parameters
    ----------
    source
        The labels to read: COCO, YOLO-pose, CSV, TPS, NTS, MorphoJ, labelme, CVAT, ImageJ,
        DeepLabCut, SLEAP, Label Studio or NWB.
    out
        The file to write; it must not exist.
    images
        The folder where the images lie, if they are not near the labels.
    names
        Names of landmarks that SOURCE only numbers: a text file with one on each line, or
        `left:right` for two that mirror each other.
    source_format
        The format of SOURCE, where its name does not tell: `coco`, `yolo`, `csv`, `tps`, ...
    out_format
        The format of OUT, likewise.
    mapping
        A table of `homolog labels map`: keypoints are renamed and put in the order of the other
        vocabulary; those without a partner are left out.
    sides
        Which keypoints are left and right, where their names do not say so: pairs
        `left_name:right_name`, a file of names and pairs, or `none` where every point is its own
        counterpart.
    """
    from homolog.data import label_files
    from homolog.data.formats import coco
    from homolog.data.formats.document import ReadOptions, WriteOptions
    from homolog.data.reading import ErrorCollector
    from homolog.labelling.vocabularies.maps import read_map

    _check_folder(images)
    chosen = label_files.output_format(out, "out", out_format)
    _refuse_existing(out)
    file = label_files.read(source, ReadOptions(images, names), source_format)
    # What annotate and others refuse, such as points outside their image, is not passed on.
    coco.parse(file.document, source, ErrorCollector(), check_places=True)
    document, notes = file.document, list(file.notes)
    if mapping is not None:
        document, lost = read_map(mapping).apply(document)
        notes += lost
    document = {**document, "categories": with_sides(document["categories"], sides)}
    notes += label_files.write(out, document, WriteOptions(images), chosen.name)
    _print_notes(notes)
    points = sum(each.get("num_keypoints", 0) for each in document["annotations"])
    print(
        f"{len(document['images'])} images, {len(document['annotations'])} objects, {points} "
        f"points, from {file.format} to {chosen.name}: {out}"
    )


@app.command(name="map")
def map_keypoints(
    source: Path,
    target: Path,
    *,
    images_source: Path | None = None,
    images_target: Path | None = None,
    out: Path | None = None,
    model: ModelOptions = ModelOptions(),
) -> None:
    """Propose which keypoint of one vocabulary is which of another.

    Names are compared, and points are transferred between the labelled images of both, where these
    are there. Each keypoint has one partner at most, and left ones are paired with left ones only.
    Correct the table by hand; converting labels with `--map` applies it.

    Parameters
    ----------
    source
        Labels with the one vocabulary, in any format that `homolog labels convert` reads.
    target
        Labels with the other.
    images_source
        The folder where the images of SOURCE lie, if they are not near the labels.
    images_target
        The folder where the images of TARGET lie, likewise.
    out
        The table to write, for a person to correct: .json or .csv.
    """
    from homolog.labelling.vocabularies.maps import SUFFIXES, write_map

    _check_folder(images_source, "images_source")
    _check_folder(images_target, "images_target")
    if out is not None:
        check_output(out, SUFFIXES, "out", (source, target))
        _refuse_existing(out)
    from homolog.labelling.vocabularies.landing import LabelledVocabulary, landing_scores
    from homolog.labelling.vocabularies.proposals import describe, propose
    from homolog.utils.progress import ProgressBar

    one = LabelledVocabulary.read(source, images_source)
    other = LabelledVocabulary.read(target, images_target)
    _print_notes([*one.notes, *other.notes])
    landing = None
    if one.annotations and other.annotations:
        matcher = model.matcher()
        with ProgressBar(one.count * other.count) as progress:
            landing = landing_scores(
                matcher, one, other, progress=lambda: progress.update("transferring")
            )
    proposal = propose(one.schema, other.schema, landing)
    for line in describe(proposal):
        print(line)
    if out is not None:
        write_map(out, proposal, other.schema)
        print(f"apply: homolog labels convert {source} OUT --map {out}", file=sys.stderr)


@app.command
def check(
    file: Path,
    *more: Path,
    images: Path | None = None,
    out: Path | None = None,
    sheet: Path | None = None,
    labels: Path | None = None,
    video: Path | None = None,
    apply: bool = False,
    sides: SidesOption = (),
    model: ModelOptions = ModelOptions(),
) -> None:
    """Find labels that contradict the others: exchanged sides, swapped keypoints, outliers.

    Every labelled object is compared with the others of its category by the shape of its keypoints
    and by what they look like. Findings are listed with the probability that the label is wrong,
    the most probable first; `--labels` writes a file to review them on the page.

    With --video, FILE holds tracks: a table as tracking writes it, or labels of a video's frames
    such as SLEAP's. Intervals are then found in which animals, or the sides of one, are exchanged.

    Parameters
    ----------
    file
        Labels in any format that `homolog labels convert` reads.
    more
        Other files of the same keypoints, compared together with the first.
    images
        The folder where the images lie, if they are not near the labels. Objects whose image is
        missing are compared by shape alone.
    out
        A JSON file to write the findings to.
    sheet
        An image to write, with the objects and what was found, if anything was.
    labels
        A COCO file to write: FILE with the keypoints of the findings marked as doubtful, for the
        page.
    video
        The video that FILE has tracks of.
    apply
        With --video: write the tracks with the exchanges undone beside FILE, as NAME-corrected.
    sides
        Which keypoints are left and right, where their names do not say so, as for `convert`.
    """
    files = (file, *more)
    _check_folder(images)
    if video is not None:
        for name, given in (("more", more), ("sheet", sheet), ("labels", labels)):
            if given:
                raise HomologError(f"{name}: expected none with --video, got {given}")
        _check_tracks(file, video, out, apply, sides, model)
        return
    if apply:
        raise HomologError("apply: expected --video with it, got none")
    if out is not None:
        check_output(out, (".json",), "out", files)
    if sheet is not None:
        check_output(sheet, IMAGE_SUFFIXES, "sheet", files)
    if labels is not None:
        check_output(labels, (".json",), "labels", files)
        _refuse_existing(labels, "labels")
    from homolog.data.formats import coco
    from homolog.labelling.audit.files import LabelledFiles, audit_files
    from homolog.labelling.audit.track_files import is_track_table
    from homolog.utils.progress import ProgressBar
    from homolog.viz.raster import save_image

    for path in filter(is_track_table, files):
        raise HomologError(f"video: expected --video with tracks, got {path} without it")
    labelled = LabelledFiles(files, images, sides)
    matcher = model.matcher()
    with ProgressBar(labelled.count) as progress:
        found = audit_files(matcher, labelled, progress=lambda: progress.update("comparing"))
    _print_notes(found.notes)
    for each in found.findings:
        where = f"{each.file}: " if more else ""
        name, number = each.annotation.name, each.annotation_id
        print(f"{each.finding.score:.2f}  {where}{name} (annotation {number}): {each.describe()}")
    if out is not None:
        found.write_report(out)
    if sheet is not None:
        drawn = found.sheet()
        if drawn is None:
            _print_notes([f"{sheet} is not written, for there is nothing to show"])
        else:
            save_image(drawn, sheet)
    if labels is not None:
        coco.write(labels, found.marked(file))
    print(f"{found.objects} objects, {len(found.findings)} findings", file=sys.stderr)


def _check_tracks(
    file: Path,
    video: Path,
    out: Path | None,
    apply: bool,
    sides: tuple[str, ...],
    model: ModelOptions,
) -> None:
    """Find exchanges in tracks, and perhaps write the tracks without them."""
    corrected = file.with_name(f"{file.stem}-corrected{file.suffix}")
    if out is not None:
        check_output(out, (".json",), "out", (file, video))
    if apply:
        _refuse_existing(corrected, "apply")
    from homolog.applications.video import read_frames
    from homolog.labelling.audit.track_files import read_tracks
    from homolog.labelling.audit.tracks import audit_tracks

    tracks = read_tracks(file, sides)
    warnings: list[str] = []

    def read(numbers: Collection[int]) -> dict[int, Image.Image]:
        last = max(numbers, default=-1)
        found = {}
        for number, _, image in read_frames(video, warnings):
            if number in numbers:
                found[number] = image
            if number >= last:
                break
        return found

    matcher = model.matcher()
    findings = {name: audit_tracks(each, matcher, read) for name, each in tracks.tracks.items()}
    _print_notes(dict.fromkeys([*tracks.notes, *warnings]))
    for name, several in findings.items():
        for found in several:
            of = f"{name}, " if len(findings) > 1 else ""
            print(f"{found.score:.2f}  {of}{found.describe()}")
    if out is not None:
        listed = [
            {"category": name, **asdict(found), "finding": found.describe()}
            for name, several in findings.items()
            for found in several
        ]
        report = {"file": str(file), "video": str(video), "findings": listed}
        write_atomically(out, (json.dumps(report, indent=1) + "\n").encode())
    count = sum(map(len, findings.values()))
    if apply and count:
        tracks.write(corrected, findings)
        print(f"corrected: {corrected}")
    print(f"{count} findings", file=sys.stderr)


def _check_folder(folder: Path | None, argument: str = "images") -> None:
    if folder is not None and not folder.is_dir():
        raise HomologError(f"{argument}: expected a folder, got {folder}")


def _refuse_existing(path: Path, argument: str = "out") -> None:
    if path.exists():
        raise HomologError(f"{argument}: expected a name that is not taken, got {path}")


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
