"""graphvae compiles a YAML description of a partially specified deep generative model into PyTorch.

    check(path)            warnings about a spec; an error that says how to mend it
    compile(path)          the model's class, made from the text that `graphvae compile` writes
    train(path)            a run: trained weights and everything that led to them
    load(run)              the trained model of a run
    evaluate(run)          its errors, its evidence and its effective sample size
    sweep(path, grid)      a run at every point of a grid and every seed, and the table of them all
    impute(run, data)      what is missing in a table, by its posterior mean and draws
    render(path, output)   p and q as a picture

Importing graphvae loads no torch; asking for `compile`, `train`, `load`, `evaluate`, `sweep` or `impute` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from graphvae.compiler.shown import Shown

if TYPE_CHECKING:
    from graphvae.compiler.check import check as check
    from graphvae.diagrams.render import render as render
    from graphvae.lab.evaluation import evaluate as evaluate
    from graphvae.lab.imputation import impute as impute
    from graphvae.lab.models import compile as compile
    from graphvae.lab.runs import load as load
    from graphvae.lab.sweeps import sweep as sweep
    from graphvae.lab.training import train as train

_HOMES = {
    "check": "graphvae.compiler.check",
    "compile": "graphvae.lab.models",
    "evaluate": "graphvae.lab.evaluation",
    "impute": "graphvae.lab.imputation",
    "load": "graphvae.lab.runs",
    "render": "graphvae.diagrams.render",
    "sweep": "graphvae.lab.sweeps",
    "train": "graphvae.lab.training",
}

__all__ = ["check", "compile", "evaluate", "impute", "load", "render", "sweep", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'graphvae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def _picture(graph: Any) -> str:
    """The picture of what shows itself in a notebook, drawn when it is asked for."""
    drawn: str = import_module("graphvae.diagrams.notebook").picture(graph)
    return drawn


Shown.picture = staticmethod(_picture)
