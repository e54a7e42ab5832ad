"""Print the page about emitted code, with the code of today: python docs/emitted_code.py > docs/emitted_code.md."""

from __future__ import annotations

from pathlib import Path

from graphvae.compiler.pipeline import compile_file

SPEC = Path(__file__).parent.parent / "specs" / "digits.yaml"

PAGE = """# How to read emitted code

`graphvae compile SPEC -o model.py` writes the model as one Python file. `graphvae train` trains exactly this text: there is no
interpreter beside it. This page walks through all of what

    graphvae compile specs/digits.yaml

prints, and shows that it is an ordinary `nn.Module`. The same spec gives the same bytes every time.

## The head

{head}

A file imports torch, and from `graphvae.runtime` the names it uses. `graphvae compile --standalone` puts the source of those in
their place, for a file that needs torch alone and gives the same numbers.

## q

{encoder}

The encoder is q. Each conditional of the spec that needs a network has one, under its own name: an `Mlp` takes its parents by
name with the shape of each, and has a head for each parameter of its variable's family. A category is a simplex vector inside
the model, so `digit` enters with shape (10,); in data it is an integer.

{encoder_forward}

The forward pass visits the variables in the order of q. `draw` keeps the record: it is told what each variable's distribution
is, and gives back a value.

* `draw.given` is a value that every row has.
* `draw.sample` gives the known value where there is one, and a draw made from `noise` elsewhere.
* `draw.enumerate` gives every value at once, on an axis of its own to the left. So `style` is inferred for all ten digits where
  the digit is unknown, and for the one digit where it is known in all rows of the block.

`# digits.yaml:13` is the line of the spec that the line of code came from. An error that is raised there says so.

Nothing here looks at a mask: which rows know their label is in `evidence`, and is the business of `Draws`. `noise` holds every
random number of the pass, drawn beforehand from a seeded generator, and `knobs` hold what may change from step to step: alpha,
beta and temperatures. So the pass is a function of its arguments, dropout aside.

Tensors are laid out [enumerations..., sample, row, event...], and an axis on which a value does not depend is absent. `logits`
is [row, 10]: it is computed once, whatever the number of samples.

## p

{decoder}

The decoder is p. `digit` has no conditional in the spec, so it has the standard prior of its family, a constant in a buffer.

{decoder_forward}

To score, every variable is known: the objective clamps p to the values that q has made, and `draw` records the
log-probabilities. To generate, nothing is, or what one likes: it is the same pass.

`Bernoulli(logits, event=3)` says that the last three axes are one value, so its log-probability is a sum over them.

## The model

{model}

What follows from an encoder and a decoder is inherited from `Model` and never emitted: `objective`, `posterior`, `predict`,
`log_evidence`, `impute` and `sample`. The table says what the runtime must know of each variable, and `label_term` which
estimator of log q(label | row) the objective has.

## An ordinary module

```pycon
>>> import graphvae, torch
>>> generator = torch.manual_seed(0)
>>> model = graphvae.compile("specs/digits.yaml")()     # the class, made from the text above
>>> isinstance(model, torch.nn.Module)
True
>>> [name for name, _ in model.encoder.named_children()]
['digit', 'style']
>>> sum(weight.numel() for weight in model.parameters())
63834
>>> images = torch.rand(6, 1, 8, 8)
>>> digits = torch.tensor([3, 1, -1, -1, -1, -1])        # -1 is unknown
>>> optimiser = torch.optim.Adam(model.parameters())
>>> bound = model.objective({{"image": images, "digit": digits}})
>>> bound.shape
torch.Size([6])
>>> bound.mean().neg().backward()
>>> optimiser.step()
>>> model.load_state_dict(model.state_dict())
<All keys matched successfully>
>>> model = model.double().eval()
>>> model.predict({{"image": images.double()}})["digit"].shape
torch.Size([6, 10])
>>> model.sample(2, {{"digit": torch.tensor([7, 7])}})["image"].shape
torch.Size([2, 1, 8, 8])

```

A loop of one's own, an optimiser of one's own, hooks, `torch.save` and several processes work as with any module.
"""


def page() -> str:
    """The page in Markdown."""
    head, encoder, decoder, model = compile_file(SPEC).code.split("\n\n\n")
    parts = {"head": head, "model": model}
    for name, text in (("encoder", encoder), ("decoder", decoder)):
        parts[name], parts[f"{name}_forward"] = text.split("\n\n    def forward")
        parts[f"{name}_forward"] = "    def forward" + parts[f"{name}_forward"]
    return PAGE.format(**{name: f"```python\n{text.rstrip()}\n```" for name, text in parts.items()})


if __name__ == "__main__":
    print(page(), end="")
