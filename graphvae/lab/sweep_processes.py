"""The processes of a sweep: each run has one of its own, `graphvae.lab.sweep_run`.

A pool of workers would save the seconds that a process takes to start; but it breaks as a whole when the system kills one of
them, and wants a main module that can be loaded anew, which a notebook does not have.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

RUN = "graphvae.lab.sweep_run"
POLL = 0.05  # seconds


@dataclass(frozen=True)
class Failure:
    """Why a run failed, and whether by a person's mistake."""

    message: str
    mistake: bool


@dataclass(frozen=True)
class _Child:
    """A process at work on a run; what it prints goes to files, which never fill up as pipes do."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: IO[bytes]

    def end(self) -> Failure | None:
        """Wait for it, and say why it failed if it did."""
        code = self.process.wait()
        texts = []
        for stream in (self.output, self.errors):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace").strip())
            stream.close()
        assert self.process.stdin
        self.process.stdin.close()
        output, errors = texts
        if code == 2:
            return Failure(output, True)
        killed = f"killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else ""
        return Failure(killed or errors or f"ended with exit code {code}", False) if code else None


def outcomes(
    folder: Path, names: Iterator[str], jobs: int, threads: int, plugin: str | None = None
) -> Generator[tuple[str, Failure | None]]:
    """Do runs, so many at a time, and give each when it ends. A name is asked for when there is room for its run."""
    live: dict[str, _Child] = {}
    try:
        while True:
            for name in islice(names, jobs - len(live)):
                live[name] = _start([str(folder), name, *([plugin] if plugin else [])], threads)
            if not live:
                return
            for name in [name for name, child in live.items() if child.process.poll() is not None]:
                yield name, live.pop(name).end()
            time.sleep(POLL)
    finally:
        for child in live.values():
            child.process.kill()  # a checkpoint is replaced in one stroke, so nothing is lost but the last epoch
            child.end()


def _start(arguments: Sequence[str], threads: int) -> _Child:
    """A process that imports what this one imports, and is not asked when the terminal interrupts this one."""
    command = [sys.executable, "-P", "-m", RUN, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(sys.path)}
    output, errors = TemporaryFile(), TemporaryFile()  # noqa: SIM115 (closed when the process ends)
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=output, stderr=errors, env=environment, start_new_session=True
    )
    return _Child(process, output, errors)
