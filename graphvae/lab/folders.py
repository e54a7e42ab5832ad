"""Folders that are there whole or not at all. The verb is `new_folder`."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

DRAFT = ".draft"
STALE = 60.0  # seconds; to fill a folder takes milliseconds


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A hidden draft of a folder, which gets the folder's name once it is filled; an error takes it away again.

    What a killed process has left of an earlier draft goes with it.

    Raises:
        OSError: If the folder cannot be made, or is there by now.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    clear_drafts(folder, STALE)
    draft = Path(mkdtemp(prefix=f".{folder.name}-", suffix=DRAFT, dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def clear_drafts(folder: Path, age: float = 0.0) -> None:
    """Remove the drafts of a folder that have not changed for so many seconds: nobody is at work on them."""
    name = re.compile(rf"\.{re.escape(folder.name)}-\w{{8}}{re.escape(DRAFT)}")
    for path in folder.parent.iterdir():
        if name.fullmatch(path.name) and _age(path) >= age:
            shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    with suppress(FileNotFoundError):  # another process was faster
        return time.time() - path.stat().st_mtime
    return 0.0
