"""Run a model once and keep what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sociogram.core.errors import UnsupportedModelError
from sociogram.models.anatomy import Anatomy, Layer
from sociogram.models.attention import AttentionCall
from sociogram.models.examine import forward_arguments, is_text
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.models.readout import Reader
from sociogram.models.run import LayerRun
from sociogram.models.seam import Editor, watching
from sociogram.models.verify import closings
from sociogram.watch.access import CROSS, OUTSIDE
from sociogram.watch.account import name_the_gap
from sociogram.watch.build import StackBuilder, builders
from sociogram.watch.keep import Extent, Keep, bytes_of, check_memory, is_streaming, kept_names
from sociogram.watch.predictions import shown
from sociogram.watch.provenance import FORMAT, described
from sociogram.watch.recording import Recording
from sociogram.watch.stream import Streamer
from sociogram.watch.streamed import Wanted, checked
from sociogram.watch.told import CHOICE, COLUMNS
from sociogram.watch.tokens import padding_of, stack_tokens


def record(
    model: Model,
    what: Promptable,
    *,
    keep: Keep = "default",
    top: int = 8,
    by: str = "message",
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
            model), `"stream"` (long contexts: nothing of the size tokens x tokens, see below), or a tuple of variable names.
        top: with `keep="stream"`, how many strongest keys of each reader and head to keep.
        by: what makes a key strong: `"message"` (the norm of what it told) or `"attention"` (its weight).
        memory_limit: bytes the recording may take; half of the free memory when left out.

    Returns:
        The recording: one prompt has no batch dimension, several get a leading `sequence`.

    Raises:
        InputError: an input that does not fit the model, or an unknown name in `keep`.
        MemoryLimitError: too large; says how much it would take and what to drop.
        UnsupportedModelError: no attention of this model passes the seam.
        AccountError: the entries read do not add up to what the model computed; names the layer and the part.

    Misleads: attention weights alone say who was *looked at*, not what was *told*; use messages (`rec.edges()`).
    """
    return record_under(model, what, keep=keep, wanted=Wanted(top, by), memory_limit=memory_limit, editors=None)


def record_under(
    model: Model,
    what: Promptable,
    *,
    keep: Keep,
    wanted: Wanted,
    memory_limit: int | None,
    editors: Callable[[Mapping[str, Tensor]], Sequence[Editor]] | None,
) -> Recording:
    """`record`, of a run that is edited while it happens; see `steering`. What is recorded is what was used."""
    names, wanted = kept_names(keep), checked(wanted)
    inputs = model.encode(what)
    anatomy = model.find_anatomy(inputs)
    _refuse_unseen(model, anatomy)
    check_memory(_needs(model, anatomy, inputs, names, wanted), memory_limit, keep)
    stacks = builders(anatomy, names, streaming=is_streaming(names))
    output = _run(model, anatomy, inputs, stacks, names, wanted, () if editors is None else editors(inputs))
    tree = _tree(model, anatomy, inputs, stacks, names)
    if isinstance(what, str):
        tree.attrs["text"] = what
    return Recording(
        tree,
        model=model,
        inputs=inputs,
        anatomy=anatomy,
        outputs=_outputs(output, inputs),
        shown=_short_output(output),
        editors=editors,
    )


SHOWN_BYTES = 64_000_000
"""Outputs up to this size stay with the recording in memory."""


def _short_output(output: Any) -> Tensor | None:
    value = shown(output)
    return value.detach() if value.numel() * value.element_size() <= SHOWN_BYTES else None


def _refuse_unseen(model: Model, anatomy: Anatomy) -> None:
    if any(layer.status == "closed" for layer in anatomy.layers):
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


def _run(
    model: Model,
    anatomy: Anatomy,
    inputs: dict[str, Tensor],
    stacks: dict[str, list[StackBuilder]],
    names: frozenset[str],
    wanted: Wanted,
    editors: Sequence[Editor],
) -> Any:
    def take(run: LayerRun) -> None:
        for builder in stacks[run.layer.stack]:
            builder.take(run)
        _check(run)

    def place(layer: Layer, call: AttentionCall) -> Tensor | None:
        return stacks[layer.stack][0].place(layer, call)

    streamer = _streamer(model, anatomy, inputs, names, wanted)
    weights = streamer is None or "weights" in names
    reader = Reader(model.hf, anatomy, take, weights=weights, totals="lse" in names, place=place, streamer=streamer)
    with torch.no_grad(), watching(model.hf, [reader], editors) as session:
        reader.attach(session)
        return model.hf(**forward_arguments(model.hf, inputs))


def _streamer(
    model: Model, anatomy: Anatomy, inputs: Mapping[str, Tensor], names: frozenset[str], wanted: Wanted
) -> Streamer | None:
    """Who reads the calls in blocks, if something is kept that is read so."""
    if not is_streaming(names):
        return None
    if any(len(step.calls) > 1 for layer in anatomy.layers if not layer.problem for step in layer.heard):
        raise UnsupportedModelError(
            f"{type(model.hf).__name__} splits the tokens of a layer among several attention calls, which are not read in blocks: "
            'record with keep="default"'
        )
    choice, columns = not names.isdisjoint(CHOICE), not names.isdisjoint(COLUMNS)
    wanted = Wanted(wanted.top if choice else 0, wanted.by, columns)
    tokens = max((length for _, *lengths in [_lengths(anatomy, inputs, list(anatomy.lengths))] for length in lengths), default=0)
    return Streamer(model.hf, wanted, tokens, padding_of(anatomy, inputs))


CHECKED = 16
"""How many tokens of each sequence are checked while recording; `rec.audit()` checks all."""


def _check(run: LayerRun) -> None:
    """Stop at the first layer whose account does not close: a picture of it would be wrong.

    A wrong anatomy is wrong for every token, so a few tokens from first to last tell; the audit looks at all of them.
    """
    count = run.before.shape[1]
    few = torch.linspace(0, count - 1, min(CHECKED, count), device=run.before.device).round().long()
    for group, closing in zip(run.groups, closings(run.at(few)), strict=True):
        if not closing.closes:
            raise name_the_gap(run.layer, group.group.label, closing)


def _needs(
    model: Model, anatomy: Anatomy, inputs: Mapping[str, Tensor], names: frozenset[str], wanted: Wanted
) -> dict[str, int]:
    """Bytes by variable over all stacks: for texts from their length, for other inputs from the pass that found the anatomy."""
    width = 8 if model.dtype == torch.float64 else 4
    needs: dict[str, int] = {}
    for stack in anatomy.stacks:
        layers = [layer for layer in anatomy.stack(stack) if not layer.problem]
        calls = [name for layer in layers for name in layer.calls]
        if not calls:
            continue
        heads, groups, d_head, _ = (max(column) for column in zip(*(anatomy.heads[name] for name in calls), strict=True))
        sequences, queries, keys = _lengths(anatomy, inputs, calls)
        stops = sum(len(layer.groups) for layer in layers) + 1
        extent = Extent(sequences, len(layers), stops, queries, keys, heads, d_head, anatomy.widths[stack], groups, wanted.top)
        for name, size in bytes_of(names, extent, width).items():
            needs[name] = needs.get(name, 0) + size
    return needs


def _lengths(anatomy: Anatomy, inputs: Mapping[str, Tensor], calls: list[tuple[str, int]]) -> tuple[int, int, int]:
    if is_text(inputs):
        tokens = max(inputs[name].shape[-1] for name in ("input_ids", "decoder_input_ids") if name in inputs)
        return inputs["input_ids"].shape[0], tokens, tokens
    sequences, queries, keys = (max(column) for column in zip(*(anatomy.lengths[name] for name in calls), strict=True))
    return sequences, queries, keys


def _tree(
    model: Model, anatomy: Anatomy, inputs: dict[str, Tensor], stacks: dict[str, list[StackBuilder]], names: frozenset[str]
) -> xr.DataTree:
    nodes: dict[str, xr.Dataset] = {}
    for stack, pair in stacks.items():
        for builder in pair:
            if builder.outside and not builder.rows:
                continue
            dataset = builder.dataset()
            sizes = {str(dim): size for dim, size in dataset.sizes.items()}
            tokens = stack_tokens(model, anatomy, inputs, sizes, stack, cross=builder.cross, outside=builder.sender_names)
            nodes[_node(stack, builder)] = tokens.label(dataset)
    attributes = {"format": FORMAT, "main": anatomy.main, "stacks": list(nodes), "kept": sorted(names), **described(model)}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **nodes})


def _node(stack: str, builder: StackBuilder) -> str:
    return stack + (CROSS if builder.cross else OUTSIDE if builder.outside else "")


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
