"""Generators against brute force: the oracle is always right, saying the commonest answer is as good as chance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sociogram as sg
from sociogram.grow import Copy, Evidence, Language, Masked, Mixture, Recall, Regression, Repeat, Senses, Task
from sociogram.grow.senses import SENSES
from sociogram.grow.tasks import accuracy, asked, majority

TASKS = [
    Recall(),
    Recall(vocab_size=32, length=32, pairs=8),
    Recall(vocab_size=16, length=16, pairs=2, noise=False, power=1.0),
    Copy(),
    Repeat(),
    Repeat(vocab_size=6, length=9, shortest=2, longest=6),
    Evidence(),
    Evidence(classes=2, clues=3, distractors=2),
    Senses(),
    Senses(length=6, distractors=4),
    Mixture((Recall(vocab_size=32, length=16, pairs=2),)),
]


def drawn(task: Task, count: int = 512, seed: int = 0) -> dict[str, Tensor]:
    return task.batch(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_the_oracle_is_right_and_the_commonest_answer_is_not(task: Task) -> None:
    batch = drawn(task)
    assert isinstance(task, Task)
    read = {name: value for name, value in batch.items() if name != "labels"}
    assert accuracy(task.oracle(read), batch["labels"]) == 1.0
    many = int(asked(batch["labels"]).sum())
    assert majority(batch["labels"]) <= task.blind + 5 * (task.blind / many) ** 0.5 + 5 / many
    assert task.blind <= task.chance
    assert batch["input_ids"].shape == (512, task.length)
    assert int(batch["input_ids"].min()) >= 0
    assert int(batch["input_ids"].max()) < task.vocab_size


@pytest.mark.parametrize("task", [*TASKS, Regression(), Language(), Masked(Language())], ids=repr)
def test_the_same_generator_draws_the_same(task: Task) -> None:
    for name, value in drawn(task, 4, 7).items():
        assert torch.equal(value.nan_to_num(), drawn(task, 4, 7)[name].nan_to_num())
    name = "vectors" if task.vocab_size is None else "input_ids"
    assert not torch.equal(drawn(task, 4, 7)[name], drawn(task, 4, 8)[name])


def guessed(task: Task, guess: dict[str, object]) -> float:
    """Accuracy of a guess at each asked place: a function of sequence and place."""
    batch, right, many = drawn(task), 0, 0
    generator = torch.Generator().manual_seed(1)
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        for place in asked(labels).nonzero()[:, 0].tolist():
            options = guess["options"](ids, place)
            right += int(options[int(torch.randint(len(options), (1,), generator=generator))] == labels[place])
            many += 1
    return right / many


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (Recall(vocab_size=64, length=32, pairs=4), lambda ids, place: ids[1:8:2]),
        (
            Repeat(vocab_size=20, length=20, shortest=3, longest=5),
            lambda ids, place: [t for t in ids[:place].unique() if t != ids[place]],
        ),
    ],
)
def test_chance_is_what_a_guess_among_the_told_gets(task: Task, options: object) -> None:
    assert abs(guessed(task, {"options": options}) - task.chance) < 0.03


@settings(deadline=None, max_examples=20, database=None)
@given(st.integers(0, 999), st.integers(1, 6))
def test_recall_by_hand(seed: int, pairs: int) -> None:
    """Each key once among the pairs and once, asked, behind them; the answer is not in the input behind it by design."""
    task = Recall(vocab_size=40, length=4 * pairs + 6, pairs=pairs, noise=False)
    batch = drawn(task, 3, seed)
    for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        told = dict(zip(ids[0 : 2 * pairs : 2], ids[1 : 2 * pairs : 2], strict=True))
        assert len(told) == pairs
        assert len(set(told.values())) == pairs
        assert all(1 <= key < 20 <= value < 40 for key, value in told.items())
        said = {ids[i]: label for i, label in enumerate(labels) if label != -100}
        assert said == told
        assert all((token in told) == (label != -100) for token, label in zip(ids[2 * pairs :], labels[2 * pairs :], strict=True))


def test_near_keys_come_back_more_often() -> None:
    def mean_place(power: float) -> float:
        labels = drawn(Recall(vocab_size=64, length=64, pairs=4, power=power))["labels"]
        return float(asked(labels).nonzero()[:, 1].double().mean())

    assert mean_place(0.01) < mean_place(1.0) - 5


def test_copy_and_repeat_by_hand() -> None:
    ids, labels = (drawn(Copy(vocab_size=9, tokens=4), 1)[name][0].tolist() for name in ("input_ids", "labels"))
    assert ids == [*ids[:4], 8, *ids[:3]]
    assert labels == [-100] * 4 + ids[:4]
    batch = drawn(Repeat(vocab_size=20, length=12, shortest=3, longest=7))
    periods = set()
    for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        period = len(set(ids))
        periods.add(period)
        assert ids == (ids[:period] * 12)[:12]
        assert labels == [-100] * period + (ids[:period] * 12)[period + 1 : 13]
    assert periods == {3, 4, 5, 6, 7}


def test_evidence_has_one_answer() -> None:
    task = Evidence(classes=3, clues=3, distractors=2, markers=2)
    batch = drawn(task)
    for ids, label in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        votes = [sum((token - 1) // 2 == voice for token in ids if 1 <= token <= 6) for voice in range(3)]
        assert ids[0] == 0
        assert votes[label] == 3
        assert sum(votes) == 5


def test_regression_is_solved_by_least_squares_alone() -> None:
    task = Regression(dimension=3, examples=4)
    batch = drawn(task, 4096)
    answers, labels = task.oracle(batch), batch["labels"]
    assert (answers[:, -1] - labels[:, -1]).abs().median() <= 1e-5
    assert bool(labels[:, :-1].isnan().all())
    assert abs(float(labels[:, -1].square().mean()) / 2 - task.chance) < 0.05 * task.chance
    assert Regression().chance == pytest.approx(1.666667, abs=1e-6)
    assert bool((batch["vectors"][:, -1, -1] == 0).all())


def test_senses_are_told_by_one_word() -> None:
    assert len(SENSES) == 20
    for word, (one, cues), (other, others) in SENSES:
        assert one != other
        assert not set(cues.split()) & set(others.split()), word
    task = Senses(distractors=0)
    batch = drawn(task, 64)
    text = task.tokenizer.decode(batch["input_ids"][0]).split()
    answer = task.tokenizer.decode(batch["labels"][0, -1:])
    assert answer.split("/")[0] == text[-1]
    pointing = {f"{word}/{name}": cues.split() for word, *both in SENSES for name, cues in both}
    assert len(set(text) & set(pointing[answer])) == 1


@pytest.mark.parametrize("level", ["character", "subword"])
def test_language_is_the_text_and_its_next_tokens(level: str) -> None:
    from sociogram.grow.text import help_text

    task = Language(level=level, length=20, pieces=400 if level == "subword" else None)
    batch = drawn(task, 8)
    assert torch.equal(batch["input_ids"][:, 1:], batch["labels"][:, :-1])
    for row in batch["input_ids"]:
        assert task.tokenizer.decode(row[2:-2]).strip("�") in help_text()
    text = "if x:\n    return"
    assert task.tokenizer.decode(task.tokenizer(text)["input_ids"]) == text
    assert 0.005 < task.chance < 0.6
    held = Language(level=level, length=20, part="held", pieces=task.pieces)
    assert held.vocab_size == task.vocab_size
    assert all(
        held.tokenizer.decode(row[2:-2]).strip("�") in help_text()[-len(help_text()) // 9 :]
        for row in drawn(held, 8)["input_ids"]
    )
    with pytest.raises(sg.InputError, match="nobody knows how a text goes on"):
        task.oracle(batch)


def test_masked_tokens_are_the_task_s_own() -> None:
    task = Masked(Repeat(), share=0.2)
    batch, plain = drawn(task, 256), drawn(Repeat(), 256)
    hidden = batch["input_ids"] == task.vocab_size - 1
    assert torch.equal(hidden, batch["labels"] != -100)
    assert torch.equal(torch.where(hidden, batch["labels"], batch["input_ids"]), plain["input_ids"])
    assert bool(hidden.any(-1).all())
    assert abs(float(hidden.double().mean()) - 0.2) < 0.01


def test_a_mixture_is_one_of_its_tasks_each_time() -> None:
    short, long = Copy(vocab_size=9, tokens=3), Recall(vocab_size=16, length=12, pairs=2)
    mixed, seen = Mixture((short, long, long)), []
    for number in range(300):
        generator = torch.Generator().manual_seed(number)
        batch = mixed.batch(2, generator)
        assert accuracy(mixed.oracle(batch), batch["labels"]) == 1.0
        seen.append(batch["input_ids"].shape[1])
    assert set(seen) == {6, 12}
    assert abs(seen.count(12) / 300 - 2 / 3) < 0.1
    assert (mixed.vocab_size, mixed.length, mixed.leaks) == (16, 12, True)
    assert mixed.chance == pytest.approx((1 / 8 + 1 / 2 + 1 / 2) / 3)
    assert mixed.blind == pytest.approx((1 / 8 + 1 / 8 + 1 / 8) / 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture(()), r"Mixture\(tasks=\(\)\): a mixture is made of tasks. Give one or more, as a tuple"),
        (lambda: Mixture((Copy(), Regression())), "these are not all tokens. Mix those that are"),
        (lambda: Mixture((Copy(tokens=8), Recall(length=16))), "two different ones have the same length"),
        (lambda: Recall(length=12, pairs=4), r"Recall\(pairs=4\): each needs four of the 12 places"),
        (lambda: Recall(vocab_size=8, pairs=4), "half of it does not hold 4 keys"),
        (lambda: Copy(vocab_size=2), "two tokens and the separator"),
        (lambda: Copy(tokens=0), "there is nothing to copy"),
        (lambda: Repeat(shortest=1), "periods go from 2 on"),
        (lambda: Repeat(longest=64), "63 is the most"),
        (lambda: Evidence(clues=1, distractors=1), "fewer than the 1 clues"),
        (lambda: Evidence(vocab_size=17), "no neutral token is left"),
        (lambda: Evidence(classes=1), "two answers at least"),
        (lambda: Evidence(length=3), "does not hold the evidence"),
        (lambda: Regression(examples=0), "nothing to learn from"),
        (lambda: Senses(distractors=11), "10 places are left"),
        (lambda: Language(level="word"), "Choose 'character' or 'subword'"),
        (lambda: Language(part="dev"), "Choose 'train' or 'held'"),
        (lambda: Language(pieces=400), "only for those"),
        (lambda: Language(level="subword", pieces=20), "the 256 bytes are among them"),
        (lambda: Masked(Regression()), "vectors, which nothing can mask"),
        (lambda: Masked(Copy(), share=0.0), "a share lies between 0 and 1"),
    ],
)
def test_tasks_that_cannot_be_are_refused(make: object, message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        make()
