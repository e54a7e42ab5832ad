"""The inversion of p into q: the worked traces, and the laws on random graphs.

Three oracles stand apart from the code: d-separation in p (by the moral graph of ancestors), exact probabilities of small
tables, and the published pseudo-code with sets of edges.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Collection, Mapping
from itertools import combinations, product
from typing import Any

import networkx as nx
import numpy as np
import pytest

from graphvae.compiler.dag import Parents
from graphvae.compiler.inversion import Inversion, Mode, Plates, invert, misplaced

MODES: tuple[Mode, ...] = ("topological", "reverse")
TREE = {"a": (), "b": ("a",), "c": ("a",), "d": ("b",), "e": ("b",), "f": ("c",), "g": ("c",)}
BEHIND = {"z1": (), "y": (), "z2": ("z1", "y"), "x": ("z2",)}
M2 = {"digit": (), "style": (), "image": ("digit", "style")}


def sets(parents: Parents) -> dict[str, set[str]]:
    return {name: set(others) for name, others in parents.items()}


# The worked traces, with every edge


@pytest.mark.parametrize(
    ("mode", "order", "expected"),
    [
        ("topological", "abc", {"c": ("d", "e", "f", "g"), "b": ("d", "e", "c"), "a": ("c", "b")}),
        ("reverse", "bca", {"a": ("d", "e", "f", "g"), "b": ("d", "e", "a"), "c": ("f", "g", "a")}),
    ],
)
def test_a_tree(mode: Mode, order: str, expected: Parents) -> None:
    found = invert(TREE, "abc", mode=mode)
    assert found.parents == expected
    assert list(found.parents) == list(expected)
    assert found == Inversion(found.parents, tuple(order), barren=(), between=(), notes=())


@pytest.mark.parametrize(
    ("mode", "labelled", "order", "expected"),
    [
        ("topological", ["y"], ("z1", "y", "z2"), {"z2": ("x",), "y": ("z2",), "z1": ("z2", "y")}),
        ("topological", [], ("y", "z1", "z2"), {"z2": ("x",), "z1": ("z2",), "y": ("z2", "z1")}),
        ("reverse", ["y"], ("z2", "z1", "y"), {"y": ("x",), "z1": ("x", "y"), "z2": ("x", "y", "z1")}),
    ],
)
def test_a_label_through_a_latent(mode: Mode, labelled: list[str], order: tuple[str, ...], expected: Parents) -> None:
    found = invert(BEHIND, ["z1", "z2", "y"], mode=mode, labelled=labelled)
    assert (found.eliminated, list(found.parents.items())) == (order, list(expected.items()))


@pytest.mark.parametrize("mode", MODES)
def test_the_label_first_is_m2(mode: Mode) -> None:
    found = invert(M2, ["style", "digit"], mode=mode, labelled=["digit"])
    assert list(found.parents.items()) == [("digit", ("image",)), ("style", ("image", "digit"))]
    assert found.notes == ()


@pytest.mark.parametrize("mode", MODES)
def test_without_labels_the_name_decides(mode: Mode) -> None:
    assert invert(M2, ["style", "digit"], mode=mode).parents == {"style": ("image",), "digit": ("image", "style")}


def test_a_label_comes_before_a_smaller_fill() -> None:
    """The digit's own fill is 0 and the style's 2, and still the style is eliminated first."""
    p = {"digit": (), "style": (), "image": ("digit", "style"), "left": ("style",), "right": ("style",)}
    found = invert(p, ["digit", "style"], mode="reverse", labelled=["digit"])
    assert found.parents == {"digit": ("image", "left", "right"), "style": ("image", "left", "right", "digit")}


def test_of_two_fills_the_smaller() -> None:
    p = {"a": (), "b": (), "x": ("a", "b"), "y": ("a",), "z": ("a",)}
    assert invert(p, ["a", "b"], mode="topological").eliminated == ("b", "a")


def test_a_covariate_is_evidence() -> None:
    p = {"c": (), "y": ("c",), "z": (), "x": ("y", "z", "c")}
    found = invert(p, ["y", "z"], mode="topological", labelled=["y"])
    assert found.parents == {"y": ("c", "x"), "z": ("c", "x", "y")}


def test_a_latent_behind_evidence_starts_at_once() -> None:
    """What only evidence leads to waits for nothing."""
    assert invert({"x": (), "z": ("x",), "w": ("z",)}, ["z"], mode="topological").parents == {"z": ("w", "x")}


def test_nothing_to_infer() -> None:
    assert invert({"x": ()}, [], mode="reverse") == Inversion({}, (), (), (), ())


# Labels


def test_a_note_says_which_label_comes_late_and_what_to_do() -> None:
    (note,) = invert(BEHIND, ["z1", "z2", "y"], mode="topological", labelled=["y"]).notes
    assert note == (
        "'y' has labels, and the topological order of p samples it after z2; to sample it first, write its conditional in q"
    )


def test_a_label_late_through_a_written_conditional() -> None:
    p = {"a": (), "b": ("a",), "y": ("b",), "x": ("y", "a")}
    found = invert(p, ["a", "b", "y"], mode="topological", labelled=["b", "y"], written={"a": ("x",), "b": ("x", "a")})
    assert found.parents == {"y": ("x", "a", "b")}
    assert found.notes[0].startswith("'y' has labels, and the topological order of p samples it after a;")


def test_a_label_that_nothing_observed_depends_on() -> None:
    """From the roots it can be sampled before its causes, which learn from it; from the leaves it cannot, and is as in p."""
    p = {"z": (), "x": ("z",), "y": ("z",)}
    early = invert(p, ["z", "y"], mode="topological", labelled=["y"])
    assert (early.parents, early.barren) == ({"y": ("x",), "z": ("x", "y")}, ())
    late = invert(p, ["z", "y"], mode="reverse", labelled=["y"])
    assert (late.parents, late.barren) == ({"z": ("x",), "y": ("z",)}, ("y",))


# Barren variables


@pytest.mark.parametrize("mode", MODES)
def test_a_barren_variable_keeps_its_parents_in_p(mode: Mode) -> None:
    p = M2 | {"extra": ("digit", "style"), "more": ("extra", "image"), "alone": ()}
    found = invert(p, ["digit", "style", "extra", "more", "alone"], mode=mode, labelled=["digit"])
    assert list(found.parents.items()) == [
        ("alone", ()),
        ("digit", ("image",)),
        ("style", ("image", "digit")),
        ("extra", ("digit", "style")),
        ("more", ("image", "extra")),
    ]
    assert (found.eliminated, found.barren) == (("style", "digit"), ("alone", "extra", "more"))
    assert found.notes[:2] == (
        "nothing observed depends on 'alone' in p, so q(alone) = p(alone); "
        "an auxiliary variable is something else, and needs its own conditional in q",
        "nothing observed depends on 'extra' in p, so q(extra | digit, style) = p(extra | digit, style); "
        "an auxiliary variable is something else, and needs its own conditional in q",
    )


def test_what_a_written_conditional_depends_on_is_not_barren() -> None:
    p = {"z": (), "x": ("z",), "a": ("z",), "b": ()} | {"a": ("z", "b")}
    found = invert(p, ["z", "a", "b"], mode="topological", written={"a": ("x",)})
    assert (found.parents, found.barren) == ({"z": ("x", "a"), "b": ("a", "z")}, ())


# Written conditionals


def test_a_left_out_variable_stands_behind_written_ones() -> None:
    """The name alone would have eliminated the digit first."""
    found = invert(M2, ["digit", "style"], mode="topological", written={"style": ("trunk",), "trunk": ("image",)})
    assert found.parents == {"digit": ("image", "style")}
    assert found.eliminated == ("digit",)


def test_parents_stand_in_the_order_in_which_the_written_part_samples() -> None:
    p = {"a": (), "b": (), "c": (), "x": ("a", "b", "c"), "w": ("a",)}
    found = invert(p, ["a", "b", "c"], mode="reverse", written={"b": ("x", "c"), "c": ("x",)})
    assert found.parents == {"a": ("w", "x", "c", "b")}


def test_pairs_of_a_written_conditional_and_a_parent_that_is_left_out() -> None:
    written = {"style": ("trunk", "digit"), "trunk": ("image", "count")}
    assert misplaced(written, {"digit", "count"}) == (("style", "digit"), ("trunk", "count"))
    with pytest.raises(AssertionError):
        invert(M2, ["digit", "style"], mode="reverse", written=written)


# Laws on random graphs


def a_graph(seed: int, most: int = 8) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """A random DAG whose names say nothing of its order, and what is to be inferred; half the time nothing is barren."""
    draw = random.Random(seed)
    names = draw.sample("abcdefghij", draw.randint(3, most))
    density = draw.choice([0.25, 0.4, 0.6])
    parents = {name: tuple(other for other in names[:i] if draw.random() < density) for i, name in enumerate(names)}
    causes = {cause for others in parents.values() for cause in others} if seed % 2 else parents
    return parents, [name for name in names if name in causes and draw.random() < 0.65]


def a_part(seed: int, names: Collection[str]) -> list[str]:
    draw = random.Random(f"part {seed}")
    return [name for name in sorted(names) if draw.random() < 0.4]


def a_written_part(seed: int, parents: Parents, inferred: list[str]) -> dict[str, tuple[str, ...]]:
    """Some of what is inferred with any parents that stand before it: even a poor q is one to condition on."""
    draw, names = random.Random(f"written {seed}"), a_part(seed, inferred)
    draw.shuffle(names)
    before = sorted(set(parents) - set(inferred))
    return {name: tuple(draw.sample(before + names[:i], draw.randint(0, len(before) + i))) for i, name in enumerate(names)}


def separated(parents: Parents, one: str, others: set[str], given: Collection[str]) -> bool:
    """D-separation: no path in the moral graph of all ancestors, once what is given is taken out."""
    graph = nx.DiGraph([(parent, child) for child in parents for parent in parents[child]])
    graph.add_nodes_from(parents)
    asked = {one, *others, *given}
    kept = asked.union(*(nx.ancestors(graph, name) for name in asked))
    moral = nx.moral_graph(graph.subgraph(kept))
    moral.remove_nodes_from(given)
    return not others & nx.node_connected_component(moral, one)


def before(found: Parents, known: Collection[str]) -> dict[str, set[str]]:
    """What has a value when q comes to a variable."""
    order = list(found)
    return {name: {*known, *order[:i]} for i, name in enumerate(order)}


def faithful(p: Parents, found: Parents, known: Collection[str]) -> bool:
    """Whether each variable is independent, in p, of what stands before it in q, given its parents."""
    rests = {name: there - set(found[name]) for name, there in before(found, known).items()}
    return all(not rest or separated(p, name, rest, found[name]) for name, rest in rests.items())


def spare_edges(p: Parents, found: Parents) -> list[tuple[str, str]]:
    """The edges without which q would be faithful still."""
    pairs = [(name, parent) for name in found for parent in found[name]]
    return [(name, parent) for name, parent in pairs if separated(p, name, {parent}, set(found[name]) - {parent})]


def alive(p: Parents, found: Parents) -> bool:
    """Whether something that q conditions on depends on each derived variable."""
    graph = nx.DiGraph([(parent, child) for child in p for parent in p[child]])
    graph.add_nodes_from(p)
    return all(nx.descendants(graph, name) - found.keys() for name in found)


@pytest.mark.parametrize("part", ["all", "labelled", "written", "both"])
@pytest.mark.parametrize("mode", MODES)
def test_q_is_faithful_and_has_no_edge_to_spare(mode: Mode, part: str) -> None:
    complete = 0
    for seed in range(500):
        p, inferred = a_graph(seed)
        labelled = a_part(seed + 1, inferred) if part in ("labelled", "both") else []
        written = a_written_part(seed, p, inferred) if part in ("written", "both") else {}
        found = invert(p, inferred, mode=mode, labelled=labelled, written=written)
        assert found.parents.keys() == set(inferred) - written.keys()
        known = p.keys() - found.parents.keys()
        assert all(set(found.parents[name]) <= there for name, there in before(found.parents, known).items())
        assert faithful(p, found.parents, known), seed
        if found.parents and alive(p, found.parents):
            complete += 1
            assert found.barren == ()
            assert spare_edges(p, found.parents) == [], seed
    assert complete > 150


@pytest.mark.parametrize("mode", MODES)
def test_without_barren_variables_no_edge_is_to_spare(mode: Mode) -> None:
    """Where nothing is labelled, what is left once the barren variables are gone is minimal, and they are as in p."""
    barren = 0
    for seed in range(500):
        p, inferred = a_graph(seed)
        found = invert(p, inferred, mode=mode)
        barren += bool(found.barren)
        assert all(set(found.parents[name]) == set(p[name]) for name in found.barren)
        rest = {name: parents for name, parents in found.parents.items() if name not in found.barren}
        assert alive({name: parents for name, parents in p.items() if name not in found.barren}, rest)
        assert spare_edges(p, rest) == [], seed
    assert barren > 100


def table(p: Parents, seed: int, copied: Collection[str] = ()) -> np.ndarray[Any, Any]:
    """The joint probabilities of binary variables [each in turn]; what is copied is the parity of its parents, or 1."""
    draw, axes = np.random.default_rng(seed), {name: axis for axis, name in enumerate(p)}
    joint = np.ones((2,) * len(p))
    for name, parents in p.items():
        shape = [2 if other in (name, *parents) else 1 for other in p]
        chance = draw.dirichlet([1, 1], 2 ** len(parents)).reshape((2,) * len(parents) + (2,))
        if name in copied:
            parity = np.indices((2,) * len(parents)).sum(axis=0) % 2
            chance = np.stack([parity == 0, parity == 1], axis=-1).astype(float)
        order = sorted((*parents, name), key=axes.__getitem__)
        joint = joint * chance.transpose([(*parents, name).index(other) for other in order]).reshape(shape)
    return joint


def conditional(joint: np.ndarray[Any, Any], axes: Mapping[str, int], name: str, given: Collection[str]) -> Any:
    """p(name | given), as wide as the joint; where what is given cannot be, no number."""
    kept = joint.sum(axis=tuple(axis for other, axis in axes.items() if other not in (name, *given)), keepdims=True)
    with np.errstate(invalid="ignore"):
        return kept / kept.sum(axis=axes[name], keepdims=True)


@pytest.mark.parametrize("mode", MODES)
def test_the_factors_of_q_are_the_posterior(mode: Mode) -> None:
    """In exact numbers: the product of p(variable | its parents in q) is p(all that is inferred | what is known)."""
    for seed in range(150):
        p, inferred = a_graph(seed, most=7)
        found = invert(p, inferred, mode=mode, labelled=a_part(seed, inferred)).parents
        joint, axes = table(p, seed), {name: axis for axis, name in enumerate(p)}
        posterior = joint / joint.sum(axis=tuple(axes[name] for name in inferred), keepdims=True)
        product_of_factors = np.ones_like(joint)
        for name, parents in found.items():
            product_of_factors = product_of_factors * conditional(joint, axes, name, parents)
        np.testing.assert_allclose(product_of_factors, posterior, rtol=1e-9)


# Deterministic variables


def marginal(p: Parents, computed: Collection[str]) -> dict[str, tuple[str, ...]]:
    """P without what it computes: where each was, all that leads to it through nothing random."""
    graph = nx.DiGraph([(parent, child) for child in p for parent in p[child]])
    graph.add_nodes_from(p)
    for name in computed:
        graph.add_edges_from(list(product(graph.predecessors(name), graph.successors(name))))
        graph.remove_node(name)
    return {name: tuple(graph.predecessors(name)) for name in graph}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_computed_gives_way_to_its_parents(mode: Mode) -> None:
    for seed in range(200):
        p, inferred = a_graph(seed)
        computed = a_part(seed + 7, set(p) - set(inferred))
        with_notes = invert(p, inferred, mode=mode, computed=computed)
        direct = invert(marginal(p, computed), inferred, mode=mode)
        assert (with_notes.parents, with_notes.eliminated) == (direct.parents, direct.eliminated)


@pytest.mark.parametrize("mode", MODES)
def test_the_factors_of_q_are_the_posterior_behind_computed_variables(mode: Mode) -> None:
    for seed in range(150):
        p, inferred = a_graph(seed, most=7)
        computed = a_part(seed + 7, set(p) - set(inferred))
        found = invert(p, inferred, mode=mode, computed=computed).parents
        joint, axes = table(p, seed, computed), {name: axis for axis, name in enumerate(p)}
        random_alone = joint.sum(axis=tuple(axes[name] for name in computed), keepdims=True)
        posterior = random_alone / random_alone.sum(axis=tuple(axes[name] for name in inferred), keepdims=True)
        factors = [conditional(random_alone, axes, name, parents) for name, parents in found.items()]
        np.testing.assert_allclose(np.prod(np.broadcast_arrays(posterior * 0 + 1, *factors), axis=0), posterior, rtol=1e-9)


def test_a_face_behind_its_shading() -> None:
    p = {"light": (), "form": (), "skin": (), "normals": ("form",), "shading": ("normals", "light"), "unread": ("skin",)}
    found = invert(
        p | {"image": ("shading", "skin")},
        ["light", "form", "skin"],
        mode="topological",
        labelled=["light"],
        computed=["normals", "shading", "unread"],
    )
    assert found.parents == {"light": ("image",), "skin": ("image", "light"), "form": ("image", "light", "skin")}
    assert found.notes == (
        "'normals' is computed in p: what it is computed from stands in its place",
        "'shading' is computed in p: what it is computed from stands in its place",
    )


# Names and order


def published(p: Parents, inferred: Collection[str], mode: Mode, labelled: Collection[str]) -> tuple[list[str], Any, bool]:
    """The pseudo-code of method 4.2 with a set of edges: the order, each variable's neighbours, and whether names decided."""
    up = {v: {u for u in inferred if (u in p[v] if mode == "topological" else v in p[u])} for v in inferred}
    edges = {frozenset(pair) for child in p for pair in combinations((child, *p[child]), 2)}
    order: list[str] = []
    parents: dict[str, set[str]] = {}
    tied = False
    while len(order) < len(inferred):
        near = {v: {u for u in set(p) - set(order) - {v} if frozenset((u, v)) in edges} for v in inferred}
        missing = {v: {frozenset(pair) for pair in combinations(near[v], 2)} - edges for v in inferred}
        ready = [v for v in inferred if v not in order and up[v] <= set(order)]
        key = {v: (v in labelled, len(missing[v])) for v in ready}
        best = min(ready, key=lambda v: (key[v], v))
        tied |= sum(key[v] == key[best] for v in ready) > 1
        parents[best] = near[best]
        edges |= missing[best]
        order.append(best)
    return order, parents, tied


def without_barren(p: Parents, inferred: Collection[str], mode: Mode, labelled: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The part of p that the published code meets."""
    barren = invert(p, inferred, mode=mode, labelled=labelled).barren
    return {name: parents for name, parents in p.items() if name not in barren}


@pytest.mark.parametrize("mode", MODES)
def test_it_is_the_published_elimination(mode: Mode) -> None:
    graphs = [a_graph(seed, most=10) for seed in range(300)] + [a_sparse_graph(40, seed) for seed in range(40)]
    for seed, (p, inferred) in enumerate(graphs):
        labelled = a_part(seed, inferred) if seed % 3 else []
        found = invert(p, inferred, mode=mode, labelled=labelled)
        kept = without_barren(p, inferred, mode, labelled)
        order, parents, _ = published(kept, [name for name in inferred if name in kept], mode, labelled)
        assert found.eliminated == tuple(order)
        assert {name: set(found.parents[name]) for name in order} == parents


@pytest.mark.parametrize("mode", MODES)
def test_names_decide_ties_and_nothing_else(mode: Mode) -> None:
    untied = 0
    for seed in range(500):
        p, inferred = a_graph(seed)
        kept = without_barren(p, inferred, mode, [])
        inferred = [name for name in inferred if name in kept]
        if published(kept, inferred, mode, [])[2]:
            continue
        untied += len(inferred) > 1
        renamed = dict(zip(kept, random.Random(seed).sample("klmnopqrst", len(kept)), strict=True))
        other = {renamed[name]: tuple(renamed[parent] for parent in parents) for name, parents in kept.items()}
        mine, theirs = invert(kept, inferred, mode=mode), invert(other, [renamed[name] for name in inferred], mode=mode)
        assert [renamed[name] for name in mine.eliminated] == list(theirs.eliminated)
        assert {renamed[name]: {renamed[each] for each in parents} for name, parents in mine.parents.items()} == sets(
            theirs.parents
        )
    assert untied > 50


@pytest.mark.parametrize("mode", MODES)
def test_the_order_of_the_text_means_nothing(mode: Mode) -> None:
    for seed in range(200):
        p, inferred = a_graph(seed)
        draw = random.Random(seed)
        shuffled = {name: tuple(draw.sample(p[name], len(p[name]))) for name in draw.sample(list(p), len(p))}
        one = invert(p, inferred, mode=mode, labelled=a_part(seed, inferred))
        other = invert(shuffled, inferred[::-1], mode=mode, labelled=a_part(seed, inferred)[::-1])
        assert one == other
        assert list(one.parents) == list(other.parents)


# Plates


def unrolled(parents: Parents, plates: Plates, size: int) -> dict[str, tuple[str, ...]]:
    """A graph with as many copies as there are slots, of variables in one plate or none."""

    def copies(name: str, slot: int | None) -> list[str]:
        if name not in plates.around:
            return [name]
        return [f"{name}{each}" for each in range(size) if slot in (None, each)]

    made = {}
    for name in parents:
        for slot in range(size) if name in plates.around else [None]:
            (child,) = copies(name, slot)
            made[child] = tuple(copy for parent in parents[name] for copy in copies(parent, slot))
            if slot:
                made[child] += tuple(f"{parent}{slot - 1}" for parent in plates.previous.get(name, ()))
    return made


def test_a_latent_of_each_slot_and_one_of_all() -> None:
    p = {"mean": (), "cluster": (), "point": ("mean", "cluster")}
    plates = Plates({"cluster": ("slot",), "point": ("slot",)})
    found = invert(p, ["mean", "cluster"], mode="topological", plates=plates)
    assert found.parents == {"mean": ("point",), "cluster": ("point", "mean")}
    assert found.between == ()


def test_slots_that_explain_each_other_away() -> None:
    """The places in one canvas depend on each other: no conditional in a plate says so, and a note does."""
    p = {"place": (), "canvas": ("place",)}
    found = invert(p, ["place"], mode="topological", plates=Plates({"place": ("slot",)}))
    assert (found.parents, found.between) == ({"place": ("canvas",)}, (("place", "place"),))
    assert found.notes == (
        "a slot of 'place' depends on 'place' in other slots, which a plate can say through .previous at most",
    )


def test_the_mode_can_part_the_slots() -> None:
    """From the roots, the mean of all slots is taken out first and joins them; from the leaves, it is left."""
    p = {"mean": (), "code": ("mean",), "point": ("code",)}
    plates = Plates({"code": ("slot",), "point": ("slot",)})
    joined = invert(p, ["mean", "code"], mode="topological", plates=plates)
    assert joined.between == (("code", "code"), ("code", "point"))
    parted = invert(p, ["mean", "code"], mode="reverse", plates=plates)
    assert (parted.parents, parted.between) == ({"mean": ("point",), "code": ("point", "mean")}, ())


def test_a_chain_of_slots() -> None:
    p = {"state": (), "seen": ("state",)}
    plates = Plates({"state": ("time",), "seen": ("time",)}, previous={"state": ("state",)})
    assert invert(p, ["state"], mode="topological", plates=plates).between == (("state", "seen"), ("state", "state"))


def test_a_chain_of_what_is_computed() -> None:
    """A state that is computed from draws hands each of them on to every later slot."""
    p = {"draw": (), "state": ("draw",), "seen": ("state",)}
    plates = Plates({"draw": ("time",), "state": ("time",), "seen": ("time",)}, previous={"state": ("state",)})
    found = invert(p, ["draw"], mode="topological", computed=["state"], plates=plates)
    assert found.between == (("draw", "draw"), ("draw", "seen"))


def test_crossing_plates() -> None:
    p = {"row": (), "column": (), "cell": ("row", "column"), "noise": ("cell",), "seen": ("cell", "noise")}
    plates = Plates({"row": ("i",), "column": ("j",), "cell": ("i", "j"), "noise": ("i", "j"), "seen": ("i", "j")})
    found = invert(p, ["noise", "cell"], mode="reverse", plates=plates)
    assert (found.parents, found.between) == ({"cell": ("column", "row", "seen"), "noise": ("seen", "cell")}, ())
    coupled = invert(p, ["noise", "cell", "row"], mode="reverse", plates=plates)
    assert coupled.parents == {"row": ("column", "seen"), "cell": ("column", "seen", "row"), "noise": ("seen", "cell")}
    assert coupled.between == ()
    both = invert(p, ["cell", "noise", "row", "column"], mode="reverse", plates=plates)
    assert both.parents == {
        "row": ("seen",),
        "column": ("seen", "row"),
        "cell": ("seen", "row", "column"),
        "noise": ("seen", "cell"),
    }
    assert both.between == (("row", "row"), ("row", "seen"))


@pytest.mark.parametrize("mode", MODES)
def test_a_count_is_sampled_before_what_it_counts(mode: Mode) -> None:
    p = {"count": (), "place": ("count",), "canvas": ("place", "count"), "tone": (), "paper": ("tone", "count")}
    plates = Plates({"place": ("slot",)}, {"slot": "count"})
    found = invert(p, ["count", "place", "tone"], mode=mode, plates=plates)
    assert next(iter(found.parents)) == "count"
    assert found.parents == {"count": ("canvas", "paper"), "place": ("canvas", "count"), "tone": ("paper", "count")}


@pytest.mark.parametrize("mode", MODES)
def test_an_outer_count_is_sampled_before_an_inner_one(mode: Mode) -> None:
    p = {"groups": (), "many": ("groups",), "item": ("groups", "many"), "seen": ("item", "groups", "many")}
    plates = Plates({"many": ("group",), "item": ("group", "member")}, {"group": "groups", "member": "many"})
    found = invert(p, ["groups", "many", "item"], mode=mode, labelled=["item"], plates=plates)
    assert found.eliminated == ("item", "many", "groups")


@pytest.mark.parametrize("mode", MODES)
def test_what_no_slot_shares_is_faithful_for_any_number_of_slots(mode: Mode) -> None:
    """Folded and unrolled to three slots, q is faithful to p unrolled as far, unless it says that slots depend."""
    apart = coupled = 0
    for seed in range(300):
        p, inferred = a_graph(seed, most=6)
        around = dict.fromkeys(a_part(seed + 3, p), ("slot",))
        plates = Plates(around)
        found = invert(p, inferred, mode=mode, plates=plates)
        known = set(unrolled(dict.fromkeys(p.keys() - set(inferred), ()), plates, 3))
        kept = faithful(unrolled(p, plates, 3), unrolled(found.parents, plates, 3), known)
        if found.between:
            coupled += not kept
        else:
            apart += bool(around.keys() & set(inferred))
            assert kept, seed
    assert apart > 50
    assert coupled > 50


def test_a_barren_variable_in_a_plate() -> None:
    p = {"code": (), "seen": ("code",), "spare": ("code", "seen")}
    plates = Plates(dict.fromkeys(p, ("slot",)))
    found = invert(p, ["code", "spare"], mode="reverse", plates=plates)
    assert (found.parents, found.barren) == ({"code": ("seen",), "spare": ("seen", "code")}, ("spare",))


# Scale


def a_chain(size: int) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    names = [f"v{i:05}" for i in range(size)]
    return dict(zip(names, [(), *((name,) for name in names)], strict=False)), names[:-1]


def a_tree(size: int) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    names = [f"v{i:05}" for i in range(size)]
    return {name: (names[(i - 1) // 2],) if i else () for i, name in enumerate(names)}, names[: (size - 1) // 2]


def a_grid(size: int) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Three wide, each behind the one above and the one to the left; the last row is observed."""
    places = [(row, column) for row in range(size // 3) for column in range(3)]
    names = {place: f"v{place[0]:05}{place[1]}" for place in places}
    above = {(row, column): [(row - 1, column), (row, column - 1)] for row, column in places}
    return {names[at]: tuple(names[each] for each in above[at] if each in names) for at in places}, list(names.values())[:-3]


def a_sparse_graph(size: int, seed: int = 0) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    draw = random.Random(seed)
    names = draw.sample([f"v{i:05}" for i in range(size)], size)
    parents = {name: tuple(draw.sample(names[:i], min(i, draw.randint(0, 2)))) for i, name in enumerate(names)}
    return parents, [name for name in names if draw.random() < 0.8]


def calls(run: Callable[[], object]) -> int:
    """How many functions are called, built-in ones too: time that no other process can lengthen."""
    count = 0

    def seen(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [a_chain, a_tree, a_grid, a_sparse_graph])
def test_the_work_grows_with_the_edges_of_q(make: Callable[[int], Any], mode: Mode) -> None:
    """Some hundred calls for a variable, some tens for an edge of q; there is no smaller bound, since q must be written."""
    for size in (150, 600):
        p, inferred = make(size)
        edges = sum(map(len, invert(p, inferred, mode=mode).parents.values()))
        assert calls(lambda p=p, inferred=inferred: invert(p, inferred, mode=mode)) < 200 * len(p) + 40 * edges


@pytest.mark.parametrize(("make", "mode"), [(a_chain, "topological"), (a_chain, "reverse"), (a_grid, "topological")])
def test_four_times_the_variables_are_four_times_the_work(make: Callable[[int], Any], mode: Mode) -> None:
    few, many = ((p, inferred) for p, inferred in map(make, (252, 1008)))
    assert calls(lambda: invert(*many, mode=mode)) < 4.3 * calls(lambda: invert(*few, mode=mode))
