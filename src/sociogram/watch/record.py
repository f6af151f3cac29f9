"""Run a model once and keep what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sociogram.core.errors import UnsupportedModelError
from sociogram.models.anatomy import Anatomy
from sociogram.models.chunked import reads_in_pieces, turns_with_length
from sociogram.models.examine import is_text
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.models.seam import Editor
from sociogram.watch.build import StackBuilder
from sociogram.watch.disk import Disk
from sociogram.watch.keep import Extent, Keep, bytes_of, check_memory, is_streaming
from sociogram.watch.passes import Course, course_of
from sociogram.watch.predictions import shown
from sociogram.watch.provenance import FORMAT, described
from sociogram.watch.recording import Recording
from sociogram.watch.request import Request
from sociogram.watch.running import Running
from sociogram.watch.stored import open_recording
from sociogram.watch.tokens import StackTokens, stack_tokens


def record(
    model: Model,
    what: Promptable,
    *,
    keep: Keep = "default",
    top: int = 8,
    by: str = "message",
    generate: int | Mapping[str, Any] = 0,
    chunk: int | None = None,
    to: str | PathLike[str] | None = None,
    residual: str = "float32",
    residual_layers: Sequence[int] | None = None,
    memory_limit: int | None = None,
) -> Recording:
    """Run `model` once on `what` and record who told what to whom.

    The model runs its own, unchanged forward pass; only its attention function is ours, for the duration of the run. No
    gradient is kept.

    Args:
        model: from `sg.load`.
        what: a text, a list of texts, chat messages, ids `[T]` or `[batch, T]`, or a dict of the model's own inputs.
        keep: `"default"` (the account: residual stream, attention weights, value norms, value vectors and the other entries),
            `"qkv"` (also queries, keys and output projections, so that worksheets and message vectors work without the
            model), `"stream"` (long contexts: nothing of the size tokens x tokens ever exists; for each reader and head its
            strongest keys, and sums that account for the rest: see docs/streaming.md), or a tuple of variable names.
        top: with `keep="stream"`, how many strongest keys of each reader and head to keep.
        by: what makes a key strong: `"message"` (the norm of what it told) or `"attention"` (its weight).
        generate: let the model write so many tokens after the prompt and record them too, each from the cached decoding as it
            happens; or settings of transformers' `generate` with `max_new_tokens` among them, as far as one token follows another
            in one sequence under them. Greedy unless they say otherwise.
        chunk: read the text in passes of so many tokens, each on the cache of those before, so that what the model itself needs
            stays small. Long texts are read so by themselves where `keep` holds nothing of the size tokens x tokens.
        to: with `keep="stream"`, a folder that does not exist yet: arrays are written there while the text is read, and the
            recording that comes back reads them from there. Interrupted, it can be opened as far as it came.
        residual: what the stream is kept as, `"float32"` (as computed) or, with `keep="stream"`, `"bfloat16"` (rounded; half as
            large on disk, enough for pictures; what a layer added is then known only of entries named in `keep`).
        residual_layers: keep the stream of these layers only (before, within and after them).
        memory_limit: bytes the recording may take; half of the free memory when left out. Without meaning beside `to`.

    Returns:
        The recording: one prompt has no batch dimension, several get a leading `sequence`. Of a text that was written on, the
        tokens written are the last ones; `tree.attrs["prompt_tokens"]` says where they begin.

    Raises:
        InputError: an input that does not fit the model, an unknown name in `keep`, or a setting without meaning.
        MemoryLimitError: too large; says how much it would take and what to drop.
        UnsupportedModelError: no attention of this model passes the seam; or it does not write, or not read in pieces.
        AccountError: the entries read do not add up to what the model computed; names the layer and the part.

    Misleads: attention weights alone say who was *looked at*, not what was *told*; use messages (`rec.edges()`).
    """
    request = Request(
        keep=keep, top=top, by=by, generate=generate, chunk=chunk, to=to, residual=residual, residual_layers=residual_layers,
        memory_limit=memory_limit,
    )  # fmt: skip
    return record_under(model, what, request, editors=None)


def record_under(
    model: Model,
    what: Promptable,
    request: Request,
    *,
    editors: Callable[[Mapping[str, Tensor]], Sequence[Editor]] | None,
) -> Recording:
    """`record`, of a run that is edited while it happens; see `steering`. What is recorded is what was used."""
    request = request.checked()
    _refuse_offloaded(model)
    inputs = model.encode(what)
    anatomy = model.find_anatomy(inputs)
    _refuse_unseen(model, anatomy)
    course = course_of(model, inputs, anatomy, request, steered=editors is not None)
    if request.to is None:
        check_memory(_needs(model, anatomy, course, request), request.memory_limit, request.keep)
    disk = None if request.to is None else _disk(model, anatomy, course, request)
    try:
        running = Running(course, anatomy, request, disk)
        output, read = running.run(() if editors is None else editors(inputs))
    except Exception:
        if disk is not None:
            disk.discard()
        raise
    if disk is not None:
        disk.close(_outputs(output, read), {"text": what} if isinstance(what, str) else {})
        return open_recording(disk.path, model)
    tree = _tree(model, anatomy, read, running)
    if isinstance(what, str):
        tree.attrs["text"] = what
    return Recording(
        tree,
        model=model,
        inputs=read,
        anatomy=anatomy,
        outputs=_outputs(output, read),
        shown=None if course.pieces else _short_output(output),
        editors=editors,
    )


def _disk(model: Model, anatomy: Anatomy, course: Course, request: Request) -> Disk:
    """The folder that a recording is written to while it is made."""
    assert request.to is not None

    def names(builder: StackBuilder, sizes: Mapping[str, int]) -> StackTokens:
        return _tokens(model, anatomy, course.inputs, builder.layers[0].stack, builder, sizes)

    return Disk(request.to, _attributes(model, anatomy, request), course.inputs, course.tokens, names)


def _tokens(
    model: Model, anatomy: Anatomy, inputs: Mapping[str, Tensor], stack: str, builder: StackBuilder, sizes: Mapping[str, int]
) -> StackTokens:
    return stack_tokens(model, anatomy, inputs, sizes, stack, cross=builder.cross, outside=builder.senders.names)


def _attributes(model: Model, anatomy: Anatomy, request: Request) -> dict[str, Any]:
    asked = {"kept": sorted(request.names), "residual_dtype": request.residual}
    return {"format": FORMAT, "main": anatomy.main, **asked, **described(model)}


SHOWN_BYTES = 64_000_000
"""Outputs up to this size stay with the recording in memory."""


def _short_output(output: Any) -> Tensor | None:
    value = shown(output)
    return value.detach() if value.numel() * value.element_size() <= SHOWN_BYTES else None


def _refuse_offloaded(model: Model) -> None:
    away = [name for name, parameter in model.hf.named_parameters() if parameter.is_meta]
    if away:
        raise UnsupportedModelError(
            f"{len(away)} of the weights of {model.name} are offloaded ({away[0]}, ...): they are there only while their module "
            "runs, and an account needs them. Load the model with a device_map that has room for all of them on its devices."
        )


def _refuse_unseen(model: Model, anatomy: Anatomy) -> None:
    statuses = {layer.status for layer in anatomy.layers}
    if "closed" in statuses or (statuses == {"opaque"} and not anatomy.silent):
        return
    if anatomy.problems:
        reasons = "; ".join(f"{problem} ({count} layers)" for problem, count in anatomy.problems.most_common(3))
        raise UnsupportedModelError(
            f"the layers of {type(model.hf).__name__} cannot be written as an account that adds up: {reasons}. "
            "docs/coverage.md lists the families that can be watched."
        )
    silent = f" Attention modules of its own: {', '.join(anatomy.silent[:3])}." if anatomy.silent else ""
    raise UnsupportedModelError(
        f"{type(model.hf).__name__} never called the attention function of transformers' AttentionInterface, so nothing of its "
        f"conversation can be seen.{silent} docs/coverage.md lists the families that can be watched."
    )


def _needs(model: Model, anatomy: Anatomy, course: Course, request: Request) -> dict[str, int]:
    """Bytes by variable over all stacks: for texts from their length, for other inputs from the pass that found the anatomy."""
    width = 8 if model.dtype == torch.float64 else 4
    names, needs = request.names, dict[str, int]()
    if is_streaming(names) and "residual" in names and model.dtype.itemsize < 4:
        names = names | {"attention_out", "mlp_out"}  # what lies between two stops is rounded too much to stand for them
    for stack in anatomy.stacks:
        layers = [layer for layer in anatomy.stack(stack) if not layer.problem]
        calls = [name for layer in layers for name in layer.calls]
        if not calls:
            continue
        heads, groups, d_head, _ = (max(column) for column in zip(*(anatomy.heads[name] for name in calls), strict=True))
        sequences, queries, keys = _lengths(anatomy, course, calls)
        stops = sum(len(layer.groups) for layer in layers) + 1
        extent = Extent(sequences, len(layers), stops, queries, keys, heads, d_head, anatomy.widths[stack], groups, request.top)
        for name, size in bytes_of(names, extent, width).items():
            needs[name] = needs.get(name, 0) + size
    return needs


def _lengths(anatomy: Anatomy, course: Course, calls: list[tuple[str, int]]) -> tuple[int, int, int]:
    inputs = course.inputs
    if course.pieces:
        return inputs["input_ids"].shape[0], course.tokens, course.tokens
    if is_text(inputs):
        tokens = max(inputs[name].shape[-1] for name in ("input_ids", "decoder_input_ids") if name in inputs)
        return inputs["input_ids"].shape[0], tokens, tokens
    sequences, queries, keys = (max(column) for column in zip(*(anatomy.lengths[name] for name in calls), strict=True))
    return sequences, queries, keys


def _tree(model: Model, anatomy: Anatomy, inputs: dict[str, Tensor], running: Running) -> xr.DataTree:
    nodes: dict[str, xr.Dataset] = {}
    for stack, pair in running.stacks.items():
        for builder in pair:
            if builder.outside and not builder.rows:
                continue
            dataset = builder.dataset()
            if running.course.pieces:  # fewer tokens than there was room for, where the model ended before
                dataset = dataset.isel(
                    {d: slice(running.seen) for d in ("query", "key") if d in dataset.dims and builder.grows(d)}
                )
            sizes = {str(dim): size for dim, size in dataset.sizes.items()}
            nodes[builder.node] = _tokens(model, anatomy, inputs, stack, builder, sizes).label(dataset)
    attributes = _attributes(model, anatomy, running.request) | {"stacks": list(nodes)}
    attributes |= running.attributes
    if running.course.new:
        attributes["prompt_tokens"] = running.course.tokens - running.course.new
        attributes["as_read_whole"] = reads_in_pieces(model.hf) and not turns_with_length(model.hf, running.seen)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **nodes})


def _outputs(output: Any, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The logits at the last real token of each sequence, where the model has logits per token."""
    logits = getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != 3:
        return {}
    last = torch.full((logits.shape[0],), logits.shape[1] - 1)
    mask = inputs.get("attention_mask")
    if mask is not None and mask.shape == logits.shape[:2] and "decoder_input_ids" not in inputs:
        last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(-1).cpu()
    rows = logits[torch.arange(logits.shape[0], device=logits.device), last.to(logits.device)]
    return {"final_logits": rows.detach().float().cpu().numpy()}
