"""What a token costs in a society: operations by formula and as torch counts them, and the time of a training step."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

COST_NOTE = (
    "flops: of one token's forward pass, by formula; counted: by torch; relative: to the first; milliseconds: processor time of "
    "a training step, forward and backward (median, interleaved)"
)


def flops(config: Any, tokens: int) -> float:
    """Floating-point operations of one forward pass for each of its tokens: two for every multiplication in a matrix product.

    Attention counts all pairs, as its kernels do, masked or not. In every second layer of a routed society only the chosen are
    computed, and they hear each other alone. Norms, rotations and softmax are left out.
    """
    width, inner, vocab = config.hidden_size, config.intermediate_size, config.vocab_size
    alone = 8 * width**2 + 4 * width * inner
    layer = alone + 4 * tokens * width
    total = config.num_hidden_layers * layer + 2 * width * vocab
    if config.kind != "routed":
        return float(total)
    few, routed = max(1, int(config.routed_share * tokens + 1e-9)), config.num_hidden_layers // 2
    scoring = 2 * width if config.routing == "learned" else 0
    return float(total + routed * (scoring - layer + (few * alone + 4 * few**2 * width) / tokens))


def counted_flops(society: Any, ids: Int[Tensor, "batch query"]) -> float:
    """The same as torch counts them in a forward pass of training; its count knows attention in plain products alone."""
    from torch.utils.flop_counter import FlopCounterMode

    society.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        society.train()(ids)
    society.eval().set_attn_implementation("sdpa")
    return float(counter.get_total_flops()) / ids.numel()


def cost(societies: dict[str, Any], shape: tuple[int, int], *, seed: int = 0, rounds: int = 15) -> pd.DataFrame:
    """For each society: parameters, operations of one token in sequences of this shape (sequences, tokens), and time."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(next(iter(societies.values())).config.vocab_size, shape, generator=draw)
    times, rows = _times(societies, ids, rounds), []
    for name, society in societies.items():
        config = society.config
        numbers = (flops(config, shape[1]), counted_flops(society, ids), times[name])
        rows.append((name, society.num_parameters(), config.num_hidden_layers, config.intermediate_size, *numbers))
    columns = ["society", "parameters", "layers", "mlp_width", "flops", "counted", "milliseconds"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(**{f"relative_{name}": table[name] / table[name].iloc[0] for name in ("flops", "milliseconds")})


def _times(societies: dict[str, Any], ids: Tensor, rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in societies}
    for _ in range(rounds):
        for name, society in societies.items():
            start = time.process_time()
            society.train()(ids, labels=ids).loss.backward()
            taken[name].append(1000 * (time.process_time() - start))
    return {name: float(np.median(some)) for name, some in taken.items()}
