"""Spec: the shape of the text, one pydantic model per block, with every unknown key refused.

The verb is `parse`. What the names mean is not decided here: that is the graph's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from graphvae.compiler.block import Block, Seen
from graphvae.compiler.errors import Span, SpecError
from graphvae.compiler.families import FAMILIES, Gradient
from graphvae.compiler.findings import BOUNDS, diagnose
from graphvae.compiler.inversion import Mode
from graphvae.compiler.latex import LatexError, parse_symbol
from graphvae.compiler.shown import Shown
from graphvae.compiler.source import Map, Seq, Source, is_text

if TYPE_CHECKING:
    from graphvae.compiler.graph import ModelGraph


@dataclass(frozen=True)
class Reference:
    """What a parent is named by: `name` or `submodel.name`, either with `.previous`; a sub-model may stand inside another.

    >>> Reference.parse("glyph.digit.previous")
    Reference(variable='glyph.digit', previous=True)
    """

    variable: str
    previous: bool = False

    @classmethod
    def parse(cls, text: object) -> Self:
        """Raises PydanticCustomError for text that is no reference."""
        parts = text.split(".") if isinstance(text, str) else []
        previous = len(parts) > 1 and parts[-1] == "previous"
        names = parts[:-1] if previous else parts
        if not names or not all(map(_is_name, names)):
            raise _no_reference("a reference to a variable", "write a variable's name; a ',' separates several: [a, b]")
        return cls(".".join(names), previous)

    def __str__(self) -> str:
        return self.variable + ".previous" * self.previous


def _variable(text: object) -> str:
    reference = Reference.parse(text)
    if reference.previous:
        raise _no_reference("the name of a variable", "'.previous' refers to a slot: it names a parent, and nothing else")
    return reference.variable


def _name(text: object) -> str:
    if not _is_name(text):
        raise _no_reference("a name", "a name is a letter followed by letters, digits and underscores")
    return str(text)


def _is_name(text: object) -> bool:
    return isinstance(text, str) and text.isidentifier() and not text.startswith("_")


def _no_reference(what: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError("reference", "{hint}", {"what": what, "hint": hint})


def _symbol(text: str) -> str:
    try:
        _ = _is_name(text) or parse_symbol(text)
    except LatexError as error:
        raise PydanticCustomError("latex", "{hint}", {"hint": str(error)}) from None
    return text


def _one_of(expected: str) -> WrapValidator:
    """Several kinds of value under one key: for a value of none of them, the message names them all."""

    def validate(value: object, handler: Callable[[object], object]) -> object:
        try:
            return handler(value)
        except ValidationError as error:
            if any(found["type"] in (*BOUNDS, "missing") or found["input"] is not value for found in error.errors()):
                raise  # of the right kind, and wrong in itself or deeper inside
            raise PydanticCustomError("alternatives", "{what}", {"what": expected}) from None

    return WrapValidator(validate)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "a schedule" if "schedule" in value else "by variable"
    return "a schedule" if isinstance(value, Schedule) else "word" if isinstance(value, str) else "number"


def _family(value: object) -> object:
    if value is not None and not (isinstance(value, str) and value in FAMILIES):
        raise PydanticCustomError("family", "no family", {"words": list(FAMILIES)})
    return value


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _no_conditional(value: object) -> object:
    if isinstance(value, dict | list):
        what = "topological or reverse (a variable cannot be called so)"
        raise PydanticCustomError("alternatives", "{what}", {"what": what})
    return value


def _pair(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise PydanticCustomError("alternatives", "{what}", {"what": "a pair of numbers, [x, y]"})
    return tuple(value)


_to_tuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)

Name = Annotated[str, PlainValidator(_name)]
VariableName = Annotated[str, PlainValidator(_variable)]
Parent = Annotated[Reference, PlainValidator(Reference.parse), PlainSerializer(str)]
LatexText = Annotated[str, AfterValidator(_symbol)]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Shape = Annotated[tuple[Positive, ...], _to_tuple]
TwoNumbers = WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})
Place = Annotated[tuple[float, float], BeforeValidator(_pair), TwoNumbers]
ParameterValue = Annotated[float | str, _one_of("a number, 'learned', 'head', or an expression over the parents")]
Plates = Annotated[tuple[Name, ...], BeforeValidator(_listed), _one_of("the name of a plate, or a list of them")]
Role = Literal["latent", "supervised", "observed", "given"]


class Schedule(Block):
    """A number that changes with the step of the training."""

    schedule: Literal["constant", "linear", "cosine", "cyclic"]
    """`linear` and `cosine` go from one number to another and stay there; `cyclic` rises in the first half of every cycle and
    stays in the second (Fu et al. 2019); `constant` stays at its first."""
    start: Annotated[float, Field(alias="from")]
    """The number at the first step."""
    end: Annotated[float | None, Field(alias="to")] = None
    """The number at the end. Not of a constant."""
    steps: Positive | None = None
    """How many steps the way takes, or a whole cycle. Not of a constant."""


Weight = Annotated[float, Field(ge=0)]
Scheduled = Annotated[
    Annotated[Weight, Tag("number")] | Annotated[Schedule, Tag("a schedule")],
    Discriminator(_kind),
    _one_of("a number or a schedule"),
]
WeightByVariable = dict[VariableName, Scheduled]
Alpha = Annotated[
    Annotated[Weight, Tag("number")]
    | Annotated[Literal["auto"], Tag("word")]
    | Annotated[Schedule, Tag("a schedule")]
    | Annotated[WeightByVariable, Tag("by variable")],
    Discriminator(_kind),
    _one_of("a number, 'auto', a schedule, or numbers by variable"),
]
Beta = Annotated[
    Annotated[Weight, Tag("number")] | Annotated[Schedule, Tag("a schedule")] | Annotated[WeightByVariable, Tag("by variable")],
    Discriminator(_kind),
    _one_of("a number, a schedule, or numbers by variable"),
]
Rate = Annotated[
    Annotated[Fraction, Tag("number")] | Annotated[Schedule, Tag("a schedule")],
    Discriminator(_kind),
    _one_of("a number between 0 and 1, or a schedule"),
]
Temperature = Annotated[
    Annotated[Annotated[float, Field(gt=0)], Tag("number")] | Annotated[Schedule, Tag("a schedule")],
    Discriminator(_kind),
    _one_of("a number above 0, or a schedule"),
]


class Repeated(Block):
    """What may stand in plates."""

    plate: Plates | None = None
    """The plate that repeats it, or a list of several."""

    @property
    def plates(self) -> tuple[str, ...]:
        """The plates that repeat it, as written."""
        return self.plate or ()


class Variable(Repeated):
    """One variable: its family, its shape, and when it is known."""

    distribution: Annotated[str | None, BeforeValidator(_family)] = None
    """The family. A variable without one is deterministic."""
    role: Role = "latent"
    """`observed` in every row, `supervised` in some rows, `latent` never; `given` is conditioned on and never scored."""
    size: Positive | None = None
    """The length of a vector. Neither size nor shape: a scalar."""
    shape: Shape | None = None
    """The shape of an array, such as [1, 28, 28] for an image."""
    categories: Annotated[int, Field(ge=2)] | None = None
    """How many values a categorical variable has; in the data they are the integers from 0."""
    values: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=2), _to_tuple] | None = None
    """The numbers that the categories stand for, in rising order, in place of `categories`: what a count counts."""
    collapse: Literal["mean"] | None = None
    """`mean`: where the value is not known, it is the mean of its conditional, on each side its own, and is not scored."""
    soft: bool | None = None
    """Bernoulli only: accept values between 0 and 1. The likelihood is then no density, and is reported as none."""
    total_count: Positive | None = None
    """Binomial only: the number of trials, the largest value."""
    levels: Annotated[int, Field(ge=2)] | None = None
    """Discretised logistic only: how many levels between 0 and 1 a pixel has, 256 if nothing is said."""
    components: Positive | None = None
    """Mixture of normals only: the number of components."""
    rank: Positive | None = None
    """Low-rank normal only: the number of columns of its factor."""
    symbol: LatexText | None = None
    """What stands for it in pictures and equations, as LaTeX without dollars, such as x or \\hat{z}_1. Left out: its name,
    by a rule."""
    missing: Literal["mask"] | None = None
    """Observed only: what is missing leaves the likelihood, and q sees a mask beside the value. Left out: an error."""


# The kinds of network that come with graphvae, and the keys of each. Any other kind is a class of a person's own.
_LAYERS = ("activation", "dropout", "normalisation")
KINDS = {
    "mlp": ("hidden", *_LAYERS),
    "conv": ("channels", "hidden", *_LAYERS),
    "deconv": ("hidden", "channels", *_LAYERS),
    "residual": ("hidden", *_LAYERS),
    "gru": ("size",),
}
Kind = Annotated[Literal["mlp", "conv", "deconv", "residual", "gru"] | Name, _one_of("the name of a kind of network")]


class Network(Block):
    """A neural network from the parents to the parameters of the family."""

    kind: Kind = "mlp"
    """`mlp`; `conv`, which sees parents [channels, height, width] through convolutions; `deconv`, which makes heads [channels,
    height, width] by convolutions; `residual`, an mlp with residual blocks; `gru`, one step of a gated recurrent unit, for a
    deterministic variable that is its own previous one; or a class of the file that `--plugin` names."""
    channels: Annotated[tuple[Positive, ...], Field(min_length=1), _to_tuple] | None = None
    """The planes of each convolution of a conv or deconv, which halves or doubles height and width. Left out: as many as lead
    to or from at most 7 pixels, their planes doubling from 16 or, for more than 16 pixels, from 32."""
    hidden: Annotated[tuple[Positive, ...], _to_tuple] | None = None
    """The widths of the hidden layers. Left out: two layers (a conv or deconv has one, a residual network three), their width a
    power of two that follows from the shapes."""
    size: Positive | None = None
    """The length of the state of a gru."""
    activation: Literal["relu", "softplus", "tanh", "elu", "gelu", "silu"] = "relu"
    """The non-linearity after each hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of hidden units that is dropped in training."""
    normalisation: Literal["none", "batch", "layer"] = "none"
    """What stands between a hidden layer and its non-linearity."""
    pool: Literal["sum", "mean", "max", "attention"] | None = None
    """How parents in a plate that the variable is not in are gathered: each slot's pass through a hidden layer, and these are
    summed up, averaged, compared, or weighed by attention."""
    options: dict[Name, Any] = Field(default_factory=dict)
    """What a class of one's own is given beside its parents and heads, by name."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that belong to its kind."""
        return KINDS.get(self.kind, ("options",))

    @property
    def module(self) -> str:
        """The name of its class."""
        return self.kind.capitalize() if self.kind in KINDS else self.kind

    def __str__(self) -> str:
        widths = {"channels": self.channels, "hidden": self.hidden, "size": (self.size or 0,)}
        pooled = [f"pool={self.pool}"] if self.pool else []
        return " ".join([self.kind, *(str(list(widths[key] or ())) for key in self.keys if key in widths), *pooled])

    @model_serializer(mode="wrap")
    def _of_its_kind(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key in ("kind", "pool", *self.keys)}


class Conditional(Repeated):
    """One factor of p or q: the parents of a variable, and how its parameters follow from them."""

    parents: Annotated[tuple[Parent, ...], _to_tuple] = ()
    """The variables that this one depends on; `NAME.previous` is one in the slot before, a plate the index of the slot."""
    network: Network | None = None
    """The network from the parents. Left out: an mlp, where there are parents and a parameter that nothing else sets."""
    parameters: dict[str, ParameterValue] = Field(default_factory=dict)
    """Parameters of the family that the network does not set: a number; `learned`, one value for all rows; an expression over
    the parents; `head` has the network set one that is learned if nothing is said."""
    value: str | None = None
    """Of a deterministic variable: an expression over the parents, in which `network` is what its network gives."""
    initial: Literal["zero", "learned"] | None = None
    """What stands before the first slot where a `.previous` of this variable is read: zeros if nothing is said."""
    distribution: Annotated[str | None, BeforeValidator(_family)] = None
    """In q: another family than p's, over the same support."""
    components: Positive | None = None
    """The number of components of a mixture of normals that only q has."""
    rank: Positive | None = None
    """The rank of a low-rank normal that only q has."""
    gradient: Gradient | None = None
    """In q: how a draw passes gradients on. Left out: reparameterised where the family can be; else enumerate, as long as the
    joint number of cells allows; else concrete where the family has a relaxation; else score_function."""
    temperature: Temperature | None = None
    """In q: the temperature of a concrete or straight-through draw, 0.66 if nothing is said."""
    size: Positive | None = None
    """Of a deterministic variable: the length of its vector. Neither size nor shape: the last hidden layer itself."""
    shape: Shape | None = None
    """Of a deterministic variable: the shape of its array."""

    @classmethod
    def written_out(cls, data: Any) -> Any:
        """A bare list is short for the parents."""
        return _with_parents(data) if isinstance(data, Seq) else data


class Recognition(Block):
    """The recognition model: conditionals by the names of their variables; those that are left out are derived from p."""

    derive: Annotated[Mode | None, BeforeValidator(_no_conditional)] = None
    """How p is inverted to what is left out: `topological` eliminates the roots of p first, so that q begins next to the data;
    `reverse` its leaves, so that q begins at the roots. Left out: topological."""
    conditionals: dict[VariableName, Conditional] = Field(default_factory=dict)
    """The conditionals that are written."""

    @classmethod
    def written_out(cls, data: Any) -> Any:
        """What a text has beside `derive` are the conditionals."""
        if not isinstance(data, Map):
            return data
        longer, conditionals = Map(data.span), Map(data.span)
        longer.put("conditionals", conditionals, data.span, data.span)
        for key in data:
            (longer if key == "derive" else conditionals).put(key, data[key], data.key_spans[key], data.spans[key])
        return longer

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        made: dict[str, Any] = dump(self)
        conditionals: dict[str, Any] = made.pop("conditionals")
        return made | conditionals


class Plate(Block):
    """A named axis of slots, which repeats variables."""

    size: Positive
    """How many slots there are."""
    active: VariableName | None = None
    """The variable that counts how many of the slots are active, the first ones; what is in the others counts nothing."""
    symbol: Name | None = None
    """The index of a slot in pictures and equations."""


class SubmodelVariable(Block):
    """What a variable of a sub-model is in the outer model."""

    role: Role | None = None
    """Its role. Left out: its own, but an observed variable that the outer q infers is latent."""
    collapse: Literal["mean"] | None = None
    """`mean`: where the value is not known, it is the mean of its conditional, on each side its own, and is not scored."""


class SubmodelDraw(Block):
    """How the outer model draws a variable of a sub-model."""

    gradient: Gradient | None = None
    """How a draw passes gradients on."""
    temperature: Temperature | None = None
    """The temperature of a concrete or straight-through draw."""


class Submodel(Repeated):
    """A spec that is used inside this one. Its objective, data and training are ignored."""

    spec: str
    """The file, from the folder of this spec."""
    weights: str | None = None
    """The run folder that its weights come from, from the folder of this spec. Left out: it begins as any network does."""
    train: Literal["frozen", "fine_tune"] = "fine_tune"
    """Whether its weights stay as they are, or are trained with the rest."""
    variables: dict[VariableName, SubmodelVariable] = Field(default_factory=dict)
    """What its variables are in this model."""
    q: dict[VariableName, SubmodelDraw] = Field(default_factory=dict)
    """How its variables are drawn in this model."""


class Objective(Block):
    """The semi-supervised objective and its weights."""

    bound: Literal["self_normalised", "importance", "importance_dreg"] = "self_normalised"
    """The bound: self-normalised importance sampling over samples and enumerated values; or the logarithm of the mean
    importance weight, with its plain or its doubly reparameterised gradient."""
    samples: Positive | None = None
    """Samples a row. Left out: 1 where all importance weights are constant; 8 where a label stands behind a draw, where a draw
    has a score-function gradient, and under an importance bound."""
    kl: Literal["sampled", "closed"] = "sampled"
    """How log q - log p of a draw is taken: at the sample, with no variance left where q is exact; or by its mean in closed
    form, wherever that leaves the expectation as it is."""
    label_term: Literal["log_mean", "mean_log"] = "log_mean"
    """The estimator of log q(label | row): the logarithm of the mean weight, or the mean of the logarithms."""
    alpha: Alpha = "auto"
    """The weight of log q(label | row): a number, a schedule, either by variable, or `auto`, a tenth of the rows per labelled
    row."""
    beta: Beta = 1.0
    """The weight of log q - log p of latent variables: a number, a schedule, or either by variable (1 where not named)."""
    supervision_rate: Rate | None = None
    """The share of labelled rows in a batch. Left out, with gamma: their share in the data."""
    gamma: Annotated[float, Field(ge=0)] | None = None
    """The same knob as the weight of the labelled rows in the sum over all rows."""
    max_cells: Positive = 100
    """The largest number of jointly enumerated values."""


class LabelDraw(Block):
    """One draw of labelled rows, each of which reveals all its variables. It chooses among the rows that have them all."""

    variables: Annotated[tuple[VariableName, ...], Field(min_length=1), _to_tuple]
    """The supervised variables that a drawn row reveals."""
    rows: Annotated[int, Field(ge=0)] | None = None
    """How many rows."""
    fraction: Fraction | None = None
    """Which share of the rows that have them; 1.0 reveals whatever there is."""
    rows_per: dict[VariableName, Positive] | None = None
    """How many rows for each value of one variable, as in {person: 6}."""
    balanced: bool = False
    """Equally many rows for every value of the categorical variable that the draw reveals."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of this draw."""


def _tuple_of(what: str, most: int | None = None) -> BeforeValidator:
    """A list that is not empty, or exactly as long as it may be, as a tuple; of another length, the message says what it is."""

    def validate(value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        if not value or (most and len(value) != most):
            raise PydanticCustomError("alternatives", "{what}", {"what": what})
        return tuple(value)

    return BeforeValidator(validate)


def _interval(value: object) -> object:
    ends = tuple(value) if isinstance(value, list | tuple) else ()
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if len(ends) != 2 or not numbers or not ends[0] < ends[1]:
        raise PydanticCustomError("alternatives", "{what}", {"what": "two numbers, the lower first, such as [0, 255]"})
    return ends


def _no_bare_scale(value: object) -> object:
    if value == "scale":
        raise PydanticCustomError("alternatives", "{what}", {"what": "{scale: [LOW, HIGH]}, with what becomes 0 and 1"})
    return value


def _cell(value: object) -> object:
    """A whole number or a boolean, as the text that a cell of the data may hold."""
    return (str(value).lower() if isinstance(value, bool) else str(value)) if isinstance(value, int) else value


def _form(value: object) -> str:
    return "a list" if isinstance(value, list | tuple) else "a mapping" if isinstance(value, dict | Block) else "a word"


Interval = Annotated[tuple[float, float], BeforeValidator(_interval), TwoNumbers]
Cell = Annotated[str, BeforeValidator(_cell), WithJsonSchema({"type": ["string", "integer", "boolean"]})]
Cells = Annotated[tuple[Cell, ...], _tuple_of("a list with a value in it")]
Stretch = Annotated[str, Field(pattern="^[0-9]{1,12}-[0-9]{1,12}$"), _one_of("its first and last row, such as 0-7999")]
ColumnNames = Annotated[
    Annotated[str, Tag("a word")] | Annotated[tuple[str, ...], _tuple_of("a list with a column in it"), Tag("a list")],
    Discriminator(lambda value: "a list" if _form(value) == "a list" else "a word"),
    _one_of("a column, or a list of one or more"),
]
Blocks = Annotated[tuple[Stretch, ...], _tuple_of("two blocks of rows, such as [0-7999, 8000-9999]", most=2)]
Tested = Annotated[
    Annotated[float, Field(ge=0, lt=1), Tag("a word")] | Annotated[Cells, Tag("a list")],
    Discriminator(lambda value: "a list" if _form(value) == "a list" else "a word"),
    _one_of("a share of the rows, such as 0.2, or a list of values of the split's column"),
]


class Binarise(Block):
    """How a number becomes 0 or 1, once and for all: 1 above a threshold, or 1 with its own probability."""

    threshold: float | None = None
    """1 above it, else 0."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """The seed of a draw from the Bernoulli distribution whose probability the number is."""


class Rescale(Block):
    """A transform that needs a number: one of the two."""

    binarise: Binarise | None = None
    """Numbers become 0 or 1."""
    scale: Interval | None = None
    """These two numbers become 0 and 1, or those of `to`; what lies between or beyond follows."""
    to: Interval | None = None
    """What the two numbers of `scale` become."""


Word = Annotated[Literal["binarise", "binarise_each_time", "standardise"], BeforeValidator(_no_bare_scale)]
Transform = Annotated[
    Annotated[Word, Tag("a word")] | Annotated[Rescale, Tag("a mapping")],
    Discriminator(lambda value: "a mapping" if _form(value) == "a mapping" else "a word"),
]
Transforms = Annotated[
    Annotated[Word, Tag("a word")]
    | Annotated[Rescale, Tag("a mapping")]
    | Annotated[tuple[Transform, ...], _tuple_of("a list with a transform in it"), Tag("a list")],
    Discriminator(_form),
]


class Split(Block):
    """Which rows are kept for the test, where the source does not say: a share of them by a seed, or what is written."""

    test: Tested | None = None
    """The share of the rows, a fifth if nothing is said; or, of a `column`, the values that its test rows have."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """The seed of the draw, 0 if nothing is said."""
    column: str | None = None
    """The column that says which rows are for the test."""
    within: str | None = None
    """A variable or a column: the share is taken from the rows of each of its values."""
    by: str | None = None
    """A variable or a column: the rows of one value are all for training or all for the test; the share is of its values."""
    blocks: Blocks | None = None
    """The rows for training and the rows for the test, each as its first and its last, from 0: [0-7999, 8000-9999]."""

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """The blocks as numbers: the first row of each, and its last."""
        ends = [stretch.split("-") for stretch in self.blocks or ()]
        return [(int(first), int(last)) for first, last in ends]

    @classmethod
    def written_out(cls, data: Any) -> Any:
        """A split by neither a column nor blocks is a draw."""
        if not isinstance(data, dict) or "column" in data or "blocks" in data:
            return data
        defaults = {key: value for key, value in {"test": 0.2, "seed": 0}.items() if key not in data}
        return _with_defaults(data, defaults) if isinstance(data, Map) else data | defaults


class Validation(Block):
    """Training rows that are set aside, with their labels, to choose hyper-parameters on."""

    rows: Positive
    """How many rows."""
    labels: Annotated[Literal[True], _one_of("true, as the admission that these labels are read")]
    """`true`, as the admission that these labels are read and count as part of the label budget."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of their draw."""


class Slots(Block):
    """What the number of a slot means in the data."""

    order: Literal["left_to_right", "as_stored"]
    """The order of the slots of a row: from left to right in the picture, or as the columns have them."""


class Scenes(Block):
    """How many scenes the source composes, and by which seed; each number of things stands in a third of them."""

    train: Annotated[int, Field(gt=0, le=200_000)] = 12_000
    """Scenes of the digits that MNIST has for training."""
    test: Annotated[int, Field(gt=0, le=200_000)] = 2_000
    """Scenes of those that it has for the test."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of the draw."""


class Data(Block):
    """Where the rows come from, and which of their labels are revealed."""

    source: Literal["digits", "mnist", "multi_mnist", "svhn", "yaleb", "npz", "csv", "parquet", "images"]
    """`digits` comes with scikit-learn; `mnist` is read from a folder or downloaded; `multi_mnist` composes one to three of its
    digits on a canvas; `svhn` are the cropped digits of house numbers, .mat files or an npz, or downloaded; `yaleb` are the
    faces of Extended Yale B, an npz or the folder of PGM files; `csv` and `parquet` are tables, `npz` is a file of arrays, the
    columns; `images` is a folder of pictures, with a folder for each class or a table, images.csv."""
    path: str | None = None
    """The file or the folder, from the folder of the spec. `--data` goes before it."""
    scenes: Scenes | None = None
    """Of `multi_mnist` alone: what it composes. Left out: 12,000 scenes for training and 2,000 for the test."""
    columns: dict[VariableName, ColumnNames]
    """The column of the data that holds each variable; of a vector, it may be a list with a column for each number."""
    categories: dict[VariableName, Cells] = Field(default_factory=dict)
    """The names of categories, as the data has them, in the order of their numbers. Left out: the names in the data, sorted."""
    transforms: dict[VariableName, Transforms] = Field(default_factory=dict)
    """What is done to the numbers of a variable, in this order; what is written to files has the data's own units."""
    labels: Annotated[tuple[LabelDraw, ...], _to_tuple, _one_of("draws by variable, or a list of draws")] = ()
    """The draws of labelled rows; as a map, one draw for each variable. A variable that no draw names, and whose column has
    empty cells, is revealed wherever there is a value."""
    split: Split = Field(default_factory=Split)
    """The test rows of a source that does not name its own."""
    slots: Slots | None = None
    """The order of the slots of plates: needed where a label stands in a slot, since else its number means nothing."""
    validation: Validation | None = None
    """Left out: no validation label is read."""

    def columns_of(self, name: str) -> tuple[str, ...]:
        """The columns that hold a variable, one or several."""
        columns = self.columns[name]
        return (columns,) if isinstance(columns, str) else columns

    def column_span(self, name: str, column: str) -> Span | None:
        """Where a column of a variable is named."""
        if isinstance(self.columns[name], str):
            return self.span("columns", name)
        return self.span("columns", name, self.columns_of(name).index(column))

    def steps_of(self, name: str) -> tuple[Word | Rescale, ...]:
        """The transforms of a variable, none, one or several."""
        steps = self.transforms.get(name, ())
        return steps if isinstance(steps, tuple) else (steps,)

    @classmethod
    def written_out(cls, data: Any) -> Any:
        """Labels as a map are short for a list of draws of one variable each."""
        labels = data.get("labels") if isinstance(data, Map) else None
        if isinstance(labels, Map):
            longer = Map(data.span)
            for key in data:
                longer.put(key, _draws(labels) if key == "labels" else data[key], data.key_spans[key], data.spans[key])
            return longer
        return data


class Seeds(Block):
    """A seed for each role that chance plays in training; the draws of labels have their own."""

    init: Annotated[int, Field(ge=0)] = 0
    """The initial weights."""
    order: Annotated[int, Field(ge=0)] = 0
    """The order of the rows."""
    noise: Annotated[int, Field(ge=0)] = 0
    """The draws from q, and dropout."""


class Training(Block):
    """How the weights are fitted: Adam, for a number of epochs."""

    epochs: Positive = 100
    """An epoch is one pass over the unlabelled rows, or over the labelled ones if there are no others."""
    batch_size: Positive = 128
    """Rows in a batch, labelled and unlabelled together."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Adam's step size."""
    seeds: Seeds = Field(default_factory=Seeds)
    """The seeds of initial weights, order and noise."""


class Spec(Shown, Block):
    """A partially specified deep generative model: the whole of a file."""

    model: Name
    """The name of the model, and of its class and run folders."""
    description: str = ""
    """What the model is for, in a sentence."""
    plates: dict[Name, Plate] = Field(default_factory=dict)
    """The plates, by name, the outermost first."""
    submodels: dict[Name, Submodel] = Field(default_factory=dict)
    """The specs that are used inside this one, by the name before the dot of their variables."""
    variables: Annotated[dict[Name, Variable], Field(min_length=1)]
    """The variables, by name."""
    p: dict[VariableName, Conditional]
    """The generative model. A latent or supervised variable left out has its family's standard prior."""
    q: Recognition = Field(default_factory=Recognition)
    """The recognition model. What is left out of it, or all of it, is derived from p."""
    objective: Objective = Field(default_factory=Objective)
    """The bound, its samples and its weights."""
    data: Data | None = None
    """What `graphvae train` trains on."""
    training: Training = Field(default_factory=Training)
    """How `graphvae train` trains."""
    layout: dict[VariableName, Place] = Field(default_factory=dict)
    """Where variables, indices of plates and closed sub-models stand in pictures: [x, y] in points (1/72 inch), x to the right
    and y upwards. The others are laid out around them; `graphvae render SPEC -o places.json` writes where all of them are."""

    def _shown(self) -> "tuple[ModelGraph, list[str]]":
        """What its graph says."""
        from graphvae.compiler.resolve import resolve

        return resolve(self)._shown()

    def __str__(self) -> str:
        """The spec as YAML with every default visible; it parses to the same spec."""
        data = self.model_dump(mode="json", exclude_none=True, by_alias=True)
        data = {key: value for key, value in data.items() if value or key not in ("plates", "submodels", "layout")}
        return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def parse(source: Source) -> Spec:
    r"""Turn plain data into a Spec.

    Raises SpecError with every mistake in the shape of the text at once.

    >>> from graphvae.compiler.source import read_text
    >>> spec = parse(read_text("model: m\nvariables: {x: {distribution: normal, role: observed}}\np: {x: []}", "m.yaml"))
    >>> spec.objective.label_term
    'log_mean'
    """
    seen: dict[int, Seen] = {}
    try:
        spec = Spec.model_validate(source.root, context=seen)
    except ValidationError as error:
        raise SpecError(diagnose(error.errors(), source.root, seen)) from None
    if found := diagnose([], source.root, seen):
        raise SpecError(found)
    return spec


def _with_parents(data: Seq) -> Map:
    """`[digit, style]` as `{parents: [digit, style]}`."""
    wrapped, parents = Map(data.span), Seq(data.span)
    for parent, span in zip(data, data.spans, strict=True):
        parents.put(parent, span)
    wrapped.put("parents", parents, data.span, data.span)
    return wrapped


def _with_defaults(data: Map, defaults: dict[str, Any]) -> Map:
    """A mapping with what it leaves out, which stands where the mapping stands."""
    longer = Map(data.span)
    for key in data:
        longer.put(key, data[key], data.key_spans[key], data.spans[key])
    for key, value in defaults.items():
        longer.put(key, value, data.span, data.span)
    return longer


def _draws(labels: Map) -> Seq:
    """`{digit: {rows: 100}}` as `[{variables: [digit], rows: 100}]`."""
    draws = Seq(labels.span)
    for name, draw in labels.items():
        key, span = labels.key_spans[name], labels.spans[name]
        if not isinstance(draw, Map):
            draws.put(draw, span)
            continue
        names, longer = Seq(key), Map(span)
        names.put(name, key)
        longer.put("variables", names, key, key)
        for option in draw:
            longer.put(option, draw[option], draw.key_spans[option], draw.spans[option])
        draws.put(longer, span)
    return draws


class _Dumper(yaml.SafeDumper):
    """Blocks for what is large, flow for what fits on a line, and quotes around text that would read as something else."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        flow = not any(isinstance(value, dict) for value in mapping.values())
        return super().represent_mapping(tag, mapping, flow_style=flow and len(mapping) < 8)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        flow = not any(isinstance(value, dict) for value in sequence)
        return super().represent_sequence(tag, sequence, flow_style=flow)

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_text(text) else '"')

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(str, _Dumper.represent_text)
