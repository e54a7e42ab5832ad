"""The command line: a verb a command. A verb loads what it needs when it is called, so that `check` answers at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import FlagError, UserError
from graphvae.compiler.lints import lint

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    help="A YAML description of a partially specified deep generative model becomes PyTorch that trains on few labels.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec's file.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/digits/1.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Lay a setting over the spec.")]
DataPath = Annotated[Path | None, typer.Option("--data", metavar="PATH", help="The folder of the data's files, or the file.")]


class Stage(StrEnum):
    """A form of the spec that can be printed."""

    spec = "spec"
    graph = "graph"
    plan = "plan"
    code = "code"


@app.command()
def check(spec: SpecPath, settings: Settings = []) -> None:
    """Say what is wrong with a spec, and what is probably wrong."""
    graph = read_graph(spec, settings)
    warnings = lint(graph)
    for warning in warnings:
        typer.echo(warning, err=True)
    typer.echo(f"{spec}: {graph.p.factorisation}, {graph.q.factorisation}: no errors, {len(warnings)} warning(s)")


@app.command()
def show(
    spec: SpecPath,
    stage: Annotated[Stage, typer.Option(help="Which form.")] = Stage.spec,
    settings: Settings = [],
) -> None:
    """Print a spec in one of its forms: resolved, as a graph, as a plan, as code."""
    from graphvae.compiler.pipeline import compile_file

    compilation = compile_file(spec, settings)
    forms = {Stage.spec: compilation.graph.spec, Stage.graph: compilation.graph, Stage.plan: compilation.plan}
    typer.echo(forms.get(stage, compilation.code), nl=False)


@app.command()
def explain(spec: SpecPath, settings: Settings = []) -> None:
    """Say how each variable is drawn and why, which terms of the objective are exact, and what that costs."""
    from graphvae.compiler.explain import explain as explained

    typer.echo(explained(read_graph(spec, settings)))


@app.command(name="compile")
def compile_spec(
    spec: SpecPath,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The Python file; left out: the terminal.")] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="Inline the runtime: the file needs torch alone.")] = False,
    settings: Settings = [],
) -> None:
    """Write a spec's model as PyTorch."""
    from graphvae.compiler.pipeline import compile_file

    code = compile_file(spec, settings).code
    if standalone:
        from graphvae.compiler.standalone import standalone as inlined

        code = inlined(code)
    if output is None:
        typer.echo(code, nl=False)
        return
    try:
        output.write_text(code, encoding="utf-8")
    except OSError as error:
        raise FlagError.of("GV501", f"cannot write {output}: {error.strerror}") from None


@app.command()
def render(
    spec: SpecPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="A file ending in .svg, .png, .pdf or .dot.")],
    settings: Settings = [],
) -> None:
    """Draw p and q."""
    from graphvae.diagrams.render import render as draw

    draw(spec, output, settings)


@app.command()
def train(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="The spec's file.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run instead.")] = None,
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="The new run folder; left out: runs/MODEL/NUMBER.")] = None,
    data: DataPath = None,
    settings: Settings = [],
) -> None:
    """Train a spec's model on its data, or go on with a run."""
    if (spec is None) == (resume is None) or (resume and (run or settings)):
        hint = "graphvae train SPEC [--run RUN] [--set KEY=VALUE] [--data PATH], or graphvae train --resume RUN [--data PATH]"
        raise FlagError.of("GV501", "a training begins with a spec or goes on with a run", hint=hint)
    from graphvae.lab import training

    if spec is not None:
        made = training.train(spec, settings, data, run, _console())
    else:
        assert resume is not None
        made = training.resume(resume, data, _console())
    typer.echo(f"trained: graphvae evaluate {made.folder}")


@app.command()
def evaluate(
    run: RunPath,
    samples: Annotated[int, typer.Option(min=2, help="Samples a row.")] = 50,
    data: DataPath = None,
) -> None:
    """Measure a run on its test rows: errors, evidence, effective sample size."""
    from graphvae.lab.evaluation import evaluate as measure

    found = measure(run, samples, data)
    _console().print(found.table())
    typer.echo(f"written to {run / 'evaluation.json'}")


@app.command()
def impute(
    run: RunPath,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="An .npz file with the columns that the spec names.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new .npz file.")],
    samples: Annotated[int, typer.Option(min=1, help="Samples of the latent variables a row.")] = 100,
    draws: Annotated[int, typer.Option(min=1, help="Draws of what is missing.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
) -> None:
    """Fill in what is missing in a table: its posterior mean, and draws from the posterior."""
    from graphvae.lab.imputation import impute as fill

    filled = fill(run, data, samples, draws, seed)
    filled.save(output)
    typer.echo(f"{output}: {', '.join(filled.means)}, each with .mean and .draws")


def _console() -> Console:
    from rich.console import Console

    return Console()


def main() -> None:
    """Run the command line. A person's mistake ends with its message and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(error, err=True)
        sys.exit(2)
