"""What graspologic says of small graphs, written once to graspologic.json: run in an environment of its own (it needs numpy < 2).

    python3 -m venv /tmp/grasp && /tmp/grasp/bin/pip install graspologic
    /tmp/grasp/bin/python tests/graphs/oracle_graspologic.py

The graphs are made by whole numbers alone, so that they are the same in every version of numpy.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("graspologic.json")


def numbers(seed: int, count: int) -> np.ndarray:
    """Numbers between 0 and 1 of a linear congruential generator."""
    state, found = seed, []
    for _ in range(count):
        state = (1103515245 * state + 12345) % 2**31
        found.append(state / 2**31)
    return np.array(found)


def graph(seed: int, tokens: int, *, causal: bool = False) -> np.ndarray:
    """A directed graph with rows that sum to 1 and a few strong columns."""
    weights = numbers(seed, tokens * tokens).reshape(tokens, tokens) ** 3 + 0.5 * numbers(seed + 1, tokens)[None] ** 4
    weights = np.tril(weights) if causal else weights
    return weights / weights.sum(1, keepdims=True)


def screes() -> dict[str, np.ndarray]:
    """Sequences of which the elbows are asked."""
    found = {f"scree {seed}": np.sort(numbers(seed, 12 + seed) ** 3)[::-1] for seed in range(1, 8)}
    found["two steps"] = np.array([9.0, 8.7, 4.1, 4.0, 3.8, 1.0, 0.9, 0.7, 0.65, 0.5])
    return found


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Graphs that are to be matched: one to itself in another order, one to another."""
    one = graph(5, 12)
    order = np.argsort(numbers(9, 12))
    return [(one, one[np.ix_(order, order)]), (one, graph(6, 12)), (graph(7, 10, causal=True), graph(8, 10, causal=True))]


def main() -> None:
    """Ask graspologic."""
    import sys

    import graspologic
    from graspologic.embed import AdjacencySpectralEmbed, LaplacianSpectralEmbed, MultipleASE, OmnibusEmbed, select_dimension
    from graspologic.match import graph_match

    answers: dict[str, object] = {
        "versions": {"graspologic": graspologic.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    }
    exact = {"algorithm": "full", "diag_aug": False}
    for causal in (False, True):
        left, right = AdjacencySpectralEmbed(3, **exact).fit_transform(graph(1, 20, causal=causal))
        answers[f"ase causal={causal}"] = {"reader": left.tolist(), "sender": right.tolist()}
    left, right = LaplacianSpectralEmbed("R-DAD", 3, algorithm="full").fit_transform(graph(1, 20))
    answers["lse"] = {"reader": left.tolist(), "sender": right.tolist()}
    several = [graph(seed, 14, causal=True) for seed in (2, 3, 4)]
    left, right = OmnibusEmbed(3, **exact).fit_transform(several)
    answers["omni"] = {"reader": np.asarray(left).tolist(), "sender": np.asarray(right).tolist()}
    for scaled in (True, False):
        model = MultipleASE(3, algorithm="full", scaled=scaled, diag_aug=False).fit(several)
        answers[f"mase scaled={scaled}"] = {
            "reader": model.latent_left_.tolist(),
            "sender": model.latent_right_.tolist(),
            "score": np.asarray(model.scores_).tolist(),
        }
    answers["elbows"] = {}
    for name, values in screes().items():
        found, _ = select_dimension(values, n_components=len(values), n_elbows=4)
        answers["elbows"][name] = [int(i) for i in found]
    answers["faq"] = []
    for one, other in pairs():
        result = graph_match(one, other, n_init=100, init_perturbation=0.8, rng=0, maximize=True)
        matched = np.asarray(result.indices_B)[np.argsort(result.indices_A)]
        objective = float((one * other[np.ix_(matched, matched)]).sum())
        answers["faq"].append({"permutation": matched.tolist(), "objective": objective})
    FILE.write_text(json.dumps(answers, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
