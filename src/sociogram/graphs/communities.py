"""Groups of tokens that listen to each other more than to the rest."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def blocks_of(weights: Float[np.ndarray, "query key"], *, resolution: float = 1.0, seed: int = 0) -> Int[np.ndarray, " token"]:
    """The community of each token by Leiden on directed modularity (Traag et al. 2019; Dugué & Perez 2015), largest first."""
    from scipy.sparse import csr_matrix
    from sknetwork.clustering import Leiden

    if not weights.any():
        return np.zeros(len(weights), np.int64)
    labels = Leiden(resolution=resolution, modularity="dugue", random_state=seed).fit_predict(csr_matrix(weights))
    return np.asarray(labels, np.int64)
