"""What an index finds is what comparing all finds, and what is heard of it is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sociogram as sg
from sociogram import edits
from sociogram.memory import index
from sociogram.memory.store import exchanged
from tests.models.conftest import tiny_llama

pytest.importorskip("lancedb")

PROMPT, COUNT = [12, 7, 2, 33], 3


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama())


@pytest.fixture(scope="module")
def memory(llama: sg.Model, tmp_path_factory: pytest.TempPathFactory) -> sg.Memory:
    made = sg.Memory(tmp_path_factory.mktemp("memories") / "memory")
    for seed in range(12):
        ids = torch.randint(1, 60, (20,), generator=torch.Generator().manual_seed(seed)).tolist()
        made.add(ids, model=llama)
    made.index()
    return made


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is asked however few there are, and looks everywhere."""
    monkeypatch.setattr(index, "EXACT_UP_TO", 0)


EDIT = {"top_k": COUNT, "positions": "none"}


def run(model: sg.Model, **change: object) -> torch.Tensor:
    with sg.steer(model, edits.attend(**{**EDIT, **change})) as steered:
        return steered.logits(PROMPT)


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 9))
def test_the_nearest_is_the_one_with_the_largest_product(seed: int, count: int, width: int) -> None:
    """The order of distances among keys made equally long is that of products, for keys of any mean and lengths."""
    rng = np.random.default_rng(seed)
    keys = (rng.normal(size=(count, width)) * rng.uniform(0.1, 5, (count, 1)) + 10 * rng.normal(size=width)).astype(np.float32)
    queries = rng.normal(size=(4, width)).astype(np.float32)
    bent = index.Bent.of(keys)
    apart = np.linalg.norm(bent.queries(queries)[:, None].astype(float) - bent.keys(keys)[None], axis=-1)
    products = queries.astype(float) @ keys.T
    best = products.max(1)
    found = np.take_along_axis(products, apart.argmin(1)[:, None], 1)[:, 0]
    np.testing.assert_allclose(found, best, atol=1e-3 * np.abs(products).max())
    np.testing.assert_allclose(np.linalg.norm(bent.keys(keys), axis=1), bent.length, rtol=1e-4)


def test_what_the_index_finds_is_heard_as_if_all_were_compared(
    llama: sg.Model, memory: sg.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = [run(llama, source=memory), run(llama, source=memory, layer=1, head=2)]

    def refuse(*_: object) -> None:
        raise AssertionError("all keys were asked for")

    monkeypatch.setattr(index, "EXACT_UP_TO", 0)
    monkeypatch.setattr("sociogram.memory.collection.Collection.told", refuse)
    found = [run(llama, source=memory), run(llama, source=memory, layer=1, head=2)]
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-5)


def test_tokens_found_are_named_senders(llama: sg.Model, memory: sg.Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    with sg.steer(llama, edits.attend(source=memory, **EDIT)) as steered:
        whole = steered.record(PROMPT)
        before = steered.receipt.edits
    for patched, limit in ((index, "EXACT_UP_TO"), (None, "sociogram.steering.chosen.FEW")):
        with monkeypatch.context() as patch:
            patch.setattr(patched, limit, 0) if patched else patch.setattr(limit, 0)
            with sg.steer(llama, edits.attend(source=memory, **EDIT)) as steered:
                rec = steered.record(PROMPT)
                after = steered.receipt.edits
        assert rec.audit().max_relative_error < 1e-5
        assert after[["addressed", "changed"]].equals(before[["addressed", "changed"]])
        some, all_of_them = (one.edges(stack="decoder_outside", top=None) for one in (rec, whole))
        assert len(rec.stack("decoder_outside")["key"]) < len(whole.stack("decoder_outside")["key"]) == 240
        heard = [one[one["attention"] > 0].sort_values(["layer", "head", "query", "attention"]) for one in (some, all_of_them)]
        assert heard[0]["key_token"].tolist() == heard[1]["key_token"].tolist()
        np.testing.assert_allclose(heard[0]["message"], heard[1]["message"], atol=1e-5)


@pytest.mark.usefixtures("always")
def test_decoding_asks_the_index_at_every_step(llama: sg.Model, memory: sg.Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = index.Search.nearest

    def count(self: index.Search, *args: object) -> object:
        found = real(self, *args)
        asked.append(found is not None)
        return found

    monkeypatch.setattr(index.Search, "nearest", count)
    with sg.steer(llama, edits.attend(source=memory, schedule=sg.Schedule(start=2), **EDIT)) as steered:
        written = steered.record(PROMPT, generate=3)
    assert all(asked)
    assert len(asked) >= 2 * 3
    monkeypatch.setattr(index, "EXACT_UP_TO", 10**9)
    with sg.steer(llama, edits.attend(source=memory, schedule=sg.Schedule(start=2), **EDIT)) as steered:
        whole = steered.record(written.dataset["token_id"].values.tolist())
    np.testing.assert_allclose(written.dataset["residual"].values, whole.dataset["residual"].values, atol=1e-4)
    assert written.audit().max_relative_error < 1e-5
    told = written.stack("decoder_outside")["weights"].sum(("layer", "head", "key")).values
    assert (told > 0).tolist() == [False, False] + [True] * (len(told) - 2)


@pytest.mark.usefixtures("always")
def test_what_comes_later_is_found_and_what_goes_is_not(llama: sg.Model, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "memory")
    ids = [memory.add([seed + 1, 2, 3, 50 - seed], model=llama) for seed in range(6)]
    memory.index(layers=1)
    later = memory.add([9, 9, 41, 6], model=llama)
    memory.remove(ids[0])
    some = memory.collection([ids[2], later, ids[4]])
    for source in (memory, some):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(index, "EXACT_UP_TO", 10**9)
            exact = run(llama, source=source, layer=1)
        torch.testing.assert_close(run(llama, source=source, layer=1), exact, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(run(llama, source=source), run(llama, source=source, head=slice(None)), atol=0, rtol=0)


def test_what_cannot_be_indexed_is_refused(llama: sg.Model, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "memory")
    with pytest.raises(sg.InputError, match="is empty: add passages before it is indexed"):
        memory.index()
    memory.add([1, 2, 3], model=llama, layers=1)
    with pytest.raises(sg.InputError, match="keeps nothing of layer 0: it keeps 1 attention calls"):
        memory.index(layers=0)


def test_too_large_for_memory_names_the_way_out(llama: sg.Model, memory: sg.Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sociogram.memory.collection.allowed_bytes", lambda _: 1_000)
    with pytest.raises(
        sg.MemoryLimitError, match=r'top_k= and positions="none" after memory.index\(\), which reads what it finds'
    ):
        run(llama, source=memory)
    monkeypatch.setattr(index, "allowed_bytes", lambda _: 1_000)
    assert run(llama, source=memory).isfinite().all()


@given(st.integers(2, 60), st.integers(0, 10**6))
def test_nobody_keeps_its_place_in_an_exchange(count: int, seed: int) -> None:
    found = exchanged(count, seed)
    assert sorted(found.tolist()) == list(range(count))
    assert not (found == np.arange(count)).any()


def test_many_additions_are_put_together(llama: sg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sociogram.memory.store.EVERY", 4)
    memory = sg.Memory(tmp_path / "memory")
    texts = [[number % 4 + 1, 5, 6] for number in range(9)]  # later keys are no longer than those that the index was made of
    for ids in texts[:5]:
        memory.add(ids, model=llama, layers=0)
    memory.index()
    for ids in texts[5:]:
        memory.add(ids, model=llama, layers=0)
    table = memory._store.database.open_table("told_0")
    assert table.stats()["fragment_stats"]["num_fragments"] < 5
    whole = sg.Memory(tmp_path / "whole")
    for ids in texts:
        whole.add(ids, model=llama, layers=0)
    assert torch.equal(run(llama, source=memory), run(llama, source=whole))
    monkeypatch.setattr(index, "EXACT_UP_TO", 0)
    torch.testing.assert_close(run(llama, source=memory), run(llama, source=whole), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("always")
def test_an_index_that_keys_have_outgrown_is_not_asked(llama: sg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made of one token's key, it knows nothing of others: all are compared until it is made again."""
    memory = sg.Memory(tmp_path / "memory")
    memory.add([7], model=llama)
    memory.index()
    for seed in range(6):
        memory.add(torch.randint(1, 60, (20,), generator=torch.Generator().manual_seed(seed)).tolist(), model=llama)
    outgrown = run(llama, source=memory)
    memory.index()
    again = run(llama, source=memory)
    monkeypatch.setattr(index, "EXACT_UP_TO", 10**9)
    exact = run(llama, source=memory)
    torch.testing.assert_close(outgrown, exact, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(again, exact, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("always")
def test_a_collection_of_which_something_went_is_refused_by_the_index_too(llama: sg.Model, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "memory")
    ids = [memory.add([seed + 1, 2, 3, 50 - seed], model=llama) for seed in range(4)]
    memory.index()
    collection = memory.collection(ids)
    assert run(llama, source=collection, top_k=100).isfinite().all()
    memory.remove(ids[0])
    memory.add([9, 8, 7, 6], model=llama)
    memory.index()
    with pytest.raises(sg.InputError, match="removed meanwhile: make the collection again"):
        run(llama, source=collection)


def test_sources_of_the_same_tokens_are_told_apart(llama: sg.Model, memory: sg.Memory) -> None:
    """A memory and its control, heard in other layers: each message is booked to the one that told it."""
    one = edits.add_head(source=memory, layer=0, gain=0.5, positions="none")
    two = edits.add_head(source=memory.shuffled(seed=1), layer=[0, 1], gain=0.25, positions="none")
    with sg.steer(llama, [one, two]) as steered:
        outside = steered.record(PROMPT).stack("decoder_outside")
    shares = outside["weights"].groupby("key_source").sum("key").sel(head=0, query=0)
    np.testing.assert_allclose(shares.transpose("layer", "key_source").values, [[0.5, 0.25], [0, 0.25]], atol=1e-5)
