"""What commands that score predictions share: the protocol, and where a data set was read from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from homolog.cli.options import DatasetOptions
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

_SOURCE = "data.json"  # in the folder of an evaluation


@Parameter(name="*")
@dataclass(frozen=True)
class ScoringOptions:
    """Options of the protocol by which predictions are scored.

    Parameters
    ----------
    threshold
        Whose longer side alpha multiplies, `box` or `image`, if not as in the data set's protocol.
    alphas
        The thresholds, if not those of the data set's protocol.
    strict
        Count a keypoint as correct only if it is nearer than alpha times that length; one exactly
        at that distance is correct otherwise.
    """

    threshold: str | None = None
    alphas: Annotated[list[float] | None, Parameter(consume_multiple=True)] = None
    strict: bool = False

    def protocol(self) -> dict[str, Any]:
        """The keyword arguments of `evaluation.score`.

        Raises:
            HomologError: an option is none of those there are.
        """
        from homolog.evaluation.estimates import as_alphas

        if self.threshold not in (None, "box", "image"):
            raise HomologError(f"threshold: expected box or image, got {self.threshold!r}")
        alphas = None if self.alphas is None else as_alphas(self.alphas)
        return {"threshold": self.threshold, "alphas": alphas, "strict": self.strict}


@dataclass(frozen=True)
class DataSource:
    """Where a data set was read from, for commands that read it again."""

    dataset: str
    root: Path
    options: DatasetOptions

    def write(self, folder: Path) -> None:
        """Write `data.json` into the folder of an evaluation.

        Raises:
            HomologError: it cannot be written.
        """
        given = {
            name: str(value.resolve()) if isinstance(value, Path) else value
            for name, value in self.options.given().items()
        }
        entry = {"dataset": self.dataset, "root": str(self.root.resolve()), "options": given}
        write_atomically(folder / _SOURCE, (json.dumps(entry, indent=1) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> DataSource | None:
        """Read it from the folder of an evaluation; None if the folder has none.

        Raises:
            HomologError: the file is something else.
        """
        path = folder / _SOURCE
        if not path.is_file():
            return None
        try:
            entry = json.loads(path.read_text("utf-8"))
            given = dict(entry["options"])
            for name in {"exclude", "manifest", "images"} & given.keys():
                given[name] = Path(given[name])
            given |= {"sides": tuple(given["sides"])} if "sides" in given else {}
            return cls(str(entry["dataset"]), Path(entry["root"]), DatasetOptions(**given))
        except (OSError, LookupError, TypeError, ValueError):
            raise HomologError(
                f"{path}: expected the data set of an evaluation, got something else; try "
                "--dataset and --root"
            ) from None
