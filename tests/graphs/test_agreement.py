"""Agreement between heads and with kinds of words: planted, by chance, and by place in the text alone."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.agreement import shuffled
from sociogram.graphs.classes import FUNCTION_WORDS, token_classes
from sociogram.graphs.information import adjusted
from tests.graphs.making import mask, planted, softmaxed, with_weights

TOKENS = 24
SHARED = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], 8))


def heads(*labels: np.ndarray) -> sg.Networks:
    weights = [planted(own, mask(TOKENS, "full"), 3.0, i) for i, own in enumerate(labels)]
    return sg.networks(with_weights(np.stack(weights)[None]))


def test_heads_with_the_same_communities_agree_and_others_do_not() -> None:
    other = np.random.default_rng(9).permutation(SHARED)
    found = heads(SHARED, other, SHARED, np.random.default_rng(5).permutation(SHARED)).agreement(samples=100)
    values = found.matrix.values
    np.testing.assert_allclose(values, values.T)
    np.testing.assert_allclose(np.diag(values), 1)
    assert values[0, 2] == pytest.approx(1)
    assert values[0, 1] == pytest.approx(adjusted(SHARED, other))
    assert found.p.values[0, 2] == pytest.approx(1 / 101)
    assert found.p_corrected.values[0, 2] <= 0.05
    assert found.p_corrected.values[0, 1] > 0.05
    assert found.z.values[0, 2] > 4
    table = found.table()
    assert table.loc[0, ["layer", "head", "other_layer", "other_head"]].tolist() == [0, 0, 0, 2]
    assert len(table) == 6
    assert len(found.table(2)) == 2
    assert found.table(2).attrs["pairs"] == 6
    assert list(found.matrix["graph"].values) == ["0.0", "0.1", "0.2", "0.3"]
    assert np.isnan(np.diag(found.p.values)).all()
    assert "of 6 pairs" in repr(found)


def test_random_heads_agree_as_by_chance() -> None:
    rng = np.random.default_rng(0)
    values, smallest = [], []
    for _ in range(15):
        weights = softmaxed(rng.standard_normal((1, 4, TOKENS, TOKENS)), mask(TOKENS, "full"))
        found = sg.networks(with_weights(weights)).agreement(samples=39, seed=int(rng.integers(1000)))
        upper = np.triu_indices(4, 1)
        by_one = [adjusted(found.labels.values[i], found.labels.values[j]) for i, j in zip(*upper, strict=True)]
        np.testing.assert_allclose(found.matrix.values[upper], by_one, atol=1e-12)
        values += found.matrix.values[upper].tolist()
        smallest.append(np.nanmin(found.p_corrected.values))
    assert abs(np.nanmean(values)) < 0.05
    assert np.mean(np.array(smallest) <= 0.1) <= 0.4  # each is the least over six pairs, corrected: one in ten expected


def test_stretches_of_text_agree_by_place_alone() -> None:
    stretch, shifted = np.repeat([0, 1, 2], 8), np.repeat([0, 1, 2, 3], [3, 8, 8, 5])
    nets = heads(stretch, shifted, stretch, shifted)
    plain, moved = (nets.agreement(null=null, samples=100) for null in ("permute", "shift"))
    assert plain.p.values[0, 1] <= 0.05
    assert moved.p.values[0, 1] > 0.05
    np.testing.assert_array_equal(plain.matrix.values, moved.matrix.values)


def test_nulls_keep_sizes_and_shapes() -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([np.repeat([0, 1, 2], [6, 4, 2]), np.tile([0, 1], 6)])
    for null in ("permute", "shift"):
        made = shuffled(labels, null, rng)
        np.testing.assert_array_equal(np.sort(made, 1), np.sort(labels, 1))
        assert (made != labels).any()
    runs = (np.diff(shuffled(labels, "shift", rng)[0]) != 0).sum()
    assert runs in (2, 3)


def test_communities_that_go_by_a_class_are_found() -> None:
    classes = ["abc"[i] for i in SHARED]
    other = np.random.default_rng(9).permutation(SHARED)
    table = heads(SHARED, other, SHARED, other).class_agreement(classes, samples=100)
    assert table["agreement"].tolist() == pytest.approx([1, adjusted(SHARED, other)] * 2)
    assert table["p"][0] == pytest.approx(1 / 101)
    assert table["p_corrected"][1] > 0.05
    assert table["communities"].tolist() == [3, 3, 3, 3]
    assert (table["layer"].tolist(), table["head"].tolist()) == ([0] * 4, [0, 1, 2, 3])


def test_kinds_of_tokens() -> None:
    tokens = [
        "⟨s⟩",
        "The",
        "␣Eiff",
        "el",
        "␣Tower",
        ",",
        "␣in",
        "␣in",
        "side",
        "␣1",
        ",",
        "889",
        "␣x",
        "2",
        "↵↵",
        "␣(",
        "and",
        ")",
        ".",
    ]
    kinds = {
        "⟨s⟩": "special", "The": "function", "␣Eiff": "begins", "el": "continues", "␣Tower": "begins", ",": "punctuation",
    }  # fmt: skip
    found = token_classes(tokens)
    for text, kind in kinds.items():
        assert found[tokens.index(text)] == kind
    assert found[6:9] == ["function", "begins", "continues"]  # "in", and "in" + "side"
    assert found[9:12] == ["number", "punctuation", "number"]
    assert found[12:] == ["begins", "number", "space", "punctuation", "function", "punctuation", "punctuation"]
    assert token_classes(["[CLS]".replace("[", "⟨").replace("]", "⟩"), "play", "##ing"])[1:] == ["begins", "continues"]
    assert {"the", "of", "and"} <= FUNCTION_WORDS
    assert "tower" not in FUNCTION_WORDS


def test_bad_wishes_are_refused() -> None:
    nets = heads(SHARED, SHARED, SHARED, SHARED)
    with pytest.raises(sg.InputError, match=r"null='rows': choose one of permute, shift"):
        nets.agreement(null="rows")
    with pytest.raises(sg.InputError, match=r"samples=0: a whole number from 1 up"):
        nets.agreement(samples=0)
    with pytest.raises(sg.InputError, match=r"classes=: 2 names for 24 tokens; give one for each"):
        nets.class_agreement(["a", "b"])
    with pytest.raises(sg.InputError, match=r"classes=: all 24 tokens are 'a', which leaves nothing to compare"):
        nets.class_agreement(["a"] * 24)
    with pytest.raises(sg.InputError, match=r"agreement\(\) compares graphs, and there is 1"):
        sg.networks(nets.source.rec, by="all").agreement()
