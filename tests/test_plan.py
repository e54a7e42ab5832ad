"""The Plan: axes come from ancestors alone, and `check` catches what a fault of ours would leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from models import SPECS

from graphvae.compiler.pipeline import compile_file, compile_text
from graphvae.compiler.plan import Compute, Draw, Plan, Score, SidePlan, Step, Value

EVERYTHING = next(path for path in SPECS if path.stem == "everything")


def axes_of(text: str) -> dict[str, str]:
    """The axes of every variable's value in q and p, as letters: e for an enumeration, s for the samples, r for the rows."""
    plan = compile_text(text, "plan.yaml").plan
    values = [step.value for step in (*plan.q.steps, *plan.p.steps) if not isinstance(step, Compute)]
    values += [value for step in plan.q.steps if isinstance(step, Compute) and step.deterministic for value in step.outputs]
    return {value.name: "".join(axis[0] for axis in value.axes) for value in values}


SPEC = """
model: m
variables:
  x: {distribution: normal, size: 3, role: observed}
  label: {distribution: categorical, categories: 3, role: supervised}
  near: {distribution: normal, size: 2}
  far: {distribution: normal, size: 2}
p: {x: [label, near, far]}
q:
  trunk: {parents: [x], network: {hidden: [4]}}
"""


@pytest.mark.parametrize(
    ("q", "axes"),
    [
        ("{label: [trunk], near: [trunk], far: [trunk]}", {"label": "er", "near": "sr", "far": "sr"}),
        ("{label: [trunk], near: [trunk, label], far: [trunk]}", {"label": "er", "near": "esr", "far": "sr"}),
        ("{far: [trunk], label: [far], near: [label]}", {"label": "esr", "near": "esr", "far": "sr"}),
        ("{near: [label], label: [far], far: []}", {"label": "esr", "near": "esr", "far": "sr"}),
    ],
)
def test_a_value_has_the_axes_of_its_ancestors(q: str, axes: dict[str, str]) -> None:
    found = axes_of(SPEC + "".join(f"  {line}\n" for line in q.strip("{}").replace("], ", "]\n").split("\n")))
    assert found == axes | {"x": "r", "trunk": "r"}


def with_steps(plan: Plan, change: Callable[[list[Step]], list[Step]]) -> Plan:
    return replace(plan, q=SidePlan("q", plan.q.factorisation, tuple(change(list(plan.q.steps)))))


def each(kind: type[Step], change: Callable[[Step], Step]) -> Callable[[list[Step]], list[Step]]:
    return lambda steps: [change(step) if isinstance(step, kind) else step for step in steps]


def moved(value: Value) -> Value:
    return replace(value, axes=("sample", *value.axes))


FAULTS = {
    "a value is used before it is made": lambda plan: with_steps(plan, lambda steps: [*steps[-2:], *steps[:-2]]),
    "a parameter is of another network": lambda plan: with_steps(plan, lambda steps: [*steps[:3], *steps[4:3:-1], *steps[5:]]),
    "a network has two draws": lambda plan: with_steps(plan, lambda steps: [*steps, steps[-1]]),
    "two values have one name": lambda plan: with_steps(
        plan, each(Draw, lambda step: replace(step, value=replace(step.value, python="angle")))
    ),
    "a name is no identifier": lambda plan: with_steps(
        plan, each(Draw, lambda step: replace(step, value=replace(step.value, python=f"1{step.value.python}")))
    ),
    "two networks have one attribute": lambda plan: with_steps(
        plan, each(Compute, lambda step: replace(step, network=replace(step.network, attribute="angle")))
    ),
    "q and p disagree about a value": lambda plan: with_steps(
        plan, each(Draw, lambda step: replace(step, value=moved(step.value)) if not step.used else step)
    ),
    "a value that is read is not kept": lambda plan: with_steps(plan, each(Draw, lambda step: replace(step, used=False))),
    "a variable is not drawn": lambda plan: with_steps(plan, lambda steps: steps[:-2]),
    "a variable is not scored": lambda plan: replace(
        plan, p=replace(plan.p, steps=tuple(step for step in plan.p.steps if not isinstance(step, Score) or step.used))
    ),
    "the enumerated variables are in another order": lambda plan: replace(plan, enumerated=plan.enumerated[::-1]),
    "two enumerations are on one axis": lambda plan: with_steps(
        plan, each(Draw, lambda step: replace(step, enumeration=0) if step.enumeration is not None else step)
    ),
    "a label is not known to be one": lambda plan: with_steps(plan, each(Draw, lambda step: replace(step, labelled=False))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_catches_our_faults(fault: str) -> None:
    plan = compile_file(EVERYTHING).plan
    plan.check()
    with pytest.raises(AssertionError):
        FAULTS[fault](plan).check()
