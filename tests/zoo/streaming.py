"""Every family streamed: the numbers of a streamed recording, of one read in chunks, and of one that grows, against dense ones.

python -m tests.zoo.streaming OUT.json [ENTRY ...]
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from rich.progress import track

import sociogram as sg
from tests import zoo
from tests.zoo.coverage import limited
from tests.zoo.steering import SECONDS, one_sequence

CLOSE = 2e-4
"""How far a number may be off, relative to the largest of its kind."""


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
        dense = sg.record(model, inputs)
        dense.audit()
    except (sg.SociogramError, RuntimeError):
        return None
    found = Streaming(name)
    _try(found, "stream", lambda: _apart(dense, sg.record(model, inputs, keep="stream", top=4)))
    ids = inputs.get("input_ids")
    if set(inputs) <= {"input_ids", "attention_mask"} and isinstance(ids, torch.Tensor) and len(ids) == 1:
        few = max(1, ids.shape[1] // 3)
        try:
            dense = sg.record(model, ids)
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
    return _apart(sg.record(model, grown.inputs["input_ids"]), grown)


def _apart(dense: sg.Recording, streamed: sg.Recording) -> float:
    """The largest relative difference of any number in any layer of any sequence."""
    worst = 0.0
    for node in dense.stacks:
        for number in range(dense.stack(node).sizes.get("sequence", 1)):
            worst = max(worst, *_node(dense.sequence(number), streamed.sequence(number), node))
    return worst


def _node(dense: sg.Recording, streamed: sg.Recording, node: str) -> list[float]:
    found, data = [0.0], streamed.stack(node)
    for layer, status in enumerate(dense.stack(node)["status"].values):
        if (
            status != "closed"
            or "weights" not in dense.stack(node)
            or bool(dense.stack(node)["weights"].isel(layer=layer).isnull().all())
        ):
            continue
        messages = dense.messages(layer, stack=node)
        heads, norms, weights = len(messages.weights), messages.norms(), messages.weights
        here = {
            str(n): torch.from_numpy(np.array(v.isel(layer=layer).values)) for n, v in data.data_vars.items() if "layer" in v.dims
        }
        here = {n: v[:heads] if "head" in data[n].dims else v for n, v in here.items()}
        keys = here["top_key"].long()
        pairs = [(here["received"].sum(1), weights.sum(1)), (here["first_share"], weights[..., 0])]
        pairs += [(here["top_attention"], weights.gather(2, keys.clamp(min=0)) * (keys >= 0))]
        pairs += [(here["top_message"], norms.gather(2, keys.clamp(min=0)) * (keys >= 0))]
        if messages.gate is None:
            pairs += [(here["message_sum"], norms.sum(2)), (here["influence"].sum(1), norms.sum(1))]
            pairs += [(here["top_message"].amax(2), norms.amax(2))]
        found += [float((one - other).abs().max() / other.abs().max().clamp(min=1e-6)) for one, other in pairs]
    return found


def sweep(names: tuple[str, ...]) -> list[Streaming]:
    """Every entry; one that hangs is wrong."""
    rows = []
    for name in track(names, description="streaming the zoo", console=None):
        row: Streaming | None
        try:
            with limited(SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                row = measure(name)
        except Exception as error:
            row = Streaming(name, wrong={"all": f"{type(error).__name__}: {error}"})
        if row is not None:
            rows.append(row)
    return rows


if __name__ == "__main__":
    import json
    import sys
    from collections import Counter
    from dataclasses import asdict
    from pathlib import Path

    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    measured = sweep(tuple(sys.argv[2:]) or zoo.entries())
    Path(sys.argv[1]).write_text(json.dumps([asdict(row) for row in measured], indent=0))
    for label in ("stream", "chunks", "generate", "all"):
        counts = {kind: sum(label in getattr(row, kind) for row in measured) for kind in ("right", "refused", "wrong")}
        print(f"{label}: {len(measured)} families, " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for row in measured:
        for label, words in row.wrong.items():
            print(row.entry, label, str(words)[:150])
    print(Counter(words[:60] for row in measured for words in row.refused.values()).most_common(12))
