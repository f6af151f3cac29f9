"""What the benchmarks compute from their measurements, how they measure, and the page that they write. No time is asserted."""

import json
import os
from pathlib import Path

import pytest
import torch
from benchmarks import environments, report, streaming
from benchmarks.measuring import WARM_UP, Work, in_turn
from benchmarks.report import Table

MEGABYTE = 1_000_000


def test_the_page_in_docs_is_what_the_results_say():
    stale = "docs/benchmarks.md differs from benchmarks/results: python -m benchmarks.report"
    assert report.PAGE.read_text(encoding="utf-8") == report.page(), stale


def test_the_page_has_every_full_run_and_no_smoke_run(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    machine = dict.fromkeys(("processor", "cores", "memory_gb", "system", "python", "commit", "load_average"))
    machine |= {"versions": {"torch": "2.0"}, "threads": {"OMP_NUM_THREADS": "1"}}
    report.save("speed", [Table("Fast", ("what", "seconds"), [("a thing", 1.25)], ["a note"])], machine, quick=False)
    report.save("failed_long", [Table("Nothing", ("what", "seconds"), [], ["it failed"])], machine, quick=False)
    report.save("speed", [Table("Smoke", ("what",), [("nonsense",)])], machine, quick=True)
    text = report.page()
    assert "| what | seconds |\n| --- | ---: |\n| a thing | 1.250 |" in text
    assert "- a note" in text
    assert "| what | seconds |\n| --- | --- |\n\n- it failed" in text
    assert "`python -m benchmarks failed --long`" in text
    assert "torch 2.0, OMP_NUM_THREADS=1" in text
    assert "nonsense" not in text


@pytest.mark.parametrize("power", [1, 2, 1.5])
def test_the_exponent_of_a_power_is_that_power(power):
    peaks = {length: round(1e6 * length**power) for length in streaming.GROWTH}
    assert streaming.exponent(peaks) == pytest.approx(power, abs=1e-6)


def test_the_exponent_leaves_out_what_was_not_measured():
    assert streaming.exponent({1024: 10, 2048: None, 4096: 40}) == pytest.approx(1)
    assert streaming.exponent({512: -5, 1024: 10, 4096: 40}) == pytest.approx(1), "a peak below what was there says nothing"
    assert streaming.exponent({1024: 10, 2048: None}) is None
    assert streaming.exponent({}) is None


def seen(tool, length, peak):
    return {(tool, length): {"works": {"tool": {"peak": peak}}}}


def test_bytes_per_pair_come_from_the_longest_measured_run_of_the_tool():
    found = seen("nnsight", 1024, 9 * 1024**2) | seen("nnsight", 2048, 5 * 2048**2) | seen("transformers", 4096, 4096**2)
    assert streaming.per_pair_of(found, "nnsight") == (5, 2048)
    assert streaming.per_pair_of(found, "transformer-lens") == (streaming.BYTES_PER_PAIR, 0)


def test_a_tool_too_large_for_the_free_memory_is_a_note_with_its_size():
    table = Table("", ())
    found = seen("nnsight", 1000, 10**12)
    assert not streaming._fits(table, found, "nnsight", 2000)
    assert table.notes[0].startswith(
        "nnsight, eager, weights and values of a trace at 2,000 tokens was not tried: about 4002.0 GB, by its 1,000,000 bytes "
        "per pair of tokens at 1,000; "
    )
    assert streaming._fits(table, found, "nnsight", 1)
    assert streaming._fits(table, {}, "sociogram", 10**9), "what grows with the tokens alone is always tried"
    assert len(table.notes) == 1


def test_works_are_measured_in_turn_after_one_warm_up():
    calls = []

    def work(name, logits):
        def call(ids):
            calls.append((name, ids.shape[1]))

        return Work(call, lambda result: logits, lambda result: 7)

    works = {"plain": work("plain", torch.tensor([1.0, 2.0])), "tool": work("tool", torch.tensor([1.5, -1.0]))}
    found = in_turn(works | {"silent": work("silent", None)}, torch.zeros(1, 20), 2)
    assert calls[:3] == [("plain", WARM_UP), ("tool", WARM_UP), ("silent", WARM_UP)]
    assert calls[3:] == 2 * [("plain", 20), ("tool", 20), ("silent", 20)]
    assert [found[name]["logit_difference"] for name in found] == [0, 3, None]
    assert found["tool"]["bytes"] == 7


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are taken on Linux only")
def test_a_peak_is_what_a_call_needed_at_its_largest():
    def needs(megabytes):
        return Work(lambda ids: torch.ones(megabytes * MEGABYTE // 4).sum(), lambda result: result[None])

    found = in_turn({"plain": needs(200), "less": needs(50)}, torch.zeros(1, 20), 1)
    assert 195 < found["plain"]["peak"] / MEGABYTE < 240
    assert 45 < found["less"]["peak"] / MEGABYTE < 90, "what others needed before does not count"


def test_an_environment_that_is_there_is_used_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SOCIOGRAM_BENCH_ATTNREAD", str(tmp_path))
    lines = [environments._lines(environments.REQUIREMENTS / name) for name in ("attnread.txt", "attnread.bare.txt")]
    assert all(lines), "both files ask for something"
    (tmp_path / "installed.txt").write_text("\n".join(["# a remark", *lines[0], *lines[1]]), encoding="utf-8")
    found = environments.interpreter("attnread")
    assert found == tmp_path / ("Scripts" if os.name == "nt" else "bin") / "python"
    assert not (tmp_path / "pyvenv.cfg").exists(), "nothing was made anew"


def test_an_environment_that_cannot_be_made_is_a_reason(tmp_path, monkeypatch, capsys):
    occupied = tmp_path / "file"
    occupied.write_text("", encoding="utf-8")
    monkeypatch.setenv("SOCIOGRAM_BENCH_NNSIGHT", str(occupied))
    found = environments.interpreter("nnsight")
    assert isinstance(found, str)
    assert found.startswith(f"nnsight could not be installed in {occupied}: ")


def test_every_foreign_tool_is_pinned_with_its_torch():
    for tool in streaming.FOREIGN:
        pinned = environments._lines(environments.REQUIREMENTS / f"{tool}.txt")
        bare = environments._lines(environments.REQUIREMENTS / f"{tool}.bare.txt")
        assert all("==" in line for line in (*pinned, *bare))
        assert sum(line.startswith("torch==") for line in pinned) == 1
        assert any(line.startswith(f"{tool}==") for line in (*pinned, *bare))


def test_the_results_are_json_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    path = report.save("speed", [Table("Fast", ("what", "seconds"), [("a", 1.0)])], {}, quick=True)
    assert path.name == "speed.quick.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["tables"][0]["rows"] == [{"what": "a", "seconds": 1.0}]
