"""Numbers that change with the step of a training."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi

from graphvae.compiler.spec import Schedule


def at(number: float | Schedule, step: int) -> float:
    """The number at a step, counted from 0.

    >>> [at(Schedule(schedule="linear", **{"from": 0.0, "to": 1.0}, steps=4), step) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    if not isinstance(number, Schedule):
        return number
    if number.schedule == "constant":
        return number.start
    assert number.end is not None
    assert number.steps is not None
    return number.start + (number.end - number.start) * _share(number.schedule, step, number.steps)


def all_at(numbers: float | Schedule | Mapping[str, float | Schedule], step: int) -> float | dict[str, float]:
    """A number, or the numbers by variable, at a step."""
    return {name: at(value, step) for name, value in numbers.items()} if isinstance(numbers, Mapping) else at(numbers, step)


def _share(kind: str, step: int, steps: int) -> float:
    """How much of the way from one end to the other has been gone."""
    if kind == "cyclic":
        return min(1.0, step % steps / steps * 2)
    gone = min(1.0, step / steps)
    return gone if kind == "linear" else (1 - cos(pi * gone)) / 2
