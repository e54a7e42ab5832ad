"""What expressions compute: where they stand in a conditional, what they may read, and the shapes that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphvae.compiler.graph import ConditionalNode, ModelGraph, PlateNode, VariableNode
from graphvae.compiler.plugins import Plugin
from graphvae.compiler.spec import Conditional, Spec
from graphvae.compiler.structure import deterministic_event

WORDS = ("learned", "head")


def parsed(node: ConditionalNode):
    texts = _texts(node.conditional)
    if texts:
        raise NotImplementedError
    return {}


def _texts(conditional: Conditional) -> dict[str, str]:
    """The expressions of a conditional, by parameter."""
    found = {key: value for key, value in conditional.parameters.items() if isinstance(value, str) and value not in WORDS}
    return found | ({"value": conditional.value} if conditional.value is not None else {})


def with_event(node, spec, variables, plates, plugin):
    return node.variable


def check_expressions(node, variables, plates, plugin):
    pass


def code_of(*a):
    raise NotImplementedError
