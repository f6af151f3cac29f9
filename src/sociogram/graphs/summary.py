"""The statistics of every graph of a series, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sociogram.graphs.measures import MEASURES
from sociogram.watch.few import is_streamed

if TYPE_CHECKING:
    from sociogram.graphs.networks import Networks


def summary(networks: Networks) -> pd.DataFrame:
    """One row per graph.

    Returns:
        `layer, head` (-1: all together), `edges` (how many are there), `kept_share` (of the weight, after the threshold),
        `dropped_share` (of the weight, with the first token), and the statistics of `graphs.measures`, each described there:
        `density, weighted_density, above_even, entropy, distance, self_share, sink_share, sender_share, reciprocity, clustering,
        effective_rank`. A number that the mask or the softmax fixes by construction is NaN ("n/a"): reciprocity and
        weighted density of causal attention. Of a streamed recording what its sums tell exactly; the rest is NaN.

    Raises:
        RecordingError: what is needed was not kept.

    Misleads: most statistics of attention are what a causal mask and a fall-off with distance give any graph; `networks.test`
    says what is beyond that.
    """
    if is_streamed(networks.source.rec.stack(networks.source.stack)):
        from sociogram.graphs.streamed import streamed_summary

        return streamed_summary(networks)
    columns: dict[str, list[np.ndarray]] = {}
    for batch in networks.source.batches():
        kept = batch.weights.sum((1, 2))
        numbers = {
            "edges": (batch.weights > 0).sum((1, 2)),
            "kept_share": np.divide(kept, batch.whole, out=np.ones_like(kept), where=batch.whole > 0),
            "dropped_share": batch.dropped,
            **{name: measure(batch.weights, batch.allowed) for name, measure in MEASURES.items()},
        }
        if networks.source.drop_first:
            numbers["sink_share"] = np.full(len(kept), np.nan)
        for name, values in numbers.items():
            columns.setdefault(name, []).append(values)
    return networks.labels.assign(**{name: np.concatenate(values) for name, values in columns.items()})
