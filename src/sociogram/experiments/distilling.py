"""Feed-forward nets that learn from an attention layer what it does, and take its place (Bozic et al. 2311.10642).

Both kinds read the whole sequence laid end to end, for a fixed number of places. They are causal: the hidden units come in
blocks, one for each place, which read the places up to their own alone. Without that a net could copy the next token from the
input, where copying tasks have their answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

import sociogram as sg


@final
@dataclass(frozen=True, eq=False)
class Examples:
    """What the attention of one layer read, how it weighed, and what it added, for many sequences.

    Attributes:
        inputs: `[sequence, query, d_model]`, behind the norm.
        weights: `[sequence, head, query, key]`.
        outputs: `[sequence, query, d_model]`.
    """

    inputs: Tensor
    weights: Tensor
    outputs: Tensor


def examples_of(society: Any, ids: Int[Tensor, "sequence query"]) -> list[Examples]:
    """The examples of each layer: weights from a recording, inputs and outputs from the modules."""
    heard: list[tuple[Tensor, Tensor]] = []
    hooks = [layer.mixer.register_forward_hook(lambda _, given, told: heard.append((given[0], told))) for layer in society.layers]
    try:
        with torch.no_grad():
            society.eval()(ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    found = sg.record(sg.load(society), ids, keep=("weights",)).dataset["weights"].values
    weights = torch.from_numpy(found).unbind(1)  # [sequence, layer, head, query, key]
    return [Examples(inputs, own, outputs) for (inputs, outputs), own in zip(heard, weights, strict=True)]


class Net(nn.Module):
    """One hidden layer over all places laid end to end: units read the places up to their own, places the units up to theirs."""

    def __init__(self, places: int, width: int, units: int, told: int) -> None:
        """For so many `places` of `width` channels; `units` hidden and `told` outgoing numbers for each place."""
        super().__init__()
        self.places, self.told = places, told
        self.gather, self.tell = nn.Linear(places * width, places * units), nn.Linear(places * units, places * told)
        before = torch.ones(places, places).tril()
        self.register_buffer("reads", before.repeat_interleave(units, 0).repeat_interleave(width, 1), persistent=False)
        self.register_buffer("tells", before.repeat_interleave(told, 0).repeat_interleave(units, 1), persistent=False)

    def forward(self, hidden: Float[Tensor, "batch place width"]) -> Float[Tensor, "batch place told"]:
        """What each place is told."""
        reads, tells = self.get_buffer("reads"), self.get_buffer("tells")
        units = F.gelu(F.linear(hidden.flatten(1), self.gather.weight * reads, self.gather.bias))
        return F.linear(units, self.tell.weight * tells, self.tell.bias).unflatten(1, (self.places, self.told))

    @property
    def used(self) -> int:
        """Weights that the masks leave, and biases."""
        masks = (self.get_buffer("reads"), self.get_buffer("tells"))
        return sum(int(mask.sum()) for mask in masks) + self.gather.out_features + self.tell.out_features


class Imitator(nn.Module):
    """A net in the place of a layer's attention, at sequences of up to as many places as it was made for.

    Shorter ones are padded with zeros, behind (`align="first"`) or before them (`align="last"`).
    """

    align = "first"
    fell = float("nan")
    """By which share of itself the loss fell from the last tenth but one of training to the last: near 0 when it has settled."""

    def __init__(self, places: int, width: int, units: int, told: int) -> None:
        """Make the net."""
        super().__init__()
        self.net = Net(places, width, units, told)

    def forward(self, hidden: Float[Tensor, "batch query d_model"], **_: Any) -> Float[Tensor, "batch query d_model"]:
        """What each token is told, instead of by attention.

        Raises:
            InputError: a longer sequence than the net has places.
        """
        missing = self.net.places - hidden.shape[1]
        if missing < 0:
            raise sg.InputError(
                f"{type(self).__name__}({list(hidden.shape)}): the net has {self.net.places} places, and there are "
                f"{hidden.shape[1]} tokens: nothing in it could read the others. Distil one for this length."
            )
        before, behind = (missing, 0) if self.align == "last" else (0, missing)
        told = self.answer(F.pad(hidden, (0, 0, before, behind)))
        return told[:, before : before + hidden.shape[1]]

    def answer(self, hidden: Float[Tensor, "batch place d_model"]) -> Float[Tensor, "batch place d_model"]:
        """At all places."""
        raise NotImplementedError

    def loss(self, examples: Examples) -> Float[Tensor, ""]:
        """What training lowers."""
        raise NotImplementedError


@final
class Outputs(Imitator):
    """Tells the layer's outputs at once."""

    def __init__(self, attention: Any, places: int, width: int, units: int) -> None:
        """Nothing of `attention` is used."""
        super().__init__(places, width, units, width)

    def answer(self, hidden: Tensor) -> Float[Tensor, "batch place d_model"]:
        """The net's."""
        return self.net(hidden)

    def loss(self, examples: Examples) -> Float[Tensor, ""]:
        """Mean squared error, over that of the mean output."""
        spread = (examples.outputs - examples.outputs.mean(0)).square().mean()
        return (self.net(examples.inputs) - examples.outputs).square().mean() / spread


@final
class Weights(Imitator):
    """Tells the layer's weights; what is weighed are the layer's own values, through its own output projection."""

    def __init__(self, attention: Any, places: int, width: int, units: int) -> None:
        """Values and projection are those of `attention`, and stay as they are."""
        self.heads = width // attention.head_dim
        super().__init__(places, width, units, self.heads * places)
        self.values, self.projection = ([attention.v_proj], [attention.o_proj])  # in lists: no parameters of this module

    def scores(self, hidden: Tensor) -> Float[Tensor, "batch head query key"]:
        """Logarithms of the weights but for a constant in each row; later keys are minus infinity."""
        scores = self.net(hidden).unflatten(2, (self.heads, self.net.places)).transpose(1, 2)
        return scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))

    def answer(self, hidden: Tensor) -> Float[Tensor, "batch place d_model"]:
        """The values, weighed."""
        value = self.values[0](hidden).unflatten(2, (self.heads, -1)).transpose(1, 2)
        return self.projection[0]((self.scores(hidden).softmax(-1) @ value).transpose(1, 2).flatten(2))

    def loss(self, examples: Examples) -> Float[Tensor, ""]:
        """Kullback-Leibler divergence of the weights from the layer's, mean over rows."""
        told = self.scores(examples.inputs).log_softmax(-1).clamp_min(-1e4)
        return (torch.special.xlogy(examples.weights, examples.weights) - examples.weights * told).sum(-1).mean()


@final
class Constant(nn.Module):
    """What is told does not depend on what was read: one vector for each place."""

    def __init__(self, told: Float[Tensor, "place d_model"]) -> None:
        """These vectors."""
        super().__init__()
        self.told = told

    def forward(self, hidden: Tensor, **_: Any) -> Float[Tensor, "batch query d_model"]:
        """The same for every sequence."""
        return self.told[: hidden.shape[1]].expand_as(hidden)


def distil(student: Imitator, examples: Examples, *, steps: int, batch: int, rate: float, seed: int) -> Imitator:
    """Train an imitator, by Adam at a rate that falls along a cosine, on batches drawn from the examples."""
    draw = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(student.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    lost = []
    for _ in range(steps):
        rows = torch.randint(len(examples.inputs), (batch,), generator=draw)
        adam.zero_grad()
        loss = student.loss(Examples(examples.inputs[rows], examples.weights[rows], examples.outputs[rows]))
        loss.backward()
        adam.step()
        falling.step()
        lost.append(float(loss.detach()))
    tenth = max(1, steps // 10)
    student.fell = sum(lost[-2 * tenth : -tenth]) / sum(lost[-tenth:]) - 1
    return student.requires_grad_(False)


@contextmanager
def instead(society: Any, parts: dict[int, nn.Module]) -> Iterator[None]:
    """Inside, these modules stand in the place of the attention of these layers."""
    own = {number: society.layers[number].mixer for number in parts}
    try:
        for number, part in parts.items():
            society.layers[number].mixer = part
        yield
    finally:
        for number, part in own.items():
            society.layers[number].mixer = part
