"""The arrows of the house, proven from the imports of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import resolve_name

import networkx as nx
import pytest
from models import ROOT

import graphvae

PACKAGE = ROOT / "graphvae"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MAY_IMPORT = {
    "__main__": {"cli"},
    "cli": {"compiler", "runtime", "lab", "diagrams"},
    "lab": {"compiler", "runtime"},
    "diagrams": {"compiler"},
    "compiler": set(),
    "runtime": set(),
}
LIBRARIES = {
    "compiler": {"networkx", "pydantic", "pydantic_core", "yaml"},
    "diagrams": {"graphviz", "matplotlib", "networkx", "numpy"},
    "runtime": {"torch"},
}


def imports(module: str, at_load: bool = False) -> set[str]:
    """The modules that a module imports, in full; those in functions and for type checkers too, unless only `at_load`."""
    nodes = list(ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))))
    if at_load:
        later = (ast.FunctionDef, ast.AsyncFunctionDef, ast.If)
        hidden = {id(inner) for node in nodes if isinstance(node, later) for inner in ast.walk(node)}
        nodes = [node for node in nodes if id(node) not in hidden]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
            origin = resolve_name("." * node.level + (node.module or ""), package)
            inside = {f"{origin}.{alias.name}" for alias in node.names}
            found |= inside & MODULES.keys() or {origin}
    return found


def part(module: str) -> str:
    """Which part of the house a module of ours is in: `graphvae` itself for the table of contents."""
    return module.split(".")[1] if "." in module else module


@pytest.mark.parametrize("module", [name for name in MODULES if name != "graphvae"])
def test_imports_run_one_way(module: str) -> None:
    ours = {name for name in imports(module) if name.split(".")[0] == "graphvae"}
    assert {part(name) for name in ours} <= {part(module), *MAY_IMPORT[part(module)]}


@pytest.mark.parametrize("module", [name for name in MODULES if part(name) in LIBRARIES])
def test_a_part_imports_its_own_libraries_alone(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(module)}
    assert roots <= {"graphvae", *LIBRARIES[part(module)], *sys.stdlib_module_names}


def test_no_cycle_of_imports() -> None:
    edges = [(module, name) for module in MODULES for name in imports(module, at_load=True) if name in MODULES]
    graph = nx.DiGraph(edges)
    assert list(nx.simple_cycles(graph)) == []


@pytest.mark.parametrize("what", ["graphvae", "compiler", "diagrams", "cli"])
def test_loads_no_torch(what: str) -> None:
    names = [name for name in MODULES if part(name) == what]
    code = f"import {', '.join(names)}, sys; assert not [name for name in sys.modules if name.split('.')[0] == 'torch']"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_table_of_contents_is_complete_and_sorted() -> None:
    assert graphvae.__all__ == sorted(graphvae._HOMES)
    block = next(node for node in ast.parse(MODULES["graphvae"].read_text()).body if isinstance(node, ast.If))
    typed = {alias.asname: node.module for node in block.body for alias in node.names}
    assert typed == graphvae._HOMES, "what type checkers see is what there is"


@pytest.mark.parametrize("name", graphvae.__all__)
def test_every_entry_of_the_table_of_contents_is_there(name: str) -> None:
    assert getattr(graphvae, name).__module__ == graphvae._HOMES[name]
    assert getattr(graphvae, name).__doc__


def test_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        graphvae.nothing  # noqa: B018
