"""plates: A whole and its parts, of which there are as many as a count says, each with a kind that
is sometimes named.

Compiled by graphvae from plates.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Categorical, Count, Draws, Mlp, Model, Normal, Pool, Variable, positive


class Encoder(nn.Module):
    """q(count, kind, light, place | part_in_view, whole)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("part_index", torch.eye(3), persistent=False)
        self.count_slots = Pool({"whole": (4,)}, hidden=[6], over="mean", plates=(2,))
        self.count = Mlp({"count_slots": (6,)}, hidden=[6], heads={"logits": (3,)})
        self.kind_slots = Pool(
            {"whole": (4,), "part_in_view": (2,), "part_in_view_known": (2,)},
            hidden=[7],
            over="max",
            plates=(2,),
        )
        self.kind = Mlp(
            {"part_index": (3,), "kind_slots": (7,)}, hidden=[7], heads={"logits": (2,)}
        )
        self.light = Mlp({"whole": (4,), "count": (3,)}, hidden=[6], heads={"loc": (), "scale": ()})
        self.place_slots = Pool(
            {"whole": (4,), "light": ()}, hidden=[7], over="attention", plates=(2,)
        )
        self.place = Mlp(
            {"kind": (2,), "place_slots": (7,)}, hidden=[7], heads={"loc": (2,), "scale": (2,)}
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        part_in_view, part_in_view_known = draw.masked("part_in_view")
        whole = draw.given("whole")

        count_slots = self.count_slots(whole=whole)
        logits = self.count(count_slots=count_slots)
        count = draw.enumerate("count", Categorical(logits), axis=0)  # plates.yaml:22

        draw.active("part", count, values=[0, 1, 2], size=3)

        kind_slots = self.kind_slots(
            whole=whole.unsqueeze(-3),
            part_in_view=part_in_view,
            part_in_view_known=part_in_view_known,
        )
        logits = self.kind(part_index=self.part_index, kind_slots=kind_slots)
        kind = draw.enumerate(
            "kind", Categorical(logits), axis=1, plates={"part": 3}
        )  # plates.yaml:24

        loc, scale = self.light(whole=whole, count=count.unsqueeze(-2))
        light = draw.sample(
            "light", Normal(loc, positive(scale), event=0), plates={"view": 2}
        )  # plates.yaml:23

        place_slots = self.place_slots(whole=whole.unsqueeze(-3), light=light.unsqueeze(-2))
        loc, scale = self.place(kind=kind, place_slots=place_slots)
        draw.sample("place", Normal(loc, positive(scale)), plates={"part": 3})  # plates.yaml:25

        return draw.made


class Decoder(nn.Module):
    """p(count, kind, light, place, part_in_view, whole)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("part_index", torch.eye(3), persistent=False)
        self.register_buffer("count_logits", torch.zeros(3), persistent=False)
        self.register_buffer("kind_logits", torch.zeros(2), persistent=False)
        self.place = Mlp(
            {"kind": (2,), "part_index": (3,)}, hidden=[6], heads={"loc": (2,), "scale": (2,)}
        )
        self.part_in_view = Mlp(
            {"place": (2,), "light": (), "part_index": (3,)},
            hidden=[5],
            heads={"loc": (2,), "scale": (2,)},
            activation="tanh",
        )
        self.whole_slots = Pool({"kind": (2,), "place": (2,)}, hidden=[8], over="sum", plates=(3,))
        self.whole = Mlp(
            {"count": (3,), "light": (), "whole_slots": (8,)},
            hidden=[8],
            heads={"loc": (4,), "scale": (4,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        count = draw.sample("count", Categorical(self.count_logits))  # plates.yaml:9
        part_active = draw.active("part", count, values=[0, 1, 2], size=3)
        kind = draw.sample(
            "kind", Categorical(self.kind_logits), plates={"part": 3}
        )  # plates.yaml:10
        light = draw.sample(
            "light", Normal(0.0, 1.0, event=0), plates={"view": 2}
        )  # plates.yaml:13

        loc, scale = self.place(kind=kind, part_index=self.part_index)
        place = draw.sample(
            "place", Normal(loc, positive(scale)), plates={"part": 3}
        )  # plates.yaml:17

        loc, scale = self.part_in_view(
            place=place.unsqueeze(-2),
            light=light.unsqueeze(-2),
            part_index=self.part_index.unsqueeze(-2),
        )
        draw.sample(
            "part_in_view", Normal(loc, positive(scale)), plates={"part": 3, "view": 2}
        )  # plates.yaml:19

        whole_slots = self.whole_slots(
            kind=kind.unsqueeze(-3), place=place.unsqueeze(-3), active=part_active.unsqueeze(-2)
        )
        loc, scale = self.whole(count=count.unsqueeze(-2), light=light, whole_slots=whole_slots)
        draw.sample("whole", Normal(loc, positive(scale)), plates={"view": 2})  # plates.yaml:18

        return draw.made


class Plates(Model):
    """p(count, kind, light, place, part_in_view, whole),
    trained through q(count, kind, light, place | part_in_view, whole)
    """

    variables = {
        "count": Variable("supervised", Categorical, (3,), enumerated=True),
        "kind": Variable("supervised", Categorical, (2,), enumerated=True, plates={"part": 3}),
        "light": Variable("latent", Normal, (), plates={"view": 2}),
        "place": Variable("latent", Normal, (2,), plates={"part": 3}),
        "part_in_view": Variable(
            "observed", Normal, (2,), masked=True, plates={"part": 3, "view": 2}
        ),
        "whole": Variable("observed", Normal, (4,), plates={"view": 2}),
    }
    plates = {"part": Count("count", values=(0, 1, 2))}
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
