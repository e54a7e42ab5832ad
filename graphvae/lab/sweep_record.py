"""What a sweep's folder says of itself: `sweep.json` holds the definition of the sweep and the state of each run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from graphvae.compiler.errors import RunError
from graphvae.lab.runs import replace_file

FILE, VALIDATION = "sweep.json", "validation.json"


@dataclass(frozen=True)
class Entry:
    """A run of a sweep: where it stands, its seed (None: as in the spec), the settings that make it, and how it fared.

    `message` says why a run failed, and `mistake` whether a person's mistake was the cause.
    """

    point: Mapping[str, str]
    seed: int | None
    settings: Sequence[str]
    state: Literal["waiting", "done", "failed"] = "waiting"
    message: str = ""
    mistake: bool = False


@dataclass(frozen=True)
class Record:
    """The definition of a sweep, and its runs by the names of their folders.

    `spec` is the file in the sweep's folder that holds the spec as it was; `plugin` is the checksum of a plugin's file;
    `threads` are those of each run, since sums are split by threads.
    """

    model: str
    spec: str
    settings: Sequence[str]
    grid: Mapping[str, Sequence[str]]
    seeds: int | None
    search: Sequence[str]
    trials: int
    samples: int
    data: str | None
    plugin: str | None
    threads: int
    command: Sequence[str]
    runs: dict[str, Entry]

    @classmethod
    def read(cls, folder: Path) -> Record:
        """The record in a folder.

        Raises:
            RunError: If there is none that can be read.
        """
        try:
            found = json.loads((folder / FILE).read_text("utf-8"))
            runs = {name: Entry(**entry) for name, entry in found.pop("runs").items()}
            return cls(**found, runs=runs)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            hint = "a sweep is a folder that 'graphvae sweep' made, such as runs/digits/sweep-1"
            raise RunError.of("GV401", f"{folder / FILE} cannot be read: {error}", hint=hint) from None

    def write(self, folder: Path) -> None:
        """Replace the record in a folder."""
        replace_file(folder / FILE, (json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n").encode())
