"""The rule by which a draw gets its gradient, and where a divergence has its closed form."""

import pytest

from graphvae.compiler.gradients import divergence
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.pipeline import compile_text


def graph_of(variables: dict[str, str], q: dict[str, str], p: str = "", objective: str = "{}") -> ModelGraph:
    """A graph over some variables and the observed x, of which all are parents in p."""
    lines = [f"  {name}: {{{text}}}" for name, text in variables.items()]
    q_lines = [f"  {name}: {text}" for name, text in q.items()]
    text = "\n".join(
        [
            "model: m\nvariables:",
            *lines,
            "  x: {distribution: normal, size: 3, role: observed}",
            "p:",
            f"  x: [{', '.join(variables)}]",
            *([f"  {p}"] if p else []),
            "q:",
            *q_lines,
            f"objective: {objective}",
        ]
    )
    return compile_text(text, "m.yaml").graph


def gradients(graph: ModelGraph) -> dict[str, str | None]:
    return {name: node.conditional.gradient for name, node in graph.q.conditionals.items()}


LABEL = "distribution: categorical, categories: 10, role: supervised"
SWITCHES = "distribution: bernoulli, size: 4"
NORMAL = "distribution: normal, size: 2"


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("distribution: gamma", "reparameterised"),
        ("distribution: mixture_of_normals, size: 2, components: 3", "reparameterised"),
        ("distribution: bernoulli", "enumerate"),
        ("distribution: ordinal, categories: 5", "enumerate"),
        ("distribution: binomial, total_count: 9", "enumerate"),
        ("distribution: bernoulli, size: 7", "concrete"),
        ("distribution: categorical, categories: 101", "concrete"),
        ("distribution: binomial, total_count: 100", "score_function"),
        ("distribution: poisson", "score_function"),
    ],
)
def test_a_draw_alone(family: str, expected: str) -> None:
    assert gradients(graph_of({"z": family}, {"z": "[x]"})) == {"z": expected}


def test_labels_come_before_latents_and_small_ones_before_large() -> None:
    large = "distribution: categorical, categories: 50, role: supervised"
    chosen = gradients(graph_of({"z": SWITCHES, "y": large}, {"z": "[x]", "y": "[x]"}))
    assert chosen == {"z": "concrete", "y": "enumerate"}
    small = {"a": "distribution: bernoulli, size: 6", "b": "distribution: bernoulli, size: 2"}
    assert gradients(graph_of(small, {"a": "[x]", "b": "[x]"})) == {"a": "concrete", "b": "enumerate"}


def test_max_cells_is_what_bounds_it() -> None:
    variables, q = {"y": LABEL, "z": SWITCHES}, {"y": "[x]", "z": "[x, y]"}
    assert gradients(graph_of(variables, q))["z"] == "concrete"
    assert gradients(graph_of(variables, q, objective="{max_cells: 160}"))["z"] == "enumerate"
    assert gradients(graph_of(variables, q, objective="{max_cells: 159}"))["z"] == "concrete"
    q["z"] = "{parents: [x, y], gradient: score_function}"
    assert gradients(graph_of(variables, q, objective="{max_cells: 160}"))["z"] == "score_function"


def test_an_importance_bound_enumerates_nothing_below_a_draw() -> None:
    variables, below, beside = {"z": NORMAL, "y": LABEL}, {"z": "[x]", "y": "[x, z]"}, {"y": "[x]", "z": "[x, y]"}
    assert gradients(graph_of(variables, below))["y"] == "enumerate"
    assert gradients(graph_of(variables, below, objective="{bound: importance}"))["y"] == "score_function"
    assert gradients(graph_of(variables, beside, objective="{bound: importance}"))["y"] == "enumerate"


MANY = "distribution: bernoulli, size: 7"
HIDDEN = "{parents: [%s], network: {hidden: [3]}}"


@pytest.mark.parametrize(
    ("variables", "q", "p", "objective", "expected"),
    [
        ({"z": MANY, "y": LABEL}, {"y": "[x]", "z": "[x, y]"}, "", "{}", "concrete"),
        ({"z": MANY, "y": LABEL}, {"y": "[x]", "z": "[x, y]"}, "z: [y]", "{kl: sampled}", "concrete"),
        ({"z": MANY, "y": NORMAL}, {"z": "[x]", "y": "[x, z]"}, "", "{}", "concrete"),
        ({"z": MANY, "y": LABEL}, {"z": "[x]", "y": "[x, z]"}, "", "{}", "score_function"),
        ({"z": MANY, "y": LABEL}, {"z": "[x]", "h": HIDDEN % "z", "y": "[h]"}, "", "{}", "score_function"),
        ({"z": MANY, "y": NORMAL}, {"z": "[x]", "y": "[x, z]"}, "z: [y]", "{}", "score_function"),
        ({"z": MANY, "y": NORMAL}, {"z": "[x]", "y": "[x, z]"}, f"h: {HIDDEN % 'y'}\n  z: [h]", "{}", "score_function"),
        ({"z": MANY}, {"z": "[x]"}, "", "{bound: importance}", "score_function"),
    ],
)
def test_a_relaxed_draw_is_only_chosen_where_its_divergence_has_its_closed_form(
    variables: dict[str, str], q: dict[str, str], p: str, objective: str, expected: str
) -> None:
    """Not with a label behind it or a parent of p below it, through a network or directly, and not under importance."""
    assert gradients(graph_of(variables, q, p, objective))["z"] == expected


@pytest.mark.parametrize(
    ("variables", "q", "objective", "samples"),
    [
        ({"y": LABEL, "z": NORMAL}, {"y": "[x]", "z": "[x, y]"}, "{}", 1),
        ({"y": LABEL, "z": NORMAL}, {"z": "[x]", "y": "[x, z]"}, "{}", 8),
        ({"z": "distribution: poisson"}, {"z": "[x]"}, "{}", 8),
        ({"z": NORMAL}, {"z": "[x]"}, "{bound: importance_dreg}", 8),
        ({"z": "distribution: poisson"}, {"z": "[x]"}, "{samples: 2}", 2),
    ],
)
def test_samples_by_default(variables: dict[str, str], q: dict[str, str], objective: str, samples: int) -> None:
    assert graph_of(variables, q, objective=objective).spec.objective.samples == samples


def test_a_temperature_is_shown_where_there_is_one() -> None:
    spec = graph_of({"z": "distribution: bernoulli, size: 7", "y": LABEL}, {"z": "[x]", "y": "[x]"}).spec
    assert {name: conditional.temperature for name, conditional in spec.q.conditionals.items()} == {"z": 0.66, "y": None}


CLOSED = "{kl: closed}"
SCORED, RELAXED = "{parents: [x], gradient: score_function}", "{parents: [x], gradient: concrete}"


@pytest.mark.parametrize(
    ("variables", "q", "p", "objective", "closed", "labels", "why"),
    [
        ({"z": NORMAL}, {"z": "[x]"}, "", CLOSED, True, (), ""),
        ({"z": NORMAL}, {"z": "[x]"}, "", "{}", False, (), "sampled"),
        ({"z": NORMAL, "y": LABEL}, {"y": "[x]", "z": "[x, y]"}, "", CLOSED, True, (), ""),
        ({"z": NORMAL, "y": LABEL}, {"z": "[x]", "y": "[x, z]"}, "", CLOSED, True, ("y",), ""),
        ({"z": NORMAL, "y": LABEL}, {"z": "[x]", "y": "[x, z]"}, "z: [y]", CLOSED, False, ("y",), "parent in p, y"),
        (
            {"z": NORMAL, "y": LABEL},
            {"z": "[x]", "y": "[x, z]"},
            f"h: {HIDDEN % 'y'}\n  z: [h]",
            CLOSED,
            False,
            ("y",),
            "parent in p, y",
        ),
        ({"z": NORMAL}, {"z": "{parents: [x], distribution: laplace}"}, "", CLOSED, False, (), "no closed form"),
        ({"z": NORMAL}, {"z": "[x]"}, "", "{kl: closed, bound: importance}", False, (), "the bound is importance"),
        ({"y": LABEL}, {"y": "[x]"}, "", CLOSED, False, (), "every value"),
        ({"z": MANY}, {"z": SCORED}, "", CLOSED, True, (), ""),
        ({"z": MANY}, {"z": SCORED}, "", "{}", False, (), "sampled"),
        ({"z": MANY}, {"z": "{parents: [x], gradient: straight_through}"}, "", "{kl: sampled}", True, (), ""),
        ({"z": MANY}, {"z": RELAXED}, "", "{kl: sampled}", True, (), ""),
        ({"z": MANY}, {"z": RELAXED}, "", "{bound: importance}", False, (), "the bound is importance"),
        ({"z": MANY, "y": LABEL}, {"z": RELAXED, "y": "[x, z]"}, "", "{}", True, ("y",), ""),
        ({"z": MANY, "y": LABEL}, {"z": RELAXED, "y": "[x, z]"}, "z: [y]", "{}", False, ("y",), "parent in p, y"),
    ],
)
def test_where_a_divergence_is_closed(
    variables: dict[str, str], q: dict[str, str], p: str, objective: str, closed: bool, labels: tuple[str, ...], why: str
) -> None:
    graph = graph_of(variables, q, p, objective)
    found = divergence(graph, next(iter(variables)))
    assert (found.closed, found.labels) == (closed, labels)
    assert why in found.why


@pytest.mark.parametrize(
    ("family", "again"),
    [
        ("distribution: binomial, total_count: 3", "distribution: binomial"),
        ("distribution: discretised_logistic, levels: 4", "distribution: discretised_logistic"),
        ("distribution: normal, size: 2", "distribution: low_rank_normal, rank: 1"),
    ],
)
def test_what_bounds_the_values_is_the_variables_in_q_as_well(family: str, again: str) -> None:
    graph = graph_of({"z": family}, {"z": f"{{parents: [x], {again}}}"})
    node = graph.q.conditionals["z"]
    assert node.number == (1 if "rank" in again else graph.variables["z"].number)
