"""Print the reference of the language from the models of a spec: python docs/language.py > docs/language.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphvae.compiler.families import FAMILIES
from graphvae.compiler.schema import schema

Schema = Mapping[str, Any]

INTRODUCTION = """# The language

A spec is one YAML file: the variables, who depends on whom in the generative model p and in the recognition model q, the
objective, the data, and the training. `graphvae check SPEC` says what is wrong with it, `graphvae show SPEC` prints it with
every default visible, and `graphvae schema` writes a JSON Schema with which an editor completes keys and shows what this page
says. The [reference](#reference) is printed from the code; the examples before it are compiled by the tests.

YAML is read strictly: `1e-3` is a number and `no` a word, as in YAML 1.2; a key that is unknown or stands twice is an error;
tags and merge keys are refused.

## Examples

### A variational autoencoder

```yaml
model: autoencoder
variables:
  code: {distribution: normal, size: 2}                               # role: latent is the default
  image: {distribution: bernoulli, shape: [1, 8, 8], role: observed}
p: {image: [code]}                                                    # code has its standard prior
q: {code: [image]}
```

A latent or supervised variable that p leaves out has the standard prior of its [family](families.md). A bare list is short for
the parents, and a network that is left out has a size that follows from the shapes.

### Labels on some rows

```yaml
model: digits
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  style: {distribution: normal, size: 8}
  image: {distribution: bernoulli, soft: true, shape: [1, 8, 8], role: observed}
p: {image: [digit, style]}
q: {digit: [image], style: [image, digit]}
data:
  source: digits
  columns: {image: image, digit: digit}
  labels: {digit: {rows: 50, balanced: true}}
```

A `supervised` variable is known in some rows, and inferred by q in the others. Any number of variables of any type may be
supervised, and a row may reveal any of them.

### A label behind a latent variable

```yaml
model: cells
variables:
  count: {distribution: negative_binomial, size: 100, role: observed}
  type: {distribution: categorical, categories: 6, role: supervised}
  state: {distribution: normal, size: 10}
  cause: {distribution: normal, size: 10}
p:
  state: [type, cause]
  count: [state]
q:
  state: [count]
  type: [state]
  cause: [state, type]
objective: {samples: 8, label_term: log_mean}
```

q may infer a label through what it has drawn; the samples are then weighted by importance ([method](method.md)).

### A recognition model that follows from p

```yaml
model: hands
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  hand: {distribution: normal, size: 2}
  style: {distribution: normal, size: 8}
  image: {distribution: bernoulli, soft: true, shape: [1, 8, 8], role: observed}
p:
  style: [hand]
  image: [digit, style]
```

Without `q`, this model has q(digit | image) q(style | image, digit) q(hand | style): p turned round so that q states no
independence that the posterior lacks ([method](method.md#a-q-that-is-left-out)). `graphvae check` and `graphvae explain` say
what was derived and what was assumed, and `graphvae show SPEC` writes it out, ready to be edited. A q may also be written in
part: `q: {digit: {parents: [image], network: {kind: conv}}}` leaves out `style` and `hand`. What is left out is sampled after
what is written, and given it; so nothing that is written may depend on it.

`q: {derive: reverse}` begins at the roots of p and goes down, as in q(digit | image) q(hand | image, digit) q(style | image,
digit, hand); `derive: topological`, the default, begins next to the data. Labels come first where the order leaves a choice.
In plates, a derived conditional reads what is in plates that its variable is not in through `pool: mean`, and the index of its
slot where p looks at it. Where slots depend on each other given the data, in the order that was chosen, its conditional must be
written by hand.

### Networks, constants and deterministic variables

```yaml
model: shared
variables:
  grade: {distribution: ordinal, categories: 5, role: supervised}
  trait: {distribution: normal, size: 4}
  answer: {distribution: normal, size: 30, role: observed}
  trunk: {}                                                  # no distribution: deterministic
p:
  trait: {parents: [grade], parameters: {scale: 0.5}}        # a number
  answer: {parents: [trait], parameters: {scale: learned}}   # one learned value for all rows
q:
  trunk: {parents: [answer], network: {hidden: [64, 64], activation: silu, dropout: 0.1}}
  grade: [trunk]
  trait: [trunk, grade]
```

What `parameters` does not set is a head of the network. A variable without a family is the output of its network.

### Covariates and missing cells

```yaml
model: clinic
variables:
  age: {distribution: normal, role: given}                               # conditioned on, and never scored
  illness: {distribution: bernoulli, role: supervised}
  state: {distribution: normal, size: 3}
  tests: {distribution: student_t, size: 12, role: observed, missing: mask}
p:
  illness: [age]
  tests: [illness, state, age]
q:
  illness: [tests, age]
  state: [tests, illness, age]
```

### How q draws

```yaml
model: topics
variables:
  topic: {distribution: categorical, categories: 50}
  mood: {distribution: categorical, categories: 3}
  length: {distribution: poisson}
  words: {distribution: poisson, size: 200, role: observed}
p: {words: [topic, mood, length]}
q:
  topic: {parents: [words], gradient: concrete, temperature: {schedule: cosine, from: 1, to: 0.4, steps: 5000}}
  mood: {parents: [words, topic], gradient: enumerate}
  length: {parents: [words], gradient: score_function}
objective: {samples: 8}
```

Without `gradient`, a rule chooses; `graphvae explain SPEC` says what and why, and [gradients](gradients.md) measures them.

### Several labels, and numbers that change

```yaml
model: faces
variables:
  person: {distribution: categorical, categories: 38, role: supervised}
  light: {distribution: normal, size: 3, role: supervised}
  form: {distribution: normal, size: 16}
  image: {distribution: normal, shape: [1, 24, 21], role: observed}
p: {image: {parents: [person, light, form], parameters: {scale: learned}}}
q: {light: [image], person: [image, light], form: [image, person, light]}
objective:
  alpha: {person: 10, light: {schedule: linear, from: 1, to: 10, steps: 2000}}
  beta: {form: {schedule: cyclic, from: 0, to: 1, steps: 1000}}
  supervision_rate: 0.5
data:
  source: npz
  columns: {image: image, person: identity, light: direction}
  labels: [{variables: [person, light], rows_per: {person: 6}, seed: 0}]
```

### A table of one's own

```yaml
model: wines
variables:
  cultivar: {distribution: categorical, categories: 3, role: supervised}
  quality: {distribution: normal, role: supervised}
  taste: {distribution: normal, size: 3}
  chemistry: {distribution: normal, size: 3, role: observed, missing: mask}
p: {chemistry: {parents: [cultivar, quality, taste], parameters: {scale: learned}}}
q: {cultivar: [chemistry], quality: [chemistry, cultivar], taste: [chemistry, cultivar, quality]}
data:
  source: csv
  path: wines.csv                                            # from the folder of the spec
  columns: {cultivar: cultivar, quality: points, chemistry: [alcohol, malic_acid, ash]}
  categories: {cultivar: [Barolo, Grignolino, Barbera]}      # 0, 1 and 2
  transforms: {chemistry: standardise, quality: standardise}
  labels: {cultivar: {fraction: 1.0}, quality: {rows: 40}}   # every label that is there; forty of those that are
  split: {test: 0.2, within: cultivar, seed: 0}
```

`graphvae init DATA` drafts such a spec, and the [tutorial](tutorial.md) goes on from there.

### Plates and a number of parts

```yaml
model: parts
plates:
  part: {size: 3, active: count, symbol: k}                   # three slots, of which the first `count` are active
variables:
  count: {distribution: categorical, values: [1, 2, 3], role: supervised}
  kind: {distribution: categorical, categories: 2, plate: part}
  place: {distribution: normal, size: 2, plate: part}
  whole: {distribution: normal, size: 16, role: observed}
p:
  place: {parents: [kind, part]}                              # a plate as a parent: the index of the slot
  whole: {parents: [kind, place], network: {pool: sum}}       # gathers the slots that are active
q:
  count: [whole]
  kind: [whole, part]                                         # what stands outside is seen by every slot
  place: [whole, kind, part]
```

A plate repeats variables, and its slots count from 0. Slot k is active while k is below the count; what fills the others counts
nothing in p or q, and a larger `size` changes nothing. A variable may stand in several plates, which cross or hold each other.
Without `active`, all slots are there in every row.

### One slot after another

```yaml
model: lines
plates: {line: {size: 8, symbol: t}}
variables:
  state: {distribution: normal, size: 4, plate: line}
  pixels: {distribution: bernoulli, soft: true, size: 8, plate: line, role: observed}
p:
  state: {parents: [state.previous], initial: learned}        # zeros before the first slot, if nothing is said
  pixels: [state]
q:
  memory: {plate: line, parents: [pixels, memory.previous], network: {kind: gru, size: 32}}
  state: [memory, state.previous]
```

`.previous` is a variable in the slot before. What needs it is computed slot by slot, in a loop that the emitted code shows.

### A model inside another

```yaml
model: page
plates: {letter: {size: 2}}
submodels:
  glyph: {spec: digits.yaml, plate: letter, variables: {image: {collapse: mean}}}
variables:
  place: {distribution: normal, size: 2, plate: letter}
  page: {distribution: normal, size: 128, role: observed}
p:
  page: {parents: [glyph.image, place], network: {pool: sum}, parameters: {scale: learned}}
q:
  place: [page, letter]
  glyph.image: [page, place]                                  # what digits.yaml observes, and this model infers
data:
  source: npz
  columns: {page: page, glyph.digit: digits}
  labels: {glyph.digit: {rows: 100}}
  slots: {order: as_stored}
```

The spec of the digits above, with its own p and q, in each slot of a plate. Where `glyph.image` is not known, its mean stands
for it. `weights: RUN` takes a trained run's, and
`train: frozen` leaves them as they are. Its objective, data and training are ignored.

## Short forms

A short form and what it is short for are the same spec.

| short | in full |
|---|---|
| `image: [digit, style]` | `image: {parents: [digit, style]}` |
| `labels: {digit: {rows: 50}}` | `labels: [{variables: [digit], rows: 50}]` |

A variable that p or q leaves out, and a key that is left out, are as if their default were written; in q the default of a
variable is what is derived from p.
`--set KEY=VALUE` lays a value over the spec from the command line, as in `--set training.epochs=5` or
`--set q.digit.network.hidden=[64]`; KEY is the way to it, and VALUE is YAML.

## References

A name is a letter followed by letters, digits and underscores. A variable is named by its name, or by `submodel.name` if a
sub-model has it. A parent is a variable, `variable.previous` in the slot before, or a plate, for the index of the slot.

## Symbols

In pictures and equations a variable has its `symbol`, or else its name: `style` is a word in italics, `z_1` or `z1` is $z_1$
(a model with both has words), `alpha` is $\\alpha$, and `z_alpha` is $z_\\alpha$. A symbol is written like such a name, or in
a part of LaTeX that needs no package: letters, digits and signs, Greek letters, fonts (`\\mathbf{x}`), accents (`\\hat{x}`),
and what stands below or above (`x_{i,j}^2`). Write it without quotes or in single ones, since a backslash means something else
to YAML in double ones. The index of a plate is a name.

## Schedules

A number that may follow a schedule is written as one. With $t$ the step of the training, counted from 0:

| schedule | the number at step $t$ |
|---|---|
| `constant` | `from` |
| `linear` | on a straight line from `from` to `to` in `steps` steps, then `to` |
| `cosine` | the same way along half a cosine, slow at both ends |
| `cyclic` | in every cycle of `steps` steps, `linear` in its first half and `to` in its second |

## Reference

Left out, a key has the default in its row, or what its text says."""

BOUNDS = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
WORDS = {"string": "string", "integer": "whole number", "number": "number", "boolean": "boolean"}
BAR = "\\|"  # in a table
NAME = {"$ref": "#/definitions/Name"}
NAMES = {"Name": "name", "VariableName": "variable", "Reference": "reference"}


def page() -> str:
    """The page in Markdown."""
    whole = schema()
    definitions = {"Spec": whole, **whole["definitions"]}
    return "\n\n".join([INTRODUCTION, *(section(key, definitions[key]) for key in blocks("Spec", definitions))]) + "\n"


def blocks(key: str, definitions: Schema) -> list[str]:
    """A block and those inside it, each behind the one that names it first."""
    inside = [inner for each in named(definitions[key]) if each not in NAMES for inner in blocks(each, definitions)]
    return list(dict.fromkeys([key, *inside]))


def named(value: Any) -> Iterator[str]:
    """The definitions that a part of the schema refers to, in their order, the spec's own `definitions` aside."""
    if isinstance(value, list):
        for item in value:
            yield from named(item)
    elif isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].removeprefix("#/definitions/")
        for key, item in value.items():
            if key != "definitions":
                yield from named(item)


def section(key: str, block: Schema) -> str:
    """A block: what it is, and its keys in a table."""
    head = f"### {spaced(key).capitalize()}\n\n{block['description']}"
    if "properties" not in block:
        return f"{head}\n\nIt is a {listed(map(kind, block['anyOf']))}."
    required = block.get("required", [])
    rows = [row(key, value, key in required) for key, value in block["properties"].items()]
    if named := block.get("additionalProperties"):
        rows.append(f"| {kind(block['propertyNames'])} | {kind(named)} |  | Any number of these. |")
    return "\n".join([f"{head}\n", "| key | value | default | meaning |", "|---|---|---|---|", *rows])


def row(key: str, value: Schema, required: bool) -> str:
    default = code(value["default"]) if "default" in value else ""
    values = "<br>or ".join(map(kind, value.get("anyOf", [value])))
    cells = (f"`{key}`", values, "*required*" if required else default, value["description"])
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def kind(value: Schema, many: bool = False) -> str:
    """What may stand there, in words; or of many such."""
    match value:
        case {"$ref": str(reference)} | {"allOf": [{"$ref": str(reference)}, *_]}:
            return link(reference.removeprefix("#/definitions/"), many)
        case {"anyOf": [*choices]}:
            return listed(kind(choice, many) for choice in choices)
        case {"enum": [*words]}:
            return "[family](families.md)" if words == list(FAMILIES) else listed(f"`{word}`" for word in words)
        case {"const": constant}:
            return code(constant)
        case {"type": "array"}:
            return f"list of {kind(value['items'], many=True)}"
        case {"type": "object"}:
            return f"by {kind(value.get('propertyNames', NAME))}: {kind(value['additionalProperties'])}"
        case {"type": [*words]}:
            return listed(kind({"type": word}, many) for word in words)
        case {"type": str(word)}:
            return " ".join([WORDS[word] + "s" * many, *bounds(value)])
    return "anything"


def link(definition: str, many: bool) -> str:
    """A name as the section on references says it, or a block with the way to its section."""
    words = NAMES.get(definition) or spaced(definition)
    anchor = "references" if definition in NAMES else words.replace(" ", "-")
    return f"[{words}{'s' * many}](#{anchor})"


def spaced(definition: str) -> str:
    """`LabelDraw` as `label draw`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", definition).lower()


def listed(words: Iterable[str]) -> str:
    """`a, b or c`, each once."""
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def bounds(value: Schema) -> list[str]:
    """Between which numbers, where the schema says so."""
    return [text.format(value[key]) for key, text in BOUNDS.items() if key in value]


def code(value: object) -> str:
    """A value as it is written in a spec."""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    print(page(), end="")
