"""`sociogram notes` as a user meets it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

import sociogram as sg
from tests.memory.counted import counted
from tests.models.conftest import byte_level_tokenizer, tiny_llama

pytest.importorskip("lancedb")

TEXTS = ("birds fly in flocks", "fish swim in schools", "bread is baked at six", "birds and fish turn as one")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run a command of the notes in a folder of this test's own."""
    from sociogram.cli.app import app
    from sociogram.cli.screen import errors

    monkeypatch.setattr("sociogram.memory.meaning.meanings", counted)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("SOCIOGRAM_NOTES", str(tmp_path / "notes"))
    monkeypatch.chdir(tmp_path)

    def run(*args: object, text: str | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((text or "").encode())))
        code = errors(lambda: app(["notes", *map(str, args)], standalone_mode=False), debug=lambda: False)
        out = capsys.readouterr()
        return code, out.out, " ".join(out.err.split())

    return run


@pytest.fixture
def ids(call) -> list[str]:  # type: ignore[no-untyped-def]
    return [call("add", text)[1].strip() for text in TEXTS]


def test_adding_shows_the_neighbours_first_and_prints_the_id(call, ids: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, out, err = call("add", "birds fly home", "--top", "1")
    assert (code, len(out.strip())) == (0, 32)
    assert "The nearest older notes" in err
    assert f"0.58 {ids[0][:8]}" in err
    assert ids[1][:8] not in err
    assert call("add", "alone", "--top", "0")[2] == ""
    assert call("add", "first", "--path", "elsewhere")[2] == ""


def test_the_same_text_is_said_and_saved_once(call, ids: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, out, err = call("add", TEXTS[0])
    assert (code, out.strip()) == (0, ids[0])
    assert "this very text is a note already" in err
    assert "--again saves it a second time" in err
    code, out, _ = call("add", TEXTS[0], "--again")
    assert out.strip() not in ids
    assert len(json.loads(call("list", "--json")[1])) == 5


def test_a_note_from_standard_input_and_from_a_file(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "note.md").write_text("from a file\n")
    for args, text, kept in (
        ((), "without a name\n\n", "without a name\n"),
        (("-",), "zwölf", "zwölf"),
        (("--file", tmp_path / "note.md"), None, "from a file"),
    ):
        one = call("add", *args, text=text)[1].strip()
        assert json.loads(call("show", one, "--json")[1])["text"] == kept


def test_finding_and_neighbours(call, ids: list[str]) -> None:  # type: ignore[no-untyped-def]
    call("link", ids[0], "--source", "https://example.org", "--kind", "video")
    _, out, _ = call("find", "birds in flocks", "--top", "2")
    lines = out.splitlines()
    assert lines[0].split() == ["cosine", "id", "written", "note"]
    assert lines[1].split()[:2] == ["0.87", ids[0][:8]]
    assert lines[2].strip() == "video: https://example.org"
    assert len(lines) == 4
    found = json.loads(call("find", "birds in flocks", "--least", "0.5", "--json")[1])
    assert [row["id"] for row in found] == ids[:1]
    assert found[0]["sources"] == [{"what": "https://example.org", "kind": "video"}]
    near = json.loads(call("near", ids[0][:9], "--json")[1])
    assert ids[0] not in [row["id"] for row in near]
    assert len(near) == 3
    assert call("find", "zebra", "--least", "0.9")[2] == "none of them is as near"


def test_listing_showing_and_removing(call, ids: list[str]) -> None:  # type: ignore[no-untyped-def]
    lines = call("list")[1].splitlines()
    assert [line.split()[0] for line in lines[1:]] == [one[:8] for one in ids]
    assert len(call("list", "--top", "1")[1].splitlines()) == 2
    assert TEXTS[0] in call("show", ids[0][:8])[1]
    code, out, _ = call("remove", ids[0], ids[1])
    assert (code, out.splitlines()) == (0, [f"removed {ids[place]}: {TEXTS[place]}" for place in (0, 1)])
    assert len(json.loads(call("list", "--json")[1])) == 2


def test_nothing_in_a_note_is_obeyed_by_the_terminal(call) -> None:  # type: ignore[no-untyped-def]
    one = call("add", "red \x1b[31m bell \x07 [bold]markup[/bold]\r\nsecond")[1].strip()
    for args in (("show", one), ("list",), ("find", "red")):
        out = call(*args)[1]
        assert "\x1b" not in out
        assert "\x07" not in out
        assert "[bold]markup[/bold]" in out
    assert call("show", one)[1].splitlines()[1:] == ["red �[31m bell � [bold]markup[/bold]", "second"]
    assert json.loads(call("show", one, "--json")[1])["text"] == "red \x1b[31m bell \x07 [bold]markup[/bold]\r\nsecond"


def test_sources_of_an_idea(call, ids: list[str]) -> None:  # type: ignore[no-untyped-def]
    call("link", ids[0], "--source", "A book")
    _, out, _ = call("link", ids[0], "--source", "A talk", "--kind", "talk")
    assert out.splitlines()[2:] == ["read: A book", "talk: A talk"]
    assert call("unlink", ids[0], "--source", "A book")[1].splitlines()[2:] == ["talk: A talk"]


def test_a_page_of_what_is_near(call, ids: list[str], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("share", "birds and fish", "--out", "page.html", "--top", "2", "--least", "0.2")
    assert code == 0
    assert " ".join(out.split()) == (
        "written: page.html (2 of 4 notes, with a cosine of 0.2 or more; 1 more are as near (--top 2))"
    )
    page = (tmp_path / "page.html").read_text()
    assert TEXTS[3] in page
    assert TEXTS[2] not in page
    code, _, err = call("share", "birds", "--out", "page.html")
    assert (code, err) == (2, "error: --out page.html exists already: choose another name, or give --overwrite")
    assert (tmp_path / "page.html").read_text() == page
    assert call("share", "birds", "--out", "page.html", "--overwrite")[0] == 0
    assert (tmp_path / "page.html").read_text() != page


def test_out_to_markdown_and_in_again(call, ids: list[str], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert call("export", "out")[1].strip() == "out: 4 of 4 notes written"
    assert call("import", "out")[1].strip() == "0 notes added, 4 there already"
    file = sorted((tmp_path / "out").iterdir())[0]
    file.write_text(file.read_text() + " changed")
    (tmp_path / "out" / "empty.md").touch()
    out = call("import", "out")[1].splitlines()
    assert out == [
        "0 notes added, 3 there already",
        "empty and left out: 1 of the files",
        f"left as it is: the note of {file.relative_to(tmp_path)} is there with another text",
    ]
    assert call("export", "out")[0] == 2
    assert call("export", "out", "--overwrite")[1].split(";")[0] == "out: 1 of 4 notes written"
    call("link", ids[0], "--source", "A book")
    call("export", "out", "--overwrite")
    call("unlink", ids[0], "--source", "A book")
    assert call("import", "out")[1].splitlines()[1] == "1 that are there got sources that they had not"
    call("import", "out", "--path", "other")
    assert call("list", "--path", "other", "--json")[1] == call("list", "--json")[1]


def test_a_memory_of_notes(
    call,  # type: ignore[no-untyped-def]
    ids: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_llama().save_pretrained(tmp_path / "tiny")
    byte_level_tokenizer(eos_token="<end>").save_pretrained(tmp_path / "tiny")
    code, out, _ = call("attach", "birds", "--top", "1", "--memory", "heard", "--model", "tiny", "--layer", "1")
    assert code == 0
    assert out.startswith("added 1, there already 0: heard holds 1 passages (")
    lines = [line.strip() for line in out.splitlines() if line.startswith("    ")]
    assert "positions" not in out
    assert call("attach", "--memory", "heard", "--model", "tiny", "--layer", "1")[1].startswith("added 3, there already 1")
    memory = sg.Memory(tmp_path / "heard")
    assert set(memory.passages["origin"]) == set(ids)
    assert memory.stats["calls"] == 1
    few = call("attach", "birds", "--top", "1", "--memory", "heard", "--model", "tiny", "--layer", "1")[1]
    assert "positions='none')) as steered" in few
    said: list[str] = []
    lines[-2:] = [few.splitlines()[-2].strip(), "    said.append(steered.generate('one', max_new_tokens=2))"]
    exec("\n".join(lines), {"said": said})  # what it says to do, done
    assert len(said) == 1


def test_bad_calls_are_one_line_and_a_code(call, ids: list[str], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.md").write_text("---\nsociogram: note\nid: 1\n---\nx")
    for args, said in (
        (("add", "  "), "a note needs a text"),
        (("add", "x", "--file", "file"), "give a text or --file, not both"),
        (("add", "x", "--path", "file/below"), "cannot be"),
        (("list", "--path", "."), "holds other things than a store of notes"),
        (("show", "zz"), "no note 'zz' in"),
        (("near", "zz"), "no note 'zz' in"),
        (("remove", ids[0], "zz"), "no note 'zz' in"),
        (("find", " "), "give a text to look for"),
        (("find", "x", "--least", "2"), "least=2.0: a cosine, from -1 to 1"),
        (("link", ids[0], "--source", "x", "--kind", "book"), "a source is one of read, talk, video"),
        (("unlink", ids[0], "--source", "x"), "has no source 'x'; its sources: none"),
        (("share", "x", "--out", "page.txt"), "name a file that ends in .html"),
        (("share", "x", "--out", "no/page.html"), "there is no folder no"),
        (("share", "zebra", "--out", "page.html"), "no note has a cosine of 0.3 or more to 'zebra'"),
        (("export", "file"), "file is a file: name a folder"),
        (("export", "out", "--path", "none"), "no notes in none: sociogram notes add TEXT makes the first"),
        (("import", "none"), "none is not there: name a folder of Markdown files"),
        (("import", "in"), "in/a.md, line 3: '1' is no id of a note"),
        (("attach",), "--memory FOLDER"),
        (("attach", "--memory", "m", "--path", "none"), "no notes in none"),
    ):
        found, out, err = call(*args)
        assert (found, out) == (2, ""), args
        assert said in err, args
        assert err.startswith("error: ")
    assert len(json.loads(call("list", "--json")[1])) == 4
    assert not (tmp_path / "page.html").exists()


def test_without_the_sentence_model_the_note_is_saved_and_it_is_said(
    call,  # type: ignore[no-untyped-def]
    ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(texts: object) -> None:
        raise sg.ModelNotFoundError("minilm-l6 could not be fetched")

    monkeypatch.setattr("sociogram.memory.meaning.meanings", missing)
    code, out, err = call("add", "an idea on a train")
    assert (code, len(out.strip())) == (0, 32)
    assert "this one is saved without: minilm-l6 could not be fetched" in err
    assert call("find", "train")[0] == 1
    assert len(json.loads(call("list", "--json")[1])) == 5


@pytest.mark.parametrize("args", [(), ("list",)])
def test_no_notes_yet(call, tmp_path: Path, args: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    code, out, err = call(*args)
    assert "Usage" in out if not args else (code, out) == (0, "")
    assert args == () or f"no notes in {tmp_path / 'notes'}: sociogram notes add TEXT makes the first" == err
    assert not (tmp_path / "notes").exists()
