"""What the model said, and whether being watched changed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from sociogram.core.errors import RecordingError
from sociogram.models.examine import forward_arguments
from sociogram.models.inputs import takes
from sociogram.models.readout import Reader
from sociogram.models.seam import watching
from sociogram.models.trace import tensors_in
from sociogram.watch.scores import check_rerun

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording


def predictions(rec: Recording, top: int) -> pd.DataFrame:
    """The `top` most probable next tokens: columns `token` (as people read it), `token_id`, `probability`."""
    rec._one("predictions()", rec.main)
    logits = rec.outputs.get("final_logits")
    if logits is None:
        raise RecordingError("no next tokens: the model gives no logits per token, or the recording was stored without them")
    probabilities = torch.softmax(torch.from_numpy(logits[0]).double(), dim=-1)
    values, ids = probabilities.topk(min(top, len(probabilities)))
    spelled = [f"#{i}" for i in ids.tolist()] if rec.model is None else [rec.model.spell([i])[0] for i in ids.tolist()]
    return pd.DataFrame({"token": spelled, "token_id": ids.numpy(), "probability": values.numpy()})


def null_drift(rec: Recording) -> float:
    """Largest |logit difference| between a run under observation and the plain model on the same input.

    The last hidden state where there are no logits. The plain model is run anew, and for all but short prompts (whose logits
    are still at hand) the observed run too; of streamed and composed runs the logits of the last token are compared. Of a steered
    run: against the same edits with nobody watching.

    Raises:
        RecordingError: the model, the inputs, or the edits of a steered run are not at hand.
    """
    if rec.model is None:
        raise RecordingError("null_drift() runs the model: open the recording with sg.open_recording(path, model=...)")
    check_rerun(rec, "null_drift()")
    hf = rec.model.hf
    whole = bool(rec.inputs.get("attention_mask", torch.ones(1)).all())
    streamed = "weights" not in rec.dataset or bool(rec.tree.attrs.get("chunk"))
    if rec.shown is None and streamed and whole and "final_logits" in rec.outputs:
        return _drift_at_the_end(rec, hf)
    arguments = forward_arguments(hf, rec.inputs)
    with torch.no_grad():
        plain = shown(hf(**arguments)) if rec.editors is None else _unobserved(rec, hf, arguments)
        watched = rec.shown if rec.shown is not None else _watched(rec, hf, arguments)
    return float((watched.to(plain.device) - plain).abs().max())


def _drift_at_the_end(rec: Recording, hf: Any) -> float:
    """The same of the last token alone: the plain model's logits of all tokens of a long text would be larger than its run."""
    arguments = forward_arguments(hf, rec.inputs) | ({"logits_to_keep": 1} if takes(hf, "logits_to_keep") else {})
    with torch.no_grad(), watching(hf, [], () if rec.editors is None else rec.editors(rec.inputs)):
        last = shown(hf(**arguments))[:, -1].float().cpu()
    return float((torch.from_numpy(rec.outputs["final_logits"]) - last).abs().max())


def _unobserved(rec: Recording, hf: Any, arguments: dict[str, Any]) -> Tensor:
    assert rec.editors is not None
    with watching(hf, [], rec.editors(rec.inputs)):
        return shown(hf(**arguments))


def _watched(rec: Recording, hf: Any, arguments: dict[str, Any]) -> Tensor:
    reader = Reader(hf, rec.anatomy, lambda run: None)
    editors = () if rec.editors is None else rec.editors(rec.inputs)
    with watching(hf, [reader], editors) as session:
        reader.attach(session)
        return shown(hf(**arguments))


def shown(output: object) -> Tensor:
    """What a model says at the end: logits, else the last hidden state, else the first floating tensor of its output.

    Raises:
        RecordingError: the output holds no such tensor.
    """
    named = [getattr(output, name, None) for name in ("logits", "last_hidden_state")]
    for value in (*named, *(tensor for _, tensor in tensors_in(output))):
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
    raise RecordingError(f"the model's output ({type(output).__name__}) holds no numbers to compare")
