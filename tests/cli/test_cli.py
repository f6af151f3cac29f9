"""The command line as a user meets it: output, exit codes, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sociogram as sg

SENTENCE = "I hammered the nail into the leaking ship"


def run(*args: str, text: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **env}
    return subprocess.run(
        [sys.executable, "-m", "sociogram", *args],
        input=text,
        capture_output=True,
        encoding=surroundings["PYTHONIOENCODING"],
        env=surroundings,
        timeout=240,
    )


@pytest.mark.real
def test_look_shows_the_conversation(inside) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = inside("look", SENTENCE)
    assert code == 0
    for words in (
        "␣hamm",
        "says next",
        "What ␣ship (token 8) heard",
        "Which layers moved it most",
        "Most heard by all",
        "account closed:",
    ):
        assert words in out


@pytest.mark.real
def test_json_is_one_document_with_every_field(inside) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = inside("look", SENTENCE, "--json", "--top", "3", "--toward", " and")
    document = json.loads(out)
    assert code == 0
    assert set(document) >= {"model", "tokens", "predictions", "edges", "moves", "audit", "null_drift"}
    assert document["tokens"][1] == "␣hamm"
    assert len(document["predictions"]) == 5
    assert set(document["predictions"][0]) == {"token", "probability"}
    assert len(document["edges"]) == 3
    assert {"layer", "head", "query", "key", "attention", "message", "contribution", "pull", "toward"} <= set(
        document["edges"][0]
    )
    assert len(document["moves"]) == 30 * 9
    assert document["audit"]["max_relative_error"] <= 1e-4
    assert document["null_drift"] <= 1e-4


@pytest.mark.real
def test_options_do_what_they_say(inside, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    edges = json.loads(inside("look", SENTENCE, "--json", "--layer", "3", "--head", "2", "--token", "nail", "--drop-first")[1])[
        "edges"
    ]
    assert {(e["layer"], e["head"], e["query_token"]) for e in edges} == {(3, 2, "␣nail")}
    assert all(e["key"] != 0 for e in edges)
    by = {
        w: json.loads(inside("look", SENTENCE, "--json", "--weight", w)[1])["edges"]
        for w in ("message", "attention", "contribution")
    }
    assert by["message"] != by["attention"] != by["contribution"]
    (tmp_path / "prompt.txt").write_text(SENTENCE + "\n")
    saved = tmp_path / "rec"
    code, out, _ = inside("look", "--file", str(tmp_path / "prompt.txt"), "--save", str(saved), "--json")
    assert code == 0
    assert json.loads(out)["tokens"] == sg.open_recording(saved).tokens


@pytest.mark.real
def test_a_streamed_look_says_what_a_dense_one_says(inside) -> None:  # type: ignore[no-untyped-def]
    dense = json.loads(inside("look", SENTENCE, "--json", "--top", "5")[1])
    streamed = json.loads(inside("look", SENTENCE, "--json", "--top", "5", "--stream")[1])
    assert set(streamed) == set(dense)
    for one, other in zip(streamed["edges"], dense["edges"], strict=True):
        assert [one[n] for n in ("layer", "head", "query", "key")] == [other[n] for n in ("layer", "head", "query", "key")]
        assert one["message"] == pytest.approx(other["message"], rel=1e-4)
    assert streamed["edges_share"] == pytest.approx(dense["edges_share"], rel=1e-4)
    own = [row for row in dense["moves"] if row["query"] == 8]
    assert [row["layer"] for row in streamed["moves"]] == list(range(30))  # of the token asked for
    for one, other in zip(streamed["moves"], own, strict=True):
        assert one["from_others"] == pytest.approx(other["from_others"], rel=1e-3)
    assert set(streamed["audit"]) == {"checked_error", "checked_tokens"}
    assert streamed["audit"]["checked_tokens"] == 9
    assert 0 < streamed["audit"]["checked_error"] < 1e-3
    code, out, _ = inside("look", SENTENCE, "--stream", "--top", "3")
    assert code == 0
    flat = " ".join(out.split())
    assert "9 tokens checked while recording" in flat
    assert "nan" not in flat.lower()
    assert "readers" not in flat  # of a streamed recording they are not counted
    code, out, _ = inside("look", SENTENCE, "--stream", "--top", "2", "--weight", "contribution")
    assert code == 0
    assert "the strongest among the 2 kept of each head by message" in " ".join(out.split())
    assert "nan" not in out.lower()
    assert json.loads(inside("look", SENTENCE, "--stream", "--weight", "contribution", "--json")[1])["edges_share"] is None


@pytest.mark.real
def test_looking_at_what_the_model_wrote(inside, smollm: sg.Model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    prompt = "The Eiffel Tower is located in the city of"
    for more in ([], ["--stream"]):
        document = json.loads(inside("look", prompt, "--generate", "2", "--json", *more)[1])
        assert document["prompt_tokens"] == 10
        assert document["tokens"][10:] == ["␣Paris", ","]
        assert {edge["query"] for edge in document["edges"]} == {11}
        code, out, _ = inside("look", prompt, "--generate", "2", *more)
        assert code == 0
        assert "10 tokens read, 2 written" in out
        assert "| written: 10 ␣Paris" in " ".join(out.split())
    saved = tmp_path / "rec"
    assert inside("look", prompt, "--generate", "2", "--stream", "--save", str(saved), "--json")[0] == 0
    assert sg.open_recording(saved).tree.attrs["prompt_tokens"] == 10


@pytest.mark.real
def test_a_long_text_is_not_printed_whole_and_too_long_a_one_is_told_of_the_stream(
    inside,  # type: ignore[no-untyped-def]
    smollm: sg.Model,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    text = tmp_path / "long.txt"
    text.write_text("one two three four five six seven. " * 40)
    code, out, _ = inside("look", "--file", str(text), "--stream", "--top", "2")
    assert code == 0
    tokens = len(smollm.tokenizer(text.read_text()).input_ids)
    assert f"{tokens} tokens, 30 layers" in out
    assert f"... {tokens - 40} more ..." in " ".join(out.split())
    assert len(out.splitlines()) < 60

    class Small:
        available = 1_000_000

    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", Small)
    code, out, err = inside("look", "--file", str(text))
    assert code == 1
    assert "On the command line that is --stream" in " ".join(err.split())
    assert "Traceback" not in out + err


@pytest.mark.real
def test_a_text_that_is_the_name_of_a_file_says_how_to_read_it(
    inside,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "book.txt").write_text(SENTENCE)
    monkeypatch.chdir(tmp_path)
    code, out, err = inside("look", "book.txt", "--json")
    assert code == 0
    assert json.loads(out)["tokens"][0] == "book"
    assert "--file reads the file of that name" in " ".join(err.split())
    assert "note" not in inside("look", "book", "--json")[2]


@pytest.mark.real
def test_steering_shows_both_sides_and_the_receipt(inside, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    prompt = "The Eiffel Tower is located in the city of"
    cut = "cut layer=23 key='iffel'"
    code, out, _ = inside("compare", prompt, "--edit", cut, "--top", "3")
    assert code == 0
    for words in (f"{cut}: 72 entries in 1 layer", "null drift", "says next", "KL(plain, steered)", "departs in layer 23"):
        assert words in out.replace("\n", " ")
    (tmp_path / "edits.json").write_text('[{"edit": "cut", "layer": 23, "key": "iffel"}]')
    document = json.loads(inside("compare", prompt, "--edits", str(tmp_path / "edits.json"), "--json")[1])
    assert document["predictions"][0]["token"] == "␣Paris"
    assert document["predictions"][0]["steered"] < 0.1 < document["predictions"][0]["plain"]
    assert document["first_departure"] == 23
    assert document["edits"] == [{"edit": "cut", "layer": 23, "key": "iffel"}]
    steered = json.loads(inside("steer", prompt, "--edit", cut, "--json")[1])
    assert steered["kl"] == pytest.approx(document["kl"], rel=1e-3)
    code, out, _ = inside("generate", prompt, "--edit", "cut layer=23 key=1:4", "--max-new-tokens", "3", "--json")
    written = json.loads(out)
    assert written["plain"].startswith(" Paris")
    assert not written["steered"].startswith(" Paris")
    assert json.loads(inside("generate", prompt, "--max-new-tokens", "2", "--json")[1])["steered"] is None


@pytest.mark.real
def test_the_stream_is_edited_with_vectors_and_runs_from_files(inside, smollm: sg.Model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    prompt = "The Eiffel Tower is located in the city of"
    table = smollm.hf.get_output_embeddings().weight.detach()
    rome, paris = (table[smollm.tokenizer.encode(word)[0]] for word in (" Rome", " Paris"))
    np.save(tmp_path / "to_rome.npy", (rome - paris).numpy())
    add = f"add layer=28 vector={tmp_path}/to_rome.npy scale=30 query=-1"
    code, out, _ = inside("steer", prompt, "--edit", add)
    assert code == 0
    assert "1 tokens in 1 layer, 1 changed, moved by" in " ".join(out.split())
    assert "path: hooks" in out
    sg.record(smollm, "The Colosseum is located in the city of").save(tmp_path / "rome.zarr")
    patch = f"patch source='{tmp_path}/rome.zarr' layer=29 query=-1 source_query=-1"
    (tmp_path / "edits.json").write_text(sg.edits.to_json([sg.edits.parse(add), sg.edits.parse(patch)]))
    found = json.loads(inside("compare", prompt, "--edits", str(tmp_path / "edits.json"), "--json")[1])
    assert found["predictions"][0]["token"] == "␣Rome"
    assert found["predictions"][0]["plain"] < 0.1 < found["predictions"][0]["steered"]
    assert found["landed"][0]["head"] is None
    assert found["first_departure"] == 28
    code, _, err = inside("steer", prompt, "--edit", "add layer=3 vector=[1,2]")
    assert code == 2
    assert "the vector has 2 numbers, and the stream of this model is 576 wide" in " ".join(err.split())


@pytest.mark.real
def test_look_writes_pictures(inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from sociogram.studio import page

    monkeypatch.setattr(page, "static", lambda name: f"/* {name} */")
    html, png = tmp_path / "flock.html", tmp_path / "flock.png"
    code, out, _ = inside("look", SENTENCE, "--html", str(html), "--png", str(png))
    assert code == 0
    assert f"wrote {html}" in out.replace("\n", "")
    assert html.read_text().startswith("<!doctype html>")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert json.loads(inside("look", SENTENCE, "--json", "--html", str(html))[1])["tokens"]  # nothing but the document


@pytest.mark.real
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["look", ""], 2, "the prompt is empty"),
        (["look"], 2, "give a text"),
        (["look", "hi", "--layer", "99"], 2, "no layer 99: there are 30, numbered 0 to 29"),
        (["look", "hi", "--head", "99"], 2, "no head 99"),
        (["look", "hi", "--token", "nobody"], 2, "nobody"),
        (["look", "hi", "--weight", "loud"], 2, "choose one of message"),
        (["look", "hi", "--toward", "Eiffel"], 2, "is not one token"),
        (["look", "hi", "--top", "0"], 2, "--top"),
        (["look", "hi there", "--generate", "-1"], 2, "--generate"),
        (["look", "hi there", "--generate", "many"], 2, "--generate"),
        (["look", "word " * 4000, "--generate", "8000"], 2, "positions"),
        (["look", "hi there", "--stream", "--toward", " you", "--html", "x.html"], 2, "leave out --toward or --html"),
        (["look", "hi there", "--stream", "--layer", "99"], 2, "no layer 99: there are 30, numbered 0 to 29"),
        (["look", "hi there", "--stream", "--token", "nobody"], 2, "nobody"),
        (["look", "hi there", "--stream", "--html", "/nowhere/at/all.html"], 2, "there is no folder"),
        (["look", "hi", "--bogus"], 2, "No such option"),
        (["look", "hi", "--file", "/nowhere/at/all"], 2, "not both"),
        (["look", "--file", "/nowhere/at/all"], 1, "No such file"),
        (["look", "hi", "--save", "/proc/no/such"], 1, "cannot be written"),
        (["look", "word " * 9000], 2, "positions"),
        (["look", "hi there", "--png", "/nowhere/at/all.png"], 1, "No such file"),
        (["look", "hi there", "--png", "/tmp/flock.doc"], 2, "not supported"),
        (["worksheet", "hi", "--layer", "0", "--head", "77"], 2, "no head 77"),
        (["worksheet", "hi"], 2, "--layer"),
        (["models", "remove", "gpt-17"], 1, "gpt-17"),
        (["frobnicate"], 2, "No such command"),
        (["steer", "hi there"], 2, "give at least one edit"),
        (["steer", "hi there", "--edit", "cut layer=99"], 2, "no layer 99: there are 30, numbered 0 to 29"),
        (["steer", "hi there", "--edit", "cut query=0 key=1"], 1, "did not land: the model's own mask hides"),
        (["compare", "hi there", "--edit", "shout"], 2, "no edit 'shout'; there are cut"),
        (["compare", "hi there", "--edits", "/nowhere.json"], 1, "No such file"),
        (["generate", "hi there", "--edit", "cut key=-1"], 2, "counts from the end"),
    ],
)
def test_wrong_usage_is_one_clear_line(inside, args: list[str], code: int, words: str) -> None:  # type: ignore[no-untyped-def]
    found, out, err = inside(*args)
    assert words in err.replace("\n", " ")
    assert found == code
    assert "Traceback" not in out + err


@pytest.mark.real
def test_narrow_terminals_and_pipes(inside, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = inside("look", SENTENCE)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 40
    assert "\x1b" not in out  # a pipe gets no colours
    assert "…" not in out  # no number is cut


@pytest.mark.real
def test_worksheet_prints_and_writes_a_page(inside, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = inside("worksheet", SENTENCE, "--layer", "3", "--head", "1", "--token", "ship")
    assert code == 0
    assert "Reconciliation" in out
    page = tmp_path / "sheet.html"
    assert inside("worksheet", SENTENCE, "--layer", "3", "--head", "1", "--html", str(page))[0] == 0
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.real
def test_models_lists_and_shows(inside) -> None:  # type: ignore[no-untyped-def]
    listed = inside("models")[1]
    assert "smollm2-135m (default)" in listed
    assert "minilm-l6" in listed
    shown = inside("models", "show", "smollm2-135m")[1]
    assert "30 x pre-norm: attention self_attn, 9 heads (3 key/value) of 64" in shown.replace("\n", " ")
    assert "model.norm > lm_head" in shown


def test_coverage_is_what_was_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    table = sg.coverage()
    closed = table[table["status"] == "closed"]
    assert len(closed) >= 300
    assert (closed["relative_error"] <= 1e-5).all()
    assert (closed["drift"] <= 1e-5).all()
    from sociogram.cli.app import app

    monkeypatch.setenv("COLUMNS", "120")
    app(["models", "--coverage"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert f"{len(closed)} closed" in printed
    assert "llama" in printed


@pytest.mark.real
def test_a_process_of_its_own_with_a_poor_code_page_and_standard_input() -> None:
    done = run("look", "-", text=SENTENCE, PYTHONIOENCODING="cp437", NO_COLOR="1")
    assert done.returncode == 0, done.stderr
    assert "_nail" in done.stdout
    assert done.stderr == ""


def test_version_help_and_no_arguments() -> None:
    assert run("--version").stdout == f"sociogram {sg.__version__}\n"
    assert "look" in run("--help").stdout
    assert run().returncode == 2
    assert run("look", "--nope").returncode == 2


def test_importing_is_quick_and_has_no_effects() -> None:
    heavy = ("torch", "transformers", "xarray", "pandas")
    code = f"import sys, sociogram, sociogram.cli.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_face_offers_what_it_lists() -> None:
    for name in sg.__all__:
        assert getattr(sg, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'lode'; it has"):
        sg.lode  # noqa: B018
