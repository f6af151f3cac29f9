"""Letters to later runs: in order, whole or not at all, heard together, and the older ones less."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from tests.models.conftest import byte_level_tokenizer, tiny_llama
from tests.watch.conftest import specimen

TEXTS = [5, 9, 17, 3, 44], [21, 8, 30], [40, 41, 42, 43]
PROMPT = [12, 7, 2, 33]


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama(initializer_range=0.2), tokenizer=byte_level_tokenizer(eos_token="<end>"))


@pytest.fixture
def letters(tmp_path: Path, llama: sg.Model) -> sg.Letters:
    made = sg.Letters(tmp_path / "letters")
    assert [made.write(sg.Past.of(llama, ids)) for ids in TEXTS] == [1, 2, 3]
    return made


def logits(model: sg.Model, *changes: edits.Edit) -> torch.Tensor:
    with sg.steer(model, changes) as steered:
        return steered.logits(PROMPT)


def test_letters_are_heard_as_their_texts_in_a_row(llama: sg.Model, letters: sg.Letters) -> None:
    """The first alone is the prompt with that prefix; several are pasts put behind each other, as they were written."""
    one = letters.read(llama, count=1)
    torch.testing.assert_close(
        logits(llama, edits.attend(source=one)), llama.logits(TEXTS[0] + PROMPT)[len(TEXTS[0]) :], atol=1e-5, rtol=1e-5
    )
    pasts = [sg.Past.of(llama, ids) for ids in TEXTS]
    row = pasts[0].insert(5, pasts[1]).insert(8, pasts[2])
    expected = logits(llama, edits.attend(source=row))
    for source in (letters, sg.Letters(letters.folder), letters.read(llama), letters.read(llama, order="oldest", count=99)):
        torch.testing.assert_close(logits(llama, edits.attend(source=source)), expected, atol=1e-5, rtol=1e-5)
    backwards = logits(llama, edits.attend(source=letters.read(llama, order="newest")))
    turned = pasts[2].insert(4, pasts[1]).insert(7, pasts[0])
    torch.testing.assert_close(backwards, logits(llama, edits.attend(source=turned)), atol=1e-5, rtol=1e-5)
    assert float((backwards - expected).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("order", "count", "numbers", "ages"),
    [
        ("oldest", None, (1, 2, 3), (2, 1, 0)),
        ("oldest", 2, (1, 2), (2, 1)),
        ("newest", None, (3, 2, 1), (0, 1, 2)),
        ("newest", 1, (3,), (0,)),
        ("second_to_last", None, (2, 1), (1, 2)),  # the very last is left unread
        ("second_to_last", 1, (2,), (1,)),
    ],
)
def test_orders(
    llama: sg.Model, letters: sg.Letters, order: str, count: int | None, numbers: tuple[int, ...], ages: tuple[int, ...]
) -> None:
    bundle = letters.read(llama, order=order, count=count)
    assert bundle.numbers == numbers
    assert bundle.ages.tolist() == [age for age, number in zip(ages, numbers, strict=True) for _ in TEXTS[number - 1]]
    assert bundle.names == [text for number in numbers for text in llama.spell(TEXTS[number - 1])]
    assert bundle.positions.tolist() == [i for number in numbers for i in range(len(TEXTS[number - 1]))]
    assert len(bundle) == len(numbers)
    assert repr(bundle) == f"Bundle of {len(numbers)} letters ({', '.join(map(str, numbers))}; {len(bundle.names)} tokens)"


def test_writing(llama: sg.Model, letters: sg.Letters) -> None:
    assert letters.write([1, 2, 3], model=llama) == 4
    with sg.steer(llama, edits.attend(source=letters, schedule=sg.Schedule(every=2, over="layers"))) as steered:
        assert letters.write([1, 2, 3], model=steered) == 5
    heard, unheard = sg.Past.load(letters.folder / "0005", llama), sg.Past.load(letters.folder / "0004", llama)
    torch.testing.assert_close(heard.keys[0], unheard.keys[0])  # the first layer's keys are made before anything is heard
    assert float((heard.keys[1] - unheard.keys[1]).abs().max()) > 1e-3
    (letters.folder / "0002.safetensors").unlink()
    assert letters.write([4], model=llama) == 6
    assert letters.numbers == [1, 3, 4, 5, 6]
    assert letters.read(llama).ages.tolist()[0] == 4
    table = letters.table
    assert table[["number", "tokens"]].to_numpy().tolist() == [[1, 5], [3, 4], [4, 3], [5, 3], [6, 1]]
    assert table["text"][0] == "".join(llama.spell(TEXTS[0])).replace("␣", " ")
    assert repr(letters) == f"Letters({str(letters.folder)!r}: 5 letters)"


def test_a_letter_of_what_was_written_is_the_past_of_the_whole_text(llama: sg.Model, letters: sg.Letters) -> None:
    """While a model writes it keeps what reading the finished text would keep, but for the last token, which it only said."""
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    whole = llama.hf.generate(**llama.encode(PROMPT), **settings)[0].tolist()
    past = sg.Past.of(llama, PROMPT, generate=6)
    assert past.ids.tolist() == whole
    again = sg.Past.of(llama, whole)
    for one, two in zip((*past.keys, *past.values), (*again.keys, *again.values), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    assert past.next_position == len(whole) == 10
    torch.testing.assert_close(past.logits([3]), again.logits([3]), atol=1e-5, rtol=1e-5)
    schedule = sg.Schedule(every=2, over="generated")
    with sg.steer(llama, edits.attend(source=letters, schedule=schedule)) as steered:
        letter = sg.Past.of(steered, PROMPT, generate=6)
        assert steered.receipt.openings["open"].tolist() == [False] * 4 + [True, False] * 3
        rec = steered.record(PROMPT, generate=6, keep="qkv")
        assert letter.ids.tolist() == rec.inputs["input_ids"][0].tolist()
        for layer in range(2):
            keys = rec.dataset["key_vector"].values[layer][::2]
            np.testing.assert_allclose(letter.keys[layer], keys, atol=1e-5)
        assert float((letter.keys[1][:, 4:] - past.keys[1][:, 4:]).abs().max()) > 1e-3
    assert letters.write(letter) == 4
    with pytest.raises(sg.InputError, match="max_new_tokens"):
        sg.Past.of(llama, PROMPT, generate={"do_sample": False})


@pytest.mark.parametrize("positions", ["before", "as_stored", "none"])
@pytest.mark.parametrize("kind", ["attend", "gate", "add_head"])
def test_forgetting_multiplies_the_odds(llama: sg.Model, letters: sg.Letters, kind: str, positions: str) -> None:
    """In the first layer, whose queries and keys are the same: weight times (1 - rate) ** age, and the softmax's sum anew."""
    more = {"attend": {}, "gate": {"join": "gate", "gate": 1.0}, "add_head": {}}[kind]
    make, bundle = edits.add_head if kind == "add_head" else edits.attend, letters.read(llama)

    def weights(rate: float) -> tuple[np.ndarray, np.ndarray]:
        with sg.steer(llama, make(source=bundle, positions=positions, forget=rate, **more)) as steered:
            rec = steered.record(PROMPT, keep="qkv")
            lean = steered.logits(PROMPT)  # without weights, where torch's own attention can
            streamed = steered.record(PROMPT, keep="stream")
        assert rec.audit().max_relative_error < 1e-5
        np.testing.assert_allclose(lean[-1], rec.outputs["final_logits"][0], atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(
            streamed.stack("decoder_outside")["weights"], rec.stack("decoder_outside")["weights"], atol=1e-6
        )
        return rec.dataset["weights"].values[0], rec.stack("decoder_outside")["weights"].values[0]

    own, there = weights(0.0)
    for rate in (0.3, 0.9):
        factor = (1 - rate) ** np.array([2] * 5 + [1] * 3 + [0] * 4)
        total = (there * factor).sum(-1, keepdims=True) + (own.sum(-1, keepdims=True) if kind == "attend" else 0)
        kept, less = weights(rate)
        np.testing.assert_allclose(less, there * factor / total, atol=1e-6)
        np.testing.assert_allclose(kept, own / total if kind == "attend" else own, atol=1e-6)


@pytest.mark.parametrize("name", ["gpt_oss", "t5", "gemma2", "gpt2"])
def test_forgetting_in_other_softmaxes(name: str) -> None:
    """With a sink, with a bias for each pair of positions, with a soft cap: added to the scores behind all of them."""
    made = specimen(name)
    inputs = {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    source = _Aged(model, sg.record(model, inputs, keep="qkv"))
    layer = int(np.flatnonzero(sg.record(model, inputs).dataset["status"].values == "closed")[0])
    found = []
    for rate in (0.0, 0.6):
        with sg.steer(model, edits.attend(source=source, layer=layer, positions="as_stored", forget=rate)) as steered:
            rec = steered.record(inputs)
            assert rec.audit().max_relative_error < 1e-4
            plain = steered.record(inputs, keep=("residual",))  # no weights asked for
            np.testing.assert_allclose(plain.dataset["residual"], rec.dataset["residual"], atol=2e-5)
        there = rec.stack(f"{rec.main}_outside")["weights"].values[layer]
        sink = rec.dataset["sink_weight"].values[layer][..., None] if "sink_weight" in rec.dataset else 0.0
        found.append((rec.dataset["weights"].values[layer], there, sink))
    (own, there, sink), (_, less, _) = found
    factor = 0.4 ** source.ages.numpy()
    total = (there * factor).sum(-1, keepdims=True) + own.sum(-1, keepdims=True) + sink
    np.testing.assert_allclose(less, there * factor / total, atol=1e-5)
    assert np.abs(less - there).max() > 1e-3


class _Aged:
    """A recording whose first half is older."""

    def __init__(self, model: sg.Model, rec: sg.Recording) -> None:
        from sociogram.steering.source import RecordingSource

        source = RecordingSource(rec, model.anatomy if rec.model is not model else rec.anatomy)
        self.names, self.positions, self.told = source.names, source.positions, source.told
        self.ages = torch.tensor([2 if i < len(self.names) // 2 else 0 for i in range(len(self.names))])


def test_what_is_forgotten_altogether_was_never_read(llama: sg.Model, letters: sg.Letters) -> None:
    """Rate 0 changes nothing, bit for bit; rate 1 is the newest letter alone; between them nearer and nearer. To scale the
    values of the old letters to nothing is not that: they would stay in the softmax's denominator.
    """
    alone = logits(llama, edits.attend(source=letters.read(llama, order="newest", count=1)))
    everything = logits(llama, edits.attend(source=letters))
    assert torch.equal(logits(llama, edits.attend(source=letters, forget=0.0)), everything)
    gone = logits(llama, edits.attend(source=letters, forget=1.0))
    torch.testing.assert_close(gone, alone, atol=1e-6, rtol=1e-6)
    far = [
        float((logits(llama, edits.attend(source=letters, forget=rate)) - alone).abs().max())
        for rate in (0, 0.9, 0.999, 1 - 1e-9)
    ]
    assert far[0] > far[1] > far[2] > far[3]
    assert far[3] < 1e-5 < far[2]
    pasts = [sg.Past.of(llama, ids) for ids in TEXTS]
    silent = pasts[0].insert(5, pasts[1]).scale(slice(None), value=0.0).insert(8, pasts[2])
    assert float((logits(llama, edits.attend(source=silent)) - alone).abs().max()) > 1e-2
    with sg.steer(llama, edits.attend(source=letters, forget=1.0)) as steered:
        steered.logits(PROMPT)
        assert steered.receipt.edits["addressed"].sum() == 2 * 4 * len(PROMPT) * len(TEXTS[2])
    unread = edits.attend(source=letters.read(llama, order="second_to_last"), forget=1.0)
    with sg.steer(llama, unread) as steered, pytest.raises(sg.EditDidNotLand):
        steered.logits(PROMPT)


def test_the_strongest_are_those_that_are_heard_most(llama: sg.Model, letters: sg.Letters) -> None:
    def weights(**change: object) -> np.ndarray:
        with sg.steer(llama, edits.attend(source=letters, **change)) as steered:
            return steered.record(PROMPT).stack("decoder_outside")["weights"].values[0]

    whole, few = weights(forget=0.8), weights(forget=0.8, top_k=3)
    assert ((few > 0).sum(-1) == 3).all()
    np.testing.assert_array_equal(few > 0, whole >= np.sort(whole, -1)[..., -3:-2])
    assert not np.array_equal(few > 0, weights(top_k=3) > 0)


def test_writing_under_forgetting_equals_reading(llama: sg.Model, letters: sg.Letters) -> None:
    with sg.steer(llama, edits.attend(source=letters, forget=0.5, top_k=4)) as steered:
        rec = steered.record(PROMPT, generate=5)
        whole = steered.record(rec.inputs["input_ids"][0].tolist())
    np.testing.assert_allclose(rec.dataset["weights"], whole.dataset["weights"], atol=1e-5)
    edit = edits.blend([("a.safetensors", 1.0)], forget=0.5)
    assert edits.from_json(edits.to_json([edit])) == [edit] == [edits.parse(str(edit))]


def test_passages_of_a_memory_are_forgotten_in_the_order_in_which_they_were_made(llama: sg.Model, tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    memory = sg.Memory(tmp_path / "memory")
    ids = [memory.add(one, model=llama) for one in TEXTS]
    assert memory.heard_by(llama).ages.tolist() == [2] * 5 + [1] * 3 + [0] * 4
    assert memory.collection([ids[2], ids[0]]).ages.tolist() == [0] * 4 + [1] * 5
    torch.testing.assert_close(
        logits(llama, edits.attend(source=memory, forget=1.0)),
        logits(llama, edits.attend(source=memory.collection([ids[2]]))),
        atol=1e-6,
        rtol=1e-6,
    )


def test_letters_are_named_by_their_folder(llama: sg.Model, letters: sg.Letters) -> None:
    edit = edits.attend(source=letters, forget=0.5)
    stored = edits.from_json(edits.to_json([edit]))[0]
    assert stored.source == str(letters.folder) == edits.parse(str(edit)).source
    found = []
    for one in (edit, stored):
        with sg.steer(llama, one) as steered:
            found.append(steered.logits([3, 5, 8]))
    assert torch.equal(*found)


def test_many_writers_number_their_letters_one_after_the_other(llama: sg.Model, tmp_path: Path) -> None:
    past = sg.Past.of(llama, [1, 2])
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: sg.Letters(tmp_path / "many").write(past), range(24)))
    assert sorted(numbers) == list(range(1, 25)) == sg.Letters(tmp_path / "many").numbers


def test_a_letter_is_whole_or_not_there(llama: sg.Model, letters: sg.Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    left = letters.folder / ".0004.safetensors.x7"  # by a writer that was killed
    left.mkdir()
    (left / "0004.safetensors").write_bytes(b"half")
    assert letters.numbers == [1, 2, 3]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("safetensors.torch.save_file", full)
        with pytest.raises(sg.InputError, match=r"0004.safetensors cannot be written: No space left"):
            letters.write([1], model=llama)
    assert letters.numbers == [1, 2, 3]
    assert letters.write([1], model=llama) == 4
    assert not left.exists()
    assert len(letters.read(llama)) == 4


def test_what_does_not_fit_is_refused(llama: sg.Model, letters: sg.Letters, tmp_path: Path) -> None:
    other = sg.load(specimen("gpt2").model)
    with pytest.raises(sg.InputError, match=r"holds letters of another model \(class LlamaForCausalLM\), and this one is of"):
        letters.write(sg.Past.of(other, [1, 2]))
    with pytest.raises(sg.InputError, match=r"0001.safetensors is a past of LlamaForCausalLM \(class"):
        letters.read(other)
    foreign = edits.attend(source=letters.read(llama), positions="as_stored")
    words = r"these letters were read with LlamaForCausalLM \(class .*listens: letters.read"
    with sg.steer(other, foreign) as steered, pytest.raises(sg.InputError, match=words):
        steered.logits([1, 2])
    assert letters.numbers == [1, 2, 3]
    empty = sg.Letters(tmp_path / "empty")
    for words, call in (
        ("say who reads the text, model=", lambda: letters.write([1, 2])),
        ("a past is of its own model; leave model out", lambda: letters.write(sg.Past.of(llama, [1]), model=llama)),
        (
            r"letters.read\(order='last'\): choose one of oldest, newest, second_to_last",
            lambda: letters.read(llama, order="last"),
        ),
        (r"letters.read\(count=0\): a whole number from 1 up", lambda: letters.read(llama, count=0)),
        (r'0 letters\): no letter to read with order="oldest": write one first', lambda: empty.read(llama)),
        ("is a file; letters are kept in a folder", lambda: sg.Letters(letters.folder / "0001.safetensors")),
        (r"holds other things than letters \(letters\)", lambda: sg.Letters(tmp_path)),
        ("forget=1.5: a rate lies between 0", lambda: edits.attend(source=letters, forget=1.5)),
        ("forget='much': a finite number", lambda: edits.attend(source=letters, forget="much")),
    ):
        with pytest.raises(sg.InputError, match=words):
            call()
    empty.write([1], model=llama)
    with pytest.raises(sg.InputError, match='no letter to read with order="second_to_last": write another first'):
        empty.read(llama, order="second_to_last")
    ageless = edits.attend(source=sg.Past.of(llama, [1]), forget=0.1)
    words = "does not say how old its tokens are, so that none can be forgotten: give letters"
    with sg.steer(llama, ageless) as steered, pytest.raises(sg.InputError, match=words):
        steered.logits(PROMPT)
