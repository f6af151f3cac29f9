"""Every edit on a family: identities change nothing, changes show, accounts close, cached decoding equals prefill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

import sociogram as sg
from sociogram import edits
from tests import zoo
from tests.zoo.rounds import each, from_the_command_line

IDENTITY = 2e-5
"""Largest change of the stream, relative to its largest number, by an edit that changes nothing: other paths, other rounding."""
ALIKE = ("cut", "set_weight", "force", "swap", "window", "isolate", "random", "blocks", "bottleneck", "patch")
REFUSALS = (sg.InputError, sg.EditDidNotLand, sg.UnsupportedModelError)


@dataclass
class Steering:
    """What became of the edits on one family: which landed, which were refused and why, and what went wrong."""

    entry: str
    landed: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def identities(rec: sg.Recording, layer: int) -> Iterator[edits.Edit]:
    """Edits that change nothing."""
    tokens, width = rec.dataset.sizes["key"], rec.dataset.sizes["d_model"]
    yield edits.scale_edges(factor=1.0)
    yield edits.scale_odds(factor=1.0)
    yield edits.scale_head(layer=layer, factor=1.0)
    yield edits.window(width=10_000)
    yield edits.clusters(layer=layer, count=tokens)
    yield edits.freeze(layer=layer, source=rec)
    yield edits.graft(layer=layer, head=0, source_layer=layer, source_head=0)
    yield edits.graft(layer=layer, head=1, source=rec)
    yield edits.add_head(layer=layer, source=rec, positions="as_stored", gain=0.0)
    yield edits.attend(layer=layer, source=rec, positions="as_stored", join="gate", gate=0.0)
    yield edits.add(np.zeros(width), layer=layer)
    yield edits.patch(rec, layer=layer)
    yield edits.patch(rec, layer=layer, at="mlp")


def changes(rec: sg.Recording, layer: int) -> Iterator[edits.Edit]:
    """Edits that change something."""
    width = rec.dataset.sizes["d_model"]
    vector = np.linspace(-1, 1, width) * float(np.nanmax(np.abs(rec.dataset["residual"].values)))
    yield edits.cut(layer=layer, head=0, key=0, query=slice(1, None))
    yield edits.set_weight(layer=layer, key=0, value=0.9, query=slice(1, None))
    yield edits.force(layer=layer, key=0, share=0.9)
    yield edits.scale_odds(layer=layer, key=0, factor=5.0)
    yield edits.mute(layer=layer, head=1)
    yield edits.scale_head(layer=layer, head=0, factor=3.0)
    yield edits.mean_ablate(layer=layer, head=0, reference=[[5, 6, 7, 8]])
    yield edits.swap(layer=layer, head=0, other=1)
    yield edits.swap(layer=layer, head=0, other=-1, what="values")
    yield edits.graft(layer=layer, head=0, source_head=1)
    yield edits.window(layer=layer, width=2)
    yield edits.isolate(layer=layer)
    yield edits.random(layer=layer, p=0.3, seed=1)
    yield edits.blocks(layer=layer, size=2)
    yield edits.bottleneck(layer=layer, council=1)
    yield edits.add_head(layer=layer, source=rec, positions="as_stored", gain=2.0)
    yield edits.add_head(layer=layer, source=rec, positions="none")
    yield edits.attend(layer=layer, source=rec, positions="before", join="gate", gate=0.7)
    yield edits.add(vector, layer=layer, query=1)
    yield edits.project_out(np.eye(width)[0], layer=layer)
    yield edits.cut_skip(layer=layer)
    yield edits.skip_layer(layer=layer)
    yield edits.patch(rec, layer=layer, query=1, source_query=0)


def measure(name: str) -> Steering | None:
    """Try every edit on one entry; None where there is nothing to steer."""
    try:
        specimen = zoo.build(name)
    except zoo.CannotBuild:
        return None
    model, inputs = sg.load(specimen.model), one_sequence(specimen)
    try:
        rec = sg.record(model, inputs, keep="qkv")
        rec.audit()
    except (sg.SociogramError, RuntimeError):
        return None
    dataset = rec.dataset
    if "attention_out" not in dataset:
        return None
    heard = (dataset["status"] == "closed") & ~dataset["attention_out"].isnull().all(
        [d for d in dataset["attention_out"].dims if d != "layer"]
    )
    closed = np.flatnonzero(heard.values)
    if "sequence" in dataset.dims or not len(closed) or dataset.sizes["head"] < 2 or dataset.sizes["query"] < 3:
        return None
    found = Steering(name)
    told = dataset["value_vector"].isel(layer=closed[0]).values
    alike = bool(np.nanmax(np.ptp(told, axis=1)) < 1e-5)  # object queries that begin alike: nothing depends on who hears whom
    for same, given in ((True, identities), (False, changes)):
        for number, edit in enumerate(given(rec, int(closed[0]))):
            if alike and edit.name in ALIKE:
                continue
            _try(found, f"{'identity ' if same else ''}{edit.name} {number}", model, inputs, rec, edit, same)
    decoding(found, model, inputs)
    return found


def one_sequence(specimen: zoo.Specimen) -> dict[str, torch.Tensor]:
    """The inputs with their first sequence only, where the model runs with that; else all."""
    given = {n: v for n, v in specimen.inputs.items() if n != "use_cache"}
    first = {n: v[:1] if isinstance(v, torch.Tensor) and v.ndim > 1 else v for n, v in given.items()}
    try:
        with torch.no_grad():
            specimen.model(**first)
    except Exception:
        return given
    return first


def _try(
    found: Steering, label: str, model: sg.Model, inputs: dict[str, torch.Tensor], rec: sg.Recording, edit: edits.Edit, same: bool
) -> None:
    try:
        with sg.steer(model, edit) as steered:
            after = steered.record(inputs)
            unseen = _unseen(steered, inputs, after)
    except REFUSALS as error:
        found.refused[label] = str(error).replace(chr(10), " ")[:300]
        return
    except Exception as error:
        found.wrong[label] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return
    found.landed.append(label)
    change = _change(rec, after)
    if not unseen <= 1e-4:
        found.wrong[label] = f"with nobody watching the logits are others, by {unseen:.1e}"
    if same and not change <= IDENTITY:
        found.wrong[label] = f"an identity changed the stream by {change:.1e}"
    if not same and not change > 2e-7:
        found.wrong[label] = f"nothing changed ({change:.1e})"
    try:
        off = after.audit().max_relative_error
    except sg.AccountError as gap:
        found.wrong[label] = str(gap)[:300]
        return
    if not off <= 1e-4:
        found.wrong[label] = f"the account is off by {off:.1e}"


def _unseen(steered: sg.Steered, inputs: dict[str, torch.Tensor], after: sg.Recording) -> float:
    """How far the logits of the same run, not recorded (torch's own attention where it can), are from the recorded run's."""
    recorded = after.outputs.get("final_logits")
    if recorded is None:
        return 0.0
    logits = steered.logits(inputs).float().numpy()
    if logits.ndim != 2:  # one table per channel of a sound
        return 0.0
    logits = logits[-1]
    return float(np.abs(logits - recorded[0]).max() / np.abs(logits).max())


def _change(rec: sg.Recording, after: sg.Recording) -> float:
    """Largest change of the last stop of the main stack, relative to its largest number."""
    last, now = rec.dataset["residual"].values[-1], after.dataset["residual"].values[-1]
    return float(np.nanmax(np.abs(now - last)) / np.nanmax(np.abs(last)))


def decoding(found: Steering, model: sg.Model, inputs: dict[str, torch.Tensor]) -> None:
    """Cached decoding under edits against the edited prefill of the whole text, where the plain model's own two agree."""
    if set(inputs) - {"input_ids", "attention_mask"} or not model.hf.can_generate() or model.hf.config.is_encoder_decoder:
        return
    ids = inputs["input_ids"][0].tolist()
    draws = [ids, *torch.randint(3, 150, (4, len(ids)), generator=torch.Generator().manual_seed(0)).tolist()]
    if any(isinstance(plain := _decoded(model, some, []), str) or plain > 1e-4 for some in draws):
        return
    for edit in (
        edits.cut(key=1, query=slice(4, None)),
        edits.window(width=4, sinks=1),
        edits.scale_head(head=0, factor=-1.5),
        edits.force(key=0, share=0.7),
        edits.swap(head=0, other=1),
        edits.graft(head=0, source_head=1),
        edits.add(np.linspace(-1, 1, model.anatomy.widths[model.anatomy.main]), layer=0),
        edits.cut_skip(layer=0),
        edits.skip_layer(layer=0),
    ):
        answer = _decoded(model, ids, [edit])
        label = f"decoding {edit.name}"
        if isinstance(answer, str):
            (found.wrong if answer.startswith("!") else found.refused)[label] = answer
        elif answer > 1e-4:
            found.wrong[label] = f"cached decoding differs from prefill by {answer:.1e}"
        else:
            found.landed.append(label)


def _decoded(model: sg.Model, ids: list[int], given: list[edits.Edit]) -> float | str:
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None, "return_dict_in_generate": True}
    try:
        with sg.steer(model, given) as steered:
            told = steered._run(ids, 4, lambda inputs, _: model.hf.generate(**inputs, **options, output_logits=True))
            whole = steered.logits(told.sequences[0, :-1].tolist())[len(ids) - 1 :]
    except REFUSALS as error:
        return str(error)[:300]
    except Exception as error:
        return f"!{type(error).__name__}: {error}".splitlines()[0][:300]
    written = torch.cat(told.logits)
    return float((written - whole).abs().max() / whole.abs().max())


def sweep(names: tuple[str, ...]) -> list[Steering]:
    """Every entry; one that hangs is wrong."""
    return each(names, measure, Steering, "steering")


if __name__ == "__main__":
    measured = from_the_command_line(sweep)
    counts = {kind: Counter(label for row in measured for label in getattr(row, kind)) for kind in ("landed", "refused", "wrong")}
    print(f"{len(measured)} families: " + ", ".join(f"{sum(number.values()):,} {kind}" for kind, number in counts.items()))
    for label in sorted(set().union(*counts.values())):
        print(f"{label}: " + ", ".join(f"{number[label]} {kind}" for kind, number in counts.items()))
