"""`sociogram look` from a cold process against the least that anybody must do: import, load, one forward pass."""

from __future__ import annotations

from pathlib import Path

from benchmarks import import_times, system
from benchmarks.report import Table
from benchmarks.turns import medians

SENTENCE = "I hammered the nail into the leaking ship"
REPETITIONS = 5
LOOK = ("-m", "sociogram", "look", SENTENCE)
_LEAST = """
import torch, transformers
hf = transformers.AutoModelForCausalLM.from_pretrained({folder!r}, dtype=torch.float32)
with torch.no_grad():
    hf(input_ids=torch.tensor([{ids}]), use_cache=False)
"""
_TOKENIZER = "transformers.AutoTokenizer.from_pretrained({folder!r})({sentence!r})"
_PHASES = Path(__file__).with_name("cold_start_phases.py")


def run(*, quick: bool) -> list[Table]:
    """The comparison, then where the time of `look` goes."""
    folder, ids = _folder_and_ids()
    least = _LEAST.format(folder=str(folder), ids=ids)
    commands = {
        "transformers: import, load, one forward pass": system.here("-c", least),
        "the same and the tokenizer": system.here("-c", least + _TOKENIZER.format(folder=str(folder), sentence=SENTENCE)),
        "sociogram look": system.here(*LOOK),
    }
    seconds = medians(commands, 1 if quick else REPETITIONS)
    bare = next(iter(seconds.values()))
    table = Table("Cold start (wall seconds of a fresh process)", ("process", "seconds", "ratio"))
    table.rows = [(name, value, value / bare) for name, value in seconds.items()]
    table.notes = [
        "Target: sociogram look, ratio <= 1.2. Medians of fresh processes, in turn; the files are in the disk's cache."
    ]
    return [table] if quick else [table, _phases(), *import_times.tables(system.here(*LOOK))]


def _folder_and_ids() -> tuple[Path, list[int]]:
    import sociogram as sg
    from sociogram.models import store

    model = sg.load("smollm2-135m")
    return store.cache_folder() / model.name, model.encode(SENTENCE)["input_ids"][0].tolist()


def _phases() -> Table:
    rounds = [system.answer(system.here(str(_PHASES), *LOOK[2:])) for _ in range(3)]
    table = Table("Where the time of `sociogram look` goes", ("phase", "seconds"))
    table.rows = [(name, sorted(one[name] for one in rounds)[1]) for name in rounds[0]]
    table.notes = ["Medians of 3. A phase that runs inside another is counted in its own row only."]
    return table
