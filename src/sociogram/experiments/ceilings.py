"""What nobody can exceed: the accuracy of one who knows everything that reaches a token, and that of copying from a state.

A state of b bits cannot copy more than b bits (Jelassi et al. 2402.01032).
"""

from __future__ import annotations

from math import log2
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

import sociogram as sg

SAMPLES = 4096
"""Sequences over which a ceiling is taken."""


def ceiling(config: sg.grow.SocietyConfig, task: sg.grow.Task, seed: int = 0) -> float:
    """The best accuracy of a society whose tokens know all tokens that can reach them, and those alone.

    Where the answer does not reach the question, the best guess is counted: a value whose key is just out of reach or one among
    those not told to another key, among all tokens, or between the two senses of the word. Capacity is no part of it.
    """
    batch = task.batch(SAMPLES, torch.Generator().manual_seed(seed))
    reached = sg.grow.reach(config, task.length)
    if isinstance(task, sg.grow.Copy):
        return _copied(task, reached)
    return float((_recalled if isinstance(task, sg.grow.Recall) else _sensed)(task, batch, reached).mean())


def _copied(task: sg.grow.Copy, reached: Bool[Tensor, "query key"]) -> float:
    """Tokens are independent: the answer is reached, or any is as likely."""
    asked = torch.arange(task.tokens, 2 * task.tokens)
    known = reached[asked, asked - task.tokens].double()
    return float((known + (1 - known) / (task.vocab_size - 1)).mean())


def _recalled(task: Any, batch: dict[str, Tensor], reached: Bool[Tensor, "query key"]) -> Float[Tensor, " asked"]:
    """Each question, by whether its key's value is reached; else by the better of two guesses.

    One is a value whose key is just out of reach, as often as that is right at this place (near questions are more often about
    early pairs); the other one of the values that are neither told to another key nor that.
    """
    ids, labels = batch["input_ids"], batch["labels"]
    row, place = (labels != -100).nonzero(as_tuple=True)
    values = torch.arange(1, 2 * task.pairs, 2)
    keys = reached[place][:, values - 1]
    told, lonely = reached[place][:, values] & keys, reached[place][:, values] & ~keys
    right = ids[row][:, values - 1] == ids[row, place][:, None]
    known = (told & right).any(1).double()
    missing, hit = torch.zeros(2, task.length, dtype=torch.float64).index_add_(
        1, place, torch.stack((1 - known, (lonely & right).any(1).double()))
    )
    likely = (hit / missing.clamp_min(1))[place]
    others = task.vocab_size - task.vocab_size // 2 - (told & ~right).sum(1) - lonely.sum(1)
    return known + (1 - known) * torch.maximum(likely, (1 - likely) / others)


def _sensed(task: Any, batch: dict[str, Tensor], reached: Bool[Tensor, "query key"]) -> Float[Tensor, " asked"]:
    """Each sequence, by the rule on what reaches the last word; where nothing tells the sense it says the first, half of them."""
    heard = torch.where(reached[-1], batch["input_ids"], 0)
    return (task.oracle({"input_ids": heard})[:, -1] == batch["labels"][:, -1]).double()


def copying(bits: int | float, tokens: int, alphabet: int) -> float:
    """The highest mean accuracy of copying so many independent tokens, each one of `alphabet`, from a state of so many bits.

    By Fano's inequality who errs at a rate e knows log2 alphabet - H(e) - e log2(alphabet - 1) bits of each token, and of all no
    more than the state has; also if each token is told after it was asked. 1 where the state can hold the text.
    """
    known = min(bits / tokens, log2(alphabet))
    low, high = 0.0, 1 - 1 / alphabet
    for _ in range(60):
        error = (low + high) / 2
        spread = 0.0 if error in (0, 1) else -error * log2(error) - (1 - error) * log2(1 - error)
        low, high = (error, high) if log2(alphabet) - spread - error * log2(alphabet - 1) > known else (low, error)
    return 1 - low


class Narrow(nn.Module):
    """A recurrent cell whose state passes a narrow place behind so many tokens: few of its numbers, each in few bits.

    `h` lies between -1 and 1; an LSTM's `c` is cut off at 4. All other numbers of the state become 0.
    """

    def __init__(self, cell: nn.Module, at: int, numbers: int, bits: int) -> None:
        """Around a cell of torch's."""
        super().__init__()
        self.cell, self.at, self.numbers, self.bits = cell, at, numbers, bits

    def forward(self, hidden: Float[Tensor, "batch token width"]) -> tuple[Tensor, Any]:
        """As the cell."""
        first, state = self.cell(hidden[:, : self.at])
        state = (self._few(state[0], 1.0), self._few(state[1], 4.0)) if isinstance(state, tuple) else self._few(state, 1.0)
        rest, state = self.cell(hidden[:, self.at :], state)
        return torch.cat((first, rest), 1), state

    def _few(self, state: Tensor, limit: float) -> Tensor:
        levels = 2**self.bits
        step = ((state / limit + 1) / 2 * levels).floor().clamp(0, levels - 1)
        rounded = ((step + 0.5) / levels * 2 - 1) * limit
        return torch.where(torch.arange(state.shape[-1]) < self.numbers, rounded, torch.zeros_like(state))
