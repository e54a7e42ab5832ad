"""Sub-models: the specs that a spec uses, with everything in them under the names of the outer model.

The verb is `import_submodels`. Each file is a model of its own, and is resolved as one; what it holds is then taken over, with
what the outer text says of its roles and draws. Of its objective, data and training nothing is. Its expressions stay as they
are: what a name in one means is found behind the path of the conditional's own sub-model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from graphvae.compiler.errors import Span, SpecError, did_you_mean
from graphvae.compiler.gradients import RELAXED
from graphvae.compiler.graph import ConditionalNode, Derived, ModelGraph, PlateNode, SideName, SubmodelNode, VariableNode
from graphvae.compiler.source import Map, read
from graphvae.compiler.spec import Conditional, Reference, Role, Spec, Submodel, SubmodelDraw, SubmodelVariable, parse
from graphvae.compiler.structure import check_plates_there


@dataclass(frozen=True)
class Imported:
    """What the sub-models of a spec hold, by its name in the outer model, such as "glyph.digit".

    Of a variable's conditionals only those are there that its role in the outer model leaves room for.
    """

    submodels: dict[str, SubmodelNode]
    variables: dict[str, VariableNode]
    p: dict[str, ConditionalNode]
    q: dict[str, ConditionalNode]
    plates: dict[str, PlateNode]
    derived: list[Derived]


def import_submodels(spec: Spec, resolve: Callable[[Spec], ModelGraph]) -> Imported:
    """Read, resolve and take over the sub-models of a spec, and theirs.

    A conditional of q comes with the gradient that a person wrote, in its own file or in the outer one, or with none.

    Raises SpecError for a file that is not there, holds a mistake, or stands inside itself; for a name that means two things;
    and for a role or a draw that a variable cannot have.
    """
    imported = Imported({}, {}, {}, {}, {}, [])
    for name, block in spec.submodels.items():
        _check_name(name, block, spec)
        inner = _Inner(name, block, spec, resolve(_read(block, spec)))
        inner.check()
        imported.submodels.update(inner.submodels)
        imported.variables.update(inner.variables)
        imported.p.update(inner.conditionals("p"))
        imported.q.update(inner.conditionals("q"))
        imported.plates.update(inner.plates)
        imported.derived.extend(inner.derived)
    return imported


def check_outer(side: SideName, name: str, conditional: Conditional, imported: Imported, spec: Spec) -> None:
    """The outer model defines only what a sub-model leaves open: in q what it observes or is given, in p what it is given."""
    variable = imported.variables.get(name)
    if variable is None:
        return
    if variable.family is None:
        message = f"'{name}' is computed by the sub-model '{variable.submodel}', and cannot have a conditional in {side}"
        raise SpecError.of("GV119", message, spec.key(side, name), "leave it out, or define a variable with another name")
    if name in (imported.p if side == "p" else imported.q):
        message = f"'{name}' has its conditional in {side} from the sub-model '{variable.submodel}'"
        submodel, _, inner = name.partition(".")
        gradient = conditional.gradient or "GRADIENT"
        hint = "leave it out: p of this model can define what the sub-model has as given, and nothing else"
        if side == "q":
            hint = f"override its draw under submodels: {{{submodel}: {{q: {{{inner}: {{gradient: {gradient}}}}}}}}}"
        raise SpecError.of("GV119", message, spec.key(side, name), hint)


def located(written: str, span: Span | None) -> Path:
    """The path that a spec names, from the folder of its file; of a setting on the command line, from that of the process."""
    return (Path(span.file).parent if span else Path()) / written


def _check_name(name: str, block: Submodel, spec: Spec) -> None:
    """A sub-model shares its name with nothing, and stands in plates that are there."""
    for kind, names in (("plate", spec.plates), ("variable", {*spec.variables, *spec.p, *spec.q.conditionals})):
        if name in names:
            message = f"'{name}' is both a sub-model and a {kind}"
            raise SpecError.of("GV119", message, spec.key("submodels", name), "give one of them another name")
    check_plates_there(f"the sub-model '{name}'", block, spec)


def _read(block: Submodel, outer: Spec) -> Spec:
    """The spec of a sub-model, every place of which knows the place in the outer file that led there."""
    place = block.span("spec")
    path = located(block.spec, place)
    _check_there(path, block.spec, place)
    source = read(path, via=place)
    route = _files(outer.span())
    real = [Path(file).resolve() for file in route]
    if path.resolve() in real:
        circle = route[real.index(path.resolve()) :]
        message = f"a sub-model stands inside itself: {' -> '.join([*circle, circle[0]])}"
        raise SpecError.of("GV119", message, place, "name another file, or leave the sub-model out")
    return parse(source)


def _check_there(path: Path, written: str, place: Span | None) -> None:
    try:
        path.stat()
    except FileNotFoundError:
        near = sorted(str(Path(written).parent / other.name) for other in path.parent.glob("*.y*ml"))
        hint = did_you_mean(written, near, f"specs in {path.parent}")
        raise SpecError.of("GV119", f"there is no file {path}", place, hint) from None
    except OSError:
        return  # whoever reads it says why


def _files(span: Span | None) -> list[str]:
    """The files that led to a place, the outermost first."""
    return [*_files(span.via), span.file] if span else []


@dataclass(frozen=True)
class _Inner:
    """A sub-model on its way into the outer model."""

    name: str
    block: Submodel
    outer: Spec
    graph: ModelGraph

    def check(self) -> None:
        """The outer text speaks of variables that are there, and of draws that they can have."""
        for key, names in (("variables", self.block.variables), ("q", self.block.q)):
            for name in names:
                if name not in self.graph.variables:
                    hint = did_you_mean(name, self.graph.variables, f"variables of '{self.name}'")
                    message = f"the sub-model '{self.name}' has no variable '{name}'"
                    raise SpecError.of("GV119", message, self.block.key(key, name), hint)
        for name, draw in self.block.q.items():
            self._check_draw(name, draw)

    def _check_draw(self, name: str, draw: SubmodelDraw) -> None:
        outer, place = self._under(name), self.block.key("q", name)
        variable = self.variables[outer]
        if outer in self.outer.q.conditionals:
            message = f"'{outer}' has its conditional in q here, which says how it is drawn"
            raise SpecError.of("GV119", message, place, f"write it there, as in q: {{{outer}: {{gradient: GRADIENT}}}}")
        if not variable.inferred or variable.collapse:
            what = "collapsed" if variable.collapse else variable.role
            raise SpecError.of("GV119", f"'{outer}' is {what}, and q does not draw it", place, "leave it out")
        family = self.graph.q.conditionals[name].family
        if draw.gradient and family and draw.gradient not in family.gradients:
            message = f"'{outer}' is {family.name} and cannot be drawn by '{draw.gradient}'"
            hint = f"a {family.name} variable can be: {', '.join(family.gradients)}"
            raise SpecError.of("GV110", message, draw.span("gradient"), hint)

    @cached_property
    def submodels(self) -> dict[str, SubmodelNode]:
        """The sub-model, and those inside it; a run's weights are those of all that its model holds."""
        block, spec = self.block, self.graph.spec
        weights = str(located(block.weights, block.span("weights"))) if block.weights else ""
        file, span = _files(spec.span())[-1], self.outer.key("submodels", self.name)
        own = SubmodelNode(self.name, file, spec, self._placed(()), weights, block.train == "frozen", span)
        inside = [
            replace(
                node,
                name=self._under(node.name),
                plates=self._placed(node.plates),
                weights="" if weights else node.weights,
                frozen=own.frozen or node.frozen,
            )
            for node in self.graph.submodels.values()
        ]
        return {node.name: node for node in (own, *inside)}

    @cached_property
    def plates(self) -> dict[str, PlateNode]:
        """Its own plates."""
        nodes = self.graph.plates.values()
        made = [replace(node, name=self._under(node.name), count=node.count and self._under(node.count)) for node in nodes]
        return {node.name: node for node in made}

    @cached_property
    def variables(self) -> dict[str, VariableNode]:
        """Its variables, in the roles that they have in the outer model."""
        return {self._under(name): self._variable(node) for name, node in self.graph.variables.items()}

    @property
    def derived(self) -> list[Derived]:
        """What of its own q is derived, as far as that is inferred in the outer model."""
        return [
            replace(
                each,
                conditionals=tuple(name for name in self._all(each.conditionals) if self.variables[name].inferred),
                eliminated=self._all(each.eliminated),
                submodel=self._path(each.submodel),
            )
            for each in self.graph.derived
        ]

    def conditionals(self, side: SideName) -> dict[str, ConditionalNode]:
        """Its conditionals on one side, but those of what is known there."""
        nodes = (self.graph.p if side == "p" else self.graph.q).conditionals
        known = ("given",) if side == "p" else ("given", "observed")
        kept = {name: node for name, node in nodes.items() if self.variables[self._under(name)].role not in known}
        return {self._under(name): self._conditional(side, node) for name, node in kept.items()}

    def _variable(self, node: VariableNode) -> VariableNode:
        wanted = self.block.variables.get(node.name, SubmodelVariable())
        role = self._role(node, wanted)
        inferred = role in ("latent", "supervised")
        if wanted.collapse and not inferred:
            message = f"'{self._under(node.name)}' is {role}, and only what q infers can be collapsed"
            hint = "leave it out" if role == "deterministic" else self._hint("q", node)
            raise SpecError.of("GV119", message, wanted.key("collapse"), hint)
        return replace(
            node,
            name=self._under(node.name),
            role=role,
            plates=self._placed(node.plates),
            collapse=inferred and (node.collapse or wanted.collapse is not None),
            submodel=self._path(node.submodel),
        )

    def _role(self, node: VariableNode, wanted: SubmodelVariable) -> Role | Literal["deterministic"]:
        """The role that is wanted, or what follows from the conditionals of the outer model, or its own."""
        name = self._under(node.name)
        inferred, scored = not node.evidence or name in self.outer.q.conditionals, node.role != "given" or name in self.outer.p
        if wanted.role:
            self._check_role(node, wanted.role, inferred, scored)
        follows = node.role if not node.evidence else "latent" if inferred else "observed" if scored else "given"
        role = wanted.role or follows
        if node.masked and role != "observed":
            message = f"elements of '{name}' may be missing, and it cannot be {role}: networks of '{self.name}' see its mask"
            place = wanted.span("role") or self.outer.key("q", name)
            raise SpecError.of("GV119", message, place, f"leave 'missing' out in {node.span.file if node.span else 'its file'}")
        return role

    def _check_role(self, node: VariableNode, role: Role, inferred: bool, scored: bool) -> None:
        """A role needs the conditionals that carry it, in the sub-model or in the outer model."""
        name, place = self._under(node.name), self.block.span("variables", node.name, "role")
        if node.role == "deterministic":
            raise SpecError.of("GV119", f"'{name}' is computed, and has no role", place, "leave it out")
        side: SideName = "q" if role in ("latent", "supervised") else "p"
        if (side == "q" and not inferred) or (role == "observed" and not scored):
            message = f"'{name}' is {node.role} in '{self.name}', and cannot be {role}: {side} has no conditional for it"
            raise SpecError.of("GV119", message, place, self._hint(side, node))

    def _hint(self, side: SideName, node: VariableNode) -> str:
        return f"write what it depends on, as in {side}: {{{self._under(node.name)}: [PARENTS]}}"

    def _conditional(self, side: SideName, node: ConditionalNode) -> ConditionalNode:
        written, name = node.conditional, node.variable.name
        if side == "q":
            written = _redrawn(written, self.block.q.get(name, SubmodelDraw()))
        parents = tuple(Reference(self._under(parent.variable), parent.previous) for parent in written.parents)
        plate = self._placed(written.plates) if written.plate else None
        return replace(
            node,
            variable=self.variables[self._under(name)],
            conditional=written.model_copy(update={"parents": parents, "plate": plate}),
            indices=self._all(node.indices),
            gathered=self._all(node.gathered),
            counts=self._all(node.counts),
            submodel=self._path(node.submodel),
        )

    def _under(self, name: str) -> str:
        return f"{self.name}.{name}"

    def _all(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self._under, names))

    def _path(self, inside: str) -> str:
        """The path to one of its sub-models, or to itself."""
        return self._under(inside) if inside else self.name

    def _placed(self, plates: Iterable[str]) -> tuple[str, ...]:
        """Plates of its own inside those that it stands in, which have the order of the outer text."""
        return (*(plate for plate in self.outer.plates if plate in self.block.plates), *self._all(plates))


def _redrawn(written: Conditional, draw: SubmodelDraw) -> Conditional:
    """A conditional of q with the draw that the outer text wants, or its own one; what the rule had chosen is open again.

    A temperature that somebody wrote says that the draw is relaxed, and keeps it so.
    """
    texted = [key for key in ("gradient", "temperature") if written.span(key)]
    gradient = draw.gradient or (written.gradient if texted else None)
    keeps = "temperature" in texted and gradient in (None, *RELAXED)
    update = {"gradient": gradient, "temperature": draw.temperature or (written.temperature if keeps else None)}
    made = written.model_copy(update=update)
    made._source = _overlaid(written._source, draw)
    return made


def _overlaid(text: Map | None, draw: SubmodelDraw) -> Map | None:
    """The places of a conditional, where what is said of its draw has those of the outer text."""
    over = draw._source
    if text is None or over is None:
        return text
    made = Map(text.span)
    for source in (text, over):
        for key in source:
            made.put(key, source[key], source.key_spans[key], source.spans[key])
    return made
