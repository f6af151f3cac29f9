"""The same as graspologic, whose answers oracle_graspologic.py wrote down."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sociogram.graphs.decompose import CLOSE
from sociogram.graphs.joint import common, omnibus
from sociogram.graphs.matching import faq
from sociogram.graphs.positions import adjacency, laplacian
from sociogram.graphs.spectrum import elbows
from tests.graphs.oracle_graspologic import FILE, graph, pairs, screes


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def same_but_for_signs(ours: np.ndarray, theirs: Any, atol: float = 1e-8) -> None:
    theirs = np.asarray(theirs).reshape(ours.shape)
    sign = np.sign((ours * theirs).sum(tuple(range(ours.ndim - 1))))
    np.testing.assert_allclose(ours * sign, theirs, atol=atol)


@pytest.mark.parametrize("causal", [False, True])
def test_adjacency(said: dict[str, Any], causal: bool) -> None:
    ours, theirs = adjacency(graph(1, 20, causal=causal), 3), said[f"ase causal={causal}"]
    same_but_for_signs(ours.reader, theirs["reader"])
    same_but_for_signs(ours.sender, theirs["sender"])
    np.testing.assert_allclose(ours.reader @ ours.sender.T, np.array(theirs["reader"]) @ np.array(theirs["sender"]).T, atol=1e-9)


def test_laplacian(said: dict[str, Any]) -> None:
    ours = adjacency(laplacian(graph(1, 20)), 3)
    same_but_for_signs(ours.reader, said["lse"]["reader"])
    same_but_for_signs(ours.sender, said["lse"]["sender"])


def test_omnibus(said: dict[str, Any]) -> None:
    ours = omnibus(np.stack([graph(seed, 14, causal=True) for seed in (2, 3, 4)]), 3)
    same_but_for_signs(ours.reader, said["omni"]["reader"], CLOSE)
    same_but_for_signs(ours.sender, said["omni"]["sender"], CLOSE)


@pytest.mark.parametrize("scaled", [True, False])
def test_mase(said: dict[str, Any], scaled: bool) -> None:
    ours = common(lambda: enumerate([graph(seed, 14, causal=True) for seed in (2, 3, 4)]), 3, scaled=scaled)
    theirs = said[f"mase scaled={scaled}"]
    same_but_for_signs(ours.reader, theirs["reader"])
    same_but_for_signs(ours.sender, theirs["sender"])
    for number, score in enumerate(theirs["score"]):
        expected = np.array(theirs["reader"]) @ np.array(score) @ np.array(theirs["sender"]).T
        np.testing.assert_allclose(ours.reader @ ours.scores[number] @ ours.sender.T, expected, atol=1e-8)


def told_apart(found: list[int], count: int) -> list[int]:
    """Elbows before the last two values, whose likelihood has no deviation to go by (graspologic takes either)."""
    return [elbow for before, elbow in zip([0, *found], found, strict=False) if count - before > 2]


def test_elbows(said: dict[str, Any]) -> None:
    for name, values in screes().items():
        theirs = told_apart(said["elbows"][name], len(values))
        assert told_apart(elbows(values)[:4], len(values)) == theirs
        assert len(theirs) >= 2


def test_matching(said: dict[str, Any]) -> None:
    for (one, other), theirs in zip(pairs(), said["faq"], strict=True):
        ours = faq(one, other, restarts=100, rng=np.random.default_rng(0))
        assert ours.objective == pytest.approx(theirs["objective"], rel=1e-9)
    assert faq(*pairs()[0], restarts=100, rng=np.random.default_rng(0)).permutation.tolist() == said["faq"][0]["permutation"]
