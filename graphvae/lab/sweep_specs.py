"""The texts that a sweep keeps of its spec and of the sub-models in it. The verb is `kept_texts`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from graphvae.compiler.errors import Span
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.pipeline import Compilation
from graphvae.compiler.spec import Spec
from graphvae.lab.runs import kept_paths


def kept_texts(compilation: Compilation) -> dict[str, str]:
    """A spec and those of its sub-models as they are now, by their files in the sweep's folder.

    In them stand the names of each other's files there, and the whole paths of runs. What a setting names stays where it is.
    """
    file = Path(compilation.source.file)
    return {file.name: _moved(compilation.graph, compilation.spec, str(file), "", "submodels/")} | {
        f"submodels/{name}.yaml": _moved(compilation.graph, node.spec, node.file, f"{name}.", "")
        for name, node in compilation.graph.submodels.items()
    }


def _moved(graph: ModelGraph, spec: Spec, file: str, path: str, folder: str) -> str:
    """The text of a file with other paths in it; from the last to the first, so that each place is still where it was."""
    lines = Path(file).read_text("utf-8").splitlines(keepends=True)
    places = {span: new for span, new in _paths(graph, spec, path, folder) if span and span.file == file}
    for span in sorted(places, key=lambda span: (span.line, span.column), reverse=True):
        line, start, end = lines[span.line - 1], span.column - 1, span.end_column - 1
        anchor = re.match(r"(&\S+\s+)?", line[start:end])
        assert anchor is not None
        lines[span.line - 1] = line[:start] + anchor[0] + json.dumps(places[span], ensure_ascii=False) + line[end:]
    return "".join(lines)


def _paths(graph: ModelGraph, spec: Spec, path: str, folder: str) -> Iterator[tuple[Span | None, str]]:
    """Where a spec names a file or a run, and what to write there."""
    for name, kept in kept_paths(graph, spec, path, folder).items():
        yield from ((spec.submodels[name].span(key), where) for key, where in kept.items() if where)
