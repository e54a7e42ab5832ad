"""The compiler in one breath: read, parse, resolve, schedule, emit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from graphvae.compiler.emit import emit
from graphvae.compiler.errors import Diagnostic, InternalError
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.lints import lint
from graphvae.compiler.plan import Plan, schedule
from graphvae.compiler.resolve import resolve
from graphvae.compiler.settings import override
from graphvae.compiler.source import Source, read, read_text
from graphvae.compiler.spec import Spec, parse

Form = TypeVar("Form", ModelGraph, Plan)


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
    """The pipeline.

    Raises:
        SpecError: For every mistake in the spec.
        InternalError: If a stage made a form that cannot be.
    """
    spec = parse(source)
    graph = checked(resolve(spec))
    plan = checked(schedule(graph))
    code = emit(plan)
    return Compilation(source, spec, graph, plan, code)


def checked(form: Form) -> Form:
    """The form itself, after its own cheap check."""
    try:
        form.check()
    except AssertionError as error:
        raise InternalError(f"the compiler made an impossible {type(form).__name__}: {error}") from error
    return form


def check(path: str | Path, settings: Sequence[str] = ()) -> list[Diagnostic]:
    """The warnings about a spec that compiles.

    Raises:
        SpecError: If it does not.
    """
    return lint(compile_file(path, settings).graph)
