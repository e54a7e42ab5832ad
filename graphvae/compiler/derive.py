"""The conditionals of q that a text leaves out, derived from p: how a spec meets `inversion`. The verb is `derive`.

What comes out are conditionals as a person would write them short, `style: [image, digit]`, with what the graph alone can tell:
the index of a slot where p looks at it, and a pool where a parent stands in a plate that the variable is not in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from graphvae.compiler.errors import Span, SpecError
from graphvae.compiler.graph import ConditionalNode, Derived, PlateNode, Side, VariableNode
from graphvae.compiler.inversion import Inversion, Mode, Plates, invert, misplaced
from graphvae.compiler.spec import Conditional, Network, Spec


def derive(
    spec: Spec,
    p: Side,
    written: Mapping[str, ConditionalNode],
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
) -> tuple[Derived, dict[str, Conditional]]:
    """The conditionals of q for whatever is inferred and not `written`, in q's order, and how they came about.

    Raises SpecError where a written conditional waits for one that is left out, and where a plate cannot say what p asks of it.
    """
    left_out = [name for name, node in variables.items() if node.inferred and name not in written]
    model = _Model(spec.q.derive or "topological", p, written, variables, plates)
    if not left_out:
        return Derived(model.mode, (), (), ()), {}
    _check_order(written, left_out)
    found = model.inverted(model.mode)
    if found.between:
        raise model.coupled(found)
    made = {name: model.conditional(name, found) for name in found.parents}
    return Derived(model.mode, tuple(made), found.eliminated, found.notes), made


def _check_order(written: Mapping[str, ConditionalNode], left_out: list[str]) -> None:
    """What is written is sampled before what is derived, and cannot depend on it."""
    needs = {name: (*node.before, *node.previous) for name, node in written.items()}
    for child, parent in misplaced(needs, left_out):
        message = f"'{child}' needs '{parent}' in q, whose conditional is left out"
        or_else = "" if written[child].submodel else f", or leave '{child}' out"
        hint = f"what is left out is derived, and sampled after what is written: write '{parent}' too{or_else}"
        raise SpecError.of("GV121", message, _place(written[child], parent), hint)


def _place(node: ConditionalNode, parent: str) -> Span | None:
    """Where a conditional names a parent; the conditional itself for the count of a plate, which nobody names."""
    found = (at for at, each in enumerate(node.conditional.parents) if each.variable == parent)
    return next((node.conditional.span("parents", at) for at in found), node.span)


@dataclass(frozen=True)
class _Model:
    """P, and what is written of q."""

    mode: Mode
    p: Side
    written: Mapping[str, ConditionalNode]
    variables: Mapping[str, VariableNode]
    plates: Mapping[str, PlateNode]

    def inverted(self, mode: Mode) -> Inversion:
        """P upside down."""
        nodes = self.p.conditionals
        return invert(
            self.p.parents,
            [name for name, node in self.variables.items() if node.inferred],
            mode=mode,
            labelled=[name for name, node in self.variables.items() if node.role == "supervised"],
            written={name: node.before for name, node in self.written.items()},
            computed=[name for name, node in nodes.items() if node.family is None],
            plates=Plates(
                around={name: node.plates for name, node in self.variables.items() if node.plates},
                counts={name: plate.count for name, plate in self.plates.items() if plate.count},
                previous={name: node.previous for name, node in nodes.items() if node.previous},
                single=frozenset(name for name, plate in self.plates.items() if plate.size == 1),
            ),
        )

    @cached_property
    def indices(self) -> set[str]:
        """The plates whose index p looks at."""
        return {plate for node in self.p.conditionals.values() for plate in node.indices}

    def conditional(self, name: str, found: Inversion) -> Conditional:
        """A derived conditional; of a barren variable, p's own, unless that reads what p alone computes."""
        node = self.p.conditionals[name]
        if name in found.barren and all(self.variables[parent].family for parent in node.parents):
            return node.conditional
        parents = found.parents[name]
        gathered = self.gathered(node, parents)
        if len(gathered) > 1 and any(self.plates[plate].count for plate in (*node.variable.plates, *gathered)):
            raise _underivable(node, f"it would gather over {' and '.join(gathered)} at once", _ONE_AT_A_TIME)
        order = list(found.parents) if gathered else []
        for plate in gathered:
            if (count := self.plates[plate].count) in order[order.index(name) :]:
                why = f"it would gather over {plate}, whose slots '{count}' counts and which is not known by then"
                raise _underivable(node, why, "write its conditional by hand, from something that is not in that plate")
        return self.short(node, parents)

    def short(self, node: ConditionalNode, parents: tuple[str, ...]) -> Conditional:
        """The conditional of these parents as a person would write it."""
        indices = [plate for plate in node.variable.plates if plate in self.indices]
        network = Network(pool="mean") if self.gathered(node, parents) else None
        return Conditional.model_validate({"parents": (*parents, *indices), "network": network})

    def gathered(self, node: ConditionalNode, parents: tuple[str, ...]) -> list[str]:
        """The plates of its parents that a variable is not in."""
        return sorted({plate for parent in parents for plate in self.variables[parent].plates} - {*node.variable.plates})

    def coupled(self, found: Inversion) -> SpecError:
        """Slots that depend on each other, which a conditional in a plate cannot say."""
        child, parent = found.between[0]
        node = self.p.conditionals[child]
        what = "its own other slots" if child == parent else f"'{parent}' in other slots"
        other: Mode = "reverse" if self.mode == "topological" else "topological"
        if not self.inverted(other).between:
            hint = f"in the other order they do not: write q: {{derive: {other}}}"
        else:
            hint = self.by_hand(node, self.variables[parent], self.short(node, found.parents[child]))
        return _underivable(node, f"given what is known, a slot of it depends on {what}", hint)

    def by_hand(self, node: ConditionalNode, parent: VariableNode, short: Conditional) -> str:
        """How a conditional can say what it lacks: that its slots depend on a parent in others."""
        name, more, before = node.variable.name, "PARENTS", ""
        if parent.evidence:
            more, before = "every", f"every: {{parents: [{parent.name}], network: {{hidden: [64], pool: mean}}}}, "
        elif parent.plates == node.variable.plates:
            more = f"{parent.name}.previous"
        parents = f"[{', '.join((*map(str, short.parents), more))}]"
        whole = f"{{parents: {parents}, network: {{pool: mean}}}}" if short.network else parents
        return f"write it by hand, with something of the other slots, as in\nq: {{{before}{name}: {whole}}}"


_ONE_AT_A_TIME = "where slots are counted, gather one plate at a time, in a variable of q's own, and write this one by hand"


def _underivable(node: ConditionalNode, why: str, hint: str) -> SpecError:
    message = f"'{node.variable.name}' is left out of q, and cannot be derived: {why}"
    return SpecError.of("GV122", message, node.span, hint)
