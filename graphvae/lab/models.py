"""From a spec file to a model class, by way of the text that `graphvae compile` writes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from torch import nn

from graphvae.compiler.errors import FlagError
from graphvae.compiler.networks import own_kinds
from graphvae.compiler.pipeline import Compilation, compile_file
from graphvae.compiler.plugins import Plugin
from graphvae.lab.heads import watched
from graphvae.runtime import Model
from graphvae.runtime import load as load_text


def compile(spec: str | Path, settings: Sequence[str] = (), plugin: str | Path | None = None) -> type[Model]:
    """The model class of a spec, made from the emitted text.

    Args:
        spec: The spec's file.
        settings: `KEY=VALUE` settings laid over it.
        plugin: A Python file whose classes the spec names as kinds of networks, and whose functions its expressions call. It is
            executed.

    Raises:
        SpecError: For every mistake in the spec.
        FlagError: For a setting or a plugin that cannot be followed.

    >>> model = compile("specs/digits.yaml")()
    >>> {name: list(value.shape) for name, value in model.sample(rows=3).items()}
    {'digit': [3], 'style': [3, 8], 'image': [3, 1, 8, 8]}
    """
    return model_class(compile_file(spec, settings, plugin))


def new_model(compilation: Compilation) -> Model:
    """A model with fresh weights, drawn from torch's default generator."""
    make = cast(Callable[[], Model], model_class(compilation))
    with _faults_of(compilation.plugin):
        return make()


def model_class(compilation: Compilation) -> type[Model]:
    """The class that a compilation's text defines. Its plugin is executed.

    At the first pass of a network that is a class of the plugin, a head of another shape than the plan's is refused. In a
    notebook, models show what their compilation does.

    Raises:
        FlagError: If the plugin fails, or what the spec names in it is no network.
    """
    plugin = compilation.plugin
    with _faults_of(plugin):
        made = load_text(compilation.code, compilation.spec.model, (plugin.path, plugin.text) if plugin else None)
    emitted = sys.modules[made.__module__]
    for name in own_kinds(compilation.graph):
        network = getattr(emitted, name)
        if not (isinstance(network, type) and issubclass(network, nn.Module)):
            hint = f"write class {name}(torch.nn.Module)"
            raise FlagError.of("GV501", f"'{name}' is no torch.nn.Module, so its weights would not train", hint=hint)
        assert plugin is not None
        setattr(emitted, name, watched(network, plugin))
    made._repr_mimebundle_ = lambda _, **asked: compilation._repr_mimebundle_(**asked)  # type: ignore[attr-defined]
    return made


@contextmanager
def _faults_of(plugin: Plugin | None) -> Iterator[None]:
    """What goes wrong while a plugin is executed or its classes are made is its author's to mend."""
    try:
        yield
    except Exception as error:
        if plugin is None:
            raise
        frames = traceback.walk_tb(error.__traceback__)
        lines = [line for frame, line in frames if frame.f_code.co_filename == str(plugin.path)]
        span = plugin.line(lines[-1]) if lines else None
        raise FlagError.of("GV501", f"the plugin {plugin.path} fails: {type(error).__name__}: {error}", span) from error
