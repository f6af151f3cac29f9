"""How quickly a continuation forgets a context that was swapped behind its back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.inputs import Promptable, check_length
from sociogram.models.model import Model
from sociogram.steering.past import Past
from sociogram.steering.reading import given_positions, tokens_and_mask
from sociogram.steering.steer import Steered

AGREE = 1e-4
"""Below this distance (Euclidean, of probabilities) two distributions count as one: what is owed to either cannot be told."""
COLUMNS = ["step", "token", "token_id", "share", "swapped", "under_a", "under_b", "kl_from_a", "kl_from_b", "kl_a_b"]


@dataclass(frozen=True, eq=False)
class Inertia:
    """What `sg.inertia` measured.

    Attributes:
        table: one row per token written after the swap: `step`, `token`, `token_id`; `share`; the written token's probability
            in the `swapped` run, `under_a` and `under_b`; `kl_from_a` = KL(swapped || A), `kl_from_b` = KL(swapped || B) and
            `kl_a_b` = KL(A || B), in nats.
        written: the tokens written under A before the swap, as people read them.
        tokens: how many tokens A and B have.
    """

    table: pd.DataFrame = field(repr=False)
    written: tuple[str, ...]
    tokens: tuple[int, int]

    def __str__(self) -> str:
        """One line per token."""
        head = f"{self.tokens[0]} tokens of A swapped for {self.tokens[1]} of B, after {''.join(self.written) or 'no token'}"
        rows = [f"{r.step:>3}  share {r.share:6.2f}  KL from B {r.kl_from_b:.2e}  {r.token}" for r in self.table.itertuples()]
        return "\n".join([head, *rows])


def inertia(
    model: Model | Steered, prompt_a: Promptable, prompt_b: Promptable, *, before: int = 8, max_new_tokens: int = 32
) -> Inertia:
    """Swap the cached prompt under a continuation, and follow how much of what is said next is still owed to the old one.

    The model writes `before` tokens greedily after A. Then A's cached keys and values are replaced by B's, read alone; the
    written tokens keep theirs, computed under A (moved where A and B differ in length). The last written token is read again on
    this past, since only reading gives a distribution, and the model goes on greedily. At each step three next-token
    distributions for the same text are compared: of this swapped run; of A, with A before all of it; of B, with B before all
    of it and everything recomputed. Then

        share = (swapped - B) . (A - B) / (A - B) . (A - B)

    over the probabilities of all tokens: 1 where the swapped run says what A would, 0 where it says what B would, NaN where A
    and B agree (closer than 1e-4), so that nothing can be owed to either. With A for B all is NaN and all divergences are 0; with
    `before` of 0 or 1 nothing computed under A is left, and the share is 0: the controls.

    Args:
        model: from `sg.load`, with a cache of plain keys and values of all tokens.
        prompt_a, prompt_b: what is swapped for what.
        before: how many tokens are written before the swap.
        max_new_tokens: how many are written after it, if the model does not end before.

    Raises:
        InputError: prompts as in `Past.of`; numbers that are not whole; no room; prompts of different length where keys cannot
            be moved; a model that ended before the swap.
        UnsupportedModelError: as `Past.of`.

    Misleads: the written words themselves were A's choice, and A, B and the swapped run all read them: what they tell of A is
    not counted. A share is a projection: what lies in neither direction is seen only in the divergences. And it is one
    greedy path of one text; the share may leave 0 to 1.
    """
    if not isinstance(model, Model):
        raise InputError("inertia compares runs of the plain model: give the model itself, not a steered view of it")
    for name, value, least in (("before", before, 0), ("max_new_tokens", max_new_tokens, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"inertia {name}={value!r}: a whole number of at least {least} is needed")
    a, b = Past.of(model, prompt_a), Past.of(model, prompt_b)
    check_length(model.hf, max(len(a), len(b)), before + max_new_tokens)
    written = _written(a, before)
    under_a = a.read(written) if written else a
    runs = {
        "swapped": _Run(b.insert(len(b), under_a[len(a) :]) if written else b),
        "a": _Run(under_a),
        "b": _Run(b.read(written) if written else b),
    }
    rows: list[tuple[Any, ...]] = []
    for step in range(max_new_tokens):
        told = {name: torch.softmax(run.logits.double(), -1) for name, run in runs.items()}
        token = int(told["swapped"].argmax())
        rows.append((step, token, *compared(told["swapped"], told["a"], told["b"], token)))
        if token in _ends(model.hf):
            break
        for run in runs.values():
            run.read(token)
    texts = model.spell([*written, *(row[1] for row in rows)])
    table = pd.DataFrame(
        [(row[0], text, *row[1:]) for row, text in zip(rows, texts[len(written) :], strict=True)], columns=COLUMNS
    )
    return Inertia(table, tuple(texts[: len(written)]), (len(a), len(b)))


def compared(
    swapped: Float[Tensor, " vocabulary"], a: Float[Tensor, " vocabulary"], b: Float[Tensor, " vocabulary"], token: int
) -> tuple[float, ...]:
    """Share, three probabilities of a token, three divergences."""
    way = a - b
    length = float(way.norm())
    share = float((swapped - b) @ way) / length**2 if length > AGREE else float("nan")
    return (
        share,
        float(swapped[token]),
        float(a[token]),
        float(b[token]),
        _divergence(swapped, a),
        _divergence(swapped, b),
        _divergence(a, b),
    )


def _divergence(one: Tensor, other: Tensor) -> float:
    """KL(one || other) in nats."""
    return max(float(torch.special.xlogy(one, one).sum() - torch.special.xlogy(one, other).sum()), 0.0)


class _Run:
    """A model reading on from a past, token by token, with one cache."""

    def __init__(self, past: Past) -> None:
        """Read the past's last token again."""
        self.past, self.hf, self.ids = past, past.model.hf, past.ids
        self._take(past.arguments(past.whole(None)))

    def read(self, token: int) -> None:
        """Read one more token."""
        self.ids = torch.cat([self.ids, self.ids.new_tensor([token])])
        place = self.ids.new_tensor([self.past.next_position + len(self.ids) - 1 - len(self.past)])
        given = tokens_and_mask(self.hf, self.ids) | given_positions(self.past, place)
        self._take({**given, "input_ids": self.ids[None, -1:], "past_key_values": self.cache, "use_cache": True})

    def _take(self, arguments: dict[str, Any]) -> None:
        with torch.no_grad():
            output = self.hf(**arguments)
        if getattr(output, "logits", None) is None:
            raise InputError(f"{type(self.hf).__name__} gives no logits per token: load it with a language-modelling head")
        self.cache, self.logits = output.past_key_values, output.logits[0, -1]


def _written(past: Past, count: int) -> list[int]:
    """The tokens that the model writes greedily."""
    written: list[int] = []
    if not count:
        return written
    run = _Run(past)
    for _ in range(count):
        written.append(int(run.logits.argmax()))
        if written[-1] in _ends(past.model.hf):
            raise InputError(
                f"inertia before={count}: after prompt_a the model ended at token {len(written)}, so that there was nothing left "
                f"to swap under; choose before={len(written) - 1} or another prompt"
            )
        run.read(written[-1])
    return written


def _ends(hf: Any) -> tuple[int, ...]:
    end = hf.generation_config.eos_token_id if getattr(hf, "generation_config", None) else None
    return () if end is None else tuple(end) if isinstance(end, list | tuple) else (end,)
