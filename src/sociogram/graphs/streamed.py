"""What the sums of a streamed recording say of its graphs: exactly, without the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sociogram.core.errors import RecordingError
from sociogram.graphs.asked import ratio
from sociogram.graphs.measures import MEASURES
from sociogram.graphs.source import Source
from sociogram.watch.few import Few, few_of
from sociogram.watch.streamed import KINDS

if TYPE_CHECKING:
    from sociogram.graphs.networks import Networks


def streamed_summary(networks: Networks) -> pd.DataFrame:
    """The columns of `summary` that a streamed recording's sums give exactly, the others NaN.

    Raises:
        RecordingError: the question is not about each head's attention or messages as they are.
    """
    source = networks.source
    if source.by != "head" or source.weight not in ("attention", "message") or source.threshold or source.drop_first:
        raise RecordingError(
            'of a streamed recording the sums of each head are known, of all its attention or messages: ask with by="head", '
            'weight="attention" or "message", without threshold and drop_first; or record with keep="default"'
        )
    parts = [_layer(few_of(source.rec, layer, source.stack), source) for layer in source.layers]
    numbers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = ["edges", "kept_share", "dropped_share", *MEASURES]
    return networks.labels.assign(**{name: numbers.get(name, np.nan) for name in order})


def _layer(few: Few, source: Source) -> dict[str, np.ndarray]:
    told = few.rows(source.weight).double().numpy()
    total = told.sum((0, 2))
    between = few.columns(source.weight).double().numpy()[:, 1:].sum(1)
    heads = len(total)
    numbers = {
        "edges": few.counts().sum(0).numpy(),
        "kept_share": np.ones(heads),
        "dropped_share": np.zeros(heads),
        "self_share": ratio(told[KINDS.index("itself")].sum(-1), total),
        "sink_share": ratio(told[KINDS.index("first"), :, 1:].sum(-1), told[:, :, 1:].sum((0, 2))),
        "sender_share": ratio(between.max(-1), between.sum(-1)),
    }
    if source.weight == "attention":
        data = few.data
        entropy, apart, heard = (
            np.asarray(data[name].values[:heads], np.float64) for name in ("entropy", "distance", "attention_sum")
        )
        numbers["entropy"] = ratio(np.where(heard > 0, entropy, 0).sum(-1), (heard > 0).sum(-1))
        numbers["distance"] = ratio((heard * np.nan_to_num(apart)).sum(-1), heard.sum(-1))
    return numbers
