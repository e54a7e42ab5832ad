"""A new folder is there whole or not at all, and what a killed process leaves of it does not stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from models import ROOT

from graphvae.lab.folders import clear_drafts, new_folder

KILLED = """
import os, pathlib, signal, sys
from graphvae.lab.folders import new_folder
with new_folder(pathlib.Path(sys.argv[1])) as draft:
    (draft / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def made(folder: Path) -> list[str]:
    """What is in the folder around a new one, once that is made."""
    with new_folder(folder) as draft:
        (draft / "whole").touch()
    return sorted(path.name for path in folder.parent.iterdir())


def aged(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_folder_gets_its_name_when_it_is_filled(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "model" / "1"
    with new_folder(folder) as draft:
        (draft / "file").write_text("text")
        assert not folder.exists()
        assert draft.parent == folder.parent
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    assert (folder / "file").read_text() == "text"
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with suppress(error), new_folder(tmp_path / "1") as draft:
        (draft / "file").touch()
        raise error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_came_in_between_is_left_alone(tmp_path: Path) -> None:
    making = new_folder(tmp_path / "1")
    making.__enter__()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "theirs").touch()
    with pytest.raises(OSError, match="not empty"):
        making.__exit__(None, None, None)
    assert [path.name for path in tmp_path.rglob("*")] == ["1", "theirs"]


def test_what_a_killed_process_left_goes_with_the_next_folder_of_that_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "1"], check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".1-")
    assert left.name in made(tmp_path / "10"), "another folder's draft"
    assert left.name in made(tmp_path / "1"), "somebody may still be at work on it"
    (tmp_path / "1" / "whole").unlink()
    (tmp_path / "1").rmdir()
    aged(left, 61)
    assert made(tmp_path / "1") == ["1", "10"]


def test_only_drafts_of_that_folder_are_cleared(tmp_path: Path) -> None:
    names = [
        ".a.b-12345678.draft",
        ".a.b-1234567.draft",
        ".a.b-12345678",
        ".a.b-x-12345678.draft",
        ".acb-12345678.draft",
        "a.b",
    ]
    for name in names:
        (tmp_path / name).mkdir()
    clear_drafts(tmp_path / "a.b")
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
