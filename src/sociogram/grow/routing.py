"""Who takes part in a layer: a router that chooses exactly so many tokens (mixture of depths, Raposo et al. 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sociogram.grow.config import SocietyConfig


def places(share: float, tokens: int) -> int:
    """How many of so many tokens take part: the share, rounded down, at least one."""
    return max(1, int(share * tokens + 1e-9))


class Router(nn.Module):
    """Scores every token and lets the highest take part; what they hear and think is multiplied by sigmoid(score).

    `routing="random"`: the scores are drawn, anew at each step of training, and in evaluation always the same for a layer and a
    number of tokens; the factor is 1.

    Misleads: the choice looks at the whole sequence. A token's part may depend on what comes after it, so that accuracy on a
    text read whole is not that of a text being written.
    """

    def __init__(self, config: SocietyConfig, layer_idx: int) -> None:
        """Make the scores' vector, where they are learned."""
        super().__init__()
        self.share, self.layer_idx = float(config.routed_share or 1.0), layer_idx
        self.score = nn.Linear(config.hidden_size, 1, bias=False) if config.routing == "learned" else None

    def forward(self, hidden: Tensor) -> tuple[Float[Tensor, "batch query 1"], Bool[Tensor, "batch query"]]:
        """The factor of each token of `hidden` `[batch, query, d_model]`, 0 for all that are passed over; and who takes part."""
        factor, chosen = self.choose(hidden)
        share = hidden.new_zeros(hidden.shape[:2]).scatter(1, chosen, factor)
        return share[..., None], torch.zeros_like(share, dtype=torch.bool).scatter(1, chosen, True)

    def choose(self, hidden: Tensor) -> tuple[Float[Tensor, "batch chosen"], Int[Tensor, "batch chosen"]]:
        """The factors and the places, in order, of those who take part in `hidden` `[batch, query, d_model]`."""
        scores = self._random(hidden) if self.score is None else self.score(hidden)[..., 0]
        chosen = scores.topk(places(self.share, scores.shape[1]), dim=-1).indices.sort(-1).values
        scores = scores.gather(1, chosen)
        return torch.ones_like(scores) if self.score is None else torch.sigmoid(scores), chosen

    def _random(self, hidden: Tensor) -> Float[Tensor, "batch query"]:
        batch, tokens = hidden.shape[:2]
        if self.training:
            return torch.rand(batch, tokens, device=hidden.device, dtype=hidden.dtype)
        generator = torch.Generator().manual_seed(self.layer_idx)
        return torch.rand(tokens, generator=generator).to(hidden).expand(batch, tokens)
