"""From emitted text to a class. The text is registered with `linecache`, so that tracebacks and `inspect` show it."""

from __future__ import annotations

import linecache
import sys
import zlib
from types import ModuleType

from graphvae.runtime.model import Model


def load(text: str, name: str) -> type[Model]:
    """The model class that a text emitted by graphvae defines last.

    Args:
        text: Emitted source. It is executed: pass nothing that graphvae did not write itself.
        name: A name for the module, shown in tracebacks with a checksum: two texts of one name are two modules.
    """
    checksum = f"{zlib.crc32(text.encode()):08x}"
    module = ModuleType(f"graphvae_{name}_{checksum}")
    module.__file__ = f"<graphvae {name} {checksum}>"
    linecache.cache[module.__file__] = (len(text), None, text.splitlines(keepends=True), module.__file__)
    sys.modules[module.__name__] = module  # where dataclasses and pickles of the class look for it
    exec(compile(text, module.__file__, "exec"), module.__dict__)
    classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    return classes[-1]
