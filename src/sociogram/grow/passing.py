"""Tokens that hear each other without attention: a state passed along, an MLP over the places, sums of signed products.

Of the first two recordings keep what they added as `opaque` entries; linear attention is called through transformers' interface
while it is watched, and its signed weights are recorded.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sociogram.core.errors import InputError, UnsupportedModelError
from sociogram.grow.attending import Turn, apply_rotary_pos_emb, attend
from sociogram.grow.config import SocietyConfig
from sociogram.models.switching import IMPLEMENTATION


class Messenger(nn.Module):
    """One state that goes from the first token to the last: each token hears what all before it have left in it.

    `rnn` (Elman 1990) and `lstm` (Hochreiter & Schmidhuber 1997) are torch's, `xlstm` (Beck et al. 2024) is the matrix memory of
    transformers' own xLSTM, as it computes without other packages.
    """

    def __init__(self, config: SocietyConfig, layer_idx: int) -> None:
        """Make the cell."""
        super().__init__()
        width = config.hidden_size
        if config.cell == "xlstm":
            self.cell: nn.Module = _matrix_memory(config)
        else:
            self.cell = {"rnn": nn.RNN, "lstm": nn.LSTM}[str(config.cell)](width, width, batch_first=True)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, hidden: Tensor, **_: Any) -> Float[Tensor, "batch query d_model"]:
        """What each token `[batch, query, d_model]` took from the state."""
        return self.o_proj(self.cell(hidden)[0])


def _matrix_memory(config: SocietyConfig) -> nn.Module:
    from transformers import xLSTMConfig
    from transformers.models.xlstm import modeling_xlstm

    if modeling_xlstm.external_xlstm:
        raise UnsupportedModelError(
            "SocietyConfig(cell='xlstm') uses transformers' own xLSTM, and the package xlstm, which is installed here, takes its "
            "place. Use an environment without it, or cell='lstm'."
        )
    sizes = {"hidden_size": config.hidden_size, "num_heads": config.num_attention_heads, "num_hidden_layers": 1}
    return modeling_xlstm.xLSTMLayer(xLSTMConfig(**sizes, autocast_kernel_dtype="float32", chunk_size=16))


class FeedForward(nn.Module):
    """An MLP over the places, the same for every channel (MLP-Mixer, Tolstikhin et al. 2021), in the place of attention.

    Causal: hidden unit `i` reads the places up to `i` alone, and place `j` reads the units up to `j`.

    Misleads: what it learned belongs to places. In a sequence shorter than those it was trained on, the missing tokens count as
    zeros, which is another task to it.
    """

    def __init__(self, config: SocietyConfig, layer_idx: int) -> None:
        """Make two matrices over as many places as the society has."""
        super().__init__()
        self.causal, places = bool(config.causal), config.max_position_embeddings
        self.gather = nn.Linear(places, places, bias=False)
        self.spread = nn.Linear(places, places, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, **_: Any) -> Float[Tensor, "batch query d_model"]:
        """What reached each of the tokens `[batch, query, d_model]`."""
        return self.o_proj(self._over_places(hidden))

    def _over_places(self, hidden: Tensor) -> Tensor:
        count = hidden.shape[1]
        first, second = (self._matrix(layer.weight, count) for layer in (self.gather, self.spread))
        return second @ nn.functional.gelu(first @ hidden)

    def _matrix(self, weight: Tensor, count: int) -> Float[Tensor, "count count"]:
        matrix = weight[:count, :count]
        return matrix.tril() if self.causal else matrix


class LinearAttention(nn.Module):
    """`sum over keys of (query . key) * value / tokens heard`, without softmax (Katharopoulos et al. 2020).

    Weights may be negative and sum to nothing in particular. `weights` gives them; recordings hold the same.
    """

    def __init__(self, config: SocietyConfig, layer_idx: int) -> None:
        """Make the four projections, without biases."""
        super().__init__()
        self.config, self.causal, self.head_dim = config, bool(config.causal), config.head_dim
        self.scaling = self.head_dim**-0.5
        self.is_causal = self.causal
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(config.hidden_size, config.hidden_size, bias=False) for _ in range(4)
        )

    def forward(
        self, hidden: Tensor, turn: Turn | None = None, mask: Any = None, **_: Any
    ) -> Float[Tensor, "batch query d_model"]:
        """What each token `[batch, query, d_model]` heard; `mask` as the implementation that watches made it."""
        value = self._heads(self.v_proj, hidden)
        if self.config._attn_implementation == IMPLEMENTATION:
            return self.o_proj(attend(self, *self._asked(hidden, turn), value, mask, linear=True))
        heard = (self.weights(hidden, turn) @ value).transpose(1, 2)
        return self.o_proj(heard.reshape(hidden.shape))

    def weights(self, hidden: Tensor, turn: Turn | None = None) -> Float[Tensor, "batch head query key"]:
        """The signed weights: products of query and key, over the number of tokens that may be heard; 0 for all others."""
        query, key = self._asked(hidden, turn)
        products = query @ key.transpose(-1, -2) * self.scaling
        heard = _before(hidden.shape[1], hidden) if self.causal else torch.ones_like(products[0, 0]).bool()
        return products * heard / heard.sum(-1, keepdim=True)

    def _asked(self, hidden: Tensor, turn: Turn | None) -> tuple[Tensor, Tensor]:
        """Queries and keys `[batch, head, token, d_head]`."""
        query, key = self._heads(self.q_proj, hidden), self._heads(self.k_proj, hidden)
        return (query, key) if turn is None else apply_rotary_pos_emb(query, key, *turn)

    def _heads(self, projection: nn.Module, hidden: Tensor) -> Tensor:
        return projection(hidden).view(*hidden.shape[:-1], -1, self.head_dim).transpose(1, 2)


def _before(count: int, like: Tensor) -> Bool[Tensor, "query key"]:
    return torch.ones(count, count, dtype=torch.bool, device=like.device).tril()


def refuse_padding(config: SocietyConfig, attention_mask: Tensor | None) -> None:
    """Padding would be heard like any token by those who do not attend.

    Raises:
        InputError: some of the mask is 0.
    """
    if attention_mask is not None and not bool(attention_mask.all()):
        raise InputError(
            f"Society(kind={config.kind!r})(attention_mask=...): some tokens are padding, which this society cannot but hear. "
            "Give sequences of equal length."
        )
