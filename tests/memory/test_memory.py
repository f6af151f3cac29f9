"""A memory is heard as the passages it holds, lasts, and refuses what does not fit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from tests.models.conftest import tiny_llama

pytest.importorskip("lancedb")

A, B, PROMPT = [5, 9, 17, 3, 44], [21, 8, 30], [12, 7, 2, 33]


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


@pytest.fixture
def memory(tmp_path: Path, llama: sg.Model) -> sg.Memory:
    made = sg.Memory(tmp_path / "memory")
    made.add(A, model=llama, origin="first", text="a b c")
    made.add(B, model=llama, origin="second")
    return made


def logits(model: sg.Model, *changes: edits.Edit) -> torch.Tensor:
    with sg.steer(model, changes) as steered:
        return steered.logits(PROMPT)


def test_a_passage_before_the_prompt_is_the_prompt_with_that_prefix(llama: sg.Model, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "one")
    memory.add(A, model=llama)
    whole = llama.logits(A + PROMPT)[len(A) :]
    for source in (memory, sg.Memory(tmp_path / "one"), memory.collection(memory.passages["id"].tolist())):
        torch.testing.assert_close(logits(llama, edits.attend(source=source)), whole, atol=1e-5, rtol=1e-5)
    with sg.steer(llama, edits.attend(source=memory)) as steered:
        rec = steered.record(PROMPT)
    assert rec.stack("decoder_outside")["key_token"].values.tolist() == list(sg.Past.of(llama, A).texts)
    assert rec.audit().max_relative_error < 1e-5


@pytest.mark.parametrize("positions", ["before", "as_stored", "none"])
def test_several_passages_are_heard_as_two_sources_are(llama: sg.Model, memory: sg.Memory, positions: str) -> None:
    """One row before the prompt is one past put behind the other; elsewhere, two sources beside each other in one softmax."""
    sources = [sg.Past.of(llama, ids) for ids in (A, B)]
    together = logits(llama, edits.attend(source=memory, positions=positions))
    if positions == "before":
        row = sources[0].insert(len(A), sources[1])
        torch.testing.assert_close(together, logits(llama, edits.attend(source=row)), atol=1e-5, rtol=1e-5)
        return
    apart = logits(llama, *(edits.attend(source=s, positions=positions) for s in sources))
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_a_recording_tells_what_a_past_tells(llama: sg.Model, tmp_path: Path) -> None:
    found = []
    for number, what in enumerate((sg.Past.of(llama, A), sg.record(llama, A, keep="qkv"))):
        memory = sg.Memory(tmp_path / str(number))
        memory.add(what)
        found.append(logits(llama, edits.attend(source=memory, top_k=2)))
        assert memory.stats["keys"] == 2 * 2 * len(A)
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


def test_only_the_layers_named_are_kept_and_heard(llama: sg.Model, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "memory")
    memory.add(A, model=llama, layers=1)
    assert memory.stats["calls"] == 1
    same = logits(llama, edits.attend(source=sg.Past.of(llama, A), layer=1))
    assert torch.equal(logits(llama, edits.attend(source=memory)), same)
    with pytest.raises(sg.InputError, match="the source has no keys and values for layer 0"):
        logits(llama, edits.attend(source=memory, layer=0))
    with pytest.raises(sg.InputError, match=r"keeps 1 attention calls .* and this passage has 2 attention calls"):
        memory.add(B, model=llama)


def test_passages_are_listed_and_removed(llama: sg.Model, memory: sg.Memory) -> None:
    table = memory.passages
    assert table["origin"].tolist() == ["first", "second"]
    assert table["tokens"].tolist() == [len(A), len(B)]
    assert table["text"].iloc[0] == "a b c"
    assert memory.stats["tokens"] == len(A) + len(B)
    assert memory.stats["bytes"] > 1000
    one = sg.Memory(memory._store.folder)
    memory.remove(table["id"].iloc[0])
    assert len(memory) == len(one) == 1
    only = sg.Past.of(llama, B)
    assert torch.equal(logits(llama, edits.attend(source=one)), logits(llama, edits.attend(source=only)))
    with pytest.raises(sg.InputError, match=r"no passage 'nowhere' in .*: memory.passages lists those there are"):
        memory.remove("nowhere")
    memory.remove(table["id"].iloc[1])
    with pytest.raises(sg.InputError, match="is empty: add a passage"):
        logits(llama, edits.attend(source=memory))


def test_a_collection_is_some_of_it_as_it_was(llama: sg.Model, memory: sg.Memory) -> None:
    first, second = memory.passages["id"]
    collection = memory.collection([second])
    memory.add(A, model=llama)
    assert torch.equal(logits(llama, edits.attend(source=collection)), logits(llama, edits.attend(source=sg.Past.of(llama, B))))
    turned = memory.collection([second, first])
    assert turned.names == list(sg.Past.of(llama, B).texts) + list(sg.Past.of(llama, A).texts)
    assert len(turned) == 2
    with pytest.raises(sg.InputError, match="is named twice: a passage is heard once"):
        memory.collection([first, first])
    late = memory.collection([first])
    memory.remove(first)
    with pytest.raises(sg.InputError, match="a passage that is to be heard was removed meanwhile"):
        logits(llama, edits.attend(source=late))
    assert len(collection) == 1


def test_a_collection_is_a_head_of_its_own(llama: sg.Model, memory: sg.Memory) -> None:
    """Grafted beside a head, it hears nobody but the collection: twice the gain is twice the message, none is none."""
    collection = memory.collection(memory.passages["id"][1:].tolist())
    told = []
    for gain in (0.0, 1.0, 2.0):
        with sg.steer(llama, edits.add_head(source=collection, layer=0, head=1, gain=gain)) as steered:
            rec = steered.record(PROMPT)
        outside = rec.stack("decoder_outside")
        assert outside["key_token"].values.tolist() == list(sg.Past.of(llama, B).texts)
        told.append(outside["weights"].values[0].sum(-1))
    np.testing.assert_allclose(told[1][1], 1, atol=1e-6)
    assert not told[1][[0, 2, 3]].any()
    np.testing.assert_allclose(told[2], 2 * told[1], atol=1e-6)
    assert not told[0].any()


def test_shuffled_values_tell_other_things(llama: sg.Model, memory: sg.Memory) -> None:
    """The control that a gain must not pass: the same keys with values of other tokens, none its own."""
    source, other = memory.heard_by(llama), memory.shuffled(seed=1).heard_by(llama)
    plain = logits(llama, edits.attend(source=source))
    assert not torch.allclose(logits(llama, edits.attend(source=other)), plain, atol=1e-4)
    for name in source._calls:
        (key, value), (same, exchanged) = source.told(name), other.told(name)
        assert torch.equal(key, same)
        assert sorted(value[0].tolist()) == sorted(exchanged[0].tolist())


def test_another_model_is_refused(memory: sg.Memory) -> None:
    other = sg.load(tiny_llama().double())
    with pytest.raises(sg.InputError, match=r"is a memory of .* \(dtype float32\), and .* \(dtype float64\) listens"):
        logits(other, edits.attend(source=memory))
    with pytest.raises(sg.InputError, match=r"this passage was read by .* Make another memory"):
        memory.add(A, model=other)


def test_an_emptied_memory_takes_another_model(memory: sg.Memory) -> None:
    memory.remove(*memory.passages["id"])
    wider = sg.load(tiny_llama(hidden_size=32))
    memory.add(A, model=wider)
    assert torch.allclose(logits(wider, edits.attend(source=memory)), wider.logits(A + PROMPT)[len(A) :], atol=1e-5)


def test_double_precision_is_kept(tmp_path: Path) -> None:
    model = sg.load(tiny_llama().double())
    memory = sg.Memory(tmp_path / "double")
    memory.add(A, model=model)
    whole = model.logits(A + PROMPT)[len(A) :]
    torch.testing.assert_close(logits(model, edits.attend(source=memory)), whole, atol=1e-13, rtol=0)


def test_a_memory_is_named_by_its_path(llama: sg.Model, memory: sg.Memory) -> None:
    edit = edits.attend(source=memory, top_k=3)
    stored = edits.from_json(edits.to_json([edit]))[0]
    assert stored.source == str(memory._store.folder)
    assert edits.parse(str(edit)).source == str(memory._store.folder)
    assert torch.equal(logits(llama, stored), logits(llama, edit))


def test_learned_positions_stay_in_the_keys(tmp_path: Path) -> None:
    """GPT-2 adds positions to the stream: its keys are stored as they are, and cannot be indexed."""
    from tests.watch.conftest import specimen

    model = sg.load(specimen("gpt2").model)
    memory = sg.Memory(tmp_path / "learned")
    past = sg.Past.of(model, A)
    memory.add(past)
    heard = logits(model, edits.attend(source=memory, positions="as_stored"))
    assert torch.equal(heard, logits(model, edits.attend(source=past, positions="as_stored")))
    with pytest.raises(sg.InputError, match=r"index\(\): keys of .* cannot be freed of their positions"):
        memory.index()


def test_what_cannot_be_added_is_refused(llama: sg.Model, memory: sg.Memory) -> None:
    for words, call in (
        ("which model is to read it", lambda: memory.add(A)),
        ("leave model= out", lambda: memory.add(sg.Past.of(llama, A), model=sg.load(tiny_llama()))),
        ("no layer 7", lambda: memory.add(A, model=llama, layers=7)),
        ('keep="qkv"', lambda: memory.add(sg.record(llama, A))),
        ("give a text to look for", lambda: memory.search("  ")),
        ("a whole number from 1 up", lambda: memory.search("sea", top=0)),
        (r"keep=\[\['keys'\]\]\): a tuple of", lambda: memory.add(A, model=llama, keep=[["keys"]])),
        (r"origin=None\): a text is needed", lambda: memory.add(A, model=llama, origin=None)),
        (r"text=5\): a text is needed", lambda: memory.add(A, model=llama, text=5)),
        (r"memory.remove\(\): name the passages", lambda: memory.remove()),
        (r"give a text to look for, or a list of ids", lambda: memory.collection(5)),
        (r"shuffled\(seed=-1\): a whole number from 0 up", lambda: memory.shuffled(seed=-1)),
        (r"sg.Memory\(None\): give the path of a folder", lambda: sg.Memory(None)),
    ):
        with pytest.raises(sg.InputError, match=words):
            call()
    assert len(memory) == 2


def test_folders_that_are_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    with pytest.raises(sg.InputError, match="is a file; a memory is a folder"):
        sg.Memory(tmp_path / "file")
    with pytest.raises(sg.InputError, match="holds other things than a memory"):
        sg.Memory(tmp_path)
    assert (tmp_path / "file").read_text() == "hello"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "memory.json").write_text("{")
    with pytest.raises(sg.InputError, match=r"this folder is no memory, or a broken one"):
        len(sg.Memory(tmp_path / "broken").stats)
    (tmp_path / "broken" / "memory.json").write_text('{"format": 9}')
    with pytest.raises(sg.InputError, match="format 9, and this version of Sociogram reads 2"):
        sg.Memory(tmp_path / "broken").stats  # noqa: B018


def test_without_lancedb_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(sg.MissingExtraError, match=r"pip install 'sociogram\[memory\]'"):
        sg.Memory(tmp_path / "memory")


WRITER = """
import sys, torch
torch.set_num_threads(1)
import sociogram as sg
from tests.models.conftest import tiny_llama
model, memory = sg.load(tiny_llama()), sg.Memory(sys.argv[1])
for number in range(int(sys.argv[2])):
    memory.add([number % 40 + 1, 2, 3], model=model, origin=sys.argv[3])
    print(number, flush=True)
"""


def writer(folder: Path, count: int, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(count), name],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_two_writers_and_a_reader_do_not_get_into_each_others_way(memory: sg.Memory, llama: sg.Model) -> None:
    writers = [writer(memory._store.folder, 4, name) for name in ("one", "two")]
    seen = set()
    while any(one.poll() is None for one in writers):
        collection = memory.heard_by(llama)
        told = collection.told(next(iter(collection._calls)))
        assert told is not None
        assert told[0].shape[1] == len(collection.names)
        seen.add(len(collection))
        time.sleep(0.05)
    assert [one.communicate()[0].split() for one in writers] == [["0", "1", "2", "3"]] * 2
    assert [one.returncode for one in writers] == [0, 0]
    assert memory.passages["origin"].value_counts().to_dict() == {"one": 4, "two": 4, "first": 1, "second": 1}
    assert min(seen) >= 2


def test_a_writer_that_is_killed_leaves_whole_passages(memory: sg.Memory, llama: sg.Model) -> None:
    one = writer(memory._store.folder, 1000, "killed")
    assert one.stdout is not None
    for _ in range(3):
        one.stdout.readline()
    one.kill()
    one.communicate()
    count = len(memory)
    assert count >= 5
    told = memory.heard_by(llama).told(next(iter(memory.heard_by(llama)._calls)))
    assert told is not None
    memory.add(A, model=llama, origin="after")  # takes away what the killed one left
    assert len(memory) == count + 1
    tokens = memory.stats["tokens"]
    for table in memory._store.names() - {"passages", "meanings"}:
        assert memory._store.database.open_table(table).count_rows() == tokens


@pytest.mark.parametrize("after", range(4))
def test_an_addition_that_stops_anywhere_is_taken_away_or_whole(
    memory: sg.Memory, llama: sg.Model, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Two calls of keys and values, then the passage itself: the disk is full after so many tables."""
    real, done = memory._store.add, []

    def full(table: str, rows: object) -> None:
        if len(done) == after:
            raise OSError(28, "No space left on device")
        done.append(table)
        real(table, rows)

    monkeypatch.setattr(memory._store, "add", full)
    if after < 3:
        with pytest.raises(sg.InputError, match="cannot be written to: No space left on device"):
            memory.add(A, model=llama, origin="full")
    else:
        memory.add(A, model=llama, origin="full")
    monkeypatch.undo()
    assert ("full" in set(memory.passages["origin"])) == (after == 3)
    memory.add(B, model=llama, origin="after")
    tokens = memory.stats["tokens"]
    assert [memory._store.database.open_table(name).count_rows() for name in ("told_0", "told_1")] == [tokens, tokens]
    assert not (memory._store.folder / "pending.json").exists()


def test_a_removal_that_stops_is_finished_by_the_next_writer(
    memory: sg.Memory, llama: sg.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, first = memory._store.database, memory.passages["id"].iloc[0]

    class Stopping:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def open_table(self, name: str) -> object:
            if name == "told_1":
                raise KeyboardInterrupt
            return real.open_table(name)

    monkeypatch.setattr(memory._store, "database", Stopping())
    with pytest.raises(KeyboardInterrupt):
        memory.remove(first)
    monkeypatch.undo()
    assert first not in set(memory.passages["id"])
    assert real.open_table("told_1").count_rows() == len(A) + len(B)
    memory.add(A, model=llama)
    assert real.open_table("told_1").count_rows() == memory.stats["tokens"]


def test_a_full_disk_is_said_in_our_words(memory: sg.Memory, llama: sg.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """LanceDB raises RuntimeError where the disk is full."""

    def full(*_: object) -> None:
        raise RuntimeError("lance error: LanceError(IO): Generic LocalFileSystem error: No space left on device (os error 28)")

    with monkeypatch.context() as patch, pytest.raises(sg.InputError, match=r"written to: No space left on device$"):
        patch.setattr(memory._store, "add", full)
        memory.add(A, model=llama)
    assert len(memory) == 2
    for file in (memory._store.folder / "told_0.lance" / "data").iterdir():
        file.unlink()
    with pytest.raises(sg.InputError, match="cannot be read: Not found"):
        logits(llama, edits.attend(source=memory))


def test_a_broken_note_of_a_writer_stops_nobody(memory: sg.Memory, llama: sg.Model) -> None:
    (memory._store.folder / "pending.json").write_text("{")
    memory.add(A, model=llama)
    assert len(memory) == 3
    assert memory._store.count("told_0") == memory.stats["tokens"]


def test_a_table_that_is_gone_is_named(memory: sg.Memory, llama: sg.Model) -> None:
    memory._store.database.drop_table("told_1")
    for call in (lambda: logits(llama, edits.attend(source=memory)), memory.index):
        with pytest.raises(sg.InputError, match="is damaged: its table told_1 is gone"):
            call()


def test_more_tokens_than_there_are_places_before_the_prompt(llama: sg.Model, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "long")
    for _ in range(3):
        memory.add(list(range(1, 31)), model=llama)
    with pytest.raises(sg.InputError, match=r'`attend .*90 tokens cannot all stand before the prompt .*positions="none"'):
        logits(llama, edits.attend(source=memory))


@pytest.mark.real
def test_passages_are_found_by_meaning(llama: sg.Model, minilm: sg.Model, tmp_path: Path) -> None:
    memory = sg.Memory(tmp_path / "memory")
    texts = {
        "sea": "The ship left the harbour before the storm reached the coast.",
        "bread": "Knead the dough and let it rise before you bake the loaf.",
        "law": "The court held that the contract was void.",
    }
    for number, (origin, text) in enumerate(texts.items()):
        memory.add([number + 1, 5, 6], model=llama, origin=origin, text=text)
    found = memory.search("sailors on a boat", top=2)
    assert found["origin"].iloc[0] == "sea"
    assert found["cosine"].is_monotonic_decreasing
    assert len(found) == 2
    assert memory.search("a recipe from the bakery", top=9)["origin"].iloc[0] == "bread"
    memory.remove(found["id"].iloc[0])
    memory.add([9, 5, 6], model=llama, origin="judge", text="A judge decides about a treaty.")
    assert set(memory.search("lawyers", top=2)["origin"]) == {"law", "judge"}
    from sociogram.memory.meaning import meanings

    one = meanings([texts["sea"]])
    assert np.abs(meanings(list(texts.values()))[0] - one[0]).max() < 1e-5, "padding changes nothing"
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
