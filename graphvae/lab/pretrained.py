"""Weights of sub-models that come from runs of their own. The verbs are `read_pretrained` and `load_pretrained`.

A run fits a sub-model if it trained the same model: the same plates, variables, p, q and sub-models. What a spec says of data,
training and objective, and of how q draws, is no part of that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from graphvae.compiler.errors import RunError
from graphvae.compiler.graph import SubmodelNode
from graphvae.compiler.pipeline import Compilation
from graphvae.compiler.plan import Step, calls
from graphvae.compiler.spec import Spec
from graphvae.lab.runs import open_run
from graphvae.runtime import Model

SHOWN = 3  # differences in a message
_DRAWS = {"gradient", "temperature"}


@dataclass(frozen=True)
class Pretrained:
    """The weights of a sub-model by their names in its own run, and what the manifest says of that."""

    node: SubmodelNode
    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any]


def read_pretrained(compilation: Compilation) -> dict[str, Pretrained]:
    """The weights of every sub-model that has a run, by the path to it.

    Raises:
        RunError: If a run is not there, has no checkpoint, needs another plugin, or trained another model.
    """
    return {name: _read(node, compilation) for name, node in compilation.graph.submodels.items() if node.weights}


def load_pretrained(model: Model, compilation: Compilation, pretrained: Mapping[str, Pretrained]) -> None:
    """Put weights in their places in p and q: all that a sub-model has there comes from its run.

    Raises:
        RunError: If a run lacks a weight, or has it in another shape.
    """
    own = model.state_dict()
    for side, steps in (("encoder", compilation.plan.q.steps), ("decoder", compilation.plan.p.steps)):
        for path, place in _places(steps, side):
            if path in pretrained:
                _copy(pretrained[path], side, {name: own[name] for name in own if name.startswith(f"{place}.")}, len(place))


def _read(node: SubmodelNode, compilation: Compilation) -> Pretrained:
    try:
        run = open_run(node.weights, compilation.plugin.path if compilation.plugin else None)
        trained = run.compile().graph
        checkpoint = run.checkpoint()
    except RunError as error:
        raise RunError([replace(found, span=found.span or node.span) for found in error.diagnostics]) from error
    here = _leaves(_model(node.spec, compilation.graph.submodels, f"{node.name}."))
    there = _leaves(_model(trained.spec, trained.submodels, ""))
    if different := sorted(name for name in {**here, **there} if here.get(name) != there.get(name)):
        message = f"the run {run.folder} did not train {node.file}, the sub-model '{node.name}'"
        hint = [
            f"{name} is {there.get(name, 'nothing')} in the run, and {here.get(name, 'nothing')} here" for name in different
        ]
        raise RunError.of("GV401", message, node.span, "\n".join([*hint[:SHOWN], *["and so on"] * (len(hint) > SHOWN)]))
    if checkpoint is None:
        raise RunError.of("GV401", f"{run.folder} has no checkpoint yet", node.span)
    digest = hashlib.sha256((run.folder / "checkpoint.safetensors").read_bytes()).hexdigest()
    return Pretrained(node, checkpoint.model, {"run": str(run.folder.resolve()), "epoch": checkpoint.epoch, "sha256": digest})


def _model(spec: Spec, inside: Mapping[str, SubmodelNode], path: str) -> dict[str, Any]:
    """What a completed spec says of its model, as plain data; `path` leads to it, and ends with a dot."""
    symbol = {"__all__": {"symbol"}}
    left_out: dict[str, Any] = {"plates": symbol, "variables": symbol, "q": {"conditionals": {"__all__": _DRAWS}}}
    said = spec.model_dump(mode="json", exclude_none=True, include={"plates", "variables", "p", "q"}, exclude=left_out)
    for name, block in spec.submodels.items():
        own = block.model_dump(mode="json", exclude_none=True, include={"plate", "variables"})
        said[f"submodels.{name}"] = own | {"spec": _model(inside[path + name].spec, inside, f"{path}{name}.")}
    return said


def _leaves(data: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The values of nested mappings by their paths, `variables.style.size`; an empty one is a value."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= _leaves(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}": value}
    return found


def _places(steps: Iterable[Step], prefix: str) -> Iterator[tuple[str, str]]:
    """The path to every sub-model in some steps, and the place of its weights."""
    for call in calls(steps):
        yield call.side.path, f"{prefix}.{call.attribute}"
        yield from _places(call.side.steps, f"{prefix}.{call.attribute}")


def _copy(pretrained: Pretrained, side: str, places: Mapping[str, Tensor], prefix: int) -> None:
    for name, place in places.items():
        given = pretrained.tensors.get(side + name[prefix:])
        if given is None or given.shape != place.shape:
            has = "no" if given is None else f"{list(given.shape)} as"
            message = (
                f"the run {pretrained.record['run']} has {has} {side + name[prefix:]}, and '{pretrained.node.name}' needs it"
            )
            raise RunError.of("GV401", f"{message} as {list(place.shape)}", pretrained.node.span)
        place.copy_(given)
