"""Streamed equals dense: every number of a streamed recording against the same number taken from the whole weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import sociogram as sg
from sociogram.models.attention import AttentionCall, is_hidden, masked_scores, mix, totals, weights_of
from sociogram.models.masks import lazy_mask
from sociogram.watch import scan, stream
from sociogram.watch.rowwise import Standing
from sociogram.watch.streamed import NUMBERS, Streamed, Wanted
from tests.watch.conftest import CLASSES, specimen


def plainly(
    weights: np.ndarray, sink: np.ndarray, sizes: np.ndarray, bands: tuple[int, ...], own: int, real: np.ndarray
) -> dict[str, np.ndarray]:
    """Everything that a stream keeps, by loops over readers and keys of one head, in double."""
    queries, keys = weights.shape
    found = {name: np.zeros(queries) for name in NUMBERS[1:]}
    columns, edges = np.zeros((len(bands), keys)), np.zeros(3, int)
    for q in range(queries):
        row, place = weights[q], q + own
        outcomes = [w for w in [*row, sink[q]] if w > 0]
        found["entropy"][q] = -sum(w * np.log(w) for w in outcomes) if outcomes else np.nan
        apart = np.abs(np.arange(keys) - place)
        found["distance"][q] = (row * apart).sum() / row.sum() if row.sum() else np.nan
        found["attention_sum"][q] = row.sum()
        found["message_sum"][q] = (row * sizes).sum()
        found["self_share"][q] = row[place] if 0 <= place < keys else 0
        found["first_share"][q], found["sink_weight"][q] = row[0], sink[q]
        for k in range(keys):
            if real[q]:
                columns[max(b for b, low in enumerate(bands) if low <= apart[k]), k] += row[k]
                edges[2 if k == place else 1 if k == 0 else 0] += row[k] > 0
    return {**found, "columns": columns, "edges": edges}


def strongest(ranks: np.ndarray, weights: np.ndarray, top: int) -> list[int]:
    """Key numbers by rank, then by number, of those that were read."""
    order = sorted((k for k in range(len(ranks)) if weights[k] > 0), key=lambda k: (-ranks[k], k))
    return (order + [-1] * top)[:top]


def made_call(seed: int, heads: int, groups: int, queries: int, past: int, dtype: torch.dtype, kind: str) -> AttentionCall:
    """A call of one of the kinds that models make."""
    g = torch.Generator().manual_seed(seed)
    keys = queries + past
    query = 3 * torch.randn(1, heads, queries, 8, generator=g)
    key, value = (torch.randn(1, groups, keys, width, generator=g) for width in (8, 6))
    mask: Tensor | None = lazy_mask(1, queries, keys, q_offset=past)
    extra: dict[str, Tensor | float] = {}
    if kind == "window":
        mask = lazy_mask(
            1, queries, keys, q_offset=past, mask_function=lambda b, h, q, k: (k <= q) & (k > q - 3), allow_is_causal_skip=False
        )
    if kind == "padding":
        padding = torch.arange(keys)[None] >= keys // 3
        mask = lazy_mask(1, queries, keys, q_offset=past, attention_mask=padding)
    if kind == "full":
        mask = None
    if kind == "additive":
        mask = torch.where(torch.rand(1, 1, queries, keys, generator=g) > 0.4, 0.0, torch.finfo(torch.float32).min).to(dtype)
        mask[..., 0] = 0
    if kind == "bias":
        extra["bias"] = torch.randn(1, heads, queries, keys, generator=g).to(dtype)
    if kind == "softcap":
        extra["softcap"] = 2.0
    if kind == "sink":
        extra["sink"] = torch.randn(heads, generator=g).to(dtype)
    if kind == "cut":
        extra["cut"] = torch.rand(1, heads, queries, keys, generator=g) > 0.4
        extra["cut"][:, :, -1] = True  # a reader who loses everybody
    if kind == "ties":
        query, key = torch.zeros_like(query), torch.zeros_like(key)
    parts = (t.to(dtype) for t in (query, key, value))
    return AttentionCall("here", 0, nn.Identity(), *parts, mask, 8**-0.5, **extra)  # type: ignore[arg-type]


KINDS = ("causal", "window", "padding", "full", "additive", "bias", "softcap", "sink", "cut", "ties")


def closeness(dtype: torch.dtype, how: str) -> float:
    """The kernel computes in single precision whatever it is given, torch in the call's own, where scores are rounded."""
    if dtype in (torch.float32, torch.float64):
        return 2e-5 if dtype == torch.float32 else 1e-10
    return 1e-4 if how == "fused" else 8 * torch.finfo(dtype).eps


def read(call: AttentionCall, sizes: Tensor, wanted: Wanted, real: Tensor, how: str) -> tuple[Tensor, Streamed]:
    own = call.key.shape[2] - call.query.shape[2]
    made = stream.Streamer(nn.Identity(), wanted, {})
    way = made._scanned if how == "fused" else made._in_torch
    return way(call, sizes, wanted, Standing(own), real)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6), groups=st.integers(1, 2), group=st.integers(1, 3), queries=st.integers(1, 40),
    past=st.sampled_from([0, 0, 1, 37]), kind=st.sampled_from(KINDS), how=st.sampled_from(["fused", "torch"]),
    by=st.sampled_from(["message", "attention"]), top=st.integers(0, 9),
    dtype=st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float16, torch.float64]),
)  # fmt: skip
def test_streamed_equals_dense(
    seed: int, groups: int, group: int, queries: int, past: int, kind: str, how: str, by: str, top: int, dtype: torch.dtype
) -> None:
    call = made_call(seed, groups * group, groups, queries, past, dtype, kind)
    if how == "fused" and dtype == torch.float64:
        assert not scan.can_scan(call)
        return
    g = torch.Generator().manual_seed(seed)
    sizes = torch.rand(groups * group, past + queries, generator=g).to(dtype) + 0.1
    real = torch.rand(queries, generator=g) > 0.2
    output, found = read(call, sizes, Wanted(top, by), real, how)
    wide = made_call(seed, groups * group, groups, queries, past, dtype, kind)
    wide = AttentionCall(**{**wide.__dict__, **{n: getattr(wide, n).double() for n in ("query", "key", "value")}})
    weights, sink = weights_of(wide)
    close = closeness(dtype, how)
    numbers = 10 * close if how == "fused" or dtype.itemsize > 2 else 2 * close
    rounded = max(close, torch.finfo(dtype).eps)  # what the model gets back is of its own dtype
    torch.testing.assert_close(output.double(), mix(weights, wide), atol=rounded, rtol=rounded)
    scores = masked_scores(wide)
    lse = totals(wide, torch.where(is_hidden(scores), -torch.inf, scores))
    torch.testing.assert_close(found.number("lse").double(), lse, atol=close, rtol=close)
    bands = (0, 1, 16)[: 1 + (past + queries > 1) + (past + queries > 16)]
    for head in range(groups * group):
        gone = np.zeros(queries) if sink is None else sink[0, head].numpy()
        plain = plainly(weights[0, head].numpy(), gone, sizes[head].double().numpy(), bands, past, real.numpy())
        for name in NUMBERS[1:]:
            got = found.number(name)[0, head].double().numpy()
            np.testing.assert_allclose(got, plain[name], atol=numbers, rtol=numbers, err_msg=name)
        np.testing.assert_allclose(found.columns[0, head].double().numpy(), plain["columns"], atol=numbers, rtol=numbers)
        if dtype == torch.float64 or (dtype == torch.float32 and kind != "additive"):
            assert found.edges[0, head].tolist() == plain["edges"].tolist()
        _check_strongest(found, head, weights[0, head].numpy(), sizes[head].double().numpy(), by, top, numbers)


def _check_strongest(found: Streamed, head: int, weights: np.ndarray, sizes: np.ndarray, by: str, top: int, close: float) -> None:
    """The keys are right up to rounding: where they differ from the exact ones, their ranks do not."""
    ranks = weights * sizes if by == "message" else weights
    for q, keys in enumerate(found.keys[0, head].tolist()):
        expected = strongest(ranks[q], weights[q], top)
        for key, other in zip(keys, expected, strict=True):
            assert (key == -1) == (other == -1)
            assert key == other or abs(ranks[q, key] - ranks[q, other]) <= close
        there = [k for k in keys if k >= 0]
        assert len(set(there)) == len(there)
        np.testing.assert_allclose(found.attention[0, head, q, : len(there)].double().numpy(), weights[q, there], atol=close)
        told = weights[q, there] * sizes[there]
        np.testing.assert_allclose(found.messages[0, head, q, : len(there)].double().numpy(), told, atol=close)


def test_ties_are_broken_by_the_lower_key_in_both_ways() -> None:
    """Also where the lower keys are met last: the kernel goes from the last keys to the first."""
    for queries, past in ((40, 0), (1, 39), (3, 70)):
        call = made_call(0, 2, 1, queries, past, torch.float32, "ties")
        sizes, real = torch.ones(2, queries + past), torch.ones(queries, dtype=torch.bool)
        for how in ("fused", "torch"):
            _, found = read(call, sizes, Wanted(4), real, how)
            for q in range(queries):
                assert found.keys[0, 0, q].tolist() == ([*range(past + q + 1)] + [-1] * 4)[:4], how


def test_a_reader_from_whom_a_finite_minimum_hides_all_keys_hears_all_alike() -> None:
    """As in the families that add such a mask (BLT's patches): no row of zeros, and so not the kernel's business."""
    call = made_call(0, 2, 1, 6, 0, torch.float32, "additive")
    assert call.mask is not None
    call.mask[:, :, 2] = torch.finfo(torch.float32).min
    assert not scan.can_scan(call)
    output, found = stream.Streamer(nn.Identity(), Wanted(3), {})._in_torch(
        call, torch.ones(2, 6), Wanted(3), Standing(0), torch.ones(6, dtype=torch.bool)
    )
    torch.testing.assert_close(found.attention[0, :, 2], torch.full((2, 3), 1 / 6))
    torch.testing.assert_close(output, mix(weights_of(call)[0], call))
    call.mask[:, :, 2, 0] = 0
    assert scan.can_scan(call)


@pytest.mark.parametrize("name", CLASSES)
def test_streamed_recordings_of_all_kinds_of_models(name: str) -> None:
    """Families with gates, norms after the sum, sinks, cross-attention, several sequences: against the dense recording."""
    made = specimen(name)
    inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    dense, streamed = sg.record(model, inputs), sg.record(model, inputs, keep=("stream",), top=3)
    for node in dense.stacks:
        for number in range(dense.stack(node).sizes.get("sequence", 1)):
            _compare(dense.sequence(number), streamed.sequence(number), node)


@pytest.mark.parametrize("name", ["doge", "llama", "bert", "t5"])
def test_the_first_token_of_a_text_that_is_padded_on_the_left(name: str) -> None:
    """Also where a family has made its mask additive, in which padding and the future look alike."""
    made = specimen(name)
    model, ids = sg.load(made.model), made.inputs["input_ids"][:2]
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if name == "t5":
        inputs |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    dense, streamed = sg.record(model, inputs), sg.record(model, inputs, keep="stream")
    for node in dense.stacks:
        for number in range(2):
            one, other = dense.sequence(number), streamed.sequence(number)
            _compare(one, other, node)
            for layer in range(one.stack(node).sizes["layer"]):
                weights = one.messages(layer, stack=node).weights
                there = (weights > 0).sum((1, 2))
                first, itself = ((kind > 0).sum(1) for kind in (weights[..., 0], torch.diagonal(weights, dim1=1, dim2=2)))
                counts = torch.from_numpy(other.stack(node)["edge_count"].values[layer])
                if node.endswith("_cross"):
                    assert counts.tolist() == torch.stack([there - first, first, 0 * itself], 1).tolist()
                else:
                    first = first - (weights[:, 0, 0] > 0).long()
                    assert counts.tolist() == torch.stack([there - first - itself, first, itself], 1).tolist()


@pytest.mark.parametrize("name", ["smollm", "minilm"])
def test_padding_is_no_reader_and_no_sender(name: str, request: pytest.FixtureRequest) -> None:
    """Several texts of unequal lengths: each is what it is alone, its keys numbered without the padding."""
    model = request.getfixturevalue(name)
    texts = ["A short one.", "The Eiffel Tower is located in the city of Paris, and many people go there."]
    together = sg.record(model, texts, keep="stream")
    for number, text in enumerate(texts):
        one, alone = together.sequence(number), sg.record(model, text, keep="stream")
        _compare(sg.record(model, text), one, one.main)
        assert (one.dataset["top_key"].values[..., 0] == alone.dataset["top_key"].values[..., 0]).mean() > 0.99
        table, other = (rec.edges(top=5, drop_first=True) for rec in (one, alone))
        assert table[["query_token", "key_token"]].equals(other[["query_token", "key_token"]])


def _compare(dense: sg.Recording, streamed: sg.Recording, node: str) -> None:
    data, other = dense.stack(node), streamed.stack(node)
    for layer, status in enumerate(data["status"].values):
        if status != "closed":
            continue
        weights = torch.from_numpy(data["weights"].isel(layer=layer).values)
        heads = int((~weights[:, -1, 0].isnan()).sum())
        weights = weights[:heads]
        here = {
            str(n): torch.from_numpy(np.ascontiguousarray(v.isel(layer=layer).values))
            for n, v in other.data_vars.items()
            if "layer" in v.dims
        }
        here = {n: v[:heads] if "head" in other[n].dims else v for n, v in here.items()}
        norms = dense.messages(layer, stack=node).norms()
        assert_close(here["received"].sum(1), weights.sum(1))
        first = weights[..., 0]
        assert_close(here["first_share"], first)
        if dense.messages(layer, stack=node).gate is None:
            assert_close(here["influence"].sum(1), norms.sum(1))
            assert_close(here["message_sum"], norms.sum(2))
            assert other["ranked_by"].values[layer] == "message"
            assert_close(here["top_message"][..., 0], norms.amax(2))
        else:
            assert other["ranked_by"].values[layer] == "attention"
            assert bool(here["influence"].isnan().all())
            assert_close(here["top_attention"][..., 0], weights.amax(2))
        keys = here["top_key"].long()
        there = keys >= 0
        assert_close(here["top_attention"], weights.gather(2, keys.clamp(min=0)) * there)
        assert_close(here["top_message"], norms.gather(2, keys.clamp(min=0)) * there)
        assert here["edge_count"].sum() == (weights > 0).sum()
        if not node.endswith("_cross"):
            assert_close(here["self_share"], torch.diagonal(weights, dim1=1, dim2=2))
            assert_close(here["influence"][:, 0], torch.diagonal(norms, dim1=1, dim2=2)) if dense.messages(
                layer, stack=node
            ).gate is None else None


def assert_close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one.float(), other.float(), atol=3e-5, rtol=3e-4)


def test_logits_are_those_of_the_plain_model(smollm: sg.Model) -> None:
    rec = sg.record(smollm, "The Eiffel Tower is located in the city of", keep="stream")
    assert rec.null_drift() <= 1e-4
    assert "weights" not in rec.dataset
    assert isinstance(rec.dataset, xr.Dataset)
