"""Scores are what a count by hand gives; frozen embeddings keep their bits; the controls stand where they must."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import objective as experiment
from sociogram.experiments.objective import Settings, _conditions, _society
from sociogram.experiments.scored import common, cross_entropy, embedded, embedding_of, frequencies, scored
from sociogram.grow.text import help_text

torch.set_num_threads(1)

TINY = Settings(length=16, width=16, steps=4, batch=4, seeds=(0,), rates=(1e-2,), checks=1, tests=8)


def test_every_objective_starts_from_the_same_weights() -> None:
    first = _society(TINY, "cross-entropy", "moving", 3).state_dict()
    for objective, targets in _conditions(TINY):
        weights = _society(TINY, objective, targets, 3).state_dict()
        assert [name for name in weights if not torch.equal(weights[name], first[name])] == []
        assert set(first) - set(weights) <= {"lm_head.weight"}
    assert not torch.equal(first["embed_tokens.weight"], _society(TINY, "mse", "held", 4).state_dict()["embed_tokens.weight"])


@pytest.mark.parametrize(("objective", "targets"), _conditions(TINY))
def test_frozen_embeddings_keep_their_bits_and_all_others_change(objective: str, targets: str) -> None:
    before = embedding_of(_society(TINY, objective, targets, 0)).clone()
    after = embedding_of(experiment._grow(TINY, objective, targets, 1e-2, 0).grown.model)
    assert torch.equal(before, after) == (targets == "frozen")


def test_scores_by_hand() -> None:
    society = _society(TINY, "mse", "held", 0)
    with torch.no_grad():  # embeddings of different lengths: the nearest is not the nearest by angle
        embedding_of(society).mul_(torch.linspace(0.1, 3, len(embedding_of(society)))[:, None])
    text, held = sg.grow.Language(length=16), sg.grow.Language(length=16, part="held")
    found = scored(society, text, held, 64, 5)
    batch, table = held.batch(64, torch.Generator().manual_seed(5 + 77)), embedding_of(society)
    own, near, many = 0, 0, 0
    states: list[torch.Tensor] = []
    hook = society.norm.register_forward_hook(lambda module, args, output: states.append(output))
    with torch.no_grad():
        society(batch["input_ids"], use_cache=False)
    hook.remove()
    for state, label in zip(states[0].flatten(0, 1), batch["labels"].flatten(), strict=True):
        own += int((state - table).square().sum(-1).argmin() == label)
        near += int(torch.cosine_similarity(state[None], table).argmax() == label)
        many += 1
    assert (found.accuracy, found.nearest) == pytest.approx((own / many, near / many))
    assert own != near
    assert np.isnan(found.perplexity)
    assert 1 < found.fitted <= 1.2 * held.vocab_size
    plain = scored(_society(TINY, "cross-entropy", "moving", 0), text, text, 4, 5)
    assert plain.fitted < 1.05 * plain.perplexity, "fitted on these very sequences, with a sharpness near 1 among those tried"


def test_collapse_is_seen() -> None:
    society = _society(TINY, "cosine", "moving", 0)
    apart = embedded(society)
    with torch.no_grad():
        embedding_of(society).copy_(torch.ones(1, 16) + 1e-3 * torch.randn(len(embedding_of(society)), 16))
    together = embedded(society)
    assert abs(apart["cosine"]) < 0.1 < 0.99 < together["cosine"]
    assert together["rank"] < 1.1 < 10 < apart["rank"]
    labels = torch.arange(16)[None]
    assert society(labels, labels=labels).loss < 1.1, "a distance says nothing of it"


def test_common_letters_are_nearly_all_of_the_text() -> None:
    letters = sg.grow.Language().tokenizer.decode(common())
    text = help_text()
    assert 0.98 < sum(text.count(letter) for letter in set(letters)) / len(text) <= 1
    assert 30 < len(common()) < sg.grow.Language().vocab_size


def test_frequencies_are_those_of_the_text() -> None:
    text, held = sg.grow.Language(length=16), sg.grow.Language(length=16, part="held")
    one, two = frequencies(text, held, 1, count=2048), frequencies(text, held, 2, count=2048)
    assert one.accuracy == pytest.approx(held.chance, abs=0.02)
    assert two.accuracy > one.accuracy + 0.1
    assert two.perplexity < 0.6 * one.perplexity
    body = help_text()[: int(len(help_text()) * 0.9)]
    shares = np.array([body.count(letter) for letter in set(body)]) / len(body)
    assert one.perplexity == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=0.25), "the entropy of the letters"
    assert cross_entropy(torch.zeros(3, 7), torch.tensor([1, 2, 3])) == pytest.approx(np.log(7))


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


def test_the_quick_run_is_whole(quick: Study) -> None:
    table = quick[experiment.SCORED].set_index(["objective", "targets"])
    assert [one.title for one in quick.tables] == [experiment.SCORED, experiment.OVER, experiment.RUNS]
    assert [*table.index[:8]] == _conditions(Settings(distances=("cosine", "mse")))
    assert (table["low"] <= table["accuracy"]).all()
    assert table["perplexity"].notna().sum() == 5, "cross-entropy (two, and untrained) and the two frequencies"
    fresh = table.xs("untrained", level="targets")
    assert (fresh["accuracy"] < 0.1).all()
    assert (fresh["cosine"].abs() < 0.05).all()
    frozen = quick[experiment.OVER].query("targets == 'frozen'").groupby("objective")["cosine"]
    assert (frozen.max() == frozen.min()).all()
    assert len(quick.draw().axes) == 4
