"""WordNet is read as it is written, nothing later reaches what comes before, and arms differ in what they are given."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import dictionary as experiment
from sociogram.experiments import dictionary_adapters as adapters
from sociogram.experiments import dictionary_arms as arms
from sociogram.experiments import dictionary_entries as entries
from sociogram.experiments import dictionary_tables as tables
from sociogram.experiments import dictionary_texts as texts
from sociogram.experiments.dictionary_bases import Base, Stream, subwords
from sociogram.experiments.dictionary_prompt import in_prompt, prompt_of
from sociogram.experiments.dictionary_senses import Asked, rows_of, texts_of
from sociogram.experiments.sense_contexts import CONTEXTS
from sociogram.experiments.wordnet import FOLDER, KINDS, WordNet, open_wordnet

INSTALLED = Path(FOLDER).is_dir()
needs_wordnet = pytest.mark.skipif(not INSTALLED, reason=f"no WordNet in {FOLDER}: apt-get install wordnet-base")

FILES = {
    "index.noun": "bank n 2 0 2 1 00000001 00000002\nbanker n 1 0 1 0 00000003\nmouse n 1 0 1 0 00000004\n"
    "banking_hall n 1 0 1 0 00000003\n",
    "index.verb": "bank v 1 0 1 0 00000001\nhike v 1 0 1 0 00000005\n",
    "index.adj": "fine a 1 0 1 0 00000001\n",
    "index.adv": "well r 1 0 1 0 00000001\n",
    "data.noun": '00000001 03 n 02 bank 0 side 0 000 | sloping land; "on the bank they sat"; "a bank of sand"\n'
    "00000002 03 n 01 bank 0 001 @ 00000001 n 0000 | a financial institution\n"
    "00000003 03 n 02 banker 0 banking_hall 0 000 | someone who runs a bank\n"
    "00000004 03 n 01 mouse 0 000 | a small animal with a long tail\n",
    "data.verb": "00000001 03 v 01 bank 0 000 01 + 02 00 | tip sideways\n00000005 03 v 01 hike 0 000 | walk a long way\n",
    "data.adj": "00000001 00 s 01 fine(p) 0 000 | being satisfactory\n",
    "data.adv": "00000001 02 r 01 well 0 000 | in a good manner\n",
    "noun.exc": "mice mouse\n",
    "verb.exc": "",
    "adj.exc": "",
    "adv.exc": "",
    "cntlist.rev": "bank%1:17:01:: 1 3\nbank%1:14:00:: 2 7\nfine%5:00:00:satisfactory:00 1 9\n",
}
LICENCE = "  1 This software and database is being provided to you, the LICENSEE  \n"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    folder = tmp_path_factory.mktemp("wordnet")
    for name, told in FILES.items():
        (folder / name).write_text((LICENCE if name.startswith(("index", "data")) else "") + told)
    return WordNet(folder)


def test_where_there_is_no_wordnet_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (
        r"cntlist.rev is not there \(13 of 13 files missing\). Install it \(Debian, Ubuntu: apt-get install wordnet-base\), or "
    )
    with pytest.raises(sg.InputError, match=words + r".*--set wordnet=FOLDER, or SOCIOGRAM_WORDNET=FOLDER"):
        WordNet(tmp_path)
    monkeypatch.setenv("SOCIOGRAM_WORDNET", str(tmp_path / "none"))
    with pytest.raises(sg.InputError, match=r"WordNet\('.*none'\)"):
        WordNet()
    with pytest.raises(sg.InputError, match="apt-get install wordnet-base"):
        experiment.run(quick=True, wordnet=str(tmp_path))


def test_the_files_are_read_as_they_are_written(small: WordNet) -> None:
    assert len(small.synsets) == 8
    bank = small.synsets["n", 1]
    assert (bank.words, bank.definition, bank.examples) == (
        ("bank", "side"),
        "sloping land",
        ("on the bank they sat", "a bank of sand"),
    )
    assert small.synsets["a", 1].words == ("fine",)
    assert [(s.kind, s.number, s.count) for s in small.senses("Banks")] == [("n", 2, 7), ("n", 1, 3), ("v", 1, 0)], "by frequency"
    assert small.senses("fine")[0].count == 9, "satellites count as adjectives"
    assert [s.lemma for s in small.senses("mice")] == ["mouse"]
    assert [s.lemma for s in small.senses("hiking")] == ["hike"]
    assert [s.lemma for s in small.senses("finest")] == ["fine"]
    assert small.senses("zebra") == small.senses("ment") == []


@needs_wordnet
def test_wordnet_has_what_is_known_of_it() -> None:
    wordnet = open_wordnet()
    assert len(wordnet.synsets) == 117_659
    kinds = [kind for kind, _ in wordnet.synsets]
    assert [kinds.count(kind) for kind in KINDS] == [82_115, 13_767, 18_156, 3_621]
    for word, counts in {"nail": (3, 7, 0, 0), "bank": (10, 8, 0, 0), "bolt": (7, 7, 0, 2)}.items():
        found = [sense.kind for sense in wordnet.senses(word)]
        assert tuple(found.count(kind) for kind in KINDS) == counts
    assert wordnet.senses("bank")[0].synset.definition == "sloping land (especially the slope beside a body of water)"
    assert all(one.definition for one in wordnet.synsets.values())
    for form, lemma in {
        "geese": "goose",
        "children": "child",
        "went": "go",
        "ran": "run",
        "better": "good",
        "churches": "church",
    }.items():
        assert lemma in {sense.lemma for sense in wordnet.senses(form)}


@needs_wordnet
def test_every_word_of_the_index_is_in_the_meanings_that_it_names() -> None:
    wordnet = open_wordnet()
    listed = 0
    for kind, lemmas in wordnet._index.items():
        for lemma, offsets in lemmas.items():
            listed += len(offsets)
            for offset in offsets:
                assert lemma in {word.lower() for word in wordnet.synsets[kind, offset].words}
    assert listed == sum(len({word.lower() for word in one.words}) for one in wordnet.synsets.values()) == 206_941


@needs_wordnet
def test_parts_share_no_line_and_no_meaning() -> None:
    wordnet = open_wordnet()
    lines = texts.lines_of(wordnet)
    every = [line for own in lines.values() for line in own]
    assert len(every) == len(set(every)) > 80_000
    parts = [texts.part_of(number) for number in range(10_000)]
    for part, share in texts.PARTS.items():
        assert parts.count(part) / 10_000 == pytest.approx(share, abs=0.01)


LINES = ["on the bank they sat", "the banker and the mice", "a well-kept bank's side", "fine hiking, fine mice"] * 8


@pytest.fixture(scope="module")
def base() -> Base:
    tokenizer = subwords(LINES, 300)
    torch.manual_seed(0)
    config = sg.grow.SocietyConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=3, max_position_embeddings=128)
    return Base("society", sg.grow.Society(config), tokenizer, 2)


@pytest.fixture(scope="module")
def given(base: Base, small: WordNet) -> arms.Material:
    counts = texts.counts_of(LINES)
    words = arms.Words(small, dict.fromkeys(("base", "train", "check", "test"), LINES), {"the"}, dict(counts), 8)
    sizes = arms.Sizes((12, 4, 6), 2, 16, 16, 3, 4, (1e-2,), 2, "nearest")
    return arms.material(base, words, sizes, CONTEXTS[:2], 0)


def test_what_is_read_does_not_depend_on_what_follows(base: Base) -> None:
    line, longer = texts.read_lines(base.tokenizer, ["bank on", "banker s"])
    assert line.read[0] in ("b", "ba", "ban", "bank")
    upto = next(n for n, word in enumerate(line.read) if word == "bank") + 1
    shared = next(n for n, (one, other) in enumerate(zip(line.ids, longer.ids, strict=False)) if one != other)
    assert line.read[:shared] == longer.read[:shared]
    assert line.whole[upto - 1] == "bank"
    assert longer.whole[0] == "banker"
    assert line.ends[upto - 1]
    assert line.read[-1] == line.whole[-1] == "", "the line break is no word's"
    for text in LINES[:4]:
        (one,) = texts.read_lines(base.tokenizer, [text])
        for n, word in enumerate(one.read):
            told = base.tokenizer.decode(one.ids[: n + 1]).lower()
            assert told.endswith(word)
            assert bool(word) == bool(re.search(r"[a-z]\Z", told)), "only where a letter was read last"


def test_rows_begin_with_lines_and_classes_are_where_they_say(base: Base) -> None:
    rows = texts.packed(base.tokenizer, LINES, 12, 5, 0)
    assert rows.ids.shape == (5, 13)
    assert torch.equal(rows.inputs[:, 1:], rows.labels[:, :-1])
    begun = base.tokenizer.batch_decode(rows.ids)
    assert all(any(text.startswith(line[:4]) for line in LINES) for text in begun)
    rare = {"bank", "mice", "well-kept"}
    assert any(
        not end
        for own, ends in zip(rows.whole, rows.ends.tolist(), strict=True)
        for word, end in zip(own, ends, strict=True)
        if word in rare
    )
    found = rows.classes(rare)
    for row, (whole, ends) in enumerate(zip(rows.whole, rows.ends.tolist(), strict=True)):
        for n in range(12):
            after, of = whole[n] in rare and ends[n], whole[n + 1] in rare
            assert [bool(found[kind][row, n]) for kind in texts.CLASSES] == [True, after, of, not (after or of)]
    again = texts.packed(base.tokenizer, LINES, 12, 5, 1)
    assert not torch.equal(rows.ids, again.ids)


def test_the_parts_of_a_cut_model_are_the_model(base: Base) -> None:
    ids = torch.randint(len(base.tokenizer), (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = base.hf(ids).logits
        assert torch.allclose(base.upper(base.lower(ids)) @ base.head.T, whole, atol=1e-5)
    assert len(base.hf.layers) == 3, "and it is whole again"
    with pytest.raises(sg.InputError, match="an adapter before layer 3 of society: choose 1 to 2"):
        Base("society", base.hf, base.tokenizer, 3)


@pytest.mark.real
def test_the_parts_of_the_pretrained_model_are_the_model(smollm: sg.Model) -> None:
    cut = Base("smollm", smollm.hf, smollm.tokenizer, 27)
    ids = smollm.encode("The carpenter hammered the nail")["input_ids"]
    whole = smollm.logits(ids)
    with torch.no_grad():
        assert torch.allclose((cut.upper(cut.lower(ids)) @ cut.head.T)[0], whole, atol=1e-3)
        everyone = torch.zeros(1, 1, ids.shape[1], ids.shape[1]).masked_fill(
            torch.ones(ids.shape[1], ids.shape[1]).triu(1) > 0, -1e30
        )
        assert torch.allclose((cut.whole(ids, everyone) @ cut.head.T)[0], whole, atol=1e-3)


def test_entries_are_means_over_definitions(base: Base, small: WordNet) -> None:
    lexicon = entries.lexicon_of(base, small, {"bank": 2, "mice": 2, "zebra": 2})
    assert list(lexicon.rows) == ["bank", "mice"]
    assert lexicon.texts == ["bank: a financial institution", "bank: sloping land", "mouse: a small animal with a long tail"]
    assert not lexicon.vectors[0].any()
    raw = []
    for text in lexicon.texts:
        found = base.tokenizer(text, return_offsets_mapping=True)
        behind = [n for n, (_, end) in enumerate(found["offset_mapping"]) if end > text.index(":") + 1 and n < entries.LONGEST]
        raw.append(base.lower(torch.tensor([found["input_ids"]]))[0, behind].mean(0))
    wanted = torch.stack(raw)
    wanted = (wanted - wanted.mean(0)) / wanted.std(0)
    assert torch.allclose(lexicon.vectors[1:4], wanted, atol=1e-3)
    assert torch.allclose(lexicon.vectors[lexicon.means["bank"]], wanted[:2].mean(0), atol=1e-3)
    with pytest.raises(sg.InputError, match="none of the words has an entry"):
        entries.lexicon_of(base, small, {"zebra": 1})


def test_entries_are_chosen_as_they_say(given: arms.Material) -> None:
    lexicon, rows, streams = given.lexicon, given.rows["test"], given.test.streams
    by = {choice: entries.slots(lexicon, rows, streams, choice, like=given.train.streams) for choice in entries.CHOICES}
    flat = given.train.streams.flatten(0, 1)
    state = torch.nn.functional.normalize((streams - flat.mean(0)) / flat.std(0), dim=-1)
    near = state @ torch.nn.functional.normalize(lexicon.vectors, dim=-1).T
    assert given.test.slots.any()
    for row, words in enumerate(rows.read):
        for n, word in enumerate(words[:-1]):
            own = lexicon.rows.get(word, [])
            assert by["first"][row, n].tolist() == (own[:1] or [0])
            assert by["mean"][row, n].tolist() == [lexicon.means.get(word, 0)]
            assert by["nearest"][row, n].tolist() == [max(own, key=lambda e: float(near[row, n, e])) if own else 0]
            assert by["two, sorted"][row, n].tolist() == [*own, 0, 0][:2]
            assert sorted(by["two, unsorted"][row, n].tolist()) == sorted([*own, 0, 0][:2])
    assert torch.equal(by["nearest"], given.test.slots)
    assert any(
        not torch.equal(by["two, sorted"], entries.slots(lexicon, rows, streams, "two, unsorted", seed=s)) for s in range(5)
    )
    with pytest.raises(sg.InputError, match="choice='best': choose from 'first'"):
        entries.slots(lexicon, rows, streams, "best")


def test_the_shuffled_dictionary_is_a_permutation_and_nothing_else(given: arms.Material) -> None:
    tables = {arm: arms.table_of(arm, given.lexicon, 3) for arm in arms.ARMS}
    own, shuffled = tables[arms.DICTIONARY], tables[arms.SHUFFLED]
    assert torch.equal(shuffled[0], own[0])
    assert not torch.equal(shuffled, own)
    assert torch.equal(torch.unique(shuffled, dim=0), torch.unique(own, dim=0))
    assert torch.equal(shuffled, arms.table_of(arms.SHUFFLED, given.lexicon, 3)), "fixed"
    assert torch.equal(tables[arms.ACROSS], own)
    assert not tables[arms.ZEROS].any()


def test_all_arms_have_as_many_parameters_and_add_nothing_at_first(base: Base, given: arms.Material) -> None:
    plain = adapters.losses(base, None, given.test)
    made = {arm: arms.maker(arm, given.train.streams, 16)() for arm in arms.ARMS} | {
        "two": arms.maker("two", given.train.streams, 16, 2)()
    }
    assert {adapter.count for adapter in made.values()} == {3 * 16 * 16}
    for name, adapter in made.items():
        lesson = given.test if name != "two" else given.chosen("two, sorted", 0).test
        assert torch.equal(adapters.losses(base, adapter, lesson), plain)


def stirred(arm: str, given: arms.Material) -> adapters.Adapter:
    """An adapter that adds something."""
    torch.manual_seed(1)
    adapter = arms.maker(arm, given.train.streams, 16)()
    torch.nn.init.normal_(adapter.out.weight)
    return adapter.requires_grad_(False)


@pytest.mark.parametrize("arm", arms.ARMS)
def test_what_comes_later_changes_nothing_before(arm: str, base: Base, given: arms.Material) -> None:
    adapter, table = stirred(arm, given), arms.table_of(arm, given.lexicon, 0)
    ids = given.rows["test"].inputs.clone()
    before = adapters.states(base, adapter, replace(given.test, table=table))
    ids[:, 9:] = (ids[:, 9:] + 7) % len(base.tokenizer)
    slots = given.test.slots.clone()
    slots[:, 9:] = torch.randint(1, len(table), slots[:, 9:].shape, generator=torch.Generator().manual_seed(0))
    after = adapters.states(base, adapter, replace(given.test, streams=base.lower(ids), slots=slots, table=table))
    assert torch.allclose(before[:, :9], after[:, :9], atol=1e-5)
    assert (before[:, 9] - after[:, 9]).abs().max() > 1e-2


@pytest.mark.parametrize("arm", [arms.DICTIONARY, arms.SHUFFLED, arms.ACROSS])
def test_an_entry_is_heard_from_where_it_is_given(arm: str, base: Base, given: arms.Material) -> None:
    adapter, lesson = stirred(arm, given), replace(given.test, table=arms.table_of(arm, given.lexicon, 0))
    added = adapter(lesson.streams, lesson.table[lesson.slots], lesson.slots > 0)
    row, place = [int(some[0]) for some in torch.nonzero(lesson.slots[..., 0] > 0, as_tuple=True)]
    slots = lesson.slots.clone()
    slots[row, place] = 1 + slots[row, place] % (len(lesson.table) - 1)
    moved = (adapter(lesson.streams, lesson.table[slots], slots > 0) - added).abs().amax(-1)
    assert moved[row, place] > 1e-3
    assert moved[row, :place].max() == 0 if place else True
    later = moved[row, place + 1 :]
    assert (later > 1e-5).all() if arm == arms.ACROSS else not later.any()
    assert not np.delete(moved.numpy(), row, axis=0).any()


def test_without_entries_attention_to_them_adds_nothing(given: arms.Material) -> None:
    adapter = stirred(arms.ACROSS, given)
    nothing = torch.zeros_like(given.test.slots)
    assert not adapter(given.test.streams, given.lexicon.vectors[nothing], nothing > 0).any()


def test_definitions_in_the_prompt_are_heard_only_behind_their_words(base: Base, given: arms.Material) -> None:
    rows = given.rows["test"]
    ids, read = rows.inputs[0], rows.read[0]
    count = len(ids)
    prompt, mask = prompt_of(base, given.lexicon, ids, read)
    assert prompt.shape[1] > count
    assert torch.equal(prompt[0, -count:], ids)
    heard = mask[0, 0] == 0
    assert not (heard & torch.ones_like(heard).triu(1)).any()
    assert heard.diagonal().all()
    said = base.whole(prompt, mask)[0, -count:]
    cut = next(n for n in range(4, count) if read[n] in given.lexicon.rows and read[n] not in read[:n])
    fewer = ["" if n >= cut else word for n, word in enumerate(read)]
    without, closer = prompt_of(base, given.lexicon, ids, fewer)
    assert without.shape[1] < prompt.shape[1]
    same = base.whole(without, closer)[0, -count:]
    assert torch.allclose(said[:cut], same[:cut], atol=1e-4), "what is defined later moves nothing"
    assert (said[cut:] - same[cut:]).abs().max() > 1e-3
    none, plain = prompt_of(base, given.lexicon, ids, [""] * len(read))
    assert torch.allclose(base.whole(none, plain), base.upper(base.lower(ids[None])), atol=1e-5)
    lost, times = in_prompt(base, given.lexicon, rows.some(2))
    assert lost.shape == (2, count)
    assert times > 1


def test_training_leaves_the_model_and_lowers_the_loss(base: Base, given: arms.Material) -> None:
    before = {name: value.clone() for name, value in base.hf.state_dict().items()}
    shape = {"steps": 60, "batch": 6, "rate": 1e-2, "seed": 0}
    trained = adapters.teach(base, arms.maker(arms.DICTIONARY, given.train.streams, 16), given.train, given.check, **shape)
    again = adapters.teach(base, arms.maker(arms.DICTIONARY, given.train.streams, 16), given.train, given.check, **shape)
    assert all(torch.equal(value, before[name]) for name, value in base.hf.state_dict().items())
    assert trained.check == again.check
    assert all(weight.requires_grad and weight.grad is None for weight in base.hf.parameters()), (
        "as they were, and none was taken"
    )
    plain = adapters.losses(base, None, given.test).mean()
    assert adapters.losses(base, trained.adapter, given.test).mean() < plain - 0.05


def test_all_rates_are_tried_and_the_best_is_kept(given: arms.Material) -> None:
    result = arms.one(given, arms.DICTIONARY, 0, (1e-6, 1e-2))
    assert result.trained is not None
    assert result.trained.rate == 1e-2
    assert result.trained.check == min(result.tried) < result.tried[0]
    assert result.losses.shape == given.test.labels.shape


def test_the_score_of_a_pair_is_what_the_context_does(base: Base) -> None:
    rows, said = rows_of(base, CONTEXTS[:3])
    assert len(rows) == 12 == len(texts_of(CONTEXTS[:3]))
    for row, text in enumerate(texts_of(CONTEXTS[:3])):
        then = CONTEXTS[row // 4].continuations[row % 2]
        assert base.tokenizer.decode(rows.labels[row][said[row]]) == then
        assert text.endswith(then)
    lost = torch.rand(rows.labels.shape)
    asked = Asked(None, said)  # type: ignore[arg-type]
    mine = (lost * said).sum(1).tolist()
    for word, score in enumerate(asked.scored(lost)):
        one, two, three, four = mine[4 * word : 4 * word + 4]
        assert score == pytest.approx(((two - one) + (three - four)) / 2, abs=1e-5)
    blind = lost.clone()
    for word in range(3):
        blind[4 * word + 2 : 4 * word + 4] = 0
        for n in range(2):
            blind[4 * word + 2 + n][said[4 * word + 2 + n]] = lost[4 * word + n][said[4 * word + n]]
    assert asked.scored(blind) == pytest.approx(0, abs=1e-6), "who does not look at the context"


def test_pairs_are_pairs() -> None:
    assert len(CONTEXTS) >= 20
    assert {"nail", "bank", "bolt"} <= {pair.word for pair in CONTEXTS}
    assert len({pair.word for pair in CONTEXTS}) == len(CONTEXTS)
    for pair in CONTEXTS:
        assert all(context.endswith(f" {pair.word}") for context in pair.contexts)
        assert all(then.startswith(" ") for then in pair.continuations)
        assert pair.contexts[0] != pair.contexts[1]
        assert pair.continuations[0] != pair.continuations[1]


def test_intervals_are_those_of_the_formulas() -> None:
    less = np.array([[[1.0, 2.0], [3.0, 4.0]], [[2.0, 3.0], [4.0, 5.0]], [[3.0, 4.0], [5.0, 6.0]]])
    where = np.array([[True, True], [True, False]])
    mean, seeds, rows, lower, count = tables.interval(less, where)
    assert (mean, lower, count) == (pytest.approx(3.0), 0, 3)
    assert seeds == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    own = np.array([2.0 + 3.0 - 2 * 3.0, 4.0 - 3.0])
    assert rows == pytest.approx(1.96 * (own**2).sum() ** 0.5 / 3)
    assert np.isnan(tables.interval(less[:1], where)[1])


def test_a_stream_of_text_is_a_task() -> None:
    task = Stream(torch.arange(50), 50, 8)
    batch = task.batch(3, torch.Generator().manual_seed(0))
    assert torch.equal(batch["labels"], batch["input_ids"] + 1)
    assert task.chance == task.blind == 1 / 50
    with pytest.raises(sg.InputError, match="nobody knows how a text goes on"):
        task.oracle(batch)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"choice": "best"}, "choice='best': one of 'first', 'mean', 'nearest'"),
        ({"units": 20}, "units=20: a multiple of 16"),
        ({"rows": (4, 4, 4)}, "four numbers from 1 on"),
        ({"model_rows": (4, 4, 0, 1)}, "model_rows=.*four numbers from 1 on"),
        ({"seeds": 0}, "seeds=0: one or more"),
    ],
)
def test_settings_that_compare_nothing_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(sg.InputError, match=words):
        experiment.run(quick=True, **settings)


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True, choices=True)


@needs_wordnet
def test_the_quick_run_is_whole(quick: Study) -> None:
    cost = quick[tables.COST].set_index("arm")
    assert set(cost.index) == {arms.PLAIN, arms.PROMPT, *arms.ARMS}
    assert cost.loc[list(arms.ARMS), "parameters"].nunique() == 1
    one = cost.loc[arms.DICTIONARY]
    assert one["flops"] - cost.loc[arms.PLAIN, "flops"] == 2 * one["parameters"], "a multiplication and an addition for each"
    assert cost.loc[arms.ACROSS, "flops"] > one["flops"]
    assert cost.loc[arms.PROMPT, "flops"] > 2 * one["flops"]
    assert one["entries"] > 0 == cost.loc[arms.ZEROS, "entries"]
    assert np.isfinite(quick[tables.LOSS][list(texts.CLASSES)].to_numpy()).all()
    assert set(quick[tables.CHOICE]["choice"]) == set(entries.CHOICES)
    assert quick[tables.CHOICE]["parameters"].nunique() == 1
    runs = quick[tables.RUNS].set_index("arm")
    told = quick[tables.DIFFERENCE].set_index(["first", "second", "where"])["difference"]
    for second in (arms.SHUFFLED, arms.PLAIN):
        assert told[arms.DICTIONARY, second, "all"] == pytest.approx(
            runs.loc[arms.DICTIONARY, "all"] - runs.loc[second, "all"], abs=1e-9
        )
    assert len(quick.draw().axes) == 2
