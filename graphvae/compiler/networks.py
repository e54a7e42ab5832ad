"""Networks: which kinds there are, what each may have and stand between, and the widths that no person wrote.

`resolve` calls `check_networks` when a text has been read, and `complete` for each conditional when its heads are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from keyword import iskeyword
from math import isfinite, prod
from unicodedata import normalize

from graphvae.compiler.errors import Diagnostic, SpecError, did_you_mean
from graphvae.compiler.families import FAMILIES
from graphvae.compiler.graph import ConditionalNode, ModelGraph, PlateNode, VariableNode
from graphvae.compiler.names import PARTS
from graphvae.compiler.plugins import Plugin, Signature
from graphvae.compiler.spec import KINDS, Network, Spec

# What an emitted file may call its own parts; a class of a plugin that is named so would take their place.
RESERVED = {*PARTS, "Count", "Pool", *map(str.capitalize, KINDS), *(family.distribution for family in FAMILIES.values())}

Shape = tuple[int, ...]


def check_networks(spec: Spec, plugin: Plugin | None) -> None:
    """Every kind is one that graphvae or the plugin has, and every key belongs to its kind. Raises all findings at once."""
    found = [finding for network in _networks(spec) for finding in _findings(network, plugin)]
    if found:
        raise SpecError(sorted(found, key=lambda finding: finding.place))


def own_kinds(graph: ModelGraph) -> set[str]:
    """The classes of a plugin that a model needs, its sub-models included."""
    networks = [node.conditional.network for side in (graph.p, graph.q) for node in side.conditionals.values()]
    return {network.kind for network in networks if network} - KINDS.keys()


def _networks(spec: Spec) -> list[Network]:
    return [row.network for row in (*spec.p.values(), *spec.q.conditionals.values()) if row.network]


def _findings(network: Network, plugin: Plugin | None) -> Iterator[Diagnostic]:
    classes = plugin.classes if plugin else {}
    if network.kind not in KINDS and network.kind not in classes:
        words = did_you_mean(network.kind, dict.fromkeys([*KINDS, *classes]), "words for 'kind'")
        hint = f"{words}\n(another is a class of a Python file that you pass: --plugin FILE)"
        yield Diagnostic("GV054", f"'{network.kind}' is not one of the words for 'kind'", network.span("kind"), hint)
        return
    for key in network.words():
        if key in network.model_fields_set - {"kind", "pool", *network.keys}:
            message = f"'{key}' does not belong to a network of kind {network.kind}"
            yield Diagnostic("GV116", message, network.key(key), _where_it_belongs(network, key))
    if network.kind == "residual" and len(set(network.hidden or ())) > 1:
        message = "the layers of a residual network have one width, since each is added to the one before"
        yield Diagnostic("GV116", message, network.span("hidden"), "write one width for all of them, or kind: mlp")
    if network.kind not in KINDS:
        yield from _class_findings(network, classes[network.kind])


def _where_it_belongs(network: Network, key: str) -> str:
    if network.kind not in KINDS:
        return f"write options: {{{key}: VALUE}} if {network.kind} takes it"
    owners = [kind for kind, keys in KINDS.items() if key in keys]
    return f"leave it out: it belongs to {', '.join(owners) or 'a class of your own, which a plugin brings'}"


def _class_findings(network: Network, signature: Signature | None) -> Iterator[Diagnostic]:
    """A class is given its parents, its heads and the options, each of which it takes, and none of which it lacks."""
    name = network.kind
    if name in RESERVED:
        message = f"a class cannot be called '{name}', since a part of the emitted file is"
        yield Diagnostic("GV116", message, network.span("kind"), f"rename it in the plugin, as in My{name}")
    for key, value in network.options.items():
        yield from _option_findings(network, signature, key, value)
    if signature and not signature.anything and "heads" not in signature.names:
        message = f"'{name}' does not take 'heads'"
        yield Diagnostic("GV116", message, network.span("kind"), f"as in {name}(parents, heads, **options)")
    for key in signature.required if signature else ():
        if key not in (*network.options, "heads"):
            message = f"'{name}' needs '{key}', and it is not among its options"
            yield Diagnostic("GV116", message, network.span("kind"), f"write options: {{{key}: VALUE}}")


def _option_findings(network: Network, signature: Signature | None, key: str, value: object) -> Iterator[Diagnostic]:
    place = network.key("options", key)
    if key in ("parents", "heads"):
        hint = "leave it out: it follows from the variables"
        yield Diagnostic("GV116", f"'{key}' is no option of a network", place, hint)
    elif not _is_argument(key) or (signature and not signature.anything and key not in signature.names):
        words = [name for name in signature.names if name != "heads"] if signature else []
        yield Diagnostic("GV116", f"'{network.kind}' has no option '{key}'", place, did_you_mean(key, words, "options"))
    elif not _is_plain(value):
        message = f"'{key}' should be a number, text, true or false, or a list or mapping of these"
        yield Diagnostic("GV052", message, network.span("options", key))


def _is_argument(key: str) -> bool:
    """Whether a name can stand before `=` in a call, and is then itself."""
    return not iskeyword(key) and normalize("NFKC", key) == key


def _is_plain(value: object) -> bool:
    if isinstance(value, list | dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))


def complete(
    node: ConditionalNode, variables: Mapping[str, VariableNode], plates: Mapping[str, PlateNode], stated: bool
) -> Network:
    """A conditional's network with every width in it.

    Args:
        node: The conditional.
        variables: All variables, by name.
        plates: All plates, by name.
        stated: Whether the shape of a deterministic variable is, so that it has a head.

    Raises SpecError where the kind cannot stand between its parents and its heads.
    """
    network = node.conditional.network or Network()
    heads, parents = head_shapes(node, stated), [variables[parent] for parent in (*node.parents, *node.previous)]
    read = sum(prod(parent.event) for parent in parents) + sum(plates[plate].size for plate in node.indices)
    inputs, outputs = read, sum(map(prod, heads.values()))
    if network.kind == "conv":
        images = _images(node, network, parents)
        return _filled(network, _widths(1, 256, inputs, outputs), _planes(max(max(image[1:]) for image in images)))
    if network.kind == "deconv":
        image = _made_image(node, network, heads)
        return _filled(network, _widths(1, 256, inputs, outputs), _planes(max(image[1:]))[::-1])
    if network.pool and network.hidden == ():
        message = f"the pool of '{node.variable.name}' gathers hidden layers, and its network has none"
        raise SpecError.of("GV116", message, network.span("hidden"), "write the widths of one or more")
    if network.kind == "gru":
        return network
    if network.kind in KINDS:
        return _filled(network, _widths(3 if network.kind == "residual" else 2, 512, inputs, outputs), None)
    if not heads:
        raise _shapeless(node, network)
    if network.pool:
        message = f"a pool belongs to a network of graphvae's own, and '{network.kind}' is a class of a plugin"
        raise SpecError.of("GV116", message, network.key("pool"), "gather in an expression, or in a variable of its own")
    return network


def head_shapes(node: ConditionalNode, stated: bool) -> dict[str, Shape]:
    """The shape of each head; a deterministic variable has one if its shape is stated."""
    if node.family is None:
        return {"value": node.variable.event} if stated else {}
    rows = [row for row in node.family.parameters if row.name in node.heads]
    return {row.name: row.shape(node.variable.event, node.number) for row in rows}


def _filled(network: Network, hidden: tuple[int, ...], channels: tuple[int, ...] | None) -> Network:
    defaults = {"hidden": hidden} if channels is None else {"hidden": hidden, "channels": channels}
    return network.model_copy(update={key: value for key, value in defaults.items() if getattr(network, key) is None})


def _widths(layers: int, widest: int, inputs: int, outputs: int) -> tuple[int, ...]:
    """Layers as wide as the larger end, rounded up to a power of two from 32."""
    width = 1 << (max(inputs, outputs) - 1).bit_length()
    return (min(widest, max(32, width)),) * layers


def _planes(side: int) -> tuple[int, ...]:
    """Planes that double with every halving, until the longer side of an image has at most 7 pixels.

    >>> [_planes(side) for side in (8, 28, 50)]
    [(16,), (32, 64), (32, 64, 128)]
    """
    halvings = max(1, ((side - 1) // 7).bit_length())
    return tuple(min(256, (16 if side <= 16 else 32) << times) for times in range(halvings))


def _images(node: ConditionalNode, network: Network, parents: list[VariableNode]) -> list[Shape]:
    """The shapes of the parents that are images; what is gathered from other plates arrives as a vector."""
    found = [parent for parent in parents if len(parent.event) == 3 and {*parent.plates} <= {*node.variable.plates}]
    named = ", ".join(f"{parent.name} {list(parent.event)}" for parent in parents)
    hint = f"a conv network sees images [channels, height, width], and the parents are: {named}"
    for parent in found:
        if parent.family and parent.family.simplex:
            message = f"'{parent.name}' is no image: its last dimension is that of its categories"
            raise SpecError.of("GV116", message, network.span("kind"), f"{hint}\nwrite another kind, such as mlp")
    if not found:
        message = f"no parent of '{node.variable.name}' is an image" + " of its own plates" * bool(node.gathered)
        raise SpecError.of("GV116", message, network.span("kind"), f"{hint}\ngive one such a shape, or write another kind")
    return [parent.event for parent in found]


def _made_image(node: ConditionalNode, network: Network, heads: Mapping[str, Shape]) -> Shape:
    """The shape of the heads, which are images of one height and width."""
    if not heads:
        raise _shapeless(node, network)
    event, simplex = node.variable.event, node.family is not None and node.family.simplex
    for head, shape in heads.items():
        if len(shape) != 3 or shape != event or simplex:
            what = f"the head '{head}'" if node.family else "the value"
            last = ", with the categories last" if simplex else ""
            message = f"{what} of '{node.variable.name}' is no image: its shape is {list(shape)}{last}"
            hint = "a deconv network makes images [channels, height, width]\ngive it such a shape, or write another kind"
            raise SpecError.of("GV116", message, network.span("kind"), hint)
    return event


def _shapeless(node: ConditionalNode, network: Network) -> SpecError:
    message = f"the shape of '{node.variable.name}' is not stated, and a network of kind {network.kind} needs it"
    hint = "write it beside the network, as in shape: [1, 28, 28]"
    return SpecError.of("GV116", message, network.span("kind"), hint)
