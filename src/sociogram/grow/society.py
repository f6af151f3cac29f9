"""A society as a transformers model: embeddings, layers by kind, and an answer by objective."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutputWithPast

from sociogram.core.errors import InputError
from sociogram.grow import answers
from sociogram.grow.attending import Rotary, Turn
from sociogram.grow.config import SocietyConfig
from sociogram.grow.hearing import attention_mask as mask_of
from sociogram.grow.kinds import ATTENDING
from sociogram.grow.layers import Convolution, Council, Layer, RoutedLayer, council_mask, norm
from sociogram.grow.passing import refuse_padding
from sociogram.models.switching import IMPLEMENTATION

_PASSED_OVER = {"return_dict", "output_attentions", "output_hidden_states", "logits_to_keep", "cache_position"}
"""What transformers' own code hands to every model's forward, and no society needs."""


class Society(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A small transformers model whose tokens talk as its config's `kind` says.

    `Society(config)` has random weights (torch's global generator). `labels` are aligned with the answers: `labels[:, t]` is
    what is to be said at token `t` (tasks hand the next token there; nothing is shifted here), -100 where nothing is asked.
    """

    config_class = SocietyConfig
    base_model_prefix = ""
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ("Layer", "RoutedLayer", "CrossLayer")
    _tied_weights_keys = {"lm_head.weight": "embed_tokens.weight"}  # noqa: RUF012 - transformers' own name and form
    accepts_loss_kwargs = False

    def __init__(self, config: SocietyConfig) -> None:
        """Make the parts that the config names."""
        super().__init__(config)
        width, size = config.hidden_size, config.vocab_size
        self.embed_tokens = None if size is None else nn.Embedding(size, width)
        self.embed_vectors = None if config.vector_size is None else nn.Linear(config.vector_size, width, bias=False)
        self.embed_places = nn.Embedding(config.max_position_embeddings, width) if config.positions == "learned" else None
        self.embed_pauses = nn.Embedding(config.pauses, width) if config.pauses else None
        self.rotary = Rotary(config) if config.positions == "rotary" else None
        self.council = Council(config) if config.kind == "council" else None
        self.layers = nn.ModuleList() if self.council else nn.ModuleList(map(self._layer, range(config.num_hidden_layers)))
        self.norm = norm(config)
        outputs = {"token": size, "class": config.classes, "number": 1}.get(config.objective)
        self.lm_head = None if outputs is None else nn.Linear(width, outputs, bias=False)
        if not config.tie_word_embeddings:
            self._tied_weights_keys = {}
        if config.vector_size is not None:
            self.main_input_name = "vectors"
        self.post_init()
        self.generation_config.use_cache = config.caches

    def _layer(self, index: int) -> nn.Module:
        routed = self.config.kind == "routed" and index % 2 == 1
        return (RoutedLayer if routed else Layer)(self.config, index)

    def get_input_embeddings(self) -> nn.Module:
        """The embedding of tokens."""
        if self.embed_tokens is None:
            raise NotImplementedError("the inputs of this society are vectors")
        return self.embed_tokens

    def get_output_embeddings(self) -> nn.Module | None:
        """The matrix that gives logits, where there is one."""
        return self.lm_head if self.config.objective == "token" else None

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Embeddings by `initializer_range`; matrices keep a variance of 1, those onto the stream shrink with the depth."""
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, Convolution):
            init.normal_(module.weight, std=len(module.weight) ** -0.5)
        elif isinstance(module, nn.RNN | nn.LSTM):
            for parameter in module.parameters():
                init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)
        elif isinstance(module, nn.RMSNorm) or "LayerNorm" in type(module).__name__:
            init.ones_(module.weight)
        for name, child in cast("list[tuple[str, Any]]", [*module.named_children()]):
            if name in ("o_proj", "down_proj"):
                init.normal_(child.weight, std=(2 * self.config.num_hidden_layers * child.in_features) ** -0.5)
            elif name in ("igate_preact", "fgate_preact"):  # as the paper's: gates open slowly, and forget slowly
                init.zeros_(child.weight)
                init.copy_(child.bias, _gates(name, len(child.bias)))

    def forward(
        self,
        input_ids: Int[Tensor, "batch query"] | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Float[Tensor, "batch query d_model"] | None = None,
        vectors: Float[Tensor, "batch query vector"] | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """One pass.

        Args:
            input_ids, inputs_embeds, vectors: the tokens, one of the three.
            attention_mask: `[batch, key]`, 0 where padding stands.
            position_ids: `[batch, query]`, where the tokens stand; counted on from the cache when left out.
            past_key_values: the cache of the tokens before.
            labels: `[batch, query]` aligned with the answers, or `[batch]` where a class is asked.
            use_cache: whether to hand on a cache; never in training.

        Returns:
            transformers' `CausalLMOutputWithPast`: `logits` `[batch, query, vocabulary]` (`[batch, class]`; numbers
            `[batch, query, 1]`), and `loss` where labels were given.

        Raises:
            InputError: what this society cannot take, or would ignore.
        """
        self._check(kwargs, use_cache, past_key_values)
        hidden = self._entered(input_ids, inputs_embeds, vectors)
        cache = self._cache(past_key_values, use_cache)
        hidden = self._with_pauses(hidden)
        padding = attention_mask if attention_mask is None else attention_mask.repeat_interleave(self._steps, dim=1)
        hidden, turn = self._placed(hidden, position_ids, cache)
        hidden = self._talk(hidden, padding, turn, cache)
        said_at = 0 if self.config.answer_at == "first" else self._steps - 1
        hidden = self.norm(hidden)[:, said_at :: self._steps] if self._steps > 1 else self.norm(hidden)
        logits = answers.logits(self, hidden, attention_mask)
        loss = None if labels is None else answers.loss(self, hidden, logits, labels)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=cache)

    @property
    def _steps(self) -> int:
        """Places for each token: itself and its pauses."""
        return 1 + int(self.config.pauses or 0)

    def _check(self, kwargs: dict[str, Any], use_cache: bool | None, past: Any) -> None:
        unknown = [name for name in kwargs if name not in _PASSED_OVER]
        if unknown:
            raise InputError(f"Society(...)({unknown[0]}=...): a society's forward takes no {unknown[0]}. Leave it out.")
        if (use_cache or past is not None) and not self.config.caches:
            raise InputError(
                f"Society(kind={self.config.kind!r}, causal={self.config.causal})(use_cache=True): this society reads every "
                "token anew and would ignore a cache. Leave it out; generate(..., use_cache=False)."
            )

    def _entered(self, ids: Tensor | None, embeds: Tensor | None, vectors: Tensor | None) -> Tensor:
        given = [
            name for name, value in {"input_ids": ids, "inputs_embeds": embeds, "vectors": vectors}.items() if value is not None
        ]
        wanted = "vectors" if self.embed_vectors is not None else "input_ids"
        if len(given) != 1 or given[0] not in (wanted, "inputs_embeds"):
            raise InputError(
                f"Society(...)({', '.join(f'{name}=...' for name in given)}): this society reads {wanted} "
                f"(or inputs_embeds), one of them. Give {wanted}=..."
            )
        if embeds is not None:
            return embeds
        return self.embed_vectors(vectors) if self.embed_vectors is not None else self.get_input_embeddings()(ids)

    def _cache(self, past: Any, use_cache: bool | None) -> Any:
        wanted = self.config.use_cache and not self.training if use_cache is None else use_cache
        return DynamicCache() if past is None and wanted and self.config.caches else past

    def _with_pauses(self, hidden: Tensor) -> Tensor:
        """Each token followed by its pauses: `[batch, query * (1 + pauses), d_model]`."""
        if self.embed_pauses is None:
            return hidden
        pauses = self.embed_pauses.weight.expand(*hidden.shape[:2], -1, -1)
        return torch.cat([hidden[:, :, None], pauses], dim=2).flatten(1, 2)

    def _placed(self, hidden: Tensor, position_ids: Tensor | None, cache: Any) -> tuple[Tensor, Turn | None]:
        """The stream with the places added, or the turns of queries and keys."""
        config, count = self.config, hidden.shape[1]
        before = 0 if cache is None else int(cache.get_seq_length())
        bounded = self.embed_places is not None or config.kind == "feedforward"
        if bounded and before + count > config.max_position_embeddings:
            raise InputError(
                f"Society(kind={config.kind!r}): {before + count} places are needed (pauses included) and there are "
                f"{config.max_position_embeddings}. Shorten the input, or grow one with larger max_position_embeddings."
            )
        if position_ids is None:
            position_ids = torch.arange(before, before + count, device=hidden.device)[None]
        elif self._steps > 1:  # a token's place among tokens; its pauses follow it
            own = torch.arange(self._steps, device=hidden.device)
            position_ids = (position_ids[..., None] * self._steps + own).flatten(1)
        if self.rotary is not None:
            return hidden, self.rotary(hidden, position_ids)
        if self.embed_places is not None:
            return hidden + self.embed_places(position_ids), None
        if config.positions == "sinusoidal":
            return hidden + sinusoids(position_ids, hidden) * config.initializer_range * 2**0.5, None
        return hidden, None

    def _talk(self, hidden: Tensor, padding: Tensor | None, turn: Turn | None, cache: Any) -> Tensor:
        config = self.config
        if config.convolution is not None or config.kind not in ATTENDING | {"council"}:
            refuse_padding(config, padding)
        if self.council is not None:
            return self.council(hidden, council_mask(hidden, padding, config._attn_implementation))
        watched = config.kind == "linear_attention" and config._attn_implementation == IMPLEMENTATION
        mask = mask_of(config, hidden, padding, cache) if config.kind in ATTENDING or watched else None
        for layer in self.layers:
            if isinstance(layer, RoutedLayer):
                hidden = layer(hidden, padding=padding, turn=turn)
            else:
                hidden = layer(hidden, mask=mask, turn=turn, past=cache)
        return hidden

    def floating_point_ops(self, inputs: Any, exclude_embeddings: bool = True) -> int:
        """Not counted: transformers' estimate knows no kinds."""
        return 0


def _gates(name: str, count: int) -> Float[Tensor, " head"]:
    """The first biases of a matrix memory's input and forget gates."""
    return torch.linspace(3, 6, count) if name[0] == "f" else torch.full((count,), -10.0)


def sinusoids(position_ids: Tensor, like: Tensor) -> Float[Tensor, "batch query d_model"]:
    """Sines in even channels and cosines in odd ones, of wavelengths from 2 pi to 20000 pi (Vaswani et al. 2017)."""
    width = like.shape[-1]
    steps = torch.arange(0, width, 2, device=like.device, dtype=torch.float64) / width
    angles = position_ids[..., None].double() * 10000.0**-steps
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)[..., :width].to(like.dtype)
