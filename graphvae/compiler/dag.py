"""Order and reach in a directed graph, given as the parents of every node.

These three questions are asked of every spec, and networkx takes longer to load than all the rest of an answer: so they are
answered here, and whoever asks more of a graph takes the networkx form that a side also has.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

Parents = Mapping[str, tuple[str, ...]]


def find_cycle(parents: Parents) -> list[str]:
    """The nodes of one cycle, each a parent of the next and the last of the first; none for a graph without cycles.

    >>> find_cycle({"a": ("c",), "b": ("a",), "c": ("b",)})
    ['a', 'b', 'c']
    """
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1][:-1]
        start = cycle.index(min(cycle))
        return cycle[start:] + cycle[:start]
    return []


def topological_order(parents: Parents) -> list[str]:
    """Every node behind its parents, and whichever comes first by name where several could.

    >>> topological_order({"x": ("z", "y"), "y": (), "z": ()})
    ['y', 'z', 'x']
    """
    sorter = TopologicalSorter(parents)
    sorter.prepare()
    order: list[str] = []
    ready = list(sorter.get_ready())
    heapq.heapify(ready)
    while ready:
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
        for node in sorter.get_ready():
            heapq.heappush(ready, node)
    return order


def ancestors(parents: Parents, node: str) -> set[str]:
    """Every node from which arrows lead to this one.

    >>> sorted(ancestors({"x": ("y",), "y": ("z",), "z": (), "w": ("z",)}, "x"))
    ['y', 'z']
    """
    found: set[str] = set()
    waiting = list(parents[node])
    while waiting:
        parent = waiting.pop()
        if parent not in found:
            found.add(parent)
            waiting += parents[parent]
    return found
