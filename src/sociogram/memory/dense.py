"""A text pressed into a few vectors, as it comes out of `densify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, final

import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.steering.odds import ScaleOdds
from sociogram.steering.past import Past
from sociogram.steering.residual import Add
from sociogram.steering.steer import steer

if TYPE_CHECKING:
    from sociogram.memory.densify import Pressing

Method = Literal["mean", "gist", "trained"]
METHODS: tuple[Method, ...] = ("mean", "gist", "trained")


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Dense:
    """A text pressed into n vectors for one model; made by `sg.densify`.

    Attributes:
        method: `"mean"`, `"gist"`, `"trained"`.
        ids: `[token]`, the text that was pressed.
        past: the vectors as a `Past` of n tokens, `<dense 1>` to `<dense n>`: their keys and values per layer. What is read
            after `"mean"` and `"trained"` stands where it stood after the whole text, so that distances to the text's parts stay
            what they were; after `"gist"` it stands behind the placeholders.
        counts: for how many tokens each vector stands in the softmax; ones where a vector speaks for itself.
        losses: of `"trained"`, a table `step`, `loss` (nats per token of the examples); empty otherwise.
        stopped: of `"trained"`, why fitting ended; interrupted ones say so.
    """

    method: Method
    ids: Int[Tensor, " token"]
    past: Past
    counts: tuple[int, ...]
    losses: pd.DataFrame = field(repr=False)
    stopped: str = ""
    pressing: Pressing = field(repr=False)

    @property
    def model(self) -> Model:
        """Whose vectors they are."""
        return self.past.model

    @property
    def edits(self) -> tuple[ScaleOdds, ...]:
        """What lets a vector weigh as the tokens that it stands for: its odds times their number (log m added to its score).

        For `sg.steer(model, dense.edits)` with `past=dense.past`; `logits` and `generate` here do so. Exact where all keys of a
        span were equal. A source of `edits.attend` is heard without it: each vector as one token.
        """
        sizes = sorted(set(self.counts) - {1})
        return tuple(ScaleOdds(key=[i for i, m in enumerate(self.counts) if m == size], factor=float(size)) for size in sizes)

    @cached_property
    def additions(self) -> tuple[Add, ...]:
        """The text's mean effect on the residual stream: one `edits.add` per layer, for `sg.steer`, without any past.

        Measured on the examples (sampled now, where none were needed before); `memory/shift.py` has the definition. They are one
        vector per layer, whatever n is, the same for every token read.

        Raises:
            InputError: no example of two tokens or more.

        Misleads: a mean shift carries what the text does to all that is read alike (tone, form, topic), and nothing that
        depends on what is asked.
        """
        from sociogram.memory.shift import additions

        full = Past.of(self.model, self.ids.tolist())
        return additions(full, self.pressing.examples_of(full))

    def logits(self, what: Promptable) -> Float[Tensor, "query vocabulary"]:
        """Logits of what is read after the vectors, each weighing as the tokens that it stands for. Errors as `Past.logits`."""
        if not self.edits:
            return self.past.logits(what)
        with steer(self.model, self.edits) as steered:
            return steered.logits(what, past=self.past)

    def generate(self, what: Promptable, *, max_new_tokens: int = 32, **kwargs: Any) -> str:
        """Read on from the vectors, then write, as `model.generate` does. Errors as there."""
        if not self.edits:
            return self.past.generate(what, max_new_tokens=max_new_tokens, **kwargs)
        with steer(self.model, self.edits) as steered:
            return steered.generate(what, max_new_tokens=max_new_tokens, past=self.past, **kwargs)

    def quality(
        self, prompts: Sequence[Promptable], *, controls: bool = True, other: Dense | Promptable | None = None, seed: int = 0
    ) -> pd.DataFrame:
        """How much of what the text does is kept, on prompts that were not seen while it was pressed, next to controls.

        Each prompt is read after the whole text and in each other way; next-token distributions are compared after every token.

        Args:
            prompts: held out.
            controls: also the nulls and the cheap ways: another text, vectors in another order, random ones, the text's last
                and first n tokens.
            other: another text pressed into as many vectors, or a text that shall be, in the same way; a passage of our
                own when left out. For `"trained"` that is fitted as long as this was, unless it is given pressed.
            seed: of random vectors and orders.

        Returns:
            One row per way of reading: `reading`, `kind` (`"whole"`, `"dense"`, `"control"`); `vectors` kept; `kl` (KL to the
            distribution after the whole text, nats, mean over tokens, then prompts), `closed` (1 - kl / kl without text: 1 for
            the whole text, 0 for none, negative where it is worse than none), `agree` (share of tokens with the same most
            probable next one); `kl_last`, `closed_last`, `agree_last` after the last token of each prompt alone; `tokens_saved`,
            `bytes` kept and `bytes_saved`.

        Raises:
            InputError: no prompts; as `model.encode`; another text of fewer tokens than there are vectors.

        Misleads: agreement with the model under the text, not with the truth. The last tokens' cached keys and values have heard
        the whole text; only "read alone" has not.
        """
        from sociogram.memory.quality import quality

        return quality(self, prompts, controls=controls, other=other, seed=seed)

    def __len__(self) -> int:
        """How many vectors."""
        return len(self.past)

    def __repr__(self) -> str:
        """Method, sizes, and why fitting ended."""
        ended = f", {self.stopped}" if self.stopped else ""
        return f"Dense({len(self.ids)} tokens of {self.model.name!r} in {len(self)} vectors, {self.method}{ended})"
