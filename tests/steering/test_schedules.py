"""When a source is heard: by position, by token written, by layer, by moment; the same in prefill and while the model writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from tests.models.conftest import byte_level_tokenizer, tiny_llama

A, B = [5, 9, 17, 3, 44], [21, 8, 30, 12, 7, 2]
N = len(B)


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama(num_hidden_layers=4, initializer_range=0.4), tokenizer=byte_level_tokenizer(eos_token="<end>"))


@pytest.fixture(scope="module")
def past(llama: sg.Model) -> sg.Past:
    return sg.Past.of(llama, A)


def logits(model: sg.Model, *changes: edits.Edit, ids: list[int] = B) -> torch.Tensor:
    with sg.steer(model, changes) as steered:
        return steered.logits(ids)


def written(model: sg.Model, edit: edits.Edit, new: int = 7) -> tuple[list[int], torch.Tensor, sg.Receipt]:
    """Ids of prompt and continuation, the logits that each new token was taken from, and the receipt; from the model's cache."""
    found = {}

    def run(inputs: dict[str, torch.Tensor], _: object) -> None:
        settings = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None, "max_new_tokens": new}
        found["out"] = model.hf.generate(**inputs, **settings, output_logits=True, return_dict_in_generate=True)

    with sg.steer(model, edit) as steered:
        steered._run(B, new, run)
        return found["out"].sequences[0].tolist(), torch.cat(found["out"].logits), steered.receipt


def step_by_step(
    model: sg.Model, make: Callable[..., edits.Edit], opens: Callable[..., bool], new: int = 7
) -> tuple[list[int], torch.Tensor]:
    """The oracle: no cache and no schedule; each token is written by a pass over the whole text so far, in which the readers
    that shall hear the source are named by position.
    """
    ids, rows = list(B), list[torch.Tensor]()
    plain = torch.softmax(model.logits(B), -1)
    open_at = [p for p in range(N) if opens(p, 0, plain[p - 1] if p else None)]
    for step in range(1, new + 1):
        rows.append(logits(model, *([make(query=open_at)] if open_at else []), ids=ids)[-1])
        ids.append(int(rows[-1].argmax()))
        if opens(len(ids) - 1, step, torch.softmax(rows[-1], -1)):
            open_at.append(len(ids) - 1)
    return ids, torch.stack(rows)


def entropy(row: torch.Tensor) -> float:
    return float(-(row * row.log()).sum())


THRESHOLD, TOP = 4.0, 0.2
CASES = {
    "positions": (sg.Schedule(every=3, open_for=2, start=1), lambda p, step, row: p >= 1 and (p - 1) % 3 < 2),
    "generated": (sg.Schedule(every=2, start=1, over="generated"), lambda p, step, row: step >= 2 and step % 2 == 0),
    "step": (sg.Schedule.when(lambda m: m.step % 3 == 1), lambda p, step, row: step % 3 == 1),
    "entropy": (
        sg.Schedule.when(lambda m: m.entropy > THRESHOLD),
        lambda p, step, row: row is not None and entropy(row) > THRESHOLD,
    ),
    "top": (sg.Schedule.when(lambda m: m.top > TOP), lambda p, step, row: row is not None and float(row.max()) > TOP),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["attend", "add_head", "blend"])
def test_cached_writing_equals_the_whole_text_read_again_for_every_token(
    llama: sg.Model, past: sg.Past, case: str, kind: str
) -> None:
    schedule, opens = CASES[case]
    source = {
        "attend": {"source": past},
        "add_head": {"source": past, "gain": -1.5},
        "blend": {"voices": [(past, 2.0), (past[1:3], -3.0)]},
    }[kind]
    make = partial(getattr(edits, kind), **source)
    ids, rows, receipt = written(llama, make(schedule=schedule))
    expected, others = step_by_step(llama, make, opens)
    assert ids == expected
    torch.testing.assert_close(rows, others, atol=1e-4, rtol=1e-4)
    table = receipt.openings
    read = len(ids) - 1
    assert table["position"].tolist() == list(range(read))
    assert 0 < table["open"].sum() < read  # or the case would show nothing
    assert table["step"].tolist() == [0] * N + list(range(1, read - N + 1))
    assert table["token"].tolist() == llama.spell(ids)[:read]
    if case in ("entropy", "top"):
        assert math.isnan(table["entropy"][0])
        torch.testing.assert_close(table["entropy"][N + 2], entropy(torch.softmax(others[2], -1)), atol=1e-4, rtol=0)


def test_open_everywhere_is_no_schedule_and_closed_elsewhere_changes_nothing_before(llama: sg.Model, past: sg.Past) -> None:
    without = logits(llama, edits.attend(source=past))
    for always in (sg.Schedule(), sg.Schedule(over="layers"), sg.Schedule.when(lambda moment: True)):
        assert torch.equal(logits(llama, edits.attend(source=past, schedule=always)), without)
    assert (
        written(llama, edits.attend(source=past, query=slice(N, None)))[0]
        == written(llama, edits.attend(source=past, schedule=sg.Schedule(over="generated")))[0]
    )
    late = logits(llama, edits.attend(source=past, schedule=sg.Schedule(start=4)))
    torch.testing.assert_close(late[:4], llama.logits(B)[:4], atol=1e-6, rtol=0)
    assert float((late[4:] - llama.logits(B)[4:]).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", ["attend", "add_head"])
def test_a_schedule_over_layers_is_these_layers_named(llama: sg.Model, past: sg.Past, kind: str) -> None:
    make, plan = getattr(edits, kind), sg.Schedule(every=2, start=1, over="layers")
    with sg.steer(llama, make(source=past, schedule=plan)) as steered:
        assert torch.equal(steered.logits(B), logits(llama, make(source=past, layer=(1, 3))))
        assert sorted(set(steered.receipt.edits["layer"])) == [1, 3]
        assert steered.receipt.openings.empty
    narrow = make(source=past, schedule=plan, layer=slice(2, 4))
    assert torch.equal(logits(llama, narrow), logits(llama, make(source=past, layer=3)))
    closed = make(source=past, schedule=plan, layer=(0, 2))
    with sg.steer(llama, closed) as steered, pytest.raises(sg.EditDidNotLand) as refused:
        steered.logits(B)
    assert "1 of every 2 layers from 1 on) opens none of the layers addressed" in str(refused.value)


def test_a_recording_of_a_prompt_is_open_where_the_plain_model_was_unsure(smollm: sg.Model) -> None:
    text, past = "The capital of France is Paris. My aunt likes", sg.Past.of(smollm, "Anna paints the sea.")
    rows = torch.softmax(smollm.logits(text), -1)[:-1]
    unsure = [False, *(torch.special.entr(rows).sum(-1) > 3).tolist()]
    assert 2 < sum(unsure) < len(unsure) - 2
    with sg.steer(smollm, edits.attend(source=past, schedule=sg.Schedule.when(lambda moment: moment.entropy > 3))) as steered:
        rec = steered.record(text)
        told = rec.stack("decoder_outside")["weights"].values.sum((0, 1, 3))
        assert (told > 0).tolist() == unsure == steered.receipt.openings["open"].tolist()
        places = [str(i) for i, one in enumerate(unsure) if one]
        assert f"open at {len(places)} of {len(unsure)} positions ({', '.join(places[:8])}" in repr(steered.receipt)
        assert f'"open_at": {{"0": [{", ".join(places)}]}}' in rec.tree.attrs["receipt"]
    assert rec.audit().max_relative_error < 1e-4
    assert "edits_json" not in rec.tree.attrs  # a function is not stored
    plain = sg.record(smollm, text)
    with sg.steer(smollm, edits.attend(source=past, query=[i for i, one in enumerate(unsure) if one])) as steered:
        np.testing.assert_allclose(steered.record(text).dataset["residual"], rec.dataset["residual"], atol=1e-5)
    found = sg.compare(smollm, text, edits.attend(source=past, schedule=sg.Schedule.when(lambda moment: moment.entropy > 3)))
    np.testing.assert_array_equal(found.steered.dataset["residual"], rec.dataset["residual"])
    np.testing.assert_array_equal(found.plain.dataset["residual"], plain.dataset["residual"])


def test_a_recording_that_grew_is_read_again_with_the_schedule_as_it_was(llama: sg.Model, past: sg.Past) -> None:
    """The whole text in one pass later: what was written stays written, and predicates are not asked again."""
    asked: list[int] = []

    def every_other(moment: sg.Moment) -> bool:
        asked.append(moment.position)
        return len(asked) % 2 == 0

    for schedule in (sg.Schedule.when(every_other), sg.Schedule(every=2, over="generated")):
        asked.clear()
        with sg.steer(llama, edits.attend(source=past, schedule=schedule)) as steered:
            rec = steered.record(B, generate=5)
            table = steered.receipt.openings
        assert len(asked) in (0, N + 5)
        told = rec.stack("decoder_outside")["weights"].values.sum((0, 1, 3))
        assert (told > 0).tolist() == table["open"].tolist()
        dense = rec.dense(slice(None))
        np.testing.assert_allclose(dense["weights"], rec.dataset["weights"], atol=1e-5)
        assert rec.null_drift() < 1e-4
        assert len(asked) in (0, N + 5)


def test_reading_on_from_a_past_counts_from_its_first_token(llama: sg.Model, past: sg.Past) -> None:
    before, moments = sg.Past.of(llama, [60, 61, 62]), list[sg.Moment]()
    when = sg.Schedule.when(lambda moment: moments.append(moment) or moment.position == 5)
    with sg.steer(llama, edits.attend(source=past, schedule=when)) as steered:
        found = steered.logits(B, past=before)
    with sg.steer(llama, edits.attend(source=past, query=5)) as steered:
        assert torch.equal(found, steered.logits(B, past=before))
    assert [moment.position for moment in moments] == list(range(3, 3 + N))
    rows = torch.softmax(torch.cat([before.logits()[-1:], before.logits(B)]), -1)
    for moment, row in zip(moments, rows, strict=False):
        torch.testing.assert_close(moment.probabilities, row, atol=1e-6, rtol=1e-4)
    moments.clear()
    with sg.steer(llama, edits.attend(source=past, schedule=sg.Schedule.when(lambda m: moments.append(m) or True))) as steered:
        steered.logits(None, past=before)
    assert [moment.position for moment in moments] == [2]
    assert math.isnan(moments[0].entropy)


def test_what_a_moment_says(llama: sg.Model, past: sg.Past) -> None:
    moments: list[sg.Moment] = []
    written(llama, edits.attend(source=past, schedule=sg.Schedule.when(lambda m: moments.append(m) or m.step == 1)))
    rows = torch.softmax(llama.logits(B), -1)
    assert moments[0].probabilities is None
    assert all(math.isnan(number) for number in (moments[0].entropy, moments[0].top, moments[0].probability))
    assert (moments[3].position, moments[3].token_id, moments[3].text, moments[3].step) == (3, B[3], llama.spell(B)[3], 0)
    assert moments[3].probability == pytest.approx(float(rows[2, B[3]]), rel=1e-4)
    assert moments[3].top == pytest.approx(float(rows[2].max()), rel=1e-4)
    assert moments[N].probability == pytest.approx(moments[N].top)  # greedy: the token written was the most probable
    uniform = sg.Moment(position=1, token_id=2, text="x", step=0, probabilities=torch.full((8,), 1 / 8))
    assert uniform.entropy == pytest.approx(math.log(8))
    assert sg.Moment(1, 2, "x", 0, torch.eye(8)[2]).entropy == 0


def test_an_encoder_has_words_but_expects_nothing(minilm: sg.Model) -> None:
    source = sg.record(minilm, "the sea", keep="qkv")
    moments: list[sg.Moment] = []
    when = sg.Schedule.when(lambda moment: moments.append(moment) or moment.text == "nail")
    with sg.steer(minilm, edits.attend(source=source, positions="as_stored", schedule=when)) as steered:
        steered.record("a nail")
        assert steered.receipt.openings.query("open")["token"].tolist() == ["nail"]
    assert all(math.isnan(moment.entropy) for moment in moments)


@pytest.mark.parametrize(
    ("predicate", "words"),
    [
        (
            lambda moment: moment.entropy,
            r"Schedule.when\(lambda\) gave nan at position 0 \('.+'\): a predicate says True or False",
        ),
        (lambda moment: None, "gave None at position 0"),
        (lambda moment: torch.tensor([True, False]), r"gave tensor\(\[ True, False\]\) at position 0"),
        (lambda moment: moment.nothing, "failed at position 0 .*: AttributeError: 'Moment' object has no attribute 'nothing'"),
        (lambda moment: 1 / (moment.position - 2), r"gave -0.5 at position 0"),
    ],
    ids=["number", "nothing", "several", "error", "fraction"],
)
def test_a_predicate_that_says_something_else_is_refused(llama: sg.Model, past: sg.Past, predicate: object, words: str) -> None:
    with sg.steer(llama, edits.attend(source=past, schedule=sg.Schedule.when(predicate))) as steered:
        with pytest.raises(sg.InputError, match=words):
            steered.logits(B)
        with pytest.raises(sg.InputError, match="no receipt yet"):
            _ = steered.receipt


def test_truths_of_other_libraries_are_truths(llama: sg.Model, past: sg.Past) -> None:
    for truth in (np.bool_(True), torch.tensor(True)):
        edit = edits.attend(source=past, schedule=sg.Schedule.when(lambda moment, truth=truth: truth))
        assert torch.equal(logits(llama, edit), logits(llama, edits.attend(source=past)))


def test_text_and_json(past: sg.Past) -> None:
    for over in ("positions", "generated", "layers"):
        edit = edits.attend(source="a.safetensors", schedule=sg.Schedule(every=3, start=1, over=over))
        assert edits.from_json(edits.to_json([edit])) == [edit] == [edits.parse(str(edit))]
        assert f"'over':'{over}'" in str(edit)

    def unsure(moment: sg.Moment) -> bool:
        return moment.entropy > 2

    edit = edits.add_head(source="a.safetensors", schedule=sg.Schedule.when(unsure))
    assert str(edit) == "add_head source=a.safetensors schedule=<when unsure>"
    with pytest.raises(sg.InputError, match="the schedule when unsure is a function, which cannot be stored: give numbers"):
        edits.to_json([edit])


def test_what_never_opens_is_said(llama: sg.Model, past: sg.Past) -> None:
    for schedule, words in (
        (
            sg.Schedule(over="generated"),
            r"\(all tokens that are written\) was closed at all 6 positions .*the model wrote none: let it",
        ),
        (sg.Schedule(start=99), r"\(all positions from 99 on\) was closed at all 6 positions that were read\. Nothing"),
        (sg.Schedule.when(lambda moment: False), r"\(when lambda\) was closed at all 6 positions"),
    ):
        with (
            sg.steer(llama, edits.attend(source=past, schedule=schedule)) as steered,
            pytest.raises(sg.EditDidNotLand, match=words),
        ):
            steered.record(B)


def test_predicates_need_one_sequence_token_by_token(llama: sg.Model, past: sg.Past) -> None:
    with sg.steer(llama, edits.attend(source=past, schedule=sg.Schedule.when(lambda moment: True))) as steered:
        with pytest.raises(sg.InputError, match=r"predicates of schedules .* not with num_beams"):
            steered.generate(B, max_new_tokens=3, num_beams=2)
        with pytest.raises(sg.InputError, match="about the tokens of one prompt"):
            steered.logits([B, B])
    with sg.steer(llama, edits.attend(source=past, schedule=sg.Schedule(over="generated"))) as steered:
        steered.generate(B, max_new_tokens=3, num_beams=2)  # positions alone tell
