"""Training: it learns what can be learned, goes on where it was interrupted, and refuses what does not fit."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.grow import (
    Copy,
    Evidence,
    Language,
    Masked,
    Recall,
    Regression,
    Repeat,
    Society,
    SocietyConfig,
    open_grown,
    score,
    train,
)

from .making import config, society

SMALL = Recall(vocab_size=16, length=12, pairs=2, noise=False)


class PowerCutError(Exception):
    pass


def weights(model: Society) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters())


def same(one: Society, other: Society) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.mark.parametrize("name", ["flock", "random routing"])
def test_going_on_gives_the_weights_of_an_uninterrupted_run(name: str, tmp_path: Path) -> None:
    """Bit for bit, with routers that draw from torch's generator too."""
    options = {"steps": 24, "batch": 8, "every": 4, "test_count": 8, "save_every": 4}
    whole = train(config(name), SMALL, **options)

    def interrupt(model: Society) -> dict[str, float]:
        if not interrupt.over and interrupt.calls == 3:
            interrupt.over = True
            raise PowerCutError
        interrupt.calls += 1
        return {"calls": interrupt.calls}

    interrupt.over, interrupt.calls = False, 0
    folder = tmp_path / "run"
    with pytest.raises(PowerCutError):
        train(config(name), SMALL, **options, to=folder, measure=interrupt)
    with pytest.raises(sg.InputError, match=r"its training was interrupted, go on with train.*resume=True"):
        open_grown(folder)
    gone_on = train(config(name), SMALL, **options, to=folder, measure=interrupt, resume=True)
    assert same(whole.model, gone_on.model)
    assert not same(whole.model, train(config(name), SMALL, **options | {"steps": 23}).model)
    shared = ["step", "loss", "learning_rate", "test_loss", "accuracy"]
    assert whole.history[shared].equals(gone_on.history[shared])
    opened = open_grown(folder)
    assert same(opened.model, gone_on.model)
    again = train(config(name), SMALL, **options, to=folder, resume=True)
    assert same(again.model, gone_on.model)
    assert len(again.history) == len(gone_on.history)


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    options = {"steps": 2, "batch": 4, "test_count": 4, "to": tmp_path / "run"}
    train(config("flock"), SMALL, **options)
    with pytest.raises(sg.InputError, match=r"it holds a run already. Give another folder, or resume=True"):
        train(config("flock"), SMALL, **options)
    with pytest.raises(sg.InputError, match=r"the run there has seed=0, and this call seed=1. Call it as before"):
        train(config("flock"), SMALL, **options, seed=1, resume=True)
    with pytest.raises(sg.InputError, match="nothing to go on from without a folder"):
        train(config("flock"), SMALL, steps=2, resume=True)


def test_training_lowers_the_loss_and_an_isolated_society_learns_no_recall() -> None:
    """Values are told to the right of their keys: who hears nobody cannot do better than always saying the same."""
    task = Repeat(vocab_size=12, length=16, shortest=3, longest=6)
    sizes = {"vocab_size": 12, "hidden_size": 32, "max_position_embeddings": 16}
    flock = train(SocietyConfig(**sizes), task, steps=150, batch=32, learning_rate=3e-3, every=50)
    alone = train(SocietyConfig(kind="isolated", **sizes), task, steps=150, batch=32, learning_rate=3e-3, every=50)
    first, last = flock.history.iloc[0], flock.history.iloc[-1]
    assert last["test_loss"] < 0.6 * first["test_loss"]
    assert last["accuracy"] > alone.history["accuracy"].max() + 0.2
    assert alone.history["accuracy"].max() < task.chance


def test_an_isolated_society_cannot_beat_the_best_constant_in_recall() -> None:
    grown = train(config("isolated", vocab_size=16), SMALL, steps=60, batch=32, learning_rate=3e-3, test_count=512)
    assert score(grown.model, SMALL, count=2048)["accuracy"] <= SMALL.blind + 0.05


def test_the_first_weights_are_those_of_the_seed_and_globals_are_left_alone() -> None:
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    before = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    one, other, third = (train(config("flock"), SMALL, steps=1, batch=4, test_count=4, seed=seed) for seed in (1, 1, 2))
    assert (torch.rand(1), random.random(), np.random.rand()) == before
    assert same(one.model, other.model)
    assert not same(one.model, third.model)


def test_a_society_is_trained_in_place_and_measured_while_it_learns() -> None:
    model = society("flock").float().train()
    before = {name: value.clone() for name, value in weights(model).items()}
    modes = []

    def measure(what: Society) -> dict[str, float]:
        modes.append((what.training, torch.is_grad_enabled()))
        return {"norm": float(what.norm.weight.norm())}

    grown = train(model, SMALL, steps=6, batch=4, every=2, test_count=4, measure=measure)
    assert grown.model is model
    assert not model.training
    assert model.config.use_cache
    assert any(not torch.equal(before[name], value) for name, value in weights(model).items())
    assert grown.history["step"].tolist() == [0, 2, 4, 6]
    assert grown.history["norm"].notna().all()
    assert grown.history["loss"].notna().tolist() == [False, True, True, True]
    assert modes == [(False, False)] * 4


def test_it_stops_when_it_is_good_enough() -> None:
    grown = train(config("flock"), SMALL, steps=50, batch=4, every=2, test_count=4, until=0.0)
    assert grown.history["step"].max() == 0 or grown.history["step"].max() <= 2


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    train(config("flock"), SMALL, steps=4, batch=4, test_count=4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_classes_are_learned(pool: str) -> None:
    task = Evidence(classes=2, length=8, clues=2, distractors=1, markers=1, vocab_size=8)
    made = SocietyConfig(vocab_size=8, hidden_size=16, objective="class", classes=2, pool=pool, max_position_embeddings=8)
    grown = train(made, task, steps=100, batch=32, learning_rate=5e-3, every=50)
    assert grown.history["accuracy"].iloc[-1] > 0.8


@pytest.mark.parametrize("distance", ["cosine", "mse", "mae"])
def test_the_nearest_embedding_is_learned(distance: str) -> None:
    made = SocietyConfig(vocab_size=9, hidden_size=16, objective="embedding", distance=distance, initializer_range=0.5)
    grown = train(made, Copy(vocab_size=9, tokens=2), steps=150, batch=32, learning_rate=5e-3, every=50)
    assert grown.history["accuracy"].iloc[-1] > 0.5


@pytest.mark.parametrize("distance", ["cosine", "mse", "mae"])
def test_targets_are_held_or_move(distance: str) -> None:
    """Held: the embedding of a label that is not in the input has no gradient; moving: it has."""
    tokens, labels = torch.tensor([[1, 2]]), torch.tensor([[3, 4]])
    for target in ("held", "moving"):
        model = society("flock", objective="embedding", distance=distance, target=target)
        model(tokens, labels=labels).loss.backward()
        gradient = model.embed_tokens.weight.grad.abs().sum(-1)
        assert (gradient[:5] > 0).tolist() == [False, True, True, target == "moving", target == "moving"]
    one, other = (society("flock", objective="embedding", distance=distance, target=target) for target in ("held", "moving"))
    with torch.no_grad():
        assert one(tokens, labels=labels).loss == other(tokens, labels=labels).loss


def test_numbers_are_learned() -> None:
    task = Regression(dimension=1, examples=4)
    made = SocietyConfig(kind="linear_attention", hidden_size=16, objective="number", vector_size=2, positions="none")
    grown = train(made, task, steps=150, batch=64, learning_rate=5e-3, every=50)
    assert "accuracy" not in grown.history
    assert grown.history["test_loss"].iloc[-1] < 0.5 * task.chance


def test_masked_tokens_are_restored_by_those_who_hear_all_around() -> None:
    task = Masked(Repeat(vocab_size=8, length=12, shortest=3, longest=3))
    made = SocietyConfig(vocab_size=9, hidden_size=32, causal=False, max_position_embeddings=12)
    grown = train(made, task, steps=150, batch=32, learning_rate=3e-3, every=75)
    assert grown.history["accuracy"].iloc[-1] > 0.8


@pytest.mark.parametrize(
    ("made", "task", "message"),
    [
        (
            config("flock"),
            Evidence(),
            "asks for a class, and the society has objective='token'. Choose SocietyConfig.objective='class'",
        ),
        (config("flock"), Recall(), "needs max_position_embeddings=64, and the society has 32"),
        (
            config("flock"),
            Recall(vocab_size=64, length=16),
            "needs vocab_size=64, and the society has 19. Grow one with vocab_size=64",
        ),
        (config("all around"), Copy(vocab_size=9), "reads them there. Choose causal=True, or ask for masked tokens"),
        (config("council"), Repeat(vocab_size=9, length=16, shortest=2, longest=4), "reads them there"),
        (config("flock", objective="class", classes=2), Evidence(vocab_size=19), "needs classes=4, and the society has 2"),
        (SocietyConfig(objective="number", vector_size=5), Regression(), "needs vector_size=11, and the society has 5"),
        ("flock", SMALL, r"train\(str, ...\): it trains societies, whose labels are aligned"),
    ],
)
def test_what_does_not_fit_is_refused(made: object, task: object, message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        train(made, task, steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, r"train\(steps=0\): this is a number of things"),
        ({"steps": 1, "batch": 1.5}, r"train\(batch=1.5\)"),
        ({"steps": 1, "learning_rate": 0.0}, "nothing would be learned"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        train(config("flock"), SMALL, **options)


def test_held_out_language_is_another_part_of_the_text() -> None:
    task, held = Language(length=16), Language(length=16, part="held")
    made = SocietyConfig(vocab_size=task.vocab_size, hidden_size=16, max_position_embeddings=16)
    grown = train(made, task, steps=2, batch=4, test=held, test_count=16)
    assert grown.settings["test"] == repr(held)
    assert grown.history["test_loss"].iloc[-1] == pytest.approx(score(grown.model, held, count=16)["loss"], rel=1e-6)
