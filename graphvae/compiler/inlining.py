"""A plugin as a part of a standalone file: its text, its imports included, among the names that are there already.

The verb is `inline`.
"""

from __future__ import annotations

import ast
import collections.abc
import symtable
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from graphvae.compiler.errors import FlagError
from graphvae.compiler.plugins import Plugin


@dataclass(frozen=True)
class Inlined:
    """A plugin's text without what belongs to a file of its own.

    `names` are those that it defines at its top, each imported one with what it stands for. `runtime` are the names that it
    takes from graphvae's runtime.
    """

    text: str
    names: Mapping[str, str]
    runtime: frozenset[str]


def inline(plugin: Plugin, library: Collection[str]) -> Inlined:
    """A plugin's text for a file in which the parts of the runtime, the `library`, can be had by name.

    Raises:
        FlagError: If it imports anything but torch, the standard library and these parts.
    """
    tree = ast.parse(plugin.text)
    ours = [node for node in tree.body if _is_of_runtime(node, library)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in ours:
            _check_import(plugin, node)
    docstring = ast.get_docstring(tree)
    lines = plugin.text.split("\n")
    for node in reversed(tree.body):
        if node in ours or _is_future(node) or _is_script(node) or (docstring and node is tree.body[0]):
            del lines[node.lineno - 1 : node.end_lineno]
    heading = "\n".join(f"# {line}".rstrip() for line in (docstring or f"From {plugin.path.name}.").split("\n"))
    runtime = frozenset(alias.name for node in ours for alias in _aliases(node))
    names = {name: meaning for name, meaning in _names(plugin, tree).items() if name not in runtime}
    return Inlined("\n\n\n".join([heading, "\n".join(lines).strip("\n")]), names, runtime)


def check_names(plugin: Plugin, inlined: Inlined, defined: Collection[str], imports: Mapping[str, tuple[str, str]]) -> None:
    """No name of a plugin means something else in the rest of the file.

    Raises:
        FlagError: For the first that does.
    """
    taken = {name: ".".join(filter(None, source)) for name, source in imports.items()}
    for name, meaning in inlined.names.items():
        if name in defined or (name in taken and taken[name] != meaning):
            message = f"the plugin {plugin.path} cannot stand in one file with the model: both define '{name}'"
            raise FlagError.of("GV501", message, hint="rename it in the plugin, or compile without --standalone")


def _aliases(node: ast.AST) -> list[ast.alias]:
    return node.names if isinstance(node, ast.Import | ast.ImportFrom) else []


def _is_of_runtime(node: ast.stmt, library: Collection[str]) -> bool:
    """Whether it imports parts of graphvae's runtime under their own names."""
    ours = isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("graphvae.runtime")
    return ours and all(alias.name in library and alias.asname is None for alias in _aliases(node))


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _is_script(node: ast.stmt) -> bool:
    """Whether it is run only where the file itself is."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def _check_import(plugin: Plugin, node: ast.Import | ast.ImportFrom) -> None:
    whole = isinstance(node, ast.Import)
    for alias in node.names:
        module = alias.name if whole else "." * getattr(node, "level", 0) + (getattr(node, "module", "") or "")
        if alias.name == "*":
            message, hint = f"the plugin imports everything from '{module}'", "import what it needs by name"
        elif module.split(".")[0] in ("torch", *sys.stdlib_module_names):
            continue
        else:
            message = f"the plugin imports '{module}', and a standalone file has only torch and the standard library"
            hint = "do without it, or compile without --standalone"
        raise FlagError.of("GV501", message, plugin.line(node.lineno), hint)


def _names(plugin: Plugin, tree: ast.Module) -> dict[str, str]:
    """Every name that a plugin's text defines at its top, and what those that are only imported stand for."""
    symbols = symtable.symtable(plugin.text, str(plugin.path), "exec").get_symbols()
    meanings = dict(pair for node in ast.walk(tree) for pair in _imported(node))
    assigned = {symbol.get_name(): "" for symbol in symbols if symbol.is_assigned()}
    return {symbol.get_name(): meanings[symbol.get_name()] for symbol in symbols if symbol.is_imported()} | assigned


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that a statement imports, each with what it stands for as one path, however it was written."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            generic = node.module == "typing" and alias.name in collections.abc.__all__
            yield alias.asname or alias.name, f"{'collections.abc' if generic else node.module}.{alias.name}"
