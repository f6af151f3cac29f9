"""The flock measures of any points that move: a simulation's, another library's, or a stream of one's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.watch.shape import JOINED, alignment, clusters, cohesion, dispersion, effective_rank, nearest


def measure_flock(
    places: Float[np.ndarray, "stop token d_model"] | Float[Tensor, "stop token d_model"], *, joined: float = JOINED
) -> pd.DataFrame:
    """What `rec.flock().measures` says of a recording, of points given as numbers: one row for each stop, one column a measure.

    Args:
        places: where each token is at each stop. In float64.
        joined: tokens whose cosine is at least this are in one cluster.

    Returns:
        Columns `stop, cohesion, alignment, dispersion, nearest, effective_rank, clusters`; alignment (of the moves from the stop
        before) is NaN at the first. All tokens count: leave out the first yourself where it is a sink.

    Raises:
        InputError: another number of dimensions, no token, or numbers that are not finite.
    """
    points = torch.as_tensor(places).detach().cpu().double()
    if points.dim() != 3 or 0 in points.shape:
        raise InputError(f"measure_flock: places of shape {list(points.shape)}: give [stop, token, d_model], none of them 0")
    if not points.isfinite().all():
        raise InputError(f"measure_flock: {int((~points.isfinite()).sum())} numbers of places are not finite")
    first = torch.full((1,), torch.nan, dtype=torch.float64)
    found = {
        "cohesion": cohesion(points),
        "alignment": torch.cat([first, alignment(points[:-1], points[1:])]),
        "dispersion": dispersion(points),
        "nearest": torch.stack([nearest(stop) for stop in points]),
        "effective_rank": effective_rank(points),
        "clusters": clusters(points, joined),
    }
    return pd.DataFrame({"stop": np.arange(len(points)), **{name: values.numpy() for name, values in found.items()}})
