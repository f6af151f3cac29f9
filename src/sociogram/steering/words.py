"""The tokens of a run's stacks as edits address them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sociogram.models.anatomy import Anatomy
from sociogram.models.model import Model
from sociogram.steering.base import Edit


def tokens_of(model: Model, inputs: Mapping[str, Tensor]) -> tuple[dict[str, list[str]], dict[str, list[int]]]:
    """The tokens of each stack as people read them, and their ids where they are text."""
    anatomy = model.find_anatomy(inputs)
    own = inputs.get("decoder_input_ids", inputs.get("input_ids"))
    ids: dict[str, list[int]] = {}
    if own is not None and own.ndim == 2:
        ids = {stack: inputs.get("input_ids", own)[0].tolist() for stack in anatomy.stacks}
        ids[anatomy.main] = own[0].tolist()
    return {stack: model.spell(ids[stack]) if stack in ids else _numbered(anatomy, stack) for stack in anatomy.stacks}, ids


def _numbered(anatomy: Anatomy, stack: str) -> list[str]:
    """Names of tokens that are no text."""
    calls = [name for layer in anatomy.stack(stack) for name in layer.calls]
    lengths = [anatomy.lengths[name][1] for name in calls if name in anatomy.lengths]
    return [f"#{i}" for i in range(max(lengths, default=0))]


def has_condition(edit: Edit) -> bool:
    """Whether an edit addresses tokens by a condition on their text."""
    parts = [part for axis in (edit.query, edit.key) for part in (axis if isinstance(axis, tuple) else (axis,))]
    return any(callable(part) for part in parts)
