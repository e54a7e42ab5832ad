"""Failures of emitted code, explained by a note on the error: the variable, its line in the spec and the shapes at hand.

In an emitted `forward` every statement that draws, scores or defines a variable ends with its place in the spec, and a pass
through a network is followed by the draw that it is for. A sub-model has a `forward` of its own.
"""

from __future__ import annotations

import ast
import linecache
import traceback
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any

from torch import Tensor, nn

from graphvae.runtime.terms import Draw


def describe_failure(error: BaseException, network: nn.Module) -> str:
    """What a network was computing when an error arose in its `forward`; nothing where that cannot be said."""
    emitted = {place_of(code) for code in emitted_code(network).values()}
    frames = [found for found in traceback.walk_tb(error.__traceback__) if place_of(found[0].f_code) in emitted]
    if not frames or not forward_statements(frames[-1][0].f_code):
        return ""
    frame, line = frames[-1]
    code, statements = frame.f_code, forward_statements(frame.f_code)
    failed, *later = [statement for statement in statements if (statement.end_lineno or 0) >= line]
    variable, place = variable_of([failed, *later], code)
    read = [node.id for node in ast.walk(failed) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    values = {name: frame.f_locals.get(name) for name in read}
    if variable in constants(failed):
        values["noise"] = frame.f_locals["noise"].get(variable)
    return describe(f"computing {variable!r} ({place}): {ast.unparse(failed)}", values)


def describe_scoring(name: str, draw: Draw, network: nn.Module) -> str:
    """What was scored when an error arose between a value and its distribution in p."""
    path = max((path for path in emitted_code(network) if f"{name}.".startswith(path)), key=len)
    code, local = emitted_code(network)[path], name.removeprefix(path)
    _, place = variable_of([statement for statement in forward_statements(code) if local in constants(statement)], code)
    return describe(f"scoring {name!r} ({place})", {"value": draw.value, **vars(draw.distribution)})


def describe(what: str, values: Mapping[str, Any]) -> str:
    """A note with the shapes of those values that are tensors."""
    shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in values.items() if isinstance(value, Tensor))
    return f"while {what}\n  with {shapes}"


def emitted_code(network: nn.Module) -> dict[str, CodeType]:
    """The `forward` of a side and of every sub-model in it, by the path to it, which ends with a dot."""
    codes = {f"{path}." if path else "": module.forward.__code__ for path, module in network.named_modules()}
    return {path: code for path, code in codes.items() if code.co_varnames[1:4] == ("evidence", "noise", "knobs")}


def place_of(code: CodeType) -> tuple[str, int]:
    """Where a function stands; torch.compile keeps it for the code that it makes."""
    return code.co_filename, code.co_firstlineno


def forward_statements(code: CodeType) -> list[ast.stmt]:
    """The statements of a function, those of its loops one by one, if its source is there."""
    tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.lineno == code.co_firstlineno]
    body = functions[0].body if functions else []
    return [inner for statement in body for inner in (statement.body if isinstance(statement, ast.For) else [statement])]


def variable_of(statements: Sequence[ast.stmt], code: CodeType) -> tuple[str, str]:
    """The variable that the first of the statements is for, and its place in the spec: both end its paragraph."""
    for statement in statements:
        _, marked, place = linecache.getline(code.co_filename, statement.end_lineno or 0).partition("  # ")
        if marked:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            names = [*constants(statement), *map(ast.unparse, targets)]
            return names[0], place.strip()
    return "", ""


def constants(statement: ast.stmt) -> list[str]:
    """The texts that a statement passes on, the name of its variable first."""
    return [node.value for node in ast.walk(statement) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
