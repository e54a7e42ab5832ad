"""From a spec file to a model class, by way of the text that `graphvae compile` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from graphvae.compiler.pipeline import Compilation, compile_file
from graphvae.runtime import Model
from graphvae.runtime import load as load_text


def compile(spec: str | Path, settings: Sequence[str] = ()) -> type[Model]:
    """The model class of a spec, made from the emitted text.

    Args:
        spec: The spec's file.
        settings: `KEY=VALUE` settings laid over it.

    Raises:
        SpecError: For every mistake in the spec.

    >>> model = compile("specs/digits.yaml")()
    >>> {name: list(value.shape) for name, value in model.sample(rows=3).items()}
    {'digit': [3], 'style': [3, 8], 'image': [3, 1, 8, 8]}
    """
    return model_class(compile_file(spec, settings))


def new_model(compilation: Compilation) -> Model:
    """A model with fresh weights, drawn from torch's default generator."""
    return cast(Callable[[], Model], model_class(compilation))()


def model_class(compilation: Compilation) -> type[Model]:
    """The class that a compilation's text defines."""
    return load_text(compilation.code, compilation.spec.model)
