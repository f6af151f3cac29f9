"""A question whose answer lies outside the window: told by a memory, not without it, and not by a shuffled one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import sociogram as sg
from sociogram import edits

pytest.importorskip("lancedb")

WINDOW, BETWEEN, QUESTIONS = 24, 30, 25
TASK = sg.grow.Recall(vocab_size=32, length=WINDOW, pairs=4)


@pytest.fixture(scope="module")
def society() -> sg.Model:
    """One layer that hears no further than its window, in which it has learned to recall."""
    config = sg.grow.SocietyConfig(
        kind="neighbourhood", window=WINDOW, vocab_size=TASK.vocab_size, hidden_size=32, num_hidden_layers=1, positions="none",
        convolution=3, max_position_embeddings=64,
    )  # fmt: skip
    grown = sg.grow.train(config, TASK, steps=500, batch=64, learning_rate=1e-2, every=500)
    assert grown.history["accuracy"].iloc[-1] > 0.97
    return sg.load(grown.model)


def stretched(ids: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[list[int], list[int], Tensor, Tensor]:
    """What was told, and a prompt in which so much stands between it and the questions that no window spans both."""
    told = ids[: 2 * TASK.pairs].tolist()
    free = torch.tensor([token for token in range(1, TASK.vocab_size) if token not in told])
    between = free[torch.randint(len(free), (BETWEEN,), generator=generator)].tolist()
    asked = (labels >= 0).nonzero()[:, 0]
    return told, told + between + ids[len(told) :].tolist(), asked + BETWEEN, labels[asked]


def right(model: sg.Model, prompt: list[int], at: Tensor, expected: Tensor, *changes: edits.Edit) -> int:
    with sg.steer(model, changes) as steered:
        said = steered.logits(prompt)[at].argmax(-1)
    return int((said == expected).sum())


def test_a_memory_reaches_beyond_the_window(society: sg.Model, tmp_path: Path) -> None:
    generator, memory = torch.Generator().manual_seed(3), sg.Memory(tmp_path / "memory")
    batch = TASK.batch(QUESTIONS, generator)
    answers = {"plain": 0, "memory": 0, "shuffled": 0}
    for number, (ids, labels) in enumerate(zip(batch["input_ids"], batch["labels"], strict=True)):
        told, *question = stretched(ids, labels, generator)
        passage = memory.collection([memory.add(sg.record(society, told, keep="qkv"))])
        answers["plain"] += right(society, *question)
        for name, source in (("memory", passage), ("shuffled", passage.shuffled(seed=number))):
            answers[name] += right(society, *question, edits.attend(source=source, positions="as_stored"))
    share = {name: count / (QUESTIONS * TASK.pairs) for name, count in answers.items()}
    assert share["memory"] >= 0.95
    assert share["plain"] <= TASK.chance
    assert share["shuffled"] <= TASK.chance
