"""Generation under edits against the plain model's own cached generation."""

from __future__ import annotations

from benchmarks.report import Table

MODEL = "smollm2-135m"
PROMPT = "The history of the lighthouse begins with a fire on a hill, and"
TOKENS = 64
REPETITIONS = 5


def run(*, quick: bool) -> list[Table]:
    """Tokens per second, plain and under edits of each path, in turn."""
    import statistics
    import time

    import torch

    import sociogram as sg
    from sociogram import edits

    model = sg.load(MODEL)
    count, rounds = (8, 1) if quick else (TOKENS, REPETITIONS)
    cases: dict[str, list[edits.Edit] | None] = {
        "plain": None,
        "a cut in one layer (sdpa)": [edits.cut(layer=12, key=2)],
        "a head muted (explicit)": [edits.mute(layer=12, head=3)],
        "a window in all layers (sdpa)": [edits.window(width=32, sinks=1)],
        "all edges scaled (explicit)": [edits.scale_edges(factor=1.0)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, given in cases.items():
            start = time.perf_counter()
            if given is None:
                model.generate(PROMPT, max_new_tokens=count, eos_token_id=-1)
            else:
                with sg.steer(model, given) as steered:
                    steered.generate(PROMPT, max_new_tokens=count, eos_token_id=-1)
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    plain = statistics.median(seconds["plain"])
    table = Table(f"Generating {count} tokens with {MODEL}", ("run", "tokens per second", "of plain"))
    table.rows = [(name, count / statistics.median(s), plain / statistics.median(s)) for name, s in seconds.items()]
    table.notes = [
        f"Medians of {rounds}, in turn; greedy, the model's own cache, {torch.get_num_threads()} threads.",
        "Target: with edits at least 0.9 of plain.",
    ]
    return [table]
