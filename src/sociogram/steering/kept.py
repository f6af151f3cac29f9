"""What a model keeps of a text that it reads, and of what it writes after it: the fields of a `Past`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sociogram.models.continuing import one_text
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.models.seam import Editor
from sociogram.steering.prefill import check_caches, prefilled
from sociogram.steering.reading import tokens_and_mask
from sociogram.steering.steer import Steered
from sociogram.watch.passes import course_of
from sociogram.watch.request import Request


def kept(model: Model | Steered, what: Promptable, generate: int | Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a past of one prompt. `Past.of` says what is refused."""
    request = Request(generate=generate).checked()
    if isinstance(model, Steered):
        return model.reading(what, lambda base, editors: _kept(base, what, request, editors), request.new_tokens)
    return _kept(model, what, request, ())


def _kept(model: Model, what: Promptable, request: Request, editors: Sequence[Editor]) -> dict[str, Any]:
    check_caches(model.hf)
    ids = one_text(model.encode(what))
    inputs = tokens_and_mask(model.hf, ids)
    if request.new_tokens:
        course = course_of(model, inputs, model.find_anatomy(inputs), request, steered=bool(editors))
        written: list[torch.Tensor] = []

        def run() -> Any:
            output, read = course.run()
            written.append(read["input_ids"][0])
            return output

        keys, values, slots = prefilled(model, run, editors)
        ids = written[0][: keys[0].shape[1]]  # the last token was said, and not read
    else:
        keys, values, slots = prefilled(model, inputs, editors)
    return {
        "model": model, "ids": ids, "texts": tuple(model.spell(ids.tolist())), "next_position": len(ids), "slots": slots,
        "positions": torch.arange(len(ids), device=ids.device), "keys": tuple(keys), "values": tuple(values),
    }  # fmt: skip
