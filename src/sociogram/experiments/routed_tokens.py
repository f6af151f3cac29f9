"""Which tokens are routed: their kinds in texts and in repeated sequences, and how often each kind is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.experiments.routers import choices

Kinds = dict[str, Tensor]
"""For each kind of token, where it stands: boolean `[batch, query]`; kinds may overlap."""

RARE = 0.005
"""A character is rare below this share of the text."""


def text_kinds(task: Any, ids: Int[Tensor, "batch query"], hardness: Float[Tensor, "batch query"]) -> Kinds:
    """Kinds of characters; `hardness` is what a society without routing loses at each token (its answer is the next one)."""
    letters = np.array([task.tokenizer.decode([number]) for number in range(task.vocab_size)])
    text = letters[ids.numpy()]
    is_letter = torch.from_numpy(np.char.isalpha(text))
    before = torch.cat([torch.zeros_like(is_letter[:, :1]), is_letter[:, :-1]], dim=1)
    drawn = task.batch(500, torch.Generator().manual_seed(0))["input_ids"].flatten()
    common = torch.bincount(drawn, minlength=task.vocab_size) / len(drawn)
    kinds = {
        "letter, first of a word": is_letter & ~before,
        "letter, inside a word": is_letter & before,
        "space": torch.from_numpy(text == " "),
        "line break": torch.from_numpy(text == "\n"),
        "digit": torch.from_numpy(np.char.isdigit(text)),
    }
    named = torch.stack(list(kinds.values())).any(0)
    return kinds | {"punctuation": ~named, "rare character": (common < RARE)[ids]} | _by_loss(hardness)


def _by_loss(hardness: Tensor) -> Kinds:
    low, high = (hardness.flatten().quantile(share) for share in (0.25, 0.75))
    return {"next is easy (lowest quarter of loss)": hardness <= low, "next is hard (highest quarter)": hardness >= high}


def round_kinds(labels: Int[Tensor, "batch query"]) -> Kinds:
    """Of repeated sequences: the first round, which nobody can foresee and all that follows needs, and what is asked."""
    asked = labels >= 0
    first = asked & ~torch.cat([torch.zeros_like(asked[:, :1]), asked[:, :-1]], dim=1)
    return {"first round (not asked)": ~asked, "first that is asked": first, "later ones that are asked": asked & ~first}


def enrichment(chosen: Bool[Tensor, "batch query"], kinds: Kinds, *, skip: int = 1) -> pd.DataFrame:
    """How often each kind is routed, over how often any token is: 1 where the choice does not know kinds.

    The first `skip` tokens are left out: what stood before them is unknown.
    """
    chosen = chosen[:, skip:]
    share, rows = float(chosen.double().mean()), []
    for name, everywhere in kinds.items():
        where = everywhere[:, skip:]
        routed = float(chosen[where].double().mean()) if where.any() else float("nan")
        rows.append((name, float(where.double().mean()), routed / share))
    return pd.DataFrame(rows, columns=["tokens", "base", "enrichment"])


def enriched(router: str, society: Any, ids: Int[Tensor, "batch query"], kinds: Kinds) -> list[pd.DataFrame]:
    """The enrichment in each routed layer of a society, with the router's name and the layer's number."""
    found = choices(society, ids)
    return [enrichment(chosen, kinds).assign(router=router, layer=number) for number, chosen in found.items()]


def side_by_side(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One row for each layer and kind: means over seeds for each router, the spread of the learned and of the untrained one."""
    grouped = pd.concat(tables, ignore_index=True).groupby(["router", "layer", "tokens"], sort=False)
    means = grouped["enrichment"].agg(["mean", "min", "max"])
    table = means.loc["learned"].set_axis(["learned", "lowest", "highest"], axis=1)
    table.insert(0, "base", grouped["base"].mean().loc["learned"])
    if "by_lot" in means.index.get_level_values(0):
        table["by_lot"] = means.loc["by_lot"]["mean"]
    untrained = means.loc["untrained"].set_axis(["untrained", "untrained_lowest", "untrained_highest"], axis=1)
    return table.join(untrained).reset_index()
