"""switching: A state that moves from line to line, and what is seen of it.

Compiled by graphvae from switching.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Bernoulli, Draws, Gru, Mlp, Model, Normal, Pool, Variable, positive


class Encoder(nn.Module):
    """q(switch, state, style | seen)"""

    def __init__(self):
        super().__init__()
        self.memory_initial = nn.Parameter(torch.zeros(6))
        self.register_buffer("state_initial", torch.zeros(3), persistent=False)
        self.register_buffer("seen_initial", torch.zeros(5), persistent=False)
        self.memory = Gru(
            {"seen_line": (5,), "memory_previous": (6,), "state_previous": (3,)},
            state="memory_previous",
            size=6,
        )
        self.switch = Mlp({"memory": (6,)}, hidden=[5], heads={"logits": ()})
        self.state = Mlp(
            {"memory": (6,), "switch": (), "seen_previous": (5,)},
            hidden=[5],
            heads={"loc": (3,), "scale": (3,)},
        )
        self.style_slots = Pool(
            {"state": (3,), "memory": (6,)}, hidden=[5], over="mean", plates=(4,)
        )
        self.style = Mlp({"style_slots": (5,)}, hidden=[5], heads={"loc": (2,), "scale": (2,)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        seen = draw.given("seen")

        memory_previous = self.memory_initial
        state_previous = self.state_initial
        seen_previous = self.seen_initial
        for line in draw.slots("line", size=4):
            seen_line = line.at(seen, 1)

            memory = self.memory(
                seen_line=seen_line, memory_previous=memory_previous, state_previous=state_previous
            )  # switching.yaml:19

            logits = self.switch(memory=memory)
            switch = line.enumerate(
                "switch", Bernoulli(logits, event=0), axis=0
            )  # switching.yaml:20

            loc, scale = self.state(memory=memory, switch=switch, seen_previous=seen_previous)
            state = line.sample("state", Normal(loc, positive(scale)))  # switching.yaml:21

            line.keep("memory", memory)
            memory_previous, state_previous, seen_previous = memory, state, seen_line
        memory = draw.stack("memory")
        state = draw.stack("state")

        style_slots = self.style_slots(state=state, memory=memory)
        loc, scale = self.style(style_slots=style_slots)
        draw.sample("style", Normal(loc, positive(scale)))  # switching.yaml:22

        return draw.made


class Decoder(nn.Module):
    """p(style, switch, state, seen)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("line_index", torch.eye(4), persistent=False)
        self.register_buffer("switch_initial", torch.zeros(()), persistent=False)
        self.state_initial = nn.Parameter(torch.zeros(3))
        self.switch = Mlp({"switch_previous": ()}, hidden=[4], heads={"logits": ()})
        self.state = Mlp(
            {"state_previous": (3,), "switch": (), "style": (2,)},
            hidden=[6],
            heads={"loc": (3,), "scale": (3,)},
        )
        self.seen = Mlp(
            {"state": (3,), "line_index": (4,)}, hidden=[6], heads={"loc": (5,), "scale": (5,)}
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        style = draw.sample("style", Normal(0.0, 1.0))  # switching.yaml:8

        switch_previous = self.switch_initial
        state_previous = self.state_initial
        for line in draw.slots("line", size=4):
            logits = self.switch(switch_previous=switch_previous)
            switch = line.sample("switch", Bernoulli(logits, event=0))  # switching.yaml:14

            loc, scale = self.state(state_previous=state_previous, switch=switch, style=style)
            state = line.sample("state", Normal(loc, positive(scale)))  # switching.yaml:15

            switch_previous, state_previous = switch, state
        state = draw.stack("state")

        loc, scale = self.seen(state=state, line_index=self.line_index)
        draw.sample("seen", Normal(loc, positive(scale)), plates={"line": 4})  # switching.yaml:16

        return draw.made


class Switching(Model):
    """p(style, switch, state, seen), trained through q(switch, state, style | seen)"""

    variables = {
        "style": Variable("latent", Normal, (2,)),
        "switch": Variable("supervised", Bernoulli, (), enumerated=True, plates={"line": 4}),
        "state": Variable("latent", Normal, (3,), plates={"line": 4}),
        "seen": Variable("observed", Normal, (5,), plates={"line": 4}),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
