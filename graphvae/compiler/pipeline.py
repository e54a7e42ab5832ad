"""The compiler in one breath: read, parse, resolve, schedule, emit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphvae.compiler.check import checked
from graphvae.compiler.computed import own_functions
from graphvae.compiler.cost import cost
from graphvae.compiler.emit import emit
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.networks import own_kinds
from graphvae.compiler.plan import Plan
from graphvae.compiler.plugins import Plugin, read_plugin
from graphvae.compiler.resolve import resolve
from graphvae.compiler.schedule import schedule
from graphvae.compiler.settings import override
from graphvae.compiler.shown import Shown
from graphvae.compiler.source import Source, read, read_text
from graphvae.compiler.spec import Spec, parse


@dataclass(frozen=True)
class Compilation(Shown):
    """A spec in all its forms: `spec` is as written, `graph.spec` has every default in it, `plugin` is there if it needs it."""

    source: Source
    spec: Spec
    graph: ModelGraph
    plan: Plan
    code: str
    plugin: Plugin | None = None

    def _shown(self) -> tuple[ModelGraph, list[str]]:
        """The graph, and how much there is to train."""
        graph, lines = self.graph._shown()
        parameters = cost(graph, self.plan).parameters
        return graph, [*lines, *([f"{parameters:,} parameters"] if parameters is not None else [])]


def compile_file(path: str | Path, settings: Sequence[str] = (), plugin: str | Path | None = None) -> Compilation:
    """Compile a spec file, with `KEY=VALUE` settings over its text, and the classes and functions of a plugin's file.

    Raises:
        SpecError: For every mistake in the spec.
        FlagError: For a setting that is not of the form KEY=VALUE or names no place in the spec, or a plugin that is none.
    """
    return compile_source(override(read(path), settings), read_plugin(plugin) if plugin else None)


def compile_text(text: str, file: str) -> Compilation:
    """Compile the text of a spec; `file` names it in messages."""
    return compile_source(read_text(text, file))


def compile_source(source: Source, plugin: Plugin | None = None) -> Compilation:
    """The pipeline."""
    spec = parse(source)
    graph = checked(resolve(spec, plugin))
    plan = checked(schedule(graph))
    code = emit(plan, plugin)
    return Compilation(source, spec, graph, plan, code, plugin if own_kinds(graph) or own_functions(graph) else None)
