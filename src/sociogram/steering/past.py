"""The past of a model as a value: cached keys and values of a text, to be cut, moved, joined, kept and read on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.address import Given, address, places, written
from sociogram.core.errors import InputError
from sociogram.models.continuing import following
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.models.rotary import Rotation, find_rotation
from sociogram.models.tokens import find_token
from sociogram.steering.prefill import Name, fresh_cache, prefilled
from sociogram.steering.reading import many_passes, one_pass, readable, shown_positions, tokens_and_mask
from sociogram.steering.splice import erased, scaled, spliced
from sociogram.steering.steer import Steered

_LISTED = 60


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Past:
    """Cached keys and values of a text in one model; made by `Past.of`. Every method gives a new one and leaves this as it is.

    Tokens are addressed as everywhere: by their number in the past, by slice, text, condition on the text, or a list of these.
    The number is the place in the past; `positions` says where each token stood when it was read, and after edits the two differ.

    Attributes:
        model: whose past it is.
        ids: `[token]`.
        texts: each token as people read it.
        positions: `[token]`, where each token stands, ascending.
        next_position: where the next token will stand.
        keys, values: per slot of the cache (usually one per layer) `[kv_head, token, d_head]` and `[kv_head, token, d_value]`;
            keys are those that the attention reads, after position encoding.
        slots: attention call (module path, number) -> the slot that it reads.

    Misleads: a token's key and value carry what it had heard when it was read. Erasing a token takes it away from *later*
    readers; what others had heard from it stays in their keys and values.
    """

    model: Model = field(repr=False)
    ids: Int[Tensor, " token"]
    texts: tuple[str, ...]
    positions: Int[Tensor, " token"]
    next_position: int
    keys: tuple[Float[Tensor, "kv_head token d_head"], ...]
    values: tuple[Float[Tensor, "kv_head token d_value"], ...]
    slots: Mapping[Name, int]

    @classmethod
    def of(cls, model: Model | Steered, what: Promptable, *, generate: int | Mapping[str, Any] = 0) -> Past:
        """Read one prompt and keep its keys and values; of a steered model, as it reads it (its receipt says what landed).

        With `generate` the model writes so many tokens on (or under settings, as in `sg.record`), and what it kept of them while
        it wrote belongs to the past: a letter to its later runs.

        Raises:
            InputError: as `model.encode`; several prompts; more than a text; settings that `sg.record` refuses.
            UnsupportedModelError: no cache of plain keys and values of all tokens (windows, state spaces, encoder-decoders).
        """
        from sociogram.steering.kept import kept

        return cls(**kept(model, what, generate))

    def read(self, more: Promptable) -> Past:
        """This past and what is read after it, as the model hears it from here on.

        Raises:
            InputError: as `of`; no positions left; positions that the model does not take.
        """
        whole = self.whole(more)
        fresh = whole["input_ids"][0, len(self) :]
        keys, values, _ = prefilled(self.model, self.arguments(whole))
        end = self.next_position + len(fresh)
        return replace(
            self,
            ids=whole["input_ids"][0],
            texts=(*self.texts, *self.model.spell(whole["input_ids"][0].tolist())[len(self) :]),
            positions=torch.cat([self.positions, torch.arange(self.next_position, end, device=self.ids.device)]),
            next_position=end,
            keys=tuple(keys),
            values=tuple(values),
        )

    # What it is.

    @property
    def names(self) -> list[str]:
        """The tokens' texts."""
        return list(self.texts)

    @property
    def rotation(self) -> Rotation:
        """How the model's keys depend on positions: found once per model."""
        return find_rotation(self.model)

    def told(self, name: Name) -> tuple[Float[Tensor, "kv_head token d_head"], Float[Tensor, "kv_head token d_value"]] | None:
        """Keys (encoded at `positions`) and values that an attention call reads of this past; None where it has none."""
        slot = self.slots.get(name)
        return None if slot is None else (self.keys[slot], self.values[slot])

    def find(self, where: Given) -> list[int]:
        """The places in this past that an address means, ascending.

        Raises:
            InputError: no such token, or none that it means.
        """
        kept = address(where)
        meant = places(kept, self.texts, find_token, 0, "token")
        found = [i for i, text in enumerate(self.texts) if meant.holds(i, text)]
        if not found:
            raise InputError(
                f"no token of this past is meant by {written(kept)}; it has {len(self)}, numbered 0 to {len(self) - 1}"
            )
        return found

    def __len__(self) -> int:
        """How many tokens."""
        return len(self.ids)

    def __getitem__(self, where: Given) -> Past:
        """A past of the tokens meant, with their keys and values as they are and where they are."""
        found = self.find(where)
        at = torch.tensor(found, device=self.ids.device)
        return replace(
            self,
            ids=self.ids[at],
            texts=tuple(self.texts[i] for i in found),
            positions=self.positions[at],
            next_position=int(self.positions[found[-1]]) + 1,
            keys=tuple(key[:, at] for key in self.keys),
            values=tuple(value[:, at] for value in self.values),
        )

    # Edits.

    def erase(self, where: Given, *, close: bool = False) -> Past:
        """Without some tokens, for all later readers. The others keep their positions (a hole is left), or close up.

        Args:
            where: which tokens.
            close: move later tokens (and the next position) forward by the positions that are gone.

        Raises:
            InputError: no such token; nothing would be left; `close` where keys cannot be moved; a hole where the model does not
                take positions.

        Misleads: see the class: what remains has heard what is gone.
        """
        return readable(erased(self, self.find(where), close))

    def scale(self, where: Given, key: float = 1.0, value: float = 1.0, *, layer: Any = None, head: Any = None) -> Past:
        """Tokens made easier or harder to find (`key`: their scores times this) or louder or quieter (`value`).

        Args:
            where: which tokens.
            key, value: factors.
            layer: slots of the cache, by number; all when left out.
            head: key/value heads, by number; all when left out.

        Raises:
            InputError: no such token, slot or head; factors that are no finite numbers.

        Misleads: a value of 0 silences a token, and does not take it away: it still takes its share of the softmax.
        """
        return scaled(self, self.find(where), key, value, address(layer), address(head))

    def insert(self, at: int | str, source: Past | Promptable) -> Past:
        """With tokens put in before one; that one and all later ones move back by as many positions.

        Args:
            at: before which token, by number or text; `len(past)` is after the last.
            source: another past, whose keys and values are taken with what they had heard, moved to the new place; or a text (or
                ids), which is read at its place, hearing what precedes it.

        Raises:
            InputError: no such token; keys that the model cannot move (learned positions); a past of a model that does not fit.
        """
        start = len(self) if isinstance(at, int) and at == len(self) else find_token(self.texts, at)
        return readable(spliced(self, start, start, source))

    def replace(self, where: Given, source: Past | Promptable) -> Past:
        """With tokens put in the place of a span; later ones move where the lengths differ. Source and errors as in `insert`."""
        found = self.find(where)
        if found[-1] - found[0] + 1 != len(found):
            raise InputError(f"replace needs tokens in one piece, and {', '.join(map(str, found))} are not: give a slice")
        return readable(spliced(self, found[0], found[-1] + 1, source))

    def transplant(self, source: Past, span: Given, at: int | str) -> Past:
        """With a span of another past (of another prompt, run or model of the same shape) put in before a token; see `insert`."""
        return self.insert(at, source[span])

    def fork(self) -> Past:
        """A copy that shares no memory with this one."""
        copied = {name: tuple(t.clone() for t in getattr(self, name)) for name in ("keys", "values")}
        return replace(self, ids=self.ids.clone(), positions=self.positions.clone(), **copied)  # type: ignore[arg-type]

    # Reading on.

    def cache(self, copies: int = 1) -> Any:
        """A fresh cache for transformers, for so many equal sequences; runs write on it, never on this past."""
        return fresh_cache(self.keys, self.values, copies)

    def whole(self, what: Promptable | None) -> dict[str, Tensor]:
        """`input_ids` `[1, token]` of this past and of what follows it (None: nothing), and the mask that goes with them."""
        ids = self.ids if what is None else torch.cat([self.ids, following(self.model.hf, self.model.tokenizer, what)])
        return tokens_and_mask(self.model.hf, ids)

    def arguments(self, whole: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of one forward pass over what follows this past in `whole`; where nothing does, over its last token again."""
        return one_pass(self, whole)

    def generation(self, whole: Mapping[str, Tensor], new: int, copies: int) -> dict[str, Any]:
        """Arguments of `generate` beside the tokens: a fresh cache for so many sequences, and positions.

        Raises:
            InputError: no room for `new` tokens.
        """
        return many_passes(self, whole, new, copies)

    def check_model(self, hf: Any) -> None:
        """Refuse another model than this past's own."""
        if hf is not self.model.hf:
            raise InputError(f"this past is of {self.model.name}, and another model was asked to read it: make it with that one")

    def logits(self, what: Promptable | None = None) -> Float[Tensor, "query vocabulary"]:
        """Logits of tokens that are read after this past; where nothing is given of its last token, read again on the rest.

        Raises:
            InputError: as `model.logits`; no positions left; positions that the model does not take.
        """
        return self.model.logits(what, past=self)

    def generate(self, what: Promptable | None = None, *, max_new_tokens: int = 32, **kwargs: Any) -> str:
        """Read on, then write, as `model.generate` does. Errors as `logits`."""
        return self.model.generate(what, max_new_tokens=max_new_tokens, past=self, **kwargs)

    # Keeping.

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Store this past as one safetensors file (`.safetensors` is added), for a later run of the same model.

        Raises:
            InputError: something is there already (unless `overwrite`), no such folder, another suffix.
        """
        from sociogram.steering.letter import save

        save(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | PathLike[str], model: Model | None = None) -> Past:
        """The past that `save` stored, in the model given, or else in the one that it names, which is loaded then.

        Raises:
            InputError: nothing there, no past, a broken file, another format, another model than the one it was made with, or
                none where that was an object in memory.
            ModelNotFoundError: the model that it names is not there any more.
        """
        from sociogram.steering.letter import load

        return cls(**load(path, model))

    def __repr__(self) -> str:
        """Length, model, positions."""
        return f"Past({len(self)} tokens of {self.model.name!r} at {shown_positions(self)}, {len(self.keys)} layers)"

    def __str__(self) -> str:
        """One line per token: its number, position and text."""
        return "\n".join([f"{self!r}", *self._lines()])

    def _lines(self) -> Iterator[str]:
        width = len(str(max(len(self), self.next_position)))
        for i, (text, position) in enumerate(zip(self.texts[:_LISTED], self.positions.tolist(), strict=False)):
            yield f"{i:>{width}}  at {position:>{width}}  {text}"
        if len(self) > _LISTED:
            yield f"and {len(self) - _LISTED} more"
