"""A spec as a picture in a file; the verb is `render`.

The system's `dot` draws where there is one, and the `graphviz-pure` wheel, which has no PDF, where there is none.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import FlagError
from graphvae.diagrams.dot import to_dot

FORMATS = ("svg", "png", "pdf", "dot")
DOTS_PER_INCH = 300

_WHEEL = "graphviz-pure"
_INSTALL = "install Graphviz (https://graphviz.org/download/) so that `dot` is on the PATH"
_COMPLETE = "a complete Graphviz draws every format: https://graphviz.org/download/"

# A PDF tells when it was made; only the newer versions of Graphviz take that time from SOURCE_DATE_EPOCH.
_DATE = re.compile(rb"(/CreationDate \(D:)[0-9]{14}")


def render(spec: str | Path, output: str | Path, settings: Sequence[str] = (), plugin: str | Path | None = None) -> None:
    """Draw p and q of a spec side by side into a file, in the format of its suffix.

    Raises:
        SpecError: For every mistake in the spec.
        FlagError: For a setting or plugin that cannot be followed, or an output that cannot be drawn or written.

    >>> render("specs/digits.yaml", "digits.dot")
    >>> Path("digits.dot").read_text().splitlines()[0]
    'digraph digits {'
    """
    path = Path(output)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        hint = f"end it in one of: {', '.join(f'.{name}' for name in FORMATS)}"
        raise FlagError.of("GV501", f"the format of '{path}' is not known by its suffix", hint=hint)
    text = to_dot(read_graph(spec, settings, plugin))
    _write(path, text.encode() if kind == "dot" else _draw(text, kind))


def _draw(text: str, kind: str) -> bytes:
    command = [_engine(kind), f"-T{kind}"]
    if kind == "png":
        command.append(f"-Gdpi={DOTS_PER_INCH}")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
    try:
        drawn = subprocess.run(command, input=text.encode(), env=environment, capture_output=True, check=True).stdout
    except OSError as error:
        reason = error.strerror or str(error)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
    else:
        return _DATE.sub(rb"\g<1>19700101000000", drawn)
    raise FlagError.of("GV501", f"'{command[0]}' cannot draw a {kind} file: {reason}", hint=_COMPLETE)


def _engine(kind: str) -> str:
    """The program that draws: the system's, or that of the wheel, wherever pip put it."""
    system = shutil.which("dot")
    if system:
        return system
    if kind == "pdf":
        hint = f"{_INSTALL}, or draw an .svg, a .png or a .dot file, which need nothing more"
        raise FlagError.of("GV501", "drawing a .pdf file needs Graphviz, which is not installed here", hint=hint)
    with contextlib.suppress(metadata.PackageNotFoundError):
        programs = [file.locate() for file in metadata.files(_WHEEL) or () if file.stem == _WHEEL]
        if programs:
            return str(programs[0])
    raise FlagError.of("GV501", "there is nothing to draw with: neither `dot` nor graphviz-pure is installed", hint=_INSTALL)


def _write(path: Path, picture: bytes) -> None:
    """The whole file, or the one that stood there before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists():
            path.open("ab").close()  # a file that may not be written is not replaced either
        temporary.write_bytes(picture)
        temporary.replace(path)
    except OSError as error:
        hint = "choose another output" if path.parent.is_dir() else f"there is no folder '{path.parent}'"
        reason = (error.strerror or str(error)).lower()
        raise FlagError.of("GV501", f"cannot write '{path}': {reason}", hint=hint) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
