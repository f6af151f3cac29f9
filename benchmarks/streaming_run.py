"""One way of watching long contexts, one length, in a process of its own, against the plain pass of the same model.

    python -m benchmarks.streaming_run WHAT MODEL_FOLDER IDS.json ROUNDS

Runs in environments without Sociogram too. Prints one line of JSON. No tool is asked for more than attention weights (or
patterns) and values of all layers, where it can be told so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import Work, in_turn, last_logits, plain_model, plain_pass, with_eager

Works = dict[str, Work]
KEEPS: dict[str, Any] = {
    "received": ("received",),
    "row summaries": ("entropy", "self_share", "first_share", "distance", "lse"),
    "top_key": ("top_key",),
    "residual": ("residual",),
    "stream": "stream",
    "default": "default",
}
TOP = 8


def _record(model: Any, keep: Any) -> Work:
    import sociogram as sg

    arguments = {} if keep in ("default", ("residual",)) else {"top": TOP}

    def logits(rec: Any) -> Tensor:
        return torch.from_numpy(rec.outputs["final_logits"][0])

    return Work(lambda ids: sg.record(model, ids, keep=keep, **arguments), logits, _bytes_kept)


def _bytes_kept(rec: Any) -> int:
    """All that a recording holds of a run: every variable of every stack, coordinates left out."""
    return sum(array.nbytes for node in rec.tree.subtree for array in node.dataset.data_vars.values())


def _short_of_logits(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Of texts that `sg.record` reads in chunks, only the last logits: so the plain pass is asked for no more than they are."""
    ids = kwargs.get("input_ids", args[0] if args else None)
    return args, {**kwargs, "logits_to_keep": 1} if ids is not None and ids.shape[1] > 4096 else kwargs


def sociogram(keep: str) -> Callable[[str], Works]:
    """`sg.record` keeping one thing."""

    def works(folder: str) -> Works:
        import sociogram as sg

        model = sg.load("smollm2-135m")
        model.hf.register_forward_pre_hook(_short_of_logits, with_kwargs=True)
        return {"plain": plain_pass(model.hf), "tool": _record(model, KEEPS[keep])}

    return works


def keeps(folder: str) -> Works:
    """`sg.record` keeping each thing, all in turn in one process."""
    import sociogram as sg

    model = sg.load("smollm2-135m")
    return {"plain": plain_pass(model.hf)} | {name: _record(model, keep) for name, keep in KEEPS.items()}


def long_range(folder: str) -> Works:
    """A Llama of the default model's size and shape that has 32,768 positions, its weights random; only the last logits."""
    from transformers import LlamaConfig, LlamaForCausalLM

    import sociogram as sg

    config = LlamaConfig.from_pretrained(folder)
    config.max_position_embeddings = 32_768
    torch.manual_seed(0)
    hf = LlamaForCausalLM(config).float().eval()
    hf.register_forward_pre_hook(lambda module, args, kwargs: (args, {**kwargs, "logits_to_keep": 1}), with_kwargs=True)
    return {"plain": plain_pass(hf), "tool": _record(sg.load(hf), KEEPS["stream"])}


def transformers_eager(folder: str) -> Works:
    """Weights by `output_attentions`, which has no values to give."""
    hf = plain_model(folder)
    outputs = with_eager(hf, lambda ids: hf(input_ids=ids, use_cache=False, output_attentions=True))
    return {"plain": plain_pass(hf), "tool": Work(outputs, last_logits)}


def transformer_lens(folder: str) -> Works:
    """Patterns and values from the cache, nothing else."""
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(folder, dtype=torch.float32)

    def wanted(name: str) -> bool:
        return name.endswith(("attn.hook_pattern", "attn.hook_v"))

    cached = Work(lambda ids: bridge.run_with_cache(ids, names_filter=wanted), lambda both: both[0][0, -1].clone())
    return {"plain": plain_pass(plain_model(folder)), "tool": cached}


def nnsight(folder: str) -> Works:
    """Weights and values of each layer, saved in one trace of the transformers model on eager attention."""
    import nnsight

    hf = plain_model(folder)
    wrapped = nnsight.NNsight(hf)

    def traced(ids: Tensor) -> Any:
        with wrapped.trace(input_ids=ids, use_cache=False):
            kept = nnsight.save([])
            for layer in wrapped.model.layers:
                values = layer.self_attn.v_proj.output
                kept.append((values, layer.self_attn.output[1]))
            output = wrapped.output.save()
        return kept, output

    return {"plain": plain_pass(hf), "tool": Work(with_eager(hf, traced), lambda both: last_logits(both[1]))}


ATTNREAD_LAYER = 12


def attnread(folder: str) -> Works:
    """Weights of one layer: the tool runs the whole model anew for every 64 keys of every layer, and gives no values."""
    from attnread import extract_attention

    hf = plain_model(folder)
    heads = [(ATTNREAD_LAYER, head) for head in range(hf.config.num_attention_heads)]
    return {
        "plain": plain_pass(hf),
        "tool": Work(lambda ids: extract_attention(hf, {"input_ids": ids}, heads=heads), lambda patterns: None),
    }


WHAT: dict[str, tuple[str, Callable[[str], Works]]] = {
    "sociogram": ("sociogram", sociogram("stream")),
    "sociogram-default": ("sociogram", sociogram("default")),
    "keeps": ("sociogram", keeps),
    "long": ("sociogram", long_range),
    "transformers": ("transformers", transformers_eager),
    "transformer-lens": ("transformer-lens", transformer_lens),
    "nnsight": ("nnsight", nnsight),
    "attnread": ("attnread", attnread),
}
"""The distribution whose version is told, and what makes the works."""


def main(name: str, folder: str, file: str, rounds: str) -> None:
    """Measure and print."""
    ids = torch.tensor([json.loads(Path(file).read_text(encoding="utf-8"))])
    distribution, works = WHAT[name]
    with torch.no_grad():
        found = in_turn(works(folder), ids, int(rounds))
    told = {"version": version(distribution), "torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({"works": found, **told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
