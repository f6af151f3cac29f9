"""Every family streamed: the numbers of a streamed recording, of one read in chunks, and of one that grows, against dense ones.

python -m tests.zoo.streaming OUT.json [ENTRY ...]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr

import sociogram as sg
from tests import zoo
from tests.zoo.rounds import each, from_the_command_line
from tests.zoo.steering import one_sequence

CLOSE = 2e-4
"""How far a number may be off, relative to the largest of its kind."""
SMALLEST = 1e-2
"""Nats and tokens below this are none: where a row has one edge, its entropy is rounding."""
KEEP = ("default", "lse")
"""What the dense recordings keep."""


@dataclass
class Streaming:
    """What became of one entry: for each way of recording the largest relative difference, or why it was refused."""

    entry: str
    right: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def measure(name: str) -> Streaming | None:
    """One entry; None where nothing is recorded at all."""
    try:
        specimen = zoo.build(name)
    except zoo.CannotBuild:
        return None
    model, inputs = sg.load(specimen.model), one_sequence(specimen)
    try:
        dense = sg.record(model, inputs, keep=KEEP)
        dense.audit()
    except (sg.SociogramError, RuntimeError):
        return None
    found = Streaming(name)
    _try(found, "stream", lambda: _apart(dense, sg.record(model, inputs, keep="stream", top=4)))
    ids = inputs.get("input_ids")
    if set(inputs) <= {"input_ids", "attention_mask"} and isinstance(ids, torch.Tensor) and len(ids) == 1:
        few = max(1, ids.shape[1] // 3)
        try:
            dense = sg.record(model, ids, keep=KEEP)
        except (sg.SociogramError, AttributeError):  # a family that needs more than ids
            return found
        _try(found, "chunks", lambda: _apart(dense, sg.record(model, ids, keep="stream", top=4, chunk=few)))
        _try(found, "generate", lambda: _grown(model, ids))
    return found


def _try(found: Streaming, label: str, compare: Any) -> None:
    try:
        apart = compare()
    except sg.SociogramError as error:
        found.refused[label] = str(error)
    except Exception as error:
        found.wrong[label] = f"{type(error).__name__}: {error}"
    else:
        (found.right if apart <= CLOSE else found.wrong)[label] = apart  # type: ignore[index]


def _grown(model: sg.Model, ids: torch.Tensor) -> float:
    setting = {"max_new_tokens": 3, "eos_token_id": None}
    grown = sg.record(model, ids, keep="stream", top=4, generate=setting)
    if grown.inputs["input_ids"].shape[1] != ids.shape[1] + 3:
        raise AssertionError(f"{grown.inputs['input_ids'].shape[1]} tokens, not {ids.shape[1]} + 3")
    if not grown.tree.attrs["as_read_whole"]:
        raise sg.UnsupportedModelError("decodes something else than it reads at once")
    return _apart(sg.record(model, grown.inputs["input_ids"], keep=KEEP), grown)


def _apart(dense: sg.Recording, streamed: sg.Recording) -> float:
    """The largest relative difference of any number in any layer of any sequence."""
    worst = 0.0
    for node in dense.stacks:
        for number in range(dense.stack(node).sizes.get("sequence", 1)):
            worst = max(worst, *_node(dense.sequence(number), streamed.sequence(number), node))
    return worst


def _node(dense: sg.Recording, streamed: sg.Recording, node: str) -> list[float]:
    """The same of one node of one sequence, number by number."""
    found, data = [0.0], dense.stack(node)
    for layer, status in enumerate(data["status"].values):
        if status != "closed" or "weights" not in data or bool(data["weights"].isel(layer=layer).isnull().all()):
            continue
        weights, norms = dense.messages(layer, stack=node).weights, dense.messages(layer, stack=node).norms()
        here = {
            str(n): torch.from_numpy(np.array(v.isel(layer=layer).values))
            for n, v in streamed.stack(node).data_vars.items()
            if "layer" in v.dims
        }
        here = {n: v[: len(weights)] if "head" in streamed.stack(node)[n].dims else v for n, v in here.items()}
        expected = {**_rows(data.isel(layer=layer), weights, own=not node.endswith("_cross")), **_kept(here, weights, norms)}
        if dense.messages(layer, stack=node).gate is None:
            expected |= _told(data, norms) | {"strongest": norms.amax(2)}
            here |= {"influence": here["influence"].sum(1), "strongest": here["top_message"].amax(2)}
        here["received"] = here["received"].sum(1)
        found += [_far(f"{node}, layer {layer}, {name}", here[name], value) for name, value in expected.items()]
    return found


def _rows(data: xr.Dataset, weights: torch.Tensor, *, own: bool) -> dict[str, torch.Tensor]:
    """Numbers of every row, sums over readers and counts of edges, from whole weights `[head, query, key]`."""
    heads, queries, keys = weights.shape
    real = torch.from_numpy(np.asarray(data["query_real"].values)) if "query_real" in data.coords else torch.ones(queries).bool()
    first = int(data["key_real"].values.argmax()) if "key_real" in data.coords else 0
    apart = (torch.arange(queries)[:, None] - torch.arange(keys)).abs()
    itself = (apart == 0) & torch.tensor(own)
    start = (torch.arange(keys) == first) & ~itself
    heard = weights.sum(2)
    sink = torch.zeros_like(heard)
    if "sink_weight" in data:
        sink = torch.from_numpy(data["sink_weight"].values)[:heads].nan_to_num()
    entropy = -torch.special.xlogy(weights, weights).sum(2) - torch.special.xlogy(sink, sink)
    there = (weights > 0) & real[None, :, None]
    none = torch.full_like(heard, torch.nan)
    return {
        "attention_sum": heard,
        "entropy": entropy.masked_fill((heard == 0) & (sink == 0), torch.nan),
        "distance": torch.where(heard > 0, (weights * apart).sum(2) / heard, none) if own else none,
        "self_share": (weights * itself).sum(2),
        "first_share": weights[..., first],
        "lse": torch.from_numpy(data["lse"].values)[:heads],
        "received": (weights * real[:, None]).sum(1),
        "edge_count": torch.stack([(there & kind).sum((1, 2)) for kind in (~itself & ~start, start, itself)], 1),
    }


def _kept(here: dict[str, torch.Tensor], weights: torch.Tensor, norms: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the keys that were kept told, from whole weights and norms."""
    keys = here["top_key"].long()
    kept = {name: whole.gather(2, keys.clamp(min=0)) for name, whole in (("top_attention", weights), ("top_message", norms))}
    return {name: value * (keys >= 0) for name, value in kept.items()}


def _told(data: xr.Dataset, norms: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sums of messages."""
    real = torch.from_numpy(np.asarray(data["query_real"].values)) if "query_real" in data.coords else torch.ones(norms.shape[1])
    return {"message_sum": norms.sum(2), "influence": (norms * real[:, None]).sum(1)}


def _far(name: str, one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest number; what is no number must be none in both."""
    number = other.isfinite()
    odd = one.isfinite() != number
    if bool(odd.any()) or not torch.equal(one[~number].nan_to_num(), other[~number].nan_to_num()):
        raise AssertionError(
            f"{name}: {int(odd.sum())} of {odd.numel()} are no numbers in one recording only, or others than there"
        )
    one, other = one[number].double(), other[number].double()
    least = SMALLEST if name.endswith(("distance", "entropy", "lse")) else 1e-6
    return float((one - other).abs().max() / other.abs().max().clamp(min=least)) if len(one) else 0.0


def sweep(names: tuple[str, ...]) -> list[Streaming]:
    """Every entry; one that hangs is wrong."""
    return each(names, measure, Streaming, "streaming")


if __name__ == "__main__":
    from collections import Counter

    measured = from_the_command_line(sweep)
    for label in ("stream", "chunks", "generate", "all"):
        counts = {kind: sum(label in getattr(row, kind) for row in measured) for kind in ("right", "refused", "wrong")}
        print(f"{label}: {len(measured)} families, " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for row in measured:
        for label, words in row.wrong.items():
            print(row.entry, label, str(words)[:150])
    print(Counter(words[:60] for row in measured for words in row.refused.values()).most_common(12))
