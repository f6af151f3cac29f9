"""How keys depend on positions in a loaded model: found and proved on small passes, then used to move keys elsewhere.

Each proving pass reads the same tokens, all at one and the same position, another one in each pass. Every distance is 0 then, so
that under rotary positions the hidden states of all passes agree in every layer, and what the seam shows of keys differs by the
rotation alone. Rotation and tables (sines and cosines) are the family's own: a function of the attention's Python module, and
what the model hands to its attention.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError, SociogramError, UnsupportedModelError
from sociogram.models.attention import AttentionCall, additive
from sociogram.models.examine import forward_arguments, probe_inputs
from sociogram.models.inputs import max_positions, takes
from sociogram.models.quiet import quiet
from sociogram.models.turning import Capture, Name, Table, Turn, capture, find_turn, made, mirrored, replayed
from sociogram.models.verify import TOLERANCE

if TYPE_CHECKING:
    from sociogram.models.model import Model

Kind = Literal["rotary", "free", "absolute"]

PLACES = (0, 3, 7)
"""The positions at which the tokens of the proving passes stand."""


@dataclass(eq=False)
class Rotation:
    """How one model's keys depend on positions; made and proved by `find_rotation`.

    Attributes:
        kind: `"rotary"`: keys are turned by their position, by the family's own function, proved to the tolerance of the dtype
            in every attention call; `"free"`: keys do not depend on positions at all; `"absolute"`: they do, and not by a
            rotation (learned positions), or by one that could not be found.
        reason: what was met where the kind is `"absolute"`.
        given: whether the model takes the positions that it is given (`position_ids`).
        by_index: whether some attention call adds a bias of its own to the scores, which models compute from places in the cache.
        limit: the first position at which the tables of all positions would change (frequencies that depend on the length).
    """

    kind: Kind
    reason: str = ""
    given: bool = False
    by_index: bool = False
    limit: int | None = None
    turns: dict[Name, Turn | None] = field(default_factory=dict, repr=False)
    _hf: Any = field(default=None, repr=False)
    _shown: Capture | None = field(default=None, repr=False)
    _known: dict[tuple[int, ...], dict[tuple[int, ...], Table]] = field(default_factory=dict, repr=False)

    def move(
        self,
        name: Name,
        keys: Float[Tensor, "*heads token d_head"],
        old: Sequence[int] | Tensor,
        new: Sequence[int] | Tensor,
    ) -> Float[Tensor, "*heads token d_head"]:
        """Keys (or queries) of one attention call as they would be at other positions; those that stay keep their bits.

        Args:
            name: the call at the seam, by module path and call number.
            keys: as the seam shows them, after position encoding.
            old, new: where each token was encoded, and where it shall be; below 0 for places before the first (no text can be
                run there; the turn by -p is the inverse of that by p).

        Raises:
            InputError: positions that the model cannot move keys between, with the reason; an unknown call.

        Misleads: the result is what the model would compute at the new place only for a token that heard no other token; what
        a token heard before stays in its key.
        """
        before, after = _whole(old, keys), _whole(new, keys)
        if bool((before == after).all()):
            return keys
        moved = self.place(name, self.strip(name, keys, before), after).to(keys.dtype)
        return torch.where((before == after).to(keys.device)[:, None], keys, moved)

    def strip(
        self, name: Name, keys: Float[Tensor, "*heads token d_head"], at: Sequence[int] | Tensor
    ) -> Float[Tensor, "*heads token d_head"]:
        """Keys without their positions, as they were before the rotation; half precision comes back widened. Errors as `move`."""
        turn = self._turn(name)
        return keys if turn is None else turn.unapply(keys, self._table(name, _whole(at, keys)))

    def place(
        self, name: Name, keys: Float[Tensor, "*heads token d_head"], at: Sequence[int] | Tensor
    ) -> Float[Tensor, "*heads token d_head"]:
        """Keys that `strip` gave, put at positions. Errors as `move`."""
        turn = self._turn(name)
        return keys if turn is None else turn.apply(keys, self._table(name, _whole(at, keys)))

    def _turn(self, name: Name) -> Turn | None:
        if self.kind == "absolute":
            raise InputError(f"keys cannot be moved to other positions in this model: {self.reason}")
        if name not in self.turns:
            raise InputError(f"no attention call {name}; there are {', '.join(map(str, self.turns))}")
        return self.turns[name]

    def _table(self, name: Name, positions: Tensor) -> Table:
        if int(positions.min()) < 0:
            return mirrored(self._table(name, positions.abs()), positions < 0)
        self._check(positions)
        turn, wanted = self.turns[name], tuple(positions.tolist())
        assert turn is not None
        assert self._shown is not None
        own = self._shown.tables[name][turn.which]
        known = self._known.setdefault(wanted, {})
        key = tuple(map(id, own))  # layers share tables
        if key not in known:
            with quiet(), torch.no_grad():
                table = replayed(self._shown, own, positions)
            assert table is not None  # found so when the rotation was proved
            known[key] = table
        while len(self._known) > 4:
            self._known.pop(next(iter(self._known)))
        return known[key]

    def _check(self, positions: Tensor) -> None:
        low, high = int(positions.min()), int(positions.max())
        most = max_positions(self._hf)
        if low < 0 or (most is not None and high >= most):
            wrong = low if low < 0 else high
            end = "on" if most is None else f"to {most - 1:,}"
            raise InputError(f"position {wrong} does not exist: {type(self._hf).__name__} has positions from 0 {end}")
        if self.limit is not None and high >= self.limit:
            raise InputError(
                f"position {high} cannot be moved to: from position {self.limit:,} on this model turns all its keys by other "
                "frequencies than before (they depend on the length of the text)"
            )


def _whole(positions: Sequence[int] | Tensor, keys: Tensor) -> Tensor:
    places = torch.as_tensor(positions, dtype=torch.long).cpu()
    if places.shape != keys.shape[-2:-1]:
        raise InputError(f"{keys.shape[-2]} tokens need as many positions, and {list(places.shape)} were given")
    return places


_rotations: weakref.WeakKeyDictionary[Model, Rotation] = weakref.WeakKeyDictionary()


def find_rotation(model: Model) -> Rotation:
    """How keys depend on positions in a model, proved on small passes; found once and remembered.

    Raises:
        UnsupportedModelError: an encoder-decoder, no text model, or no attention call passes the seam.
    """
    hf = model.hf
    if model not in _rotations:
        if hf.config.is_encoder_decoder:
            raise UnsupportedModelError(f"{type(hf).__name__} is an encoder-decoder: its positions are those of two sequences")
        try:
            with quiet(), torch.no_grad():
                _rotations[model] = _found(hf)
        except SociogramError:
            raise
        except (AttributeError, TypeError, KeyError, ValueError, RuntimeError) as error:
            raise UnsupportedModelError(
                f"{type(hf).__name__} cannot read a text alone ({str(error).splitlines()[0]}), so that how its keys depend on "
                "positions cannot be found"
            ) from error
    return _rotations[model]


def _found(hf: Any) -> Rotation:
    ids = probe_inputs(hf)["input_ids"][:, :6]
    plain = capture(hf, _arguments(hf, ids[:, :1].expand(-1, 6)))
    if not plain.calls:
        raise UnsupportedModelError(f"{type(hf).__name__} never called the attention function: its keys cannot be seen")
    by_index = any(_biased(call) for call in plain.calls.values())
    at = [place for place in PLACES if place < (max_positions(hf) or PLACES[-1] + 1)]
    shown: list[Capture] = []
    if takes(hf, "position_ids") and len(at) > 1:
        try:
            shown = [capture(hf, _arguments(hf, ids, torch.full_like(ids, place))) for place in at]
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            reason = f"{type(hf).__name__} does not take positions of one's own ({str(error).splitlines()[0]})"
            return Rotation("absolute", reason, by_index=by_index)
    if all(_equal(call.key, other.calls[name].key) for other in shown[1:] for name, call in shown[0].calls.items()):
        return _without_positions(hf, plain, by_index)
    return _with_positions(hf, shown, by_index)


def _without_positions(hf: Any, plain: Capture, by_index: bool) -> Rotation:
    """Keys do not follow positions that are given: free only if they do not follow the place in the text either.

    The text of this pass is one token, again and again, so that all its keys must agree.
    """
    for name, call in plain.calls.items():
        if not _equal(call.key[..., :1, :].expand_as(call.key), call.key):
            reason = (
                f"{type(hf).__name__} takes no positions from outside, and in {name[0]} the keys of one repeated token differ "
                "from place to place"
            )
            return Rotation("absolute", reason, by_index=by_index)
    return Rotation("free", by_index=by_index, turns=dict.fromkeys(plain.calls), _hf=hf)


def _with_positions(hf: Any, shown: list[Capture], by_index: bool) -> Rotation:
    turns: dict[Name, Turn | None] = {}
    for name, call in shown[0].calls.items():
        keys = [one.calls[name].key for one in shown]
        if all(_equal(key, keys[0]) for key in keys):
            turns[name] = None
            continue
        turns[name] = find_turn(call.module, [(key[0], one.tables[name]) for key, one in zip(keys, shown, strict=True)], _equal)
        if turns[name] is None:
            reason = f"in {name[0]} they depend on positions, by no rotation that could be found (learned positions?)"
            return Rotation("absolute", reason, given=True, by_index=by_index)
    if untold := next((n for n, turn in turns.items() if turn and not made(shown[-1], shown[-1].tables[n][turn.which])), None):
        reason = f"in {untold[0]} they are rotated by tables that no module of the model makes from positions alone"
        return Rotation("absolute", reason, given=True, by_index=by_index)
    rotation = Rotation("rotary", given=True, by_index=by_index, turns=turns, _hf=hf, _shown=shown[-1])
    for name in turns:
        for place, one in zip(PLACES, shown, strict=False):
            first, key = shown[0].calls[name].key[0], one.calls[name].key[0]
            old, new = (torch.full((key.shape[-2],), at) for at in (PLACES[0], place))
            if not _equal(rotation.move(name, first, old, new), key):  # with tables asked for anew
                return Rotation("absolute", f"in {name[0]} tables asked for anew do not carry keys elsewhere", given=True)
    rotation.limit = _limit(rotation)
    return rotation


def _limit(rotation: Rotation) -> int | None:
    """The first position whose presence changes a table of position 1, or None; found by halving."""
    most = max_positions(rotation._hf)
    names = [name for name, turn in rotation.turns.items() if turn is not None]
    if most is None or most < 3:
        return None

    def changes(position: int) -> bool:
        tables = [(rotation._table(n, torch.tensor([1])), rotation._table(n, torch.tensor([1, position]))) for n in names]
        return any(not torch.equal(alone, b[..., :1, :]) for one, both in tables for alone, b in zip(one, both, strict=True))

    low, high = 1, most - 1
    if not changes(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if changes(middle) else (middle, high)
    return high


def _arguments(hf: Any, ids: Tensor, positions: Tensor | None = None) -> dict[str, Any]:
    given: dict[str, Tensor] = {"input_ids": ids}
    if takes(hf, "attention_mask"):
        given["attention_mask"] = torch.ones_like(ids)
    if positions is not None:
        given["position_ids"] = positions
    return forward_arguments(hf, given)


def _biased(call: AttentionCall) -> bool:
    extra = additive(call)
    finite = extra is not None and bool(((extra != 0) & (extra > torch.finfo(extra.dtype).min / 2)).any())
    return call.bias is not None or finite


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether a tensor is another one, to the tolerance of the other one's dtype."""
    wide = (one.double(), other.double())
    return float((wide[0] - wide[1]).abs().max()) <= TOLERANCE[other.dtype] * float(wide[1].abs().max())
