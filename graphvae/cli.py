"""The command line: a verb a command. A verb loads what it needs when it is called, so that `check` answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer

from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import Diagnostic, FlagError, UserError
from graphvae.compiler.lints import lint

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    help="A YAML description of a partially specified deep generative model becomes PyTorch that trains on few labels.",
    epilog="Exit codes: 0 for success, with warnings or without; 1 for a fault of graphvae; 2 for a mistake in a spec, its "
    "data, a run or a flag.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec's file.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/digits/1.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Lay a setting over the spec.")]
DataPath = Annotated[Path | None, typer.Option("--data", metavar="PATH", help="The folder of the data's files, or the file.")]
PluginPath = Annotated[
    Path | None,
    typer.Option(
        "--plugin", metavar="FILE", help="A Python file of your own: classes for networks, and functions that expressions call."
    ),
]


class Stage(StrEnum):
    """A form of the spec that can be printed."""

    spec = "spec"
    graph = "graph"
    plan = "plan"
    code = "code"


class Format(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"


class View(StrEnum):
    """Which of p and q a picture shows."""

    both = "both"
    p = "p"
    q = "q"
    overlay = "overlay"


class Detail(StrEnum):
    """How much a picture shows."""

    minimal = "minimal"
    default = "default"
    full = "full"


class Submodels(StrEnum):
    """How a picture shows sub-models."""

    open = "open"
    closed = "closed"


class Width(StrEnum):
    """How wide a picture is."""

    one_column = "one-column"
    two_column = "two-column"


@app.command()
def check(
    spec: SpecPath,
    form: Annotated[Format, typer.Option("--format", help="For a person, or for an editor.")] = Format.text,
    settings: Settings = [],
    plugin: PluginPath = None,
) -> None:
    """Say what is wrong with a spec, and what is probably wrong."""
    if form is Format.json:
        raise typer.Exit(_check_as_json(spec, settings, plugin))
    graph = read_graph(spec, settings, plugin)
    warnings = lint(graph)
    for warning in warnings:
        typer.echo(warning, err=True)
    for note in graph.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{spec}: {graph.p.factorisation}, {graph.q.factorisation}: no errors, {len(warnings)} warning(s)")


def _check_as_json(spec: Path, settings: list[str], plugin: Path | None) -> int:
    """Print every finding as data; the exit code."""
    notes: Sequence[str] = ()
    try:
        graph = read_graph(spec, settings, plugin)
        found: Sequence[Diagnostic] = lint(graph)
        notes = graph.notes
    except UserError as error:
        found = error.diagnostics
    typer.echo(json.dumps({"diagnostics": [finding.record(str(spec)) for finding in found], "notes": notes}, indent=2))
    return 2 if any(finding.severity == "error" for finding in found) else 0


@app.command()
def show(
    spec: SpecPath,
    stage: Annotated[Stage, typer.Option(help="Which form.")] = Stage.spec,
    settings: Settings = [],
    plugin: PluginPath = None,
) -> None:
    """Print a spec in one of its forms: resolved, as a graph, as a plan, as code."""
    from graphvae.compiler.pipeline import compile_file

    compilation = compile_file(spec, settings, plugin)
    forms = {Stage.spec: compilation.graph.spec, Stage.graph: compilation.graph, Stage.plan: compilation.plan}
    typer.echo(forms.get(stage, compilation.code), nl=False)


@app.command()
def explain(
    spec: SpecPath,
    as_json: Annotated[bool, typer.Option("--json", help="As data, for other programs.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="The model and its objective as equations, in LaTeX.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The same equations in Markdown.")] = False,
    settings: Settings = [],
    plugin: PluginPath = None,
) -> None:
    """Say how each variable is drawn and why, which terms of the objective are exact, and what that costs."""
    if as_json + as_latex + as_markdown > 1:
        raise FlagError.of("GV501", "an explanation has one form", hint="choose one of --json, --latex and --markdown")
    graph = read_graph(spec, settings, plugin)
    if as_latex or as_markdown:
        from graphvae.diagrams.equations import equations

        page = equations(graph)
        typer.echo(page.latex if as_latex else page.markdown, nl=False)
        return
    from graphvae.compiler.explain import explain as explained

    explanation = explained(graph)
    typer.echo(json.dumps(explanation.record(str(spec)), indent=2) if as_json else explanation)


@app.command(name="compile")
def compile_spec(
    spec: SpecPath,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The Python file; left out: the terminal.")] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="Inline the runtime: the file needs torch alone.")] = False,
    settings: Settings = [],
    plugin: PluginPath = None,
) -> None:
    """Write a spec's model as PyTorch."""
    from graphvae.compiler.pipeline import compile_file

    compilation = compile_file(spec, settings, plugin)
    code = compilation.code
    if standalone:
        from graphvae.compiler.standalone import standalone as inlined

        code = inlined(code, compilation.plugin)
    _write(code, output)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The JSON file; left out: the terminal.")] = None,
) -> None:
    """Write the language as a JSON Schema, with which an editor completes and explains the keys of a spec."""
    from graphvae.compiler.schema import schema as described

    _write(json.dumps(described(), indent=2) + "\n", output)


@app.command()
def render(
    spec: SpecPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="Its ending says how: .svg .pdf .png .tex .dot .mmd .json")],
    view: Annotated[View, typer.Option(help="Both side by side, one of them, or q over p.")] = View.both,
    detail: Annotated[Detail, typer.Option(help="Less: only what is random. More: families and parameters.")] = Detail.default,
    submodels: Annotated[Submodels, typer.Option(help="With what is in them, or as boxes.")] = Submodels.open,
    legend: Annotated[bool, typer.Option("--legend", help="Say what the marks mean.")] = False,
    width: Annotated[Width | None, typer.Option(help="As wide as the text of a paper: 3.25 or 6.75 inches.")] = None,
    bold_vectors: Annotated[bool, typer.Option("--bold-vectors", help="Symbols of vectors in bold.")] = False,
    layout: Annotated[Path | None, typer.Option(metavar="FILE", help="A .json of places, as `-o FILE.json` writes it.")] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="A .tex file that is a document of its own.")] = False,
    settings: Settings = [],
    plugin: PluginPath = None,
) -> None:
    """Draw p and q."""
    from graphvae.diagrams.render import render as draw
    from graphvae.diagrams.sketch import Style

    style = Style(view.value, detail.value, submodels.value, legend, width.value if width else None, bold_vectors)
    for remark in draw(spec, output, settings, plugin, style=style, layout=layout, standalone=standalone):
        typer.echo(f"{output}: {remark}", err=True)


@app.command()
def train(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="The spec's file.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run instead.")] = None,
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="The new run folder; left out: runs/MODEL/NUMBER.")] = None,
    data: DataPath = None,
    settings: Settings = [],
    plugin: PluginPath = None,
) -> None:
    """Train a spec's model on its data, or go on with a run."""
    if (spec is None) == (resume is None) or (resume and (run or settings)):
        hint = "graphvae train SPEC [--run RUN] [--set KEY=VALUE] [--data PATH], or graphvae train --resume RUN [--data PATH]"
        raise FlagError.of("GV501", "a training begins with a spec or goes on with a run", hint=hint)
    from graphvae.lab import training

    if spec is not None:
        made = training.train(spec, settings, data, run, _console(), plugin)
    else:
        assert resume is not None
        made = training.resume(resume, data, _console(), plugin)
    typer.echo(f"trained: graphvae evaluate {made.folder}" + (f" --plugin {made.plugin}" if made.plugin else ""))


@app.command()
def evaluate(
    run: RunPath,
    samples: Annotated[int, typer.Option(min=2, help="Samples a row.")] = 50,
    data: DataPath = None,
    plugin: PluginPath = None,
) -> None:
    """Measure a run on its test rows: errors, evidence, effective sample size."""
    from graphvae.lab.evaluation import evaluate as measure

    found = measure(run, samples, data, plugin)
    _console().print(found.table())
    typer.echo(f"written to {run / 'evaluation.json'}")


@app.command()
def sweep(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="The spec's file.")] = None,
    grid: Annotated[
        list[str], typer.Option(metavar="KEY=V1,V2,...", help="Values of a key; every combination is a point.")
    ] = [],
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Repeat every point with seeds 0 to N-1, each for the draws of labels, the initial weights, the order of rows "
            "and the noise; left out: once, with the seeds of the spec.",
        ),
    ] = None,
    search: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=LOW..HIGH[:log]",
            help="Let Optuna choose, by validation rows: whole numbers between whole numbers, or one of V1,V2,...",
        ),
    ] = [],
    trials: Annotated[int, typer.Option(min=1, help="Runs of a search.")] = 20,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each with its share of the cores.")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="Samples a row, when runs are evaluated.")] = 50,
    run: Annotated[Path | None, typer.Option(metavar="SWEEP", help="The folder; left out: runs/MODEL/sweep-NUMBER.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="SWEEP", help="Go on with a sweep instead.")] = None,
    data: DataPath = None,
    plugin: PluginPath = None,
    settings: Settings = [],
) -> None:
    """Train a spec at every point of a grid, over seeds, or where a search leads; the table has means and 95 % intervals."""
    if (spec is None) == (resume is None) or (resume and (grid or seeds or search or run or settings)):
        hint = "graphvae sweep SPEC --grid KEY=V1,V2 --seeds N [--jobs J], or graphvae sweep --resume SWEEP [--jobs J]"
        raise FlagError.of("GV501", "a sweep begins with a spec or goes on with a sweep", hint=hint)
    from graphvae.lab import sweeps

    console = _console()
    if spec is not None:
        made = sweeps.sweep(
            spec,
            grid,
            seeds,
            search=search,
            trials=trials,
            jobs=jobs,
            settings=settings,
            data=data,
            run=run,
            samples=samples,
            console=console,
            plugin=plugin,
        )
    else:
        assert resume is not None
        made = sweeps.resume(resume, jobs, data, console, plugin)
    console.print(made.table().terminal())
    if made.best:
        typer.echo(f"best on validation rows: {made.best}")
    typer.echo(f"written to {made.folder}")
    for message, names in made.failed.items():
        typer.echo(f"failed: {'; '.join(names)}\n{indent(message, '  ')}", err=True)
    raise typer.Exit(made.exit_code)


@app.command()
def impute(
    run: RunPath,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A file or a folder with the columns that the spec names.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new file: .csv or .parquet; .npz for draws as well.")],
    samples: Annotated[int, typer.Option(min=1, help="Samples of the latent variables a row.")] = 100,
    draws: Annotated[int, typer.Option(min=1, help="Draws of what is missing.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    plugin: PluginPath = None,
) -> None:
    """Fill in what is missing in a table: its posterior mean, and draws from the posterior."""
    from graphvae.lab.imputation import impute as fill
    from graphvae.lab.writers import check_table

    check_table(output)
    filled = fill(run, data, samples, draws, seed, plugin)
    typer.echo(f"{output}: {', '.join(filled.save(output))}")


@app.command()
def init(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A .csv, .parquet or .npz file, or a folder of pictures.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The new spec; left out: the terminal.")] = None,
) -> None:
    """Draft a spec for data: a commented beginning that checks and trains."""
    from graphvae.lab.drafts import draft
    from graphvae.lab.writers import new_file

    text = draft(data, output)
    if output is None:
        typer.echo(text, nl=False)
        return
    with new_file(output) as file:
        file.write(text.encode())
    typer.echo(f"{output}: now graphvae check {output} && graphvae train {output}")


@app.command()
def synth(
    spec: SpecPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="The new file, of the kind that the spec reads.")],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows.")] = 1000,
    settings: Settings = [],
    plugin: PluginPath = None,
) -> None:
    """Draw data from the prior of an untrained model, so that a spec can be tried before its data exist."""
    from graphvae.lab.synthesis import synthesise

    columns = synthesise(spec, output, rows, settings, plugin)
    typer.echo(f"{output}: {rows:,} rows of {', '.join(columns)}")


def _write(text: str, output: Path | None) -> None:
    """To the file, or to the terminal."""
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FlagError.of("GV501", f"cannot write {output}: {error.strerror}") from None


def _console() -> Console:
    from rich.console import Console

    return Console()


def main() -> None:
    """Run the command line. A person's mistake ends with its message and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(error.in_full, err=True)
        sys.exit(2)
