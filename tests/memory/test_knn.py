"""Predictions mixed with what followed similar states: the mixture by hand, its limits, its controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from sociogram.memory import index
from sociogram.watch.states import states_of
from tests.models.conftest import tiny_llama
from tests.watch.conftest import specimen

pytest.importorskip("lancedb")

A, B, PROMPT = [5, 9, 17, 3, 44, 9, 8], [21, 8, 30], [12, 5, 9, 33]


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama())


@pytest.fixture
def memory(tmp_path: Path, llama: sg.Model) -> sg.Memory:
    made = sg.Memory(tmp_path / "memory")
    for ids in (A, B):
        made.add(ids, model=llama, keep=("states",))
    return made


def logits(model: sg.Model, *changes: edits.Edit, ids: list[int] = PROMPT) -> torch.Tensor:
    with sg.steer(model, changes) as steered:
        return steered.logits(ids)


def by_hand(model: sg.Model, source: list[list[int]], ids: list[int], lam: float, k: int, temperature: float) -> torch.Tensor:
    """Khandelwal's mixture with plain loops; the states by a hook before the last layer's norm."""
    seen: list[torch.Tensor] = []
    norm = model.hf.model.layers[-1].post_attention_layernorm
    hook = norm.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    with torch.no_grad():
        stored = [(seen.clear(), model.hf(torch.tensor([text])), seen[0])[2] for text in source]
        seen.clear()
        plain = torch.softmax(model.hf(torch.tensor([ids])).logits[0].double(), -1)
    hook.remove()
    texts = zip(source, [rows / rows.pow(2).mean(-1, keepdim=True).sqrt() for rows in stored], strict=True)
    pairs = [(rows[i], text[i + 1]) for text, rows in texts for i in range(len(text) - 1)]
    mixed = (1 - lam) * plain
    for place, state in enumerate(seen[0]):
        state = state / state.pow(2).mean().sqrt()
        near = sorted((float((state - s).pow(2).sum()), after) for s, after in pairs)[:k]
        shares = np.exp(-np.array([distance for distance, _ in near]) / temperature)
        for share, (_, after) in zip(shares / shares.sum(), near, strict=True):
            mixed[place, after] += lam * share
    return mixed


@pytest.mark.parametrize(("lam", "k", "temperature"), [(0.25, 3, 10.0), (0.7, 100, 1.0), (1.0, 1, 5.0)])
def test_the_mixture_is_that_of_the_paper(llama: sg.Model, memory: sg.Memory, lam: float, k: int, temperature: float) -> None:
    edit = edits.knn_lm(source=memory, lam=lam, k=k, temperature=temperature)
    found = torch.softmax(logits(llama, edit).double(), -1)
    expected = by_hand(llama, [A, B], PROMPT, lam, k, temperature)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_states_are_compared_in_blocks_too(llama: sg.Model, memory: sg.Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory.heard_by(llama).recall(states_of(llama, PROMPT), 4)
    monkeypatch.setattr("sociogram.memory.recall.ENTRIES", 1)
    for one, other in zip(memory.heard_by(llama).recall(states_of(llama, PROMPT), 4), whole, strict=True):
        torch.testing.assert_close(one, other)
    known = torch.cat([states_of(llama, ids)[:-1] for ids in (A, B)])
    expected = torch.cdist(states_of(llama, PROMPT).double(), known.double()).pow(2).sort(-1).values[:, :4]
    torch.testing.assert_close(whole[0].double(), expected, atol=1e-4, rtol=1e-5)


def test_without_a_share_nothing_changes(llama: sg.Model, memory: sg.Memory) -> None:
    assert torch.equal(logits(llama, edits.knn_lm(source=memory, lam=0.0)), llama.logits(PROMPT))


def test_a_text_that_is_known_is_said_again(llama: sg.Model, memory: sg.Memory) -> None:
    """The state of a place in a stored text is at distance 0 of itself."""
    said = logits(llama, edits.knn_lm(source=memory, lam=1.0, temperature=0.01), ids=A)
    assert said.argmax(-1)[:-1].tolist() == A[1:]
    other = logits(llama, edits.knn_lm(source=memory.shuffled(seed=1), lam=1.0, temperature=0.01), ids=A)
    assert other.argmax(-1)[:-1].tolist() != A[1:]
    gone = memory.collection(memory.passages["id"].tolist())
    some = memory.collection(memory.passages["id"][1:].tolist())
    assert set(logits(llama, edits.knn_lm(source=some, lam=1.0), ids=A).argmax(-1).tolist()) <= set(B[1:])
    memory.remove(memory.passages["id"].iloc[0])
    with pytest.raises(sg.InputError, match="removed meanwhile: make the collection again"):
        logits(llama, edits.knn_lm(source=gone), ids=A)


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_who_does_not_write_from_left_to_right_is_refused(name: str, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "memory")
    with pytest.raises(sg.InputError, match="does not write from left to right alone"):
        memory.add(A, model=sg.load(specimen(name).model), keep=("states",))


def test_it_lands_where_it_is_addressed(llama: sg.Model, memory: sg.Memory) -> None:
    plain = llama.logits(PROMPT)
    with sg.steer(llama, edits.knn_lm(source=memory, query=2)) as steered:
        changed = (steered.logits(PROMPT) != plain).any(-1)
        table, text = steered.receipt.edits, str(steered.receipt)
    assert changed.tolist() == [False, False, True, False]
    assert table[["addressed", "changed"]].values.tolist() == [[1, 1]]
    assert table[["layer", "head"]].isna().all(axis=None)
    assert 0 < table["moved"].item() <= 0.25
    assert "1 predictions, 1 changed, " in text
    assert "of probability moved" in text
    assert "path: output, null drift 0.0e+00" in text
    opened = logits(llama, edits.knn_lm(source=memory, schedule=sg.Schedule(every=2)))
    assert (opened != plain).any(-1).tolist() == [True, False, True, False]
    with pytest.raises(sg.InputError, match="knn_lm takes no layer="):
        edits.knn_lm(source=memory, layer=1)


def test_the_account_and_other_edits_stay_what_they_are(llama: sg.Model, memory: sg.Memory) -> None:
    with sg.steer(llama, [edits.cut(layer=0, key=0, query=3), edits.knn_lm(source=memory, lam=0.5)]) as steered:
        rec = steered.record(PROMPT)
        said = steered.logits(PROMPT)
    assert rec.audit().max_relative_error < 1e-5
    np.testing.assert_allclose(rec.outputs["final_logits"][0], said[-1].numpy(), atol=1e-6)


def test_decoding_says_what_prefill_says(llama: sg.Model, memory: sg.Memory) -> None:
    edit = edits.knn_lm(source=memory, lam=0.6, query=slice(2, None))
    given = {**llama.encode(PROMPT), "max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with sg.steer(llama, edit) as steered:
        tokens = steered._run(PROMPT, 5, lambda *_: llama.hf.generate(**given, output_logits=True, return_dict_in_generate=True))
        whole = steered.logits(tokens.sequences[0, :-1].tolist())
    torch.testing.assert_close(torch.cat(tokens.logits), whole[len(PROMPT) - 1 :], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "olmo2", "gpt_neox", "qwen3_next", "gpt_oss"])
def test_other_families_are_recalled_too(name: str, tmp_path: Path) -> None:
    model = sg.load(specimen(name).model)
    memory = sg.Memory(tmp_path / "memory")
    memory.add(A, model=model, keep=("states",))
    said = logits(model, edits.knn_lm(source=memory, lam=1.0, temperature=0.01), ids=A)
    assert said.argmax(-1)[:-1].tolist() == A[1:]


def test_keys_and_states_live_in_one_memory(llama: sg.Model, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "both")
    one = memory.add(A, model=llama, keep=("keys", "states"))
    memory.add(B, model=llama, keep=("states", "keys"))
    assert memory.stats["states"] == len(A) + len(B) - 2
    both = logits(llama, edits.attend(source=memory), edits.knn_lm(source=memory))
    assert not torch.equal(both, logits(llama, edits.attend(source=memory)))
    memory.remove(one)
    assert memory.stats["states"] == len(B) - 1
    with pytest.raises(sg.InputError, match=r"keeps keys and states: give the same keep= for all passages"):
        memory.add(A, model=llama)


def test_an_index_of_states_finds_the_same(llama: sg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = sg.Memory(tmp_path / "many")
    for seed in range(20):
        ids = torch.randint(1, 60, (30,), generator=torch.Generator().manual_seed(seed)).tolist()
        memory.add(ids, model=llama, keep=("states",))
    memory.index()
    edit = edits.knn_lm(source=memory, k=5)
    exact = logits(llama, edit)
    monkeypatch.setattr(index, "EXACT_UP_TO", 0)
    monkeypatch.setattr("sociogram.memory.recall.Recall._read", lambda *_: pytest.fail("all were read"))
    torch.testing.assert_close(logits(llama, edit), exact, atol=1e-4, rtol=1e-4)


def test_what_makes_no_sense_is_refused(llama: sg.Model, memory: sg.Memory, tmp_path: Path) -> None:
    keys = sg.Memory(tmp_path / "keys")
    keys.add(A, model=llama)
    past = sg.Past.of(llama, A)
    for words, call in (
        ("the memory's share lies between 0 and 1", lambda: edits.knn_lm(source=memory, lam=1.5)),
        ("temperature=0: a number above 0", lambda: edits.knn_lm(source=memory, temperature=0)),
        ("a whole number, at least 1", lambda: edits.knn_lm(source=memory, k=0)),
        ("what a model says has no layer", lambda: edits.knn_lm(source=memory, schedule=sg.Schedule(every=2, over="layers"))),
        (r"holds no states: give a memory made with memory.add\(\.\.\., keep", lambda: logits(llama, edits.knn_lm(source=past))),
        (r"keeps no states: add passages with", lambda: logits(llama, edits.knn_lm(source=keys))),
        ("keeps states and no keys, so that no head can listen", lambda: logits(llama, edits.attend(source=memory))),
        ('a tuple of "keys", "states" or both', lambda: memory.add(A, model=llama, keep="states")),
        ("a past holds no states: give the text", lambda: memory.add(past, keep=("states",))),
        ("one token is followed by none", lambda: memory.add([5], model=llama, keep=("states",))),
        ("layers are of keys, which are not kept", lambda: memory.add(A, model=llama, layers=1, keep=("states",))),
        ("which model is to read it", lambda: memory.add(A, keep=("states",))),
    ):
        with pytest.raises(sg.InputError, match=words):
            call()
    wide = sg.load(tiny_llama(hidden_size=32))
    with pytest.raises(sg.InputError, match=r"states of 32 numbers are asked for, and .* keeps 16"):
        logits(wide, edits.knn_lm(source=memory))


def test_it_is_stored_as_text(memory: sg.Memory) -> None:
    edit = edits.knn_lm(source=str(memory._store.folder), lam=0.5, k=8, query=slice(3, None), schedule=sg.Schedule(every=2))
    assert edits.from_json(edits.to_json([edit])) == [edit] == [edits.parse(str(edit))]


def test_states_have_a_mean_square_of_one(llama: sg.Model) -> None:
    states = states_of(llama, A)
    assert states.shape == (len(A), llama.hf.config.hidden_size)
    torch.testing.assert_close(states.pow(2).mean(-1), torch.ones(len(A)))


@pytest.mark.real
def test_a_text_that_repeats_itself_out_of_sight_becomes_likelier(smollm: sg.Model, tmp_path: Path) -> None:
    """A text whose second half repeats the first, read in windows that never show both; the memory holds what came before."""
    from pydoc_data.topics import topics

    half = smollm.encode(topics["assignment"])["input_ids"][0].tolist()[:120]
    text, window = half + half, 40
    memory = sg.Memory(tmp_path / "memory")
    memory.add(half, model=smollm, keep=("states",))
    sources = {"memory": memory, "shuffled": memory.shuffled(seed=0)}
    losses = dict.fromkeys(("plain", "none", *sources), 0.0)
    starts = range(len(half) - 7, len(text) - window, window)  # windows that begin elsewhere than those of the first half
    for start in starts:
        ids = text[start : start + window]
        found = {"plain": smollm.logits(ids), "none": logits(smollm, edits.knn_lm(source=memory, lam=0.0), ids=ids)}
        found |= {name: logits(smollm, edits.knn_lm(source=one), ids=ids) for name, one in sources.items()}
        assert torch.equal(found["plain"], found["none"])
        for name, said in found.items():
            losses[name] += float(torch.nn.functional.cross_entropy(said[:-1], torch.tensor(ids[1:])))
    perplexity = {name: np.exp(loss / len(starts)) for name, loss in losses.items()}
    assert perplexity["memory"] < 0.97 * perplexity["plain"]
    assert perplexity["shuffled"] > perplexity["plain"]
