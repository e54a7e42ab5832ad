"""Standalone source: an emitted model in one file with the parts of the runtime that it uses.

The verb is `standalone`. The runtime is read as text and never imported: its files import only torch and each other, and no
name stands at the top of two of them, so what a model needs of them can be written one after the other; then a person's plugin.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

from graphvae.compiler.inlining import check_names, inline
from graphvae.compiler.names import Namespace
from graphvae.compiler.plugins import Plugin

FILES = (
    "plates",
    "distributions",
    "continuous",
    "counts",
    "multivariate",
    "expressions",
    "networks",
    "terms",
    "draws",
    "failures",
    "objectives",
    "model",
)

_NOTE = "The parts of graphvae's runtime that it uses stand before it, so that it needs torch and nothing else."


@dataclass(frozen=True)
class _Module:
    """A Python file in its parts, as text: its docstring, and what it defines at its top.

    `imports` says of each imported name which module it is from, and what it is called there (nothing: it is the module).
    """

    docstring: str
    imports: Mapping[str, tuple[str, str]]
    definitions: Mapping[str, str]

    @classmethod
    def read(cls, text: str) -> _Module:
        tree = ast.parse(text)
        ends = [node.end_lineno or 0 for node in tree.body]
        texts = [_stretch(text, *lines) for lines in pairwise([0, *ends])]
        imports = dict(pair for node in tree.body for pair in _imported(node))
        definitions = {_defined(node): part for node, part in zip(tree.body, texts, strict=True) if _defined(node)}
        return cls(texts[0].strip('"').strip(), imports, definitions)


def standalone(code: str, plugin: Plugin | None = None) -> str:
    """An emitted model as one file that runs where only torch is installed, with the same numbers.

    Raises:
        FlagError: For a plugin that needs something else, or defines what the file has already.

    >>> from graphvae.compiler.pipeline import compile_file
    >>> text = standalone(compile_file("specs/digits.yaml").code)
    >>> "import graphvae" in text or "from graphvae" in text
    False
    """
    model = _Module.read(code)
    runtime = [_Module.read(_runtime_text(file)) for file in FILES]
    library = {name: text for module in runtime for name, text in module.definitions.items()}
    inlined = inline(plugin, library) if plugin else None
    needed = _closure([*model.definitions.values(), *(inlined.runtime if inlined else ())], library)
    parts = [text for module in runtime for text in _section(module, needed)]
    imports = _needed_imports([*runtime, model], [*parts, *model.definitions.values()], plugin.module if plugin else "")
    taken = needed | imports.keys() | (inlined.names.keys() if inlined else set())
    texts = [*parts, *([inlined.text] if inlined else []), *_renamed(model.definitions, taken)]
    if plugin and inlined:
        check_names(plugin, inlined, {*needed, "Encoder", "Decoder"}, imports)
    head = f'"""{model.docstring}\n\n{_NOTE}\n"""\n\nfrom __future__ import annotations\n\n{_import_block(imports)}'
    return "\n\n\n".join([head, *texts]) + "\n"


def _runtime_text(file: str) -> str:
    return resources.files("graphvae").joinpath("runtime", f"{file}.py").read_text("utf-8")


def _imported(node: ast.stmt) -> Iterator[tuple[str, tuple[str, str]]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, (alias.name, "")) for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module not in (None, "__future__"):
        yield from ((alias.name, (node.module, alias.name)) for alias in node.names)


def _defined(node: ast.stmt) -> str:
    """The name that a statement defines, or nothing."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    targets = node.targets if isinstance(node, ast.Assign) else []
    return next((target.id for target in targets if isinstance(target, ast.Name)), "")


def _stretch(text: str, after: int, end: int) -> str:
    """The lines behind line `after` to line `end`: a comment goes with the statement below it."""
    return "\n".join(text.split("\n")[after:end]).strip("\n")


def _closure(texts: Iterable[str], library: Mapping[str, str]) -> set[str]:
    """The names of the library that texts need, and those that these need in turn."""
    needed: set[str] = set()
    missing = _names(texts) & library.keys()
    while missing:
        needed |= missing
        missing = (_names(library[name] for name in missing) & library.keys()) - needed
    return needed


def _names(texts: Iterable[str]) -> set[str]:
    return {node.id for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def _section(module: _Module, needed: set[str]) -> list[str]:
    """What is needed of one file, in its order, under its docstring as a comment."""
    texts = [text for name, text in module.definitions.items() if name in needed]
    heading = "\n".join(f"# {line}".rstrip() for line in module.docstring.split("\n"))
    return [heading, *texts] if texts else []


def _renamed(definitions: Mapping[str, str], taken: Iterable[str]) -> list[str]:
    """The model's classes; the one that is named after the spec makes way for what the runtime calls so."""
    names = Namespace(taken)
    return [text.replace(f"class {name}(", f"class {names.create_name(name)}(", 1) for name, text in definitions.items()]


def _needed_imports(modules: Iterable[_Module], texts: Iterable[str], plugin: str) -> dict[str, tuple[str, str]]:
    """What texts need from without: neither from graphvae nor from the plugin."""
    used = _names(texts)
    found = {name: source for module in modules for name, source in module.imports.items() if name in used}
    return {name: source for name, source in found.items() if source[0].split(".")[0] not in ("graphvae", plugin)}


def _import_block(imports: Mapping[str, tuple[str, str]]) -> str:
    """Imports, merged: the standard library, then torch."""
    kept = set(imports.values())
    lines = [f"import {module}" for module, original in sorted(kept) if not original]
    for module in sorted({module for module, original in kept if original}):
        lines.append(f"from {module} import {', '.join(sorted(name for origin, name in kept if origin == module and name))}")
    groups = ([line for line in lines if _is_torch(line) == torch] for torch in (False, True))
    return "\n\n".join("\n".join(group) for group in groups)


def _is_torch(line: str) -> bool:
    return line.split()[1].split(".")[0] == "torch"
