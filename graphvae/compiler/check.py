"""The front half of the compiler, which answers at once: read, parse, resolve, and say what is probably wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from graphvae.compiler.errors import Diagnostic, InternalError
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.lints import lint
from graphvae.compiler.plugins import read_plugin
from graphvae.compiler.resolve import resolve
from graphvae.compiler.settings import override
from graphvae.compiler.source import read
from graphvae.compiler.spec import parse


class Checkable(Protocol):
    """A form that knows what must hold of it."""

    def check(self) -> None:
        """Raises AssertionError for a form that cannot be."""


Form = TypeVar("Form", bound=Checkable)


def check(path: str | Path, settings: Sequence[str] = (), plugin: str | Path | None = None) -> list[Diagnostic]:
    """The warnings about a spec that compiles.

    Raises:
        SpecError: If it does not.
        FlagError: For a setting that is not of the form KEY=VALUE or names no place in the spec, or a plugin that is none.

    >>> check("specs/digits.yaml")
    []
    >>> [warning] = check("specs/digits.yaml", ["data.labels.digit.rows=5"])
    >>> warning.code, warning.message
    ('GV203', "5 labelled rows cannot show all 10 categories of 'digit'")
    """
    return lint(read_graph(path, settings, plugin))


def read_graph(path: str | Path, settings: Sequence[str] = (), plugin: str | Path | None = None) -> ModelGraph:
    """The graph of a spec file, with `KEY=VALUE` settings over its text, and a plugin's classes. Raises what `check` raises."""
    return checked(resolve(parse(override(read(path), settings)), read_plugin(plugin) if plugin else None))


def checked(form: Form) -> Form:
    """The form itself, after its own cheap check.

    Raises:
        InternalError: If a stage made a form that cannot be.
    """
    try:
        form.check()
    except AssertionError as error:
        raise InternalError(f"the compiler made an impossible {type(form).__name__}: {error}") from error
    return form
