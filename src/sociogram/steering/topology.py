"""Who may talk to whom: rules on pairs of positions, as edits. Each can be asked for its receptive field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.steering.base import Edit, Scene, check_whole


@dataclass(frozen=True, kw_only=True)
class Topology(Edit, ABC):
    """A rule on pairs of positions; edges that it does not keep are cut. What the model masks itself stays masked.

    A rule of your own is a frozen dataclass with a `name` and a method `keeps`.
    """

    takes: ClassVar[frozenset[str]] = frozenset(("layer", "head", "query"))
    signs: ClassVar[bool] = True

    @abstractmethod
    def keeps(self, query: Tensor, key: Tensor) -> Bool[Tensor, "query key"]:
        """Which pairs may talk: `query` `[query, 1]` and `key` `[1, key]` are absolute positions."""

    def asks_positions(self) -> bool:
        """Always."""
        return True

    def cuts(self, scene: Scene) -> Bool[Tensor, "head query key"]:
        """The pairs wanted that the rule does not keep."""
        return scene.wanted & ~self.keeps(scene.at("query")[:, None], scene.at("key")[None])

    def addresses(self, cut: Tensor, scene: Scene) -> Tensor:
        """All pairs wanted: a rule that keeps them all has landed too."""
        return scene.wanted

    def allowed(self, tokens: int, *, causal: bool = True) -> Bool[Tensor, "query key"]:
        """The rule as a mask over so many tokens.

        Raises:
            InputError: a rule for some layers, heads or readers only, which is no single mask.
        """
        if any(getattr(self, name) is not None for name in ("layer", "head", "query")):
            raise InputError(f"`{self}` holds in some places only: ask the rule without layer=, head= and query=")
        positions = torch.arange(tokens)
        kept = self.keeps(positions[:, None], positions[None])
        return kept.tril() if causal else kept

    def pairs(self, tokens: int, *, causal: bool = True) -> int:
        """How many pairs may talk: the budget of this rule."""
        return int(self.allowed(tokens, causal=causal).sum())

    def reach(self, layers: int, tokens: int, *, causal: bool = True) -> Bool[Tensor, "query key"]:
        """The receptive field after so many layers under this rule: whose words can have reached whom, through whomever."""
        step = (self.allowed(tokens, causal=causal) | torch.eye(tokens, dtype=torch.bool)).double()
        field = torch.eye(tokens, dtype=torch.float64)
        for _ in range(layers):
            field = (step @ field > 0).double()
        return field.bool()


@dataclass(frozen=True, kw_only=True)
class Window(Topology):
    """Each token hears itself and those before and after it within `width` (itself counts), and the first `sinks` tokens.

    In a causal model that is the `width` newest tokens, as in sliding-window models; with `sinks` as in StreamingLLM (Xiao et
    al. 2023, 2309.17453).
    """

    name: ClassVar[str] = "window"
    width: int
    sinks: int = 0

    def check(self) -> None:
        """A window holds at least the token itself."""
        check_whole("window", "width", self.width, 1)
        check_whole("window", "sinks", self.sinks, 0)

    def keeps(self, query: Tensor, key: Tensor) -> Tensor:
        """Near enough, or among the first."""
        return ((query - key).abs() < self.width) | (key < self.sinks)


@dataclass(frozen=True, kw_only=True)
class Strided(Topology):
    """Each token hears itself and every `stride`-th token from it (Child et al. 2019), and the `local` newest."""

    name: ClassVar[str] = "strided"
    stride: int
    local: int = 1

    def check(self) -> None:
        """Both are at least 1."""
        check_whole("strided", "stride", self.stride, 1)
        check_whole("strided", "local", self.local, 1)

    def keeps(self, query: Tensor, key: Tensor) -> Tensor:
        """A whole number of strides apart, or near."""
        apart = (query - key).abs()
        return (apart % self.stride == 0) | (apart < self.local)


@dataclass(frozen=True, kw_only=True)
class Random(Topology):
    """Each pair may talk with probability `p`, drawn once for each pair of positions from `seed`; a token always hears itself.

    The draw is a function of the pair alone, so that cached decoding meets the same pairs as prefill.
    """

    name: ClassVar[str] = "random"
    p: float
    seed: int = 0

    def check(self) -> None:
        """A probability."""
        if isinstance(self.p, bool) or not isinstance(self.p, int | float) or not 0 <= self.p <= 1:
            raise InputError(f"random p={self.p!r}: a probability lies between 0 and 1")
        check_whole("random", "seed", self.seed, 0)

    def keeps(self, query: Tensor, key: Tensor) -> Tensor:
        """A hash of the pair below `p`."""
        return (_hashed(query, key, self.seed) < self.p) | (query == key)


@dataclass(frozen=True, kw_only=True)
class Blocks(Topology):
    """Tokens talk within blocks of `size` consecutive tokens only."""

    name: ClassVar[str] = "blocks"
    size: int

    def check(self) -> None:
        """A block holds at least one token."""
        check_whole("blocks", "size", self.size, 1)

    def keeps(self, query: Tensor, key: Tensor) -> Tensor:
        """In the same block."""
        return query // self.size == key // self.size


@dataclass(frozen=True, kw_only=True)
class Bottleneck(Topology):
    """All talk goes through a few tokens: everybody hears them and itself, and only they hear everybody.

    In a causal model a member of the council has heard what came before it; what came after reaches nobody through it.
    """

    name: ClassVar[str] = "bottleneck"
    council: Any = ()

    def check(self) -> None:
        """The council is a list of positions."""
        members = tuple(self.council) if isinstance(self.council, list | tuple | range) else (self.council,)
        if not members or any(isinstance(m, bool) or not isinstance(m, int) or m < 0 for m in members):
            raise InputError(f"bottleneck council={self.council!r}: give positions from 0, at least one")
        object.__setattr__(self, "council", tuple(sorted(set(members))))

    def refuse(self, tokens: int) -> None:
        """The council sits among the tokens."""
        if self.council[-1] >= tokens:
            raise InputError(f"bottleneck council={self.council}: there are {tokens} tokens, numbered 0 to {tokens - 1}")

    def keeps(self, query: Tensor, key: Tensor) -> Tensor:
        """One of the two is of the council, or they are the same."""
        members = torch.tensor(self.council, device=query.device)
        return torch.isin(query, members) | torch.isin(key, members) | (query == key)


@dataclass(frozen=True, kw_only=True)
class Isolate(Topology):
    """Each token hears only itself."""

    name: ClassVar[str] = "isolate"

    def keeps(self, query: Tensor, key: Tensor) -> Tensor:
        """The same."""
        return query == key


def _hashed(query: Tensor, key: Tensor, seed: int) -> Tensor:
    """A number in [0, 1) for each pair, by integer mixing (splitmix64's steps on 62 bits)."""
    mask = (1 << 62) - 1
    x = (query.long() * 0x9E3779B1 + key.long() * 0x85EBCA77 + (seed + 1) * 0xC2B2AE3D) & mask
    for shift, factor in ((30, 0x1B873593), (27, 0x2545F491), (31, 0x27D4EB2F)):
        x = ((x ^ (x >> shift)) * factor) & mask
    return ((x >> 9) & ((1 << 53) - 1)).double() / float(1 << 53)
