"""Order and reach, against networkx on random graphs."""

from __future__ import annotations

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from graphvae.compiler.dag import ancestors, find_cycle, topological_order

NAMES = "abcdefgh"
edges = st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)))


def parents_of(graph: nx.DiGraph[str]) -> dict[str, tuple[str, ...]]:
    return {node: tuple(graph.predecessors(node)) for node in graph}


@given(edges)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_three_questions_have_the_answers_of_networkx(pairs: set[tuple[str, str]]) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph(sorted(pairs))
    parents = parents_of(graph)
    cycle = find_cycle(parents)
    assert bool(cycle) == (not nx.is_directed_acyclic_graph(graph))
    assert all(graph.has_edge(*edge) for edge in zip(cycle, [*cycle[1:], *cycle[:1]], strict=True))
    if not cycle:
        assert topological_order(parents) == list(nx.lexicographical_topological_sort(graph))
    assert all(ancestors(parents, node) - {node} == nx.ancestors(graph, node) for node in graph)
