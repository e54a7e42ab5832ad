"""From emitted text to a class. The text is registered with `linecache`, so that tracebacks show it."""

from __future__ import annotations

import linecache
import sys
from types import ModuleType

from graphvae.runtime.model import Model


def load(text: str, name: str) -> type[Model]:
    """The model class that a text emitted by graphvae defines last.

    Args:
        text: Emitted source. It is executed: pass nothing that graphvae did not write itself.
        name: A name for the module, shown in tracebacks.
    """
    filename = f"<graphvae {name}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    module = ModuleType(f"graphvae_{name}")
    sys.modules[module.__name__] = module  # where dataclasses and pickles of the class look for it
    exec(compile(text, filename, "exec"), module.__dict__)
    classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    return classes[-1]
