"""The compiler in one breath: read, parse, resolve, schedule, emit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphvae.compiler.check import checked
from graphvae.compiler.emit import emit
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.plan import Plan, schedule
from graphvae.compiler.resolve import resolve
from graphvae.compiler.settings import override
from graphvae.compiler.source import Source, read, read_text
from graphvae.compiler.spec import Spec, parse


@dataclass(frozen=True)
class Compilation:
    """A spec in all its forms. `spec` is as written; `graph.spec` has every default in it."""

    source: Source
    spec: Spec
    graph: ModelGraph
    plan: Plan
    code: str


def compile_file(path: str | Path, settings: Sequence[str] = ()) -> Compilation:
    """Compile a spec file, with `KEY=VALUE` settings over its text.

    Raises:
        SpecError: For every mistake in the spec.
        FlagError: For a setting that is not of the form KEY=VALUE or names no place in the spec.
    """
    return compile_source(override(read(path), settings))


def compile_text(text: str, file: str) -> Compilation:
    """Compile the text of a spec; `file` names it in messages."""
    return compile_source(read_text(text, file))


def compile_source(source: Source) -> Compilation:
    """The pipeline."""
    spec = parse(source)
    graph = checked(resolve(spec))
    plan = checked(schedule(graph))
    code = emit(plan)
    return Compilation(source, spec, graph, plan, code)
