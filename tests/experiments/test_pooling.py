"""The closed form exactly, moves of vectors made by hand, probes, what societies are read by, and a quick run."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
import torch

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import pooling as experiment
from sociogram.experiments.pooling_runs import CLASSES, Settings, config_of, over_seeds, task_of, trained, untrained
from sociogram.experiments.vectors import (
    all_signs,
    changed_means,
    expected,
    found_halves,
    help_pieces,
    last_states,
    moves,
    pooled,
    probe,
    wrapped,
)
from sociogram.grow.tasks import accuracy, majority


@pytest.mark.parametrize("tokens", [1, 2, 3, 5])
def test_the_closed_form_is_exact(tokens: int) -> None:
    added = replaced = Fraction(0)
    for signs in product((-1, 1), repeat=tokens + 1):
        before = Fraction(sum(signs[:-1]), tokens)
        added += (Fraction(sum(signs), tokens + 1) - before) ** 2
        replaced += (Fraction(sum(signs[1:]), tokens) - before) ** 2
    patterns = 2 ** (tokens + 1)
    assert added / patterns == Fraction(1, tokens * (tokens + 1))
    assert replaced / patterns == Fraction(2, tokens**2)
    for change, sum_ in (("added", added), ("replaced", replaced)):
        assert expected(tokens, 3, change) == pytest.approx(3 * float(sum_ / patterns), rel=1e-15)
        assert float(changed_means(all_signs(tokens), change).mean()) == pytest.approx(float(sum_ / patterns), rel=1e-14)


def test_drawn_vectors_move_as_the_closed_form_says() -> None:
    table = experiment.one_more(1000, 1)
    exact = table[table["how"] == "all signs"]
    assert exact["measured"].to_numpy() == pytest.approx(exact["closed_form"].to_numpy(), rel=1e-14)
    drawn = table[table["how"] == "drawn"]
    assert ((drawn["measured"] - drawn["closed_form"]).abs() < 4.5 * drawn["error"]).all()
    assert (drawn["error"] < 0.05 * drawn["closed_form"]).all()


def test_moves_of_independent_vectors_and_of_such_that_move_together() -> None:
    draw = torch.Generator().manual_seed(0)
    after = torch.randn(3000, 21, 8, generator=draw)
    before = after[:, :-1]
    found = moves(before, after, "mean")
    assert found["moved"] == pytest.approx(8 / (20 * 21), rel=0.05)
    assert found["relative"] == pytest.approx(1 / 21, rel=0.08)
    assert found["median"] < found["relative"], "squares of normals: the median lies below the mean"
    assert found["independent"] == pytest.approx(1, rel=0.05)
    pushed = torch.cat([before + 0.5, after[:, -1:]], 1)
    assert moves(before, pushed, "mean")["independent"] > 50, "all moved with the one that joined"
    assert moves(before, after, "cls")["moved"] == 0
    assert moves(before, pushed, "cls")["moved"] == pytest.approx(8 * 0.25, rel=1e-5)


def test_the_move_does_not_depend_on_the_scale() -> None:
    after = torch.randn(50, 6, 4, generator=torch.Generator().manual_seed(1))
    one, ten = (moves(scale * after[:, :-1], scale * after, "mean") for scale in (1, 10))
    assert ten["relative"] == pytest.approx(one["relative"], rel=1e-5)
    assert ten["moved"] == pytest.approx(100 * one["moved"], rel=1e-5)


def test_probes_read_what_is_there_and_nothing_else() -> None:
    draw = torch.Generator().manual_seed(2)
    labels = torch.randint(4, (800,), generator=draw)
    centres = torch.randn(4, 10, generator=draw)
    vectors = 3 * centres[labels] + torch.randn(800, 10, generator=draw)
    said = probe(vectors[:500], labels[:500], vectors[500:], 4)
    assert float((said == labels[500:]).double().mean()) > 0.97
    shuffled = labels[torch.randperm(800, generator=draw)]
    said = probe(vectors[:500], shuffled[:500], vectors[500:], 4)
    assert float((said == shuffled[500:]).double().mean()) < 0.35
    moved = probe(7 * vectors[:500] + 3, labels[:500], 7 * vectors[500:] + 3, 4)
    same = probe(vectors[:500], labels[:500], vectors[500:], 4)
    assert float((moved == same).double().mean()) > 0.99, "scale and origin do not matter"


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_pooled_states_are_what_the_society_answers_by(pool: str) -> None:
    torch.manual_seed(0)
    model = sg.load(sg.grow.Society(config_of(Settings(), 16, pool)).eval())
    ids = task_of(16, 4).batch(7, torch.Generator().manual_seed(0))["input_ids"]
    with torch.no_grad():
        states = last_states(model, ids)
        assert torch.allclose(model.hf.lm_head(pooled(states, pool)), model.hf(ids).logits, atol=1e-5)
        other = "mean" if pool == "cls" else "cls"
        assert not torch.allclose(model.hf.lm_head(pooled(states, other)), model.hf(ids).logits, atol=1e-2)
        one = last_states(model, ids[:1])
    assert torch.allclose(one, states[:1], atol=1e-5), "one text alone"


def test_no_place_matters_so_that_a_token_may_join_anywhere() -> None:
    torch.manual_seed(0)
    model = sg.load(sg.grow.Society(config_of(Settings(), 16, "mean")).eval())
    ids = task_of(16, 4).batch(3, torch.Generator().manual_seed(0))["input_ids"]
    turned = torch.cat([ids[:, :1], ids[:, 1:].flip(1)], 1)
    for reading in ("cls", "mean"):
        assert torch.allclose(*(pooled(last_states(model, each), reading) for each in (ids, turned)), atol=1e-5)


def test_the_task_has_an_oracle_and_its_majority_is_chance() -> None:
    for clues in (2, 6):
        batch = task_of(16, clues).batch(4000, torch.Generator().manual_seed(0))
        assert accuracy(task_of(16, clues).oracle(batch), batch["labels"]) == 1
        assert majority(batch["labels"]) == pytest.approx(1 / CLASSES, abs=0.03)


def test_untrained_is_where_training_begins_and_both_ways_begin_alike() -> None:
    chosen = Settings(steps=1, every=1, tests=32)
    begun = {pool: trained(chosen, 16, 4, pool, 5, 1e-12) for pool in ("cls", "mean")}
    start = dict(untrained(chosen, 16, 5).model.hf.named_parameters())
    for one in begun.values():
        for name, parameter in one.model.hf.named_parameters():
            assert torch.allclose(parameter, start[name], atol=1e-9), name
    runs = {(16, 4, pool, 5): one for pool, one in begun.items()}
    assert [key["trained"] for key, _ in over_seeds(runs, ("cls", "mean"))] == ["cls", "mean"]


def test_halves_find_each_other_by_cosine() -> None:
    vectors = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    assert found_halves(vectors, 3 * vectors) == 1
    assert found_halves(vectors, vectors.roll(1, 0)) == 0


@pytest.mark.real
def test_texts_of_the_encoder_are_as_its_tokenizer_makes_them(minilm: sg.Model) -> None:
    ids = help_pieces(minilm, 3, 20)
    assert minilm.tokenizer is not None
    for row in ids:
        text = minilm.tokenizer.decode(row)
        assert minilm.encode(text)["input_ids"][0].tolist() == wrapped(minilm, row[None])[0].tolist()
    with torch.no_grad():
        states = minilm.hf(**minilm.encode(wrapped(minilm, ids))).last_hidden_state
    assert torch.allclose(last_states(minilm, wrapped(minilm, ids)), states, atol=1e-5)
    with pytest.raises(sg.InputError, match=r"passages=5000: only \d+ topics of Python's help have 20 tokens or more"):
        help_pieces(minilm, 5000, 20)


@pytest.mark.parametrize("name", ["moved", "passages"])
def test_one_text_has_nothing_to_be_compared_with(name: str) -> None:
    with pytest.raises(sg.InputError, match=f"pooling: {name}=1: two texts or more"):
        experiment.run(quick=True, **{name: 1})


@pytest.mark.real
def test_a_model_without_a_token_for_the_text_is_refused(smollm: sg.Model) -> None:
    with pytest.raises(sg.InputError, match="its texts begin with no token that stands for them; choose an encoder"):
        wrapped(smollm, torch.zeros(1, 3, dtype=torch.long))


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


@pytest.mark.real
def test_the_quick_run_is_whole(quick: Study) -> None:
    accuracies = quick[experiment.ACCURACY].set_index("trained")["mean"]
    assert set(accuracies.index) == {"cls", "mean"}
    read = quick[experiment.READ].set_index(["trained", "read"])["mean"]
    assert set(read.index) == {(way, reading) for way in ("cls", "mean", "not") for reading in ("cls", "mean")}
    assert read.between(0.2, 1).all()
    moved = quick[experiment.MOVED]
    assert (moved["independent"].isna() == (moved["read"] == "cls")).all()
    assert (moved["relative"] > 0).all()
    real = quick[experiment.REAL]
    assert set(real["weights"]) == {"trained", "fresh"}
    assert real["tokens"].min() == 8 + 2, "special tokens count"
    assert quick[experiment.FOUND]["found"].between(0, 1).all()
    assert len(quick.draw().axes) == 6
