"""What is compared is equal; operations are counted; ceilings are those of brute force and are not exceeded; states are whole."""

from __future__ import annotations

from collections import defaultdict
from math import log2

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import communication as experiment
from sociogram.experiments.ceilings import Narrow, _recalled, ceiling, copying
from sociogram.experiments.speakers import SPEAKERS, SUMMED, equal_parameters, equal_state, flops, parameters, society, state
from sociogram.experiments.talking import Settings, tasks_of
from sociogram.experiments.talking_tables import counted
from sociogram.grow import Copy, Recall, Senses, Society, score

torch.set_num_threads(1)

SIZES = {"vocab": 64, "places": 64}


def made(name: str, width: int = 16) -> sg.grow.SocietyConfig:
    return society(name, width=width, inner=24, **SIZES)


@pytest.mark.parametrize("name", SPEAKERS)
def test_parameters_are_equal(name: str) -> None:
    flock = parameters(society("flock", width=32, inner=128, **SIZES))
    assert abs(parameters(equal_parameters(name, width=32, **SIZES)) / flock - 1) < 0.01


@pytest.mark.parametrize("name", [name for name in SPEAKERS if name not in ("isolated", "council")])
@pytest.mark.parametrize("size", [512, 2048])
def test_states_are_equal(name: str, size: int) -> None:
    config = equal_state(name, tokens=32, size=size, inner=64, **SIZES)
    assert abs(4 * state(config, 32) / size - 1) < 0.1


@pytest.mark.parametrize("name", SPEAKERS)
@pytest.mark.parametrize("tokens", [8, 16, 48])
@pytest.mark.filterwarnings("ignore:TF32")
def test_operations_are_those_that_torch_counts(name: str, tokens: int) -> None:
    """The formula is exact: of every matrix product, as many as torch's own counter sees."""
    assert flops(made(name), tokens) == pytest.approx(counted(made(name), tokens), rel=1e-12)
    assert flops(made(name, 32), tokens) > 1.5 * flops(made(name), tokens)


def last_output(model: Society, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids, use_cache=False).logits[0, -1]


@pytest.mark.parametrize("name", ["rnn", "lstm", "xlstm"])
def test_the_state_of_a_cell_is_as_large_as_was_said(name: str) -> None:
    cell = Society(made(name)).layers[0].mixer.cell
    _, found = cell(torch.randn(1, 10, 16))
    numbers = sum(part.numel() for part in (found if isinstance(found, tuple) else (found,)))
    assert numbers + (SUMMED - 1) * 16 == state(made(name), 10)


def test_the_state_of_linear_attention_is_its_sums() -> None:
    """The last token's answer from sums of keys times values alone is the layer's own."""
    mixer, hidden = Society(made("linear attention")).double().layers[0].mixer, torch.randn(1, 10, 16, dtype=torch.float64)
    with torch.no_grad():
        query, key, value = (part(hidden)[0].unflatten(-1, (4, 4)) for part in (mixer.q_proj, mixer.k_proj, mixer.v_proj))
        sums = torch.einsum("thi,thj->hij", key, value)
        told = torch.einsum("hi,hij->hj", query[-1], sums).flatten() * 4**-0.5 / 10
        assert (mixer.o_proj(told) - mixer(hidden)[0, -1]).abs().max() <= 1e-12
    assert sums.numel() + (SUMMED - 1) * 16 == state(made("linear attention"), 10)


def test_the_state_of_a_flock_is_its_cache_and_that_of_a_window_no_more_than_it_hears() -> None:
    plain = sg.grow.SocietyConfig(num_hidden_layers=1, hidden_size=16, vocab_size=64)
    with torch.no_grad():
        cache = Society(plain).eval()(torch.zeros(1, 10).long(), use_cache=True).past_key_values
    layer = cache.layers[0]
    assert layer.keys.numel() + layer.values.numel() == state(plain, 10) == state(made("flock"), 10) - (SUMMED - 1) * 16
    near, model = made("neighbourhood"), Society(made("neighbourhood")).eval()
    kept = (state(near, 60) - (SUMMED - 1) * 16) // (2 * 16)
    ids = torch.randint(64, (1, 40), generator=torch.Generator().manual_seed(0))
    far, edge = ids.clone(), ids.clone()
    far[0, 39 - kept - SUMMED] += 1 if far[0, 39 - kept - SUMMED] < 63 else -1
    edge[0, 39 - kept] += 1 if edge[0, 39 - kept] < 63 else -1
    assert torch.equal(last_output(model, far), last_output(model, ids))
    assert not torch.equal(last_output(model, edge), last_output(model, ids))
    assert state(made("isolated"), 10) == 0
    assert state(made("council"), 10) is None


def drawn(task: sg.grow.Task) -> dict[str, torch.Tensor]:
    return task.batch(400, torch.Generator().manual_seed(5))


def by_force(config: sg.grow.SocietyConfig, task: sg.grow.Task) -> float:
    """The oracle on what reaches each question alone, all else replaced by tokens that tell nothing; else the best guess.

    In recall a value may be reached whose key is not: it is guessed wherever that is right more often than another value is.
    """
    batch, reached = drawn(task), sg.grow.reach(config, task.length)
    right, many, guesses = 0.0, 0, defaultdict(list)
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        for place in (labels != -100).nonzero()[:, 0].tolist():
            many += 1
            heard = torch.where(reached[place], ids, -1)
            told = [heard[p] for p in range(task.length) if labels[place] == heard[p] and p < place]
            answers = task.oracle({"input_ids": heard[None]})[0, place]
            if answers == labels[place] and told:
                right += 1
            elif isinstance(task, Recall):
                pairs = list(zip(heard[0 : 2 * task.pairs : 2].tolist(), heard[1 : 2 * task.pairs : 2].tolist(), strict=True))
                lonely = [value for key, value in pairs if key < 0 <= value]
                left = 1 / task.blind - sum(value >= 0 for _, value in pairs)
                guesses[place].append((int(labels[place]) in lonely, left))
            else:
                right += task.blind
    for told_here in guesses.values():
        share = sum(hit for hit, _ in told_here) / len(told_here)
        right += sum(max(share, (1 - share) / left) for _, left in told_here)
    return right / many


@pytest.mark.parametrize("name", ["isolated", "neighbourhood", "flock", "rnn"])
@pytest.mark.parametrize("task", [Recall(vocab_size=18, length=28, pairs=7), Copy(vocab_size=33, tokens=12), Copy(tokens=20)])
def test_ceilings_are_those_of_brute_force(name: str, task: sg.grow.Task) -> None:
    found, wanted = ceiling(made(name), task), by_force(made(name), task)
    assert found == pytest.approx(wanted, abs=0.02)
    if isinstance(task, Recall):
        same = _recalled(task, drawn(task), sg.grow.reach(made(name), task.length))
        assert float(same.mean()) == pytest.approx(wanted, abs=1e-9)
    assert (found == 1) == (name in ("flock", "rnn") or (name == "neighbourhood" and task == Copy(vocab_size=33, tokens=12)))


def test_senses_are_told_as_far_as_the_word_is_heard() -> None:
    task = Senses(length=40)
    assert ceiling(made("isolated"), task) == pytest.approx(0.5, abs=0.03)
    assert ceiling(made("flock"), task) == 1
    reach = 15 + SUMMED - 1
    assert ceiling(made("neighbourhood"), task) == pytest.approx(0.5 + 0.5 * reach / 39, abs=0.03)


def test_a_state_copies_no_more_than_it_holds() -> None:
    assert copying(0, 8, 32) == pytest.approx(1 / 32, abs=1e-6)
    assert copying(40, 8, 32) == pytest.approx(1, abs=1e-6)
    assert copying(1000, 8, 32) == pytest.approx(1, abs=1e-6)
    assert copying(7, 8, 2) == pytest.approx(1 - 0.0171, abs=1e-3), "H(e) = 1/8"
    assert (np.diff([copying(bits, 8, 32) for bits in range(40)]) > 0).all()
    for kept in range(8):  # a state that holds some tokens whole, and a guess of all others, stays below
        assert (kept + (8 - kept) / 32) / 8 <= copying(kept * log2(32), 8, 32)


def test_a_narrow_place_lets_through_what_was_said() -> None:
    cell, hidden = torch.nn.LSTM(4, 6, batch_first=True), torch.randn(5, 9, 4)
    with torch.no_grad():
        whole = cell(hidden)[0]
        wide, narrow, shut = (Narrow(cell, 4, numbers, bits)(hidden)[0] for numbers, bits in ((6, 24), (3, 1), (0, 8)))
        assert torch.equal(narrow[:, :4], whole[:, :4])
        assert (wide - whole).abs().max() < 1e-5
        assert (narrow - whole).abs().max() > 1e-3
        assert torch.equal(shut[:, 4:], cell(hidden[:, 4:])[0]), "a state of zeros is a new beginning"
        few = Narrow(cell, 4, 3, 1)._few(torch.randn(1, 5, 6), 1.0)
    assert set(few[..., :3].flatten().tolist()) == {-0.5, 0.5}
    assert not few[..., 3:].any()


def test_nothing_leaks_to_a_council() -> None:
    """Those who hear what follows are asked only where no answer stands there."""
    tasks = {name: tasks_of(name, (16,))[0] for name in ("recall", "copy", "sense")}
    assert {name: task.leaks for name, task in tasks.items()} == {"recall": False, "copy": True, "sense": False}
    batch = tasks["recall"].batch(300, torch.Generator().manual_seed(0))
    behind, by_chance, many = 0, 0, 0
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        for place in (labels != -100).nonzero()[:, 0].tolist():
            rest = ids[place + 1 :].tolist()
            behind, by_chance, many = behind + (labels[place] in rest), by_chance + (ids[1] in rest), many + 1
    assert behind / many == pytest.approx(by_chance / many, abs=0.05), "values stand behind their keys as often as any other"
    with pytest.raises(sg.InputError, match="there is no task 'poem'; there are recall, copy, sense"):
        tasks_of("poem", (8,))


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


@pytest.mark.filterwarnings("ignore:TF32")
def test_the_quick_run_is_whole(quick: Study) -> None:
    assert [table.title for table in quick.tables] == [
        experiment.BREAKS,
        experiment.COSTS,
        experiment.EFFORT,
        experiment.LONGER,
        experiment.BYTES,
        experiment.BOUND,
        experiment.NARROW,
        experiment.LENGTHS,
        experiment.LEARNED,
        experiment.RUNS,
    ]
    costs, bound, narrow = (quick[title] for title in (experiment.COSTS, experiment.BOUND, experiment.NARROW))
    assert (costs["off"].abs() < 0.01).all()
    assert np.allclose(costs["flops"], costs["counted"], rtol=1e-12)
    assert set(zip(costs["task"], costs["kind"], strict=True)) == {
        (task, kind) for task in ("recall", "copy") for kind in SPEAKERS if (task, kind) != ("copy", "council")
    }
    for table in (bound, narrow):
        assert (table["accuracy"] <= table["ceiling"] + 0.05).all()
    assert (narrow["ceiling"] < 0.99).any()
    assert quick.seeds == (0,)
    assert len(quick.draw().axes) == 6


def test_a_copier_by_heart_is_at_the_ceiling_and_the_isolated_are_at_theirs() -> None:
    """Brute force does each task; a society that hears nobody, trained or not, does not exceed its ceiling."""
    chosen = Settings()
    for name in chosen.tasks:
        for task in tasks_of(name, chosen.lengths):
            batch = task.batch(64, torch.Generator().manual_seed(1))
            assert sg.grow.tasks.accuracy(task.oracle(batch), batch["labels"]) == 1.0
    task = Recall(vocab_size=64, length=16, pairs=4)
    config = equal_parameters("isolated", vocab=64, places=16, width=16)
    grown = sg.grow.train(config, task, steps=60, batch=32, learning_rate=1e-2, test_count=8, every=60)
    assert score(grown.model, task, count=2000)["accuracy"] <= ceiling(config, task) + 0.01
