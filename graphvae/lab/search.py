"""Searching settings by Optuna, an extra: `KEY=LOW..HIGH`, `KEY=LOW..HIGH:log`, or a choice `KEY=V1,V2,...`.

A range between two whole numbers has whole numbers alone: `0..1` is 0 or 1, and `0.0..1` anything between them.
A proposal is a function of the trials that have ended and of its own number, so no state of a sampler needs keeping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from graphvae.compiler.errors import FlagError
from graphvae.compiler.source import read_value
from graphvae.lab.grids import Point, parse_values, split_flags

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_RANGE = re.compile(r"\s*(?P<low>\S+?)\.\.(?P<high>[^:\s]+)(?P<log>:log)?\s*")


def parse_search(texts: Sequence[str]) -> dict[str, BaseDistribution]:
    """The range or the choice of each key.

    Raises:
        FlagError: Where Optuna is not installed, for what is not of these forms, and for a range with nothing in it.
    """
    flags = split_flags(texts, "--search")
    _optuna()
    return {key: _distribution(key, values) for key, values in flags.items()}


def extremes(space: Mapping[str, BaseDistribution]) -> list[Point]:
    """Points that together hold every choice, and both ends of every range."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = {}
    for key, row in space.items():
        assert isinstance(row, CategoricalDistribution | FloatDistribution | IntDistribution)
        values[key] = list(row.choices) if isinstance(row, CategoricalDistribution) else [row.low, row.high]
    most = max(map(len, values.values()))
    return [{key: str(found[min(index, len(found) - 1)]) for key, found in values.items()} for index in range(most)]


def suggest(space: Mapping[str, BaseDistribution], ended: Sequence[tuple[Point, float]], number: int) -> Point:
    """The point that a tree-structured Parzen estimator (Bergstra et al. 2011) tries next.

    Args:
        space: The range or the choice of each key.
        ended: The points that were tried, each with what is to be made small.
        number: Of the trial, which seeds what is random in it.
    """
    optuna = _optuna()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=number))
    for point, value in ended:
        if isfinite(value):
            params = {key: _value(row, point[key]) for key, row in space.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(space), value=value))
    return {key: _text(space[key], value) for key, value in study.ask(dict(space)).params.items()}


def _optuna() -> Any:
    """The library, which is to say nothing of each study that it makes.

    Raises:
        FlagError: If it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise FlagError.of("GV501", "a search needs Optuna", hint="pip install 'graphvae[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(key: str, values: str) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found = _RANGE.fullmatch(values)
    if not found:
        return CategoricalDistribution(parse_values(key, values, "--search"))
    low, high = (_number(key, found[end]) for end in ("low", "high"))
    log = bool(found["log"])
    if not low < high or (log and low <= 0):
        raise FlagError.of(
            "GV501", f"nothing lies between {low} and {high}" + " on a logarithmic scale" * log + f" for '{key}'"
        )
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _number(key: str, text: str) -> float:
    value, span = read_value(text, "--search", before=f"{key}=")
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise FlagError.of("GV501", f"the ends of a range are numbers, and not '{text}'", span)
    return value


def _text(row: BaseDistribution, value: object) -> str:
    """A proposal in so few digits as a person would write."""
    from optuna.distributions import FloatDistribution

    if isinstance(row, FloatDistribution):
        return str(min(max(float(f"{value:.4g}"), row.low), row.high))
    return str(value)


def _value(row: BaseDistribution, text: str) -> str | int | float:
    """The inverse of a proposal's text."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(row, IntDistribution):
        return int(text)
    return float(text) if isinstance(row, FloatDistribution) else text
