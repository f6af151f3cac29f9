"""From statistic to cause: cut what a statistic points to, and beside it as much that it does not point to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.asked import check_count, picture
from sociogram.graphs.targets import targets_of
from sociogram.models.examine import forward_arguments
from sociogram.models.model import Model
from sociogram.models.seam import Editor, watching
from sociogram.steering.base import Edit
from sociogram.steering.steer import steer
from sociogram.watch.predictions import shown
from sociogram.watch.progress import bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

CONTROLS = ("matched", "random")


@dataclass(frozen=True, eq=False)
class CausalTest:
    """What muting chosen parts does to the output, beside what muting as many others does.

    Attributes:
        effect: of the chosen parts: KL(plain || muted) in nats of the next token at the reader; of a model without next tokens
            how far what it gives out there (or for all tokens together) moved, over its norm.
        controls: the same of each set of controls.
        table: one row per set: `set` ("chosen" or "control"), `parts`, `effect`.
        unit: "KL, nats" or "relative move".
        what, control, query: what was muted ("heads", "tokens", "edges"), how controls were drawn, and the reader.
    """

    effect: float
    controls: Float[np.ndarray, " sample"]
    table: pd.DataFrame
    unit: str
    what: str
    control: str
    query: int

    @property
    def difference(self) -> float:
        """The effect above the mean of the controls."""
        return self.effect - float(self.controls.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference: the mean of the controls by 9,999 bootstrap samples of them (percentiles)."""
        rng = np.random.default_rng(0)
        means = rng.choice(self.controls, (9999, len(self.controls))).mean(1)
        low, high = np.quantile(self.effect - means, [0.025, 0.975])
        return float(low), float(high)

    @property
    def p(self) -> float:
        """One-sided: how often a set of controls does as much; never below 1 / (samples + 1)."""
        return float((1 + (self.controls >= self.effect).sum()) / (1 + len(self.controls)))

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """The controls' effects as a histogram, the chosen parts' as a line; see `sg.plot.causal_test`."""
        return picture("causal_test", self, ax=ax)

    def __repr__(self) -> str:
        """Effect, controls and what they support."""
        low, high = self.interval
        return (
            f"CausalTest({self.what}: {self.effect:.4g} {self.unit}; {len(self.controls)} {self.control} controls "
            f"{self.controls.mean():.4g}; difference {self.difference:.4g} [{low:.4g}, {high:.4g}], p {self.p:.3g})"
        )


def causal_test(
    networks: Networks,
    what: Sequence[Any],
    *,
    control: str = "matched",
    samples: int = 50,
    seed: int = 0,
    query: int = -1,
) -> CausalTest:
    """Mute what a statistic points to, and as many parts that it does not point to, and compare what that does to the output.

    Args:
        networks: whose recording is run again under edits.
        what: heads as pairs `(layer, head)`, which are muted; or tokens (numbers or texts), of which all that they tell others is
            cut, in every layer and head; or edges `(layer, head, query, key)`, which are cut. One kind in a list.
        control: `"matched"`: for a head another of its layer; for a token one of those around it (never the first token, unless
            it is among `what`, nor the reader); for an edge another edge of its head and reader, as near in weight as there is
            choice. `"random"`: any other head or token, or edge of its layer.
        samples: how many sets of controls.
        seed: of the random numbers.
        query: the token of the main stack at which the output is read (an output of all tokens together is read whole).

    Returns:
        The effects, their difference with an interval, and a p-value.

    Raises:
        InputError: mixed kinds, a part that does not exist or is named twice, or nobody left to be a control.
        RecordingError: the model is not at hand, or the recording is of a steered run.
        EditDidNotLand: a part that has nothing to mute, such as an edge that the mask hides.

    Misleads: muting takes a head's whole output away and moves the stream off what later layers know; a large effect says that
    the output depends on the part, not what it does there.
    """
    rec = networks.source.rec
    if rec.model is None:
        raise RecordingError("causal_test() runs the model: open the recording with sg.open_recording(path, model=...)")
    if "edits" in rec.tree.attrs:
        raise RecordingError("causal_test() compares with the plain model, and this recording is of a steered run")
    if control not in CONTROLS:
        raise InputError(f"control={control!r}: choose one of {', '.join(CONTROLS)}")
    check_count("samples", samples)
    reader = rec.find("query", query)
    targets = targets_of(networks, what, reader)
    rng = np.random.default_rng(seed)
    measure = _Effect(rec.model, dict(rec.inputs), reader)
    with bar("muting", samples + 1, samples + 1) as advance:
        effect = measure(targets.edits(targets.chosen))
        advance(1)
        sets, effects = [], []
        for _ in range(samples):
            sets.append(targets.controls(control, rng))
            effects.append(measure(targets.edits(sets[-1])))
            advance(1)
    parts = [targets.chosen, *sets]
    table = pd.DataFrame(
        {
            "set": ["chosen", *["control"] * samples],
            "parts": [targets.spelled(one) for one in parts],
            "effect": [effect, *effects],
        }
    )
    return CausalTest(effect, np.array(effects), table, measure.unit, targets.kind, control, reader)


class _Effect:
    """How far edits move the output at one reader."""

    def __init__(self, model: Model, inputs: dict[str, Tensor], reader: int) -> None:
        """Run the plain model once."""
        self.model, self.inputs, self.reader = model, inputs, reader
        self.speaks = not model.find_anatomy(inputs).head.problem
        self.unit = "KL, nats" if self.speaks else "relative move"
        self.plain = self._run(model, ())

    def __call__(self, edits: list[Edit]) -> float:
        """The effect of muting; one run."""
        with steer(self.model, edits) as steered:
            muted = steered.reading(self.inputs, self._run)
        if not self.speaks:
            return float((muted - self.plain).norm() / self.plain.norm())
        one, two = torch.log_softmax(self.plain, -1), torch.log_softmax(muted, -1)
        return float((one.exp() * (one - two)).nan_to_num().sum().clamp_min(0))

    def _run(self, model: Model, editors: Sequence[Editor]) -> Tensor:
        arguments = forward_arguments(model.hf, self.inputs)
        with torch.no_grad(), watching(model.hf, [], editors):
            value = shown(model.hf(**arguments))[0].double().cpu()
        return value[self.reader] if value.ndim > 1 else value
