"""The tutorial is played as it is written: its files are made, its commands are run, and what it shows is what they print.

Here the training is short, and the numbers that follow from it are not compared. `pytest tests/test_tutorial.py --bless` plays
it in full, and writes what is printed and drawn into the page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from models import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
FENCE = re.compile(r"^```(?P<language>\w+)(?: title=\"(?P<file>[^\"]+)\")?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<shown>(?:(?!\$ |```).*\n)*)", re.MULTILINE)
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
EPOCHS = re.compile(r"(?<=training\.epochs=)\d+")
TRAINING = re.compile(r"training\.epochs=.*?^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
LAYOUT = re.compile(r"[\s\u2500-\u257f]+")
MORE = "...\n"


class Player:
    """A person with the page in front of them, in a folder of their own."""

    def __init__(self, folder: Path, epochs: int | None) -> None:
        self.folder = folder / "mine"
        self.epochs = epochs
        scripts = folder / "scripts"
        for made in (self.folder, scripts):
            made.mkdir()
        for name, command in (("graphvae", f"{sys.executable} -m graphvae"), ("python", sys.executable)):
            (scripts / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (scripts / name).chmod(0o755)
        self.environment = os.environ | {
            "COLUMNS": "100",
            "MPLBACKEND": "agg",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }

    def play(self, page: str) -> str:
        """The page with every command followed by what it prints: by its first lines, where `...` ends what is shown."""
        return FENCE.sub(self.fence, page)

    def fence(self, found: re.Match[str]) -> str:
        if found["file"]:
            (self.folder / found["file"]).write_text(found["text"], encoding="utf-8")
        return COMMAND.sub(self.command, found[0]) if found["language"] == "console" else found[0]

    def command(self, found: re.Match[str]) -> str:
        shown, lines = found["shown"], self.run(found["command"]).splitlines(keepends=True)
        if shown.endswith(MORE):
            lines = [*lines[: shown.count("\n") - 1], MORE]
        return f"$ {found['command']}\n{''.join(lines)}"

    def run(self, command: str) -> str:
        """What a command prints, which must succeed."""
        cut = EPOCHS.sub(str(self.epochs), command) if self.epochs else command
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(cut, shell=True, cwd=self.folder, env=self.environment, check=False, **streams)
        assert done.returncode == 0, f"$ {cut}\n{done.stdout}"
        return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def test_the_tutorial_plays(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text("utf-8")
    blessed = request.config.getoption("--bless")
    player = Player(tmp_path, None if blessed else 2)
    played = player.play(page)
    pictures = PICTURE.findall(page)
    assert [name for name in pictures if not (player.folder / name).stat().st_size] == []
    if blessed:
        PAGE.write_text(played, encoding="utf-8")
        for name in pictures:
            shutil.copy(player.folder / name, PAGE.parent / name)
    else:
        (exact, loose), (shown, after) = map(split, (played, page))
        assert exact == shown
        assert without_numbers(loose) == without_numbers(after)


def split(page: str) -> tuple[str, str]:
    """The page up to the end of the training, and what follows from it."""
    trained = TRAINING.search(page)
    assert trained is not None
    return page[: trained.end()], page[trained.end() :]


def without_numbers(text: str) -> str:
    """The words, whatever the numbers between them and the widths that they take."""
    return LAYOUT.sub(" ", NUMBER.sub("#", text))
