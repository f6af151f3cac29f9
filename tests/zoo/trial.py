"""Finding inputs a model accepts: guess from the signature, then learn from what it complains about."""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .inputs import ALTERNATIVES, BATCH, COMPANIONS, GRIDS, MAKERS, Pantry, flat_patches
from .overrides import overrides_for

ATTEMPTS = 10
MOST_PLACEHOLDERS = 300
_COUNTS = re.compile(r"tokens:?\D{0,12}(\d+)\D{1,40}features:?\D{0,20}(\d+)", re.S)


class CannotBuild(Exception):
    """An entry of the zoo that can't be built or run; the message is one line."""

    def __init__(self, reason: object) -> None:
        """Keep the first line of the reason."""
        lines = str(reason).strip().splitlines() or [type(reason).__name__]
        super().__init__(lines[0][:220])


def find_inputs(model: PreTrainedModel, seed: int = 0) -> dict[str, Any]:
    """Inputs under which the model runs: everything it can see first, then text alone."""
    reasons = []
    for names in _argument_sets(model):
        try:
            return _learn(model, names, seed)
        except CannotBuild as reason:
            reasons.append(reason)
    raise reasons[0] if reasons else CannotBuild("its forward takes no argument the zoo knows")


def _signature(model: PreTrainedModel) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(model.forward).parameters)


def _argument_sets(model: PreTrainedModel) -> list[list[str]]:
    """Which arguments to try, richest first."""
    asked = overrides_for(model.config.model_type).get("__inputs__")
    if asked:
        return [list(asked)]
    signature = _signature(model)
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    needed = [n for n, p in signature.items() if p.default is inspect.Parameter.empty and p.kind not in kinds]
    senses = [n for n in ("input_ids", "pixel_values", "input_features", "input_values") if n in signature]
    words = [n for n in ("decoder_input_ids",) if n in signature and model.config.is_encoder_decoder]
    main = [model.main_input_name] if model.main_input_name in signature else []
    sets = [needed + senses + words, needed + main + words]
    if "input_ids" in signature:
        sets += [[*needed, "input_ids", sense, *words] for sense in senses if len(senses) > 2 and sense != "input_ids"]
        sets.append([*needed, "input_ids", *words])
    return [list(names) for names in dict.fromkeys(tuple(dict.fromkeys(names)) for names in sets if names)]


def _learn(model: PreTrainedModel, names: list[str], seed: int) -> dict[str, Any]:
    """Run, and mend the inputs after each complaint, a few times."""
    state = _State(model, list(names), seed)
    first = None
    for _ in range(ATTEMPTS):
        try:
            inputs = state.make()
            run(model, inputs)
            return inputs
        except CannotBuild:
            raise
        except Exception as error:
            first = first or error
            if not state.mend(str(error)):
                break
    raise CannotBuild(f"{type(first).__name__}: {first}") from first


class _State:
    """The inputs as guessed so far."""

    def __init__(self, model: PreTrainedModel, names: list[str], seed: int) -> None:
        """Start from the given argument names."""
        self.signature = _signature(model)
        self.pantry = Pantry(model.config, seed=seed)
        self.names = names
        self.makers = dict(MAKERS)
        self.spare = {name: list(makers) for name, makers in ALTERNATIVES.items()}
        grids = [name for name in GRIDS if name in self.signature]
        if grids and {"pixel_values", "hidden_states"} & {*names}:
            self.makers["pixel_values"] = self.makers["hidden_states"] = flat_patches
            self.names += grids
        given = overrides_for(model.config.model_type).get("__make__", {})
        self.makers.update(given)
        self.spare = {name: makers for name, makers in self.spare.items() if name not in given}

    def make(self) -> dict[str, Any]:
        """Draw the inputs anew."""
        self.pantry.reset()
        unknown = [name for name in self.names if name not in self.makers]
        if unknown:
            raise CannotBuild(f"no maker for the argument {unknown[0]}")
        inputs = {name: self.makers[name](self.pantry) for name in dict.fromkeys(self.names)}
        if "use_cache" in self.signature:
            inputs["use_cache"] = False
        return inputs

    def mend(self, complaint: str) -> bool:
        """Change one thing in answer to a complaint; False when there is nothing left to change."""
        counts = _COUNTS.search(complaint)
        if counts and "input_ids" in self.names:
            return _set_placeholders(complaint, int(counts[1]), int(counts[2]), self.pantry)
        for name in self.makers:
            if name in self.signature and name not in self.names and re.search(rf"\b{name}\b", complaint):
                self.names.append(name)
                return True
        companions = [name for name in COMPANIONS if name in self.signature and name not in self.names]
        if "NoneType" in complaint and companions:
            self.names.append(companions[0])
            return True
        for name in self.names:
            if self.spare.get(name):
                self.makers[name] = self.spare[name].pop(0)
                return True
        return False


def _set_placeholders(text: str, tokens: int, features: int, pantry: Pantry) -> bool:
    """Put as many image (or audio, video) tokens into the prompts as there are features."""
    kind = next((word for word in ("video", "audio", "image") if word in text.lower()), "image")
    token = pantry.find(f"{kind}_token_id", f"{kind}_token_index", prefer=())
    if token is None:
        return False
    count = -(-features // BATCH)
    if count > MOST_PLACEHOLDERS or tokens == features:  # some families report numbers, not vectors
        count = -(-count // pantry.find("hidden_size", prefer=("text_config",)))
    if pantry.placeholders.get(token) == count:
        return False
    pantry.placeholders[token] = count
    return True


@torch.no_grad()
def run(model: PreTrainedModel, inputs: dict[str, Any]) -> Any:
    """One plain forward pass."""
    return model(**inputs)


def main_output(output: Any) -> Tensor:
    """The tensor to compare: the logits, else the last hidden state, else the first floating tensor."""
    for name in ("logits", "last_hidden_state", "prediction_logits"):
        value = getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    found = next(_floating(output), None)
    if found is None:
        raise CannotBuild("no floating tensor in the output")
    return found


def _floating(value: Any) -> Any:
    """All floating tensors inside nested outputs."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.numel() > 1:
            yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name != "loss":
                yield from _floating(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _floating(item)
