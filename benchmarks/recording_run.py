"""One tool, one length, in a process of its own: seconds and memory against the plain forward pass of the same model.

    python -m benchmarks.recording_run TOOL MODEL_FOLDER IDS.json ROUNDS

Runs in environments without Sociogram too. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.measuring import Work, in_turn, last_logits, plain_model, plain_pass, with_eager

Both = dict[str, Work]


def sociogram(folder: str) -> Both:
    import sociogram as sg

    model = sg.load("smollm2-135m")
    record = Work(lambda ids: sg.record(model, ids), lambda rec: torch.from_numpy(rec.outputs["final_logits"][0]))
    return {"plain": plain_pass(model.hf), "tool": record}


def transformers_eager(folder: str) -> Both:
    hf = plain_model(folder)
    outputs = with_eager(hf, lambda ids: hf(input_ids=ids, use_cache=False, output_attentions=True, output_hidden_states=True))
    return {"plain": plain_pass(hf), "tool": Work(outputs, last_logits)}


def transformer_lens(folder: str) -> Both:
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(folder, dtype=torch.float32)
    return {"plain": plain_pass(plain_model(folder)), "tool": Work(bridge.run_with_cache, lambda both: both[0][0, -1].clone())}


TOOLS = {"sociogram": sociogram, "transformers": transformers_eager, "transformer-lens": transformer_lens}


if __name__ == "__main__":
    name, where, file, rounds = sys.argv[1:]
    sequence = torch.tensor([json.loads(Path(file).read_text(encoding="utf-8"))])
    with torch.no_grad():
        works = in_turn(TOOLS[name](where), sequence, int(rounds))
    print(json.dumps({"works": works, "version": version(name), "threads": torch.get_num_threads()}))
