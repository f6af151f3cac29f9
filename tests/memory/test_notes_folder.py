"""Notes go out into a folder of Markdown files and come in again exactly; into a memory they go once."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import sociogram as sg
from sociogram import edits
from sociogram.memory import markdown
from sociogram.memory.memory import Memory
from sociogram.memory.note import moment
from sociogram.notes import Note, Notes, Source
from tests.models.conftest import byte_level_tokenizer, tiny_llama

pytest.importorskip("lancedb")

IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)
LINES = st.lists(
    st.sampled_from(["---", "--- ", "sociogram: note", "id: 1", "", "\r", "text", "- read: x", "...", "\ufeff"])
).map("\n".join)
SOURCES = st.lists(st.builds(Source, TEXT, st.sampled_from(["read", "talk", "video"])), unique=True).map(tuple)
MOMENTS = st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9999, 12, 30)).map(
    lambda when: moment(when.isoformat())
)
NOTES = st.builds(Note, IDS, st.one_of(TEXT, LINES.filter(str.strip)), MOMENTS, SOURCES)


@given(NOTES)
@example(
    Note("0" * 32, "---\nsociogram: note\n---\r\n x \r\n", moment("2026-01-01"), (Source("- [a]: 'b' # c"), Source("1", "talk")))
)
@example(Note("1" * 32, "\ufeffa\rb\u2028\0", moment("2026-01-01"), (Source("\x00 \x07 \ufeff \U0001f600 é"),)))
def test_any_note_is_read_as_it_was_written(note: Note) -> None:
    content = markdown.written(note).encode()
    assert markdown.read(content.decode("utf-8-sig"), moment("2000-01-01")) == (note, True)
    name = markdown.file_name(note)
    assert len(name.encode()) < 220
    assert not set(name) & set('/\\:*?"<>|\n\0')
    assert name.endswith(f"-{note.id[:8]}.md")


@given(st.one_of(TEXT, LINES.filter(str.strip)))
def test_text_without_front_matter_of_ours_is_a_note_as_a_whole(text: str) -> None:
    if text.startswith("---") and "sociogram:" in text:
        return
    found = markdown.read(text, moment("2000-01-01"))
    assert found is not None
    note, named = found
    assert (note.text, note.made, note.sources, named) == (text, moment("2000-01-01"), (), False)


def tables_equal(one: Notes, other: Notes) -> bool:
    columns = ["id", "text", "made", "sources"]
    return one.table[columns].values.tolist() == other.table[columns].values.tolist()


def test_out_and_in_again_is_the_same(notes: Notes, tmp_path: Path) -> None:
    odd = notes.add(
        "---\nsociogram: note\n\r\n\tfaçade 😀 \n", sources=[Source("https://x.example/#a: b"), Source("'quoted'", "video")]
    )
    done = notes.export(tmp_path / "out")
    assert (done.written, done.notes) == (5, 5)
    assert len(list((tmp_path / "out").iterdir())) == 5
    other = Notes(tmp_path / "other")
    assert len(other.import_folder(tmp_path / "out").added) == 5
    assert tables_equal(notes, other)
    assert other.find("birds")["id"].tolist() == notes.find("birds")["id"].tolist()
    again = other.import_folder(tmp_path / "out")
    assert (again.added, again.there, again.linked, again.differing) == ((), 5, (), ())
    assert tables_equal(notes, other)
    assert notes.export(tmp_path / "out").written == 0
    notes.link(odd, "one more")
    with pytest.raises(sg.InputError, match=r"facade|fa.ade.*there already, with other content. Nothing was written"):
        notes.export(tmp_path / "out")
    assert notes.export(tmp_path / "out", overwrite=True).written == 1
    assert other.import_folder(tmp_path / "out").linked == (odd,)
    assert tables_equal(notes, other)


def test_two_ids_that_begin_alike_have_files_of_their_own(tmp_path: Path, words: None) -> None:
    notes = Notes(tmp_path / "n")
    notes._shelf.save([Note("abcdabcd" + digit * 24, "same words", moment("2026-01-01")) for digit in "012"])
    assert notes.export(tmp_path / "out").written == 3
    assert len(Notes(tmp_path / "other").import_folder(tmp_path / "out").added) == 3


def test_plain_markdown_is_one_note_a_file(notes: Notes, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    (plain / "deep").mkdir(parents=True)
    (plain / ".hidden").mkdir()
    files = {
        "a.md": b"# A heading\n\ntext\n",
        "deep/b.md": b"\xef\xbb\xbfwith a mark\r\n",
        "c.md": b"---\ntags: [x]\n---\nof another program",
        "d.md": b"---\na rule, no front matter\n",
        "e.md": b" \n",
        "same.md": b"birds fly in flocks",
        ".hidden/f.md": b"not seen",
        "g.txt": b"not Markdown",
        "h.md": b"---\nsociogram: note\nmade: 2020-02-03\nsources:\n- talk: A talk\n---\nby hand",
    }
    for name, content in files.items():
        (plain / name).write_bytes(content)
    os.utime(plain / "a.md", (1e9, 1e9))
    done = notes.import_folder(plain)
    assert len(done.added) == 5
    assert (done.there, [file.name for file in done.empty]) == (1, ["e.md"])
    found = {row["text"]: row for row in notes.table.to_dict("records")}
    assert found["# A heading\n\ntext\n"]["made"] == datetime.fromtimestamp(1e9, UTC).isoformat(timespec="microseconds")
    assert "with a mark\r\n" in found
    assert "---\ntags: [x]\n---\nof another program" in found
    assert (found["by hand"]["made"], found["by hand"]["sources"]) == (moment("2020-02-03"), (Source("A talk", "talk"),))
    again = notes.import_folder(plain)
    assert (again.added, again.there) == ((), 6)


def test_a_note_that_is_there_is_not_overwritten(notes: Notes, tmp_path: Path) -> None:
    notes.export(tmp_path / "out")
    file = next(file for file in (tmp_path / "out").iterdir() if "bread" in file.name)
    file.write_bytes(file.read_bytes() + b", or at seven")
    done = notes.import_folder(tmp_path / "out")
    assert (done.added, done.there, done.differing) == ((), 3, (file,))
    assert "bread is baked at six" in set(notes.table["text"])


HEAD = "---\nsociogram: note\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEAD + "id: 12\n---\nx", "line 3: '12' is no id of a note: 32 digits from 0 to f"),
        (HEAD + "made: soon\n---\nx", "line 3: 'soon' is no date such as"),
        (HEAD + "tags: x\n---\nx", "line 3: 'tags' is nothing that notes have: sociogram, id, made, sources"),
        (HEAD + "made: 2020-01-01\nmade: 2020-01-02\n---\nx", "line 4: made is there twice"),
        (HEAD + "sources: x\n---\nx", "line 3: sources is a list"),
        (HEAD + "sources:\n- read: a\n- book: b\n---\nx", "line 5: kind='book': a source is one of"),
        (HEAD + "sources:\n- read: [a]\n---\nx", "line 4: a text is wanted here"),
        (HEAD + "sources:\n- a\n---\nx", "line 4: a source is of lines such as"),
        (HEAD + "id: [\n---\nx", "line 3: no YAML: expected the node content"),
        (HEAD + "a: b: c\n---\nx", "line 3: no YAML: mapping values are not allowed here"),
        (HEAD + "id: \x07\n---\nx", "line 3: a character that YAML does not allow"),
        ("---\nid: 1\nsociogram: note 2\n---\nx", "line 2: '1' is no id"),
        ("---\nsociogram: note 2\n---\nx", "line 2: sociogram: 'note 2' is not to be read by this version"),
        (HEAD + "the end is missing", "line 1: this front matter is not closed"),
        (HEAD + "id: " + "[" * 2000 + "\n---\nx", "line 2: no YAML that can be read"),
        (b"a\n\xff", r"line 2: no UTF-8 text \(invalid start byte\)"),
    ],
    ids=range(16),
)
def test_what_cannot_be_read_is_told_with_its_line_and_nothing_is_imported(
    notes: Notes, tmp_path: Path, content: str | bytes, said: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fine.md").write_text("all is well")
    (tmp_path / "in" / "broken.md").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(sg.InputError, match=rf"nothing was imported, since a file cannot be read:\n.*broken.md, {said}"):
        notes.import_folder(tmp_path / "in")
    assert len(notes) == 4


def test_folders_that_do_not_fit_are_refused(notes: Notes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "bare").mkdir()
    for words, call in (
        ("is not there: name a folder of Markdown files", lambda: notes.import_folder(tmp_path / "none")),
        ("is a file: name a folder of Markdown files", lambda: notes.import_folder(tmp_path / "file")),
        (r"has no Markdown file \(.md\)", lambda: notes.import_folder(tmp_path / "bare")),
        ("is a file: name a folder", lambda: notes.export(tmp_path / "file")),
        ("cannot be written to: No such file or directory", lambda: notes.export(tmp_path / "no" / "out")),
    ):
        with pytest.raises(sg.InputError, match=words):
            call()
    for number in range(7):
        (tmp_path / "bare" / f"{number}.md").write_text(f"---\nsociogram: {number}\n---\nx")
    with pytest.raises(sg.InputError, match=r"7 files cannot be read:\n(.*\n){5}and 2 more"):
        notes.import_folder(tmp_path / "bare")


def test_one_id_with_two_texts_is_refused(notes: Notes, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.md").write_text(f"{HEAD}id: {'0' * 32}\n---\ntext of {name}")
    with pytest.raises(sg.InputError, match=r"b.md: the same id as .*a.md, with another text"):
        notes.import_folder(tmp_path / "in")


def test_a_file_without_an_id_is_there_if_another_has_its_text(notes: Notes, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.md").write_text("the same")
    (tmp_path / "in" / "b.md").write_text(f"{HEAD}id: {'0' * 32}\n---\nthe same")
    done = notes.import_folder(tmp_path / "in")
    assert (done.added, done.there) == (("0" * 32,), 1)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> sg.Model:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_llama().save_pretrained(folder)
    byte_level_tokenizer(eos_token="<end>").save_pretrained(folder)
    return sg.load(str(folder))


def heard(model: sg.Model, memory: sg.Memory, positions: Any = "none") -> object:
    with sg.steer(model, edits.attend(source=memory, positions=positions)) as steered:
        return steered.logits("one two").tolist()


def test_attached_notes_are_heard_as_passages_added_by_hand(notes: Notes, llama: sg.Model, tmp_path: Path) -> None:
    done = notes.attach(tmp_path / "memory", model=llama)
    assert (done.added, done.there) == (4, 0)
    by_hand = sg.Memory(tmp_path / "by hand")
    for text in notes.table["text"]:
        by_hand.add(text, model=llama)
    assert done.memory.passages["origin"].tolist() == notes.table["id"].tolist()
    assert heard(llama, done.memory) == heard(llama, by_hand)
    notes.add("one more")
    assert (notes.attach(tmp_path / "memory", model=llama).added, len(done.memory)) == (1, 5)
    assert heard(llama, done.memory) != heard(llama, by_hand)


def test_attaching_goes_on_where_it_stopped(
    notes: Notes, llama: sg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, read = Memory.add, []

    def stopped(self: Memory, what: str, **given: object) -> str:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(what)
        return real(self, what, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(Memory, "add", stopped)
    with pytest.raises(KeyboardInterrupt):
        notes.attach(tmp_path / "memory", model=llama)
    monkeypatch.setattr(Memory, "add", lambda self, what, **given: read.append(what) or real(self, what, **given))
    done = notes.attach(tmp_path / "memory", model=llama)
    assert (done.added, done.there, read) == (2, 2, notes.table["text"].tolist())


def test_some_notes_are_attached_by_a_query(notes: Notes, llama: sg.Model, tmp_path: Path) -> None:
    done = notes.attach(tmp_path / "memory", model=llama, query="birds", top=1, layers=1)
    assert done.memory.passages["origin"].tolist() == [notes.find("birds", top=1)["id"][0]]
    assert done.memory.stats["calls"] == 1
    least = notes.attach(tmp_path / "other", model=llama, query="birds", least=0.3)
    assert least.added == int((notes.find("birds", top=9)["cosine"] >= 0.3).sum()) == 2


def test_it_is_said_where_the_model_can_put_them(notes: Notes, llama: sg.Model, tmp_path: Path) -> None:
    some = notes.attach(tmp_path / "some", model=llama, query="birds", top=1)
    every = notes.attach(tmp_path / "every", model=llama)
    assert (some.positions, every.positions) == ("before", "none")
    heard(llama, some.memory, "before")
    with pytest.raises(sg.InputError, match="position 73 does not exist"):
        heard(llama, every.memory, "before")


def test_what_cannot_be_attached_is_refused(notes: Notes, llama: sg.Model, tmp_path: Path) -> None:
    notes.attach(tmp_path / "memory", model=llama)
    for words, call in (
        ("is a memory of", lambda: notes.attach(tmp_path / "memory", model=sg.load(tiny_llama().double()))),
        ("no layer 7", lambda: notes.attach(tmp_path / "fresh", model=llama, layers=7)),
        ("give a query, or leave them out", lambda: notes.attach(tmp_path / "fresh", model=llama, top=3)),
        ("there are no notes to attach", lambda: notes.attach(tmp_path / "fresh", model=llama, query="zebra", least=0.9)),
        ("is a store of notes, not a memory", lambda: notes.attach(notes.folder, model=llama)),
    ):
        with pytest.raises(sg.InputError, match=words):
            call()
