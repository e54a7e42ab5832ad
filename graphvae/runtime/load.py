"""From emitted text to a class. Texts are registered with `linecache`, so that tracebacks and `inspect` show them."""

from __future__ import annotations

import linecache
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from graphvae.runtime.model import Model


def load(text: str, name: str, plugin: tuple[Path, str] | None = None) -> type[Model]:
    """The model class that a text emitted by graphvae defines last.

    Args:
        text: Emitted source. It is executed: pass nothing that graphvae did not write itself.
        name: A name for the module, shown in tracebacks with a checksum: two texts of one name are two modules.
        plugin: The path and the text of the file whose classes the emitted source imports. The text is executed, too, whatever
            the file holds now: pass nothing that you would not run.

    >>> from graphvae.compiler.pipeline import compile_file
    >>> Digits = load(compile_file("specs/digits.yaml").code, "digits")
    >>> Digits().sample(rows=3)["image"].shape
    torch.Size([3, 1, 8, 8])
    """
    checksum = f"{zlib.crc32(text.encode()):08x}"
    with _importable(plugin):
        module = _executed(text, f"graphvae_{name}_{checksum}", f"<graphvae {name} {checksum}>")
    classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    return classes[-1]


@contextmanager
def _importable(plugin: tuple[Path, str] | None) -> Iterator[None]:
    """Let emitted source import a plugin by its file's name; what a person's program imported by that name is left in place."""
    if plugin is None:
        yield
        return
    path, text = plugin
    before = sys.modules.get(path.stem)
    try:
        _executed(text, path.stem, str(path))
        yield
    finally:
        if before is not None:
            sys.modules[path.stem] = before


def _executed(text: str, name: str, file: str) -> ModuleType:
    """A module made of a text, with that file's name in tracebacks."""
    module = ModuleType(name)
    module.__file__ = file
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    sys.modules[name] = module  # where dataclasses and pickles of a class look for it
    try:
        exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module
