"""Notes are kept as they were given, found by meaning, and what is wrong is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sociogram as sg
from sociogram.memory.note import moment
from sociogram.notes import Notes, Source, shortest
from tests.memory.counted import counted

pytest.importorskip("lancedb")

ROOT = Path(__file__).parents[2]


def put(notes: Notes, *ids: str) -> None:
    """Notes with these ids, to know how they begin."""
    notes._shelf.save([sg.notes.Note(one.ljust(32, "0"), f"note {one}", moment("2026-01-01")) for one in ids])


def test_a_note_is_kept_as_it_was_given(tmp_path: Path, words: None) -> None:
    text = "  first line\r\n\r\n\ttabs\0 and ␣ 😀\u2028---\nlast  \n"
    one = Notes(tmp_path / "n").add(text, sources=[Source("https://example.org/a?b=c"), Source("A talk", "talk")])
    note = Notes(tmp_path / "n").note(one)
    assert note.text == text
    assert [str(source) for source in note.sources] == ["read: https://example.org/a?b=c", "talk: A talk"]
    assert note.made == moment(note.made)


def test_the_nearest_notes_are_those_of_all_products(notes: Notes) -> None:
    texts = notes.table["text"].tolist()
    cosines = counted(texts) @ counted(["birds in flocks"])[0]
    found = notes.find("birds in flocks", top=3)
    assert found["text"].tolist() == [texts[place] for place in np.argsort(-cosines, kind="stable")[:3]]
    np.testing.assert_allclose(found["cosine"], np.sort(cosines)[::-1][:3], atol=1e-6)
    assert len(notes.find("birds in flocks", top=99)) == len(notes) == 4
    least = float(np.sort(cosines)[1])
    for bound in (least - 1e-4, least + 1e-4):
        assert len(notes.find("birds in flocks", least=bound)) == int((cosines >= bound).sum())


def test_a_note_is_not_its_own_neighbour(notes: Notes) -> None:
    birds = notes.table["id"][0]
    near = notes.near(birds[:10], top=9)
    assert birds not in set(near["id"])
    assert len(near) == 3
    all_of_them = notes.find("birds fly in flocks", top=9)
    np.testing.assert_allclose(near["cosine"], all_of_them["cosine"][1:], atol=1e-6)


def test_the_same_text_is_saved_once_unless_it_is_wanted_twice(notes: Notes) -> None:
    first = notes.table["id"][0]
    assert notes.add("birds fly in flocks") == first
    assert len(notes) == 4
    other = notes.add("birds fly in flocks ")  # one character more is another text
    again = notes.add("birds fly in flocks", again=True)
    assert len({first, other, again}) == 3
    assert notes.same("birds fly in flocks") == [first, again]


def test_notes_are_named_by_the_beginning_of_their_id(tmp_path: Path, words: None) -> None:
    notes = Notes(tmp_path / "n")
    put(notes, "abcdef1234", "abcdef1299", "ffff")
    assert notes.note("F").text == "note ffff"
    assert notes.note("abcdef123").text == "note abcdef1234"
    assert shortest(notes.table["id"]) == 9
    with pytest.raises(sg.InputError, match=r"note 'abc': 2 ids begin so \(abcdef123, abcdef129\): give more of it"):
        notes.note("abc")
    for unknown in ("abcdef12345", "", "%", "' OR 1=1"):
        with pytest.raises(sg.InputError, match=r"no note .* notes.table \(sociogram notes list\) has those there are"):
            notes.note(unknown)
    assert shortest(["a" * 32, "b" * 32]) == 8


def test_what_is_removed_is_gone_with_its_sources(notes: Notes) -> None:
    one, two = notes.table["id"][:2]
    notes.link(one, "A book")
    notes.remove(one[:12], two)
    assert len(notes) == len(Notes(notes.folder)) == 2
    assert one not in set(notes.find("birds fly in flocks", top=9)["id"])
    rows = notes._shelf.store.rows("sources")
    assert rows is not None
    assert rows.num_rows == 0
    with pytest.raises(sg.InputError, match="no note"):
        notes.remove(one)
    assert len(notes) == 2


def test_sources_come_and_go_in_their_order(notes: Notes) -> None:
    one, other = notes.table["id"][:2]
    for what, kind in (("Z", "talk"), ("https://a.example", "read"), ("Z", "video"), ("  Z\n ", "talk")):
        note = notes.link(one, what, kind)
    assert [str(source) for source in note.sources] == ["talk: Z", "read: https://a.example", "video: Z"]
    notes.link(other, "Z")
    assert [str(source) for source in notes.unlink(one, "Z").sources] == ["read: https://a.example"]
    assert notes.note(other).sources == (Source("Z"),)
    with pytest.raises(sg.InputError, match=r"has no source 'Z'; its sources: read: https://a.example"):
        notes.unlink(one, "Z")
    for words, call in (
        ("a source is one of read, talk, video", lambda: notes.link(one, "x", "book")),
        ("is a URL or a title", lambda: notes.link(one, " \n")),
        ("no note 'none'", lambda: notes.link("none", "x")),
    ):
        with pytest.raises(sg.InputError, match=words):
            call()


def test_reading_makes_no_folder(tmp_path: Path, words: None) -> None:
    notes = Notes(tmp_path / "typo")
    assert notes.table.empty
    assert notes.find("birds").empty
    assert list(notes.find("birds").columns) == ["id", "text", "made", "sources", "cosine"]
    assert not (tmp_path / "typo").exists()


def test_what_cannot_be_meant_is_refused(notes: Notes) -> None:
    for words, call in (
        ("a note needs a text", lambda: notes.add(" \n\t")),
        ("is no UTF-8 text", lambda: notes.add("half \udc80")),
        ("is no UTF-8 text", lambda: notes.link(notes.table["id"][0], "half \udc80")),
        ("give a text to look for", lambda: notes.find("")),
        ("top=0: a whole number from 1 up", lambda: notes.find("x", top=0)),
        ("least=2: a cosine", lambda: notes.find("x", least=2)),
        ("least=nan: a cosine", lambda: notes.cluster("x", least=float("nan"))),
        ("no date such as", lambda: moment("yesterday")),
        ("no date such as", lambda: moment("0001-01-01T00:00:00+10:00")),
    ):
        with pytest.raises(sg.InputError, match=words):
            call()
    assert len(notes) == 4


def test_a_cluster_says_its_bounds(notes: Notes) -> None:
    every = notes.find("birds and fish", top=9)
    near = int((every["cosine"] >= 0.2).sum())
    assert near == 3
    cluster = notes.cluster("birds and fish", top=2, least=0.2)
    assert cluster.notes["id"].tolist() == every["id"][:2].tolist()
    assert (len(cluster), cluster.beyond, cluster.total) == (2, near - 2, 4)
    np.testing.assert_allclose(cluster.vectors, counted(cluster.notes["text"].tolist()), atol=1e-6)
    with pytest.raises(sg.InputError, match=r"no note has a cosine of 0.3 or more to 'zebra': the nearest \(\w{8}\) has 0.00"):
        notes.cluster("zebra")
    with pytest.raises(sg.InputError, match="there are no notes"):
        Notes(notes.folder.with_name("none")).cluster("zebra")


def test_the_map_is_of_the_two_principal_directions(notes: Notes) -> None:
    cluster = notes.cluster("birds", top=9, least=-1.0)
    found = cluster.map()
    assert found is not None
    places, share = found
    spread = cluster.vectors.astype(float) - cluster.vectors.mean(0)
    singular = np.linalg.svd(spread, compute_uv=False)
    assert share == pytest.approx(float((singular[:2] ** 2).sum() / (singular**2).sum()), abs=1e-6)
    np.testing.assert_allclose(places.T @ places, np.diag(singular[:2] ** 2), atol=1e-6)
    apart = cluster.vectors @ cluster.vectors.T - 2 * np.eye(4)
    assert [cluster.nearest(place) for place in range(4)] == [
        (int(row.argmax()), pytest.approx(float(row.max()), abs=1e-6)) for row in apart
    ]
    three = notes.cluster("birds", top=3, least=-1.0)
    assert three.map() is None
    assert notes.cluster("birds", top=1, least=-1.0).nearest(0) is None


def test_notes_of_one_meaning_have_no_map(tmp_path: Path, words: None) -> None:
    notes = Notes(tmp_path / "n")
    for _ in range(5):
        notes.add("the same", again=True)
    assert notes.cluster("the same").map() is None


def test_without_the_sentence_model_nothing_is_lost(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(texts: object) -> None:
        raise sg.ModelNotFoundError("no network")

    monkeypatch.setattr("sociogram.memory.meaning.meanings", missing)
    late = notes.add("starlings fly in flocks")
    assert notes.note(late).text == "starlings fly in flocks"
    with pytest.raises(sg.ModelNotFoundError):
        notes.find("starlings")
    monkeypatch.setattr("sociogram.memory.meaning.meanings", counted)
    assert notes.find("starlings", top=1)["id"][0] == late
    rows = notes._shelf.store.rows("meanings")
    assert rows is not None
    assert rows.num_rows == 5


def test_a_folder_of_one_kind_is_not_opened_as_another(notes: Notes, tmp_path: Path) -> None:
    with pytest.raises(sg.InputError, match="is a store of notes, not a memory: name another folder"):
        sg.Memory(notes.folder)
    memory = sg.Memory(tmp_path / "memory")
    memory._store.describe({"calls": []})
    with pytest.raises(sg.InputError, match="is a memory, not a store of notes"):
        Notes(tmp_path / "memory")
    (tmp_path / "file").write_text("hello")
    with pytest.raises(sg.InputError, match="is a file; a store of notes is a folder"):
        Notes(tmp_path / "file")
    with pytest.raises(sg.InputError, match="holds other things than a store of notes"):
        Notes(tmp_path)
    with pytest.raises(sg.InputError, match=r"cannot be (made|written to): Not a directory"):
        Notes(tmp_path / "file" / "below").add("hello")


def test_a_first_writer_killed_at_once_does_not_spoil_the_folder(tmp_path: Path, words: None) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "writer.lock").touch()
    (tmp_path / "n" / "pending.json").write_text('["' + "0" * 32 + '"]')
    (tmp_path / "n" / ".memory.77.part.json").touch()
    Notes(tmp_path / "n").add("all is well")
    assert len(Notes(tmp_path / "n")) == 1


def test_without_lancedb_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(sg.MissingExtraError, match=r"a store of notes needs LanceDB: pip install 'sociogram\[memory\]'"):
        Notes(tmp_path)


def test_where_notes_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOCIOGRAM_NOTES", str(tmp_path / "mine"))
    assert Notes().folder == tmp_path / "mine"
    monkeypatch.setenv("SOCIOGRAM_NOTES", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Notes().folder.name == "notes"
    assert "sociogram" in Notes().folder.parts
    assert tmp_path in Notes().folder.parents


@pytest.mark.parametrize("after", range(4))
def test_an_addition_that_stops_anywhere_is_taken_away_or_whole(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """What it means, its sources, then the note itself: the disk is full after so many tables."""
    notes.link(notes.table["id"][0], "there already")
    store, done = notes._shelf.store, []
    real = store.add

    def full(table: str, rows: object) -> None:
        if len(done) == after:
            raise OSError(28, "No space left on device")
        done.append(table)
        real(table, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "add", full)
    if after < 3:
        with pytest.raises(sg.InputError, match="cannot be written to: No space left on device"):
            notes.add("late", sources=[Source("x")])
    else:
        notes.add("late", sources=[Source("x")])
    monkeypatch.setattr(store, "add", real)
    assert bool(notes.same("late")) == (after == 3)
    notes.add("after")
    count = len(notes)
    assert count == 5 + (after == 3)
    tables = {name: notes._shelf.store.rows(name).num_rows for name in ("passages", "meanings", "sources")}
    assert tables == {"passages": count, "meanings": count, "sources": 1 + (after == 3)}


def test_many_changes_are_put_together(tmp_path: Path, words: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sociogram.memory.store.EVERY", 4)
    notes = Notes(tmp_path / "n")
    for number in range(9):
        notes.add(f"note {number}")
    table = notes._shelf.store.database.open_table("passages")
    assert table.stats()["fragment_stats"]["num_fragments"] < 5
    assert notes.table["text"].tolist() == [f"note {number}" for number in range(9)]
    assert len(notes.find("note 3", top=20)) == 9


WRITER = """
import sys, types
from tests.memory.counted import counted
sys.modules["sociogram.memory.meaning"] = types.SimpleNamespace(meanings=counted)
import sociogram as sg
notes = sg.notes.Notes(sys.argv[1])
for number in range(int(sys.argv[2])):
    notes.add(f"{sys.argv[3]} {number}", sources=[sg.notes.Source("a book")])
    print(number, flush=True)
"""


def writer(folder: Path, count: int, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(count), name], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_writers_side_by_side_and_one_that_is_killed(notes: Notes) -> None:
    writers = [writer(notes.folder, 3, "one"), writer(notes.folder, 1000, "killed")]
    assert writers[1].stdout is not None
    for _ in range(2):
        writers[1].stdout.readline()
    writers[1].kill()
    writers[1].communicate()
    assert writers[0].communicate(timeout=60)[0].split() == ["0", "1", "2"]
    notes.add("after")  # takes away what the killed one left
    table = notes.table
    names = table["text"].str.split().str[0].value_counts()
    assert names["one"] == 3
    assert names["killed"] >= 2
    assert all(len(row["sources"]) == 1 for row in table.to_dict("records") if row["text"].split()[0] in ("one", "killed"))
    rows = notes._shelf.store.rows("meanings")
    assert rows is not None
    assert rows.num_rows == len(table)


@pytest.mark.real
def test_notes_are_found_by_meaning(tmp_path: Path, minilm: sg.Model) -> None:
    notes = Notes(tmp_path / "n")
    texts = {
        "sea": "The ship left the harbour before the storm reached the coast.",
        "bread": "Knead the dough and let it rise before you bake the loaf.",
        "law": "The court held that the contract was void.",
    }
    ids = {name: notes.add(text) for name, text in texts.items()}
    assert notes.find("sailors on a boat", top=1)["id"][0] == ids["sea"]
    assert notes.find("a recipe from the bakery", top=1)["id"][0] == ids["bread"]
    assert notes.near(notes.add("A judge decides about a treaty."), top=1)["id"][0] == ids["law"]
    assert notes.find(texts["sea"], top=1)["cosine"][0] == pytest.approx(1, abs=1e-5)
    assert len(notes.cluster("lawyers", least=0.2)) == 2
