"""sequence: A digit as it is written from the first line to the last, each line out of the state
before.

Compiled by graphvae from sequence.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Bernoulli,
    Categorical,
    Draws,
    Gru,
    Mlp,
    Model,
    Normal,
    Pool,
    Variable,
    positive,
)


class Encoder(nn.Module):
    """q(digit, state | pixels)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("memory_initial", torch.zeros(64), persistent=False)
        self.memory = Gru(
            {"pixels_line": (28,), "pixels_known_line": (28,), "memory_previous": (64,)},
            state="memory_previous",
            size=64,
        )
        self.whole_slots = Pool({"memory": (64,)}, hidden=[64], over="mean", plates=(28,))
        self.whole = Mlp({"whole_slots": (64,)}, hidden=[64], heads={})
        self.digit = Mlp({"whole": (64,)}, hidden=[64], heads={"logits": (10,)})
        self.register_buffer("state_initial", torch.zeros(8), persistent=False)
        self.state = Mlp(
            {"state_previous": (8,), "memory_line": (64,), "whole": (64,), "digit": (10,)},
            hidden=[64],
            heads={"loc": (8,), "scale": (8,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        pixels, pixels_known = draw.masked("pixels")

        memory_previous = self.memory_initial
        for line in draw.slots("line", size=28):
            pixels_line = line.at(pixels, 1)
            pixels_known_line = line.at(pixels_known, 1)

            memory = self.memory(
                pixels_line=pixels_line,
                pixels_known_line=pixels_known_line,
                memory_previous=memory_previous,
            )  # sequence.yaml:17

            line.keep("memory", memory)
            memory_previous = memory
        memory = draw.stack("memory")

        whole_slots = self.whole_slots(memory=memory)
        whole = self.whole(whole_slots=whole_slots)  # sequence.yaml:18

        logits = self.digit(whole=whole)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # sequence.yaml:19

        state_previous = self.state_initial
        for line_2 in draw.slots("line", size=28):
            memory_line = line_2.at(memory, 1)

            loc, scale = self.state(
                state_previous=state_previous, memory_line=memory_line, whole=whole, digit=digit
            )
            state = line_2.sample("state", Normal(loc, positive(scale)))  # sequence.yaml:20

            state_previous = state

        return draw.made


class Decoder(nn.Module):
    """p(digit, state, pixels)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.state_initial = nn.Parameter(torch.zeros(8))
        self.state = Mlp(
            {"state_previous": (8,), "digit": (10,)},
            hidden=[64],
            heads={"loc": (8,), "scale": (8,)},
        )
        self.pixels = Mlp({"state": (8,), "digit": (10,)}, hidden=[64], heads={"logits": (28,)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # sequence.yaml:8

        state_previous = self.state_initial
        for line in draw.slots("line", size=28):
            loc, scale = self.state(state_previous=state_previous, digit=digit)
            state = line.sample("state", Normal(loc, positive(scale)))  # sequence.yaml:13

            state_previous = state
        state = draw.stack("state")

        logits = self.pixels(state=state, digit=digit.unsqueeze(-2))
        draw.sample("pixels", Bernoulli(logits), plates={"line": 28})  # sequence.yaml:14

        return draw.made


class Sequence(Model):
    """p(digit, state, pixels), trained through q(digit, state | pixels)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "state": Variable("latent", Normal, (8,), plates={"line": 28}),
        "pixels": Variable(
            "observed", Bernoulli, (28,), soft=True, masked=True, plates={"line": 28}
        ),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
