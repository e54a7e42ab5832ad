"""Plugins: Python files of a person's own with networks and functions in them, for specs to name.

The verb is `read_plugin`. The compiler parses a file's text to know what there is in it, and never executes it; loading a model
does, if a person passed the file. A string in YAML names a class or a function, and can do no more.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from keyword import iskeyword
from pathlib import Path

from graphvae.compiler.errors import FlagError, Span, visible

_TAKEN = {*sys.stdlib_module_names, "torch", "graphvae"}


@dataclass(frozen=True)
class Signature:
    """What a class takes beside its parents: the names, those that have no default, and whether any other may be given."""

    names: tuple[str, ...]
    required: tuple[str, ...]
    anything: bool


@dataclass(frozen=True)
class Arity:
    """How many arguments a function takes by their order (`most` is None for any number), and which it must have by name."""

    least: int
    most: int | None
    by_name: tuple[str, ...] = ()

    def refuses(self, number: int) -> str:
        """Why it does not take so many, or nothing."""
        if self.by_name:
            return f"must be given '{self.by_name[0]}' by name, and an expression gives arguments by their order"
        if number >= self.least and (self.most is None or number <= self.most):
            return ""
        more = " or more" if self.most is None else f" to {self.most}" * (self.most > self.least)
        return f"takes {self.least}{more} argument{'s' * (self.most != 1)}, and not {number}"


@dataclass(frozen=True)
class Plugin:
    """A Python file: its text, the checksum of its bytes, its classes, with None where what one takes is inherited, and its
    functions.
    """

    path: Path
    text: str
    sha256: str
    classes: Mapping[str, Signature | None]
    functions: Mapping[str, Arity] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The name that emitted code imports it by."""
        return self.path.stem

    def line(self, number: int) -> Span:
        """The place of a line, without its indentation."""
        text = self.text.split("\n")[number - 1]
        return Span(str(self.path), number, len(text) - len(text.lstrip()) + 1, number, len(text) + 1, text)


def read_plugin(path: str | Path) -> Plugin:
    """Read a plugin, and execute nothing.

    Raises:
        FlagError: For a file that cannot be read, is not Python, cannot be imported by its name, or has no class.
    """
    file = Path(path)
    if not file.stem.isidentifier() or iskeyword(file.stem) or file.suffix != ".py":
        hint = "name it like a Python module, as in my_networks.py"
        raise FlagError.of("GV501", f"the plugin '{visible(file.name)}' has no name to import it by", hint=hint)
    if file.stem in _TAKEN:
        hint = f"rename it, as in my_{file.stem}.py"
        raise FlagError.of("GV501", f"the plugin '{path}' has the name of the module '{file.stem}'", hint=hint)
    try:
        raw = file.read_bytes()
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise FlagError.of("GV501", f"cannot read the plugin {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FlagError.of("GV501", f"the plugin {path} is not UTF-8", hint="save the file as UTF-8") from None
    tree = _parsed(text, str(path))
    classes, functions = dict(_classes(tree)), dict(_functions(tree))
    if not classes and not functions:
        hint = "a network is a class that is a torch.nn.Module; a function may be called in an expression"
        raise FlagError.of("GV501", f"the plugin {path} has no class and no function", hint=hint)
    return Plugin(file, text, sha256(raw).hexdigest(), classes, functions)


def _parsed(text: str, file: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        span = Span(file, line, column, line, column + 1, (error.text or "").rstrip("\n"))
        raise FlagError.of("GV501", f"the plugin is not Python: {error.msg}", span) from None
    except ValueError as error:
        raise FlagError.of("GV501", f"the plugin {file} is not Python: {error}") from None


def _classes(tree: ast.Module) -> Iterator[tuple[str, Signature | None]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            functions = [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"]
            yield node.name, _signature(functions[-1].args) if functions else None


def _functions(tree: ast.Module) -> Iterator[tuple[str, Arity]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, _arity(node.args)


def _arity(arguments: ast.arguments) -> Arity:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    by_name = tuple(argument.arg for argument, default in keywords if default is None)
    return Arity(positional - len(arguments.defaults), None if arguments.vararg else positional, by_name)


def _signature(arguments: ast.arguments) -> Signature:
    """Behind `self` and the parents, which come first."""
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    without = positional[2 : len(positional) - len(arguments.defaults)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    without += [argument.arg for argument, default in keywords if default is None]
    names = [name for name in positional[2:] if name not in {argument.arg for argument in arguments.posonlyargs}]
    names += [argument.arg for argument in arguments.kwonlyargs]
    return Signature(tuple(names), tuple(without), arguments.kwarg is not None)
