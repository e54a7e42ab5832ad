"""What a network of a person's own gives, compared at its first pass with the heads that its place asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from graphvae.compiler.errors import FlagError, Span
from graphvae.compiler.plugins import Plugin

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

HINT = "for every head, in this order, forward gives a tensor [..., head...] with the axes of its parents before the head's"


def watched(kind: type[nn.Module], plugin: Plugin) -> Callable[..., nn.Module]:
    """A class of a plugin as emitted code calls it: at the first pass of each network, what it gives is compared."""

    def make(parents: Shapes, heads: Shapes, **options: Any) -> nn.Module:
        network = kind(parents, heads=heads, **options)

        def compare(module: nn.Module, _: tuple[()], values: Mapping[str, Tensor], made: Any) -> None:
            handle.remove()
            axes = torch.broadcast_shapes(*(_leading(value.shape, parents[name]) for name, value in values.items()))
            if wrong := _wrong(made, heads, axes):
                raise FlagError.of("GV116", f"'{kind.__name__}' gives {wrong}", _place(module, plugin), HINT)

        handle = network.register_forward_hook(compare, with_kwargs=True)
        return network

    return make


def _wrong(made: Any, heads: Shapes, axes: Shape) -> str:
    """What is given in place of the heads [axes..., head...]; nothing where it fits."""
    parts = [made] if len(heads) == 1 else list(made) if isinstance(made, tuple | list | Tensor) else []
    if len(parts) != len(heads):
        given = f"{len(parts)} values" if parts else f"a {type(made).__name__}"
        return f"{given}, and should give {len(heads)} heads: {', '.join(heads)}"
    for part, (name, shape) in zip(parts, heads.items(), strict=True):
        should = f"and it should have the shape {[*axes, *shape]}"
        if not isinstance(part, Tensor):
            return f"a {type(part).__name__} for the head '{name}', {should}"
        if not _fits(part.shape, shape, axes):
            return f"the head '{name}' the shape {list(part.shape)}, {should}"
    return ""


def _fits(found: Shape, head: Shape, axes: Shape) -> bool:
    """Whether a shape ends in the head's, behind axes that are those of the parents, of size 1, or absent on the left."""
    own = _leading(found, head)
    behind = zip(reversed(own), reversed(axes), strict=False)
    return (*own, *head) == (*found,) and len(own) <= len(axes) and all(size in (1, wanted) for size, wanted in behind)


def _leading(shape: Shape, event: Shape) -> Shape:
    """The axes before the event."""
    return shape[: max(0, len(shape) - len(event))]


def _place(network: nn.Module, plugin: Plugin) -> Span | None:
    """Where the plugin defines what a network gives."""
    code = getattr(network.forward, "__code__", None)
    return plugin.line(code.co_firstlineno) if code and code.co_filename == str(plugin.path) else None
