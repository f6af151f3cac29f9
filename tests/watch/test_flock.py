"""The flock: what a projection may and may not do, and what it is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import sociogram as sg
from sociogram.core import linear
from sociogram.watch import crowd
from sociogram.watch.shape import clusters
from sociogram.watch.views import VIEWS
from tests.watch.conftest import tiny


def recording(places: np.ndarray, parts: list[str] | None = None) -> sg.Recording:
    """A recording that holds nothing but a stream `[stop, token, d_model]`."""
    stops, tokens, _ = places.shape
    named = parts or ["input", *(("attention", "mlp") * stops)][:stops]
    dataset = xr.Dataset(
        {"residual": (("stop", "query", "d_model"), places)},
        coords={
            "stop_layer": ("stop", np.maximum(np.arange(stops) - 1, 0) // 2),
            "stop_part": ("stop", np.array(named)),
            "query_token": ("query", np.array([f"t{i}" for i in range(tokens)])),
        },
    )
    return sg.Recording(xr.DataTree.from_dict({"/": xr.Dataset(attrs={"main": "decoder"}), "decoder": dataset}))


def paths(stops: int = 7, tokens: int = 6, width: int = 10, seed: int = 0) -> np.ndarray:
    """Random paths of unequal steps, and a first token far off."""
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.standard_normal((stops, tokens, width)) * np.arange(1, stops + 1)[:, None, None], 0) + 3
    places[:, 0] *= 40
    return places


def test_positions_are_one_linear_map_of_the_stream_fitted_without_the_first_token() -> None:
    x = paths()
    flock = recording(x).flock(components=4)
    assert flock.basis is not None
    fitted = x[:, 1:].reshape(-1, 10)
    np.testing.assert_allclose(flock.basis.mean, fitted.mean(0))
    _, singular, rows = np.linalg.svd(fitted - fitted.mean(0))
    np.testing.assert_allclose(np.abs((flock.basis.directions * rows[:4]).sum(1)), 1, atol=1e-10)
    np.testing.assert_allclose(flock.positions, (x - flock.basis.mean) @ flock.basis.directions.T, atol=1e-10)
    np.testing.assert_allclose(flock.variance, (singular**2 / (singular**2).sum())[:4], atol=1e-12)
    np.testing.assert_allclose(flock.distance, np.linalg.norm(x - flock.basis.mean, axis=-1))
    assert flock.fitted_without == (0,)
    assert flock.positions.dims == ("stop", "query", "component")
    assert list(flock.positions["component"].values) == ["PC1", "PC2", "PC3", "PC4"]
    assert list(flock.positions["query_token"].values) == [f"t{i}" for i in range(6)]
    assert list(flock.positions["stop_part"].values[:3]) == ["input", "attention", "mlp"]
    assert flock.positions["stop_layer"].values.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_all_components_together_leave_nothing_out() -> None:
    x = paths()
    flock = recording(x).flock(components=10)
    apart = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    shown = flock.positions.values
    np.testing.assert_allclose(np.linalg.norm(shown[:, :, None] - shown[:, None], axis=-1), apart, rtol=1e-9, atol=1e-9)
    assert flock.error.max() < 1e-6
    assert flock.variance.sum() == pytest.approx(1)
    assert recording(x).flock(components=3).variance.sum() < 1


def test_the_error_is_what_the_shown_components_leave_out() -> None:
    x = paths()
    flock = recording(x).flock(components=5)
    basis = flock.basis
    assert basis is not None
    for chosen in ([0, 1, 2], [4], [1, 1]):
        rows = basis.directions[sorted(set(chosen))]
        spread = x - basis.mean
        left = np.linalg.norm(spread - spread @ rows.T @ rows, axis=-1) / np.linalg.norm(spread, axis=-1)
        np.testing.assert_allclose(flock.error_of(chosen), left, atol=1e-7)
    np.testing.assert_allclose(flock.error, flock.error_of(range(5)))
    with pytest.raises(sg.InputError, match=r"components=\[5\]: there are 5, numbered 0 to 4"):
        flock.error_of([5])


@pytest.mark.parametrize("view", ["plain", "centred", "sphere"])
def test_the_first_token_moves_nobody(view: str) -> None:
    x = paths()
    louder = x.copy()
    louder[:, 0] *= 100
    one, two = (recording(places).flock(view) for places in (x, louder))
    np.testing.assert_allclose(one.positions[:, 1:], two.positions[:, 1:], atol=1e-9)
    np.testing.assert_allclose(one.variance, two.variance, atol=1e-12)
    if view != "sphere":
        assert not np.allclose(one.positions[:, 0], two.positions[:, 0])
    xr.testing.assert_allclose(one.measures.sel(tokens="without_first"), two.measures.sel(tokens="without_first"))
    assert not np.allclose(one.measures["dispersion"].sel(tokens="all"), two.measures["dispersion"].sel(tokens="all"))


def test_a_frozen_basis_gives_the_same_picture_of_the_same_run_and_a_linear_one_of_another() -> None:
    one, two = recording(paths()), recording(paths(seed=5, tokens=9))
    flock = one.flock("centred", components=5)
    xr.testing.assert_identical(one.flock(basis=flock).positions, flock.positions)
    np.testing.assert_allclose(one.flock(basis=flock).variance, flock.variance)
    other = two.flock(basis=flock)
    assert other.view == "centred"
    assert other.basis is flock.basis
    x = paths(seed=5, tokens=9)
    seen = x - x[:, 1:].mean(1, keepdims=True)
    assert flock.basis is not None
    np.testing.assert_allclose(other.positions, (seen - flock.basis.mean) @ flock.basis.directions.T, atol=1e-9)
    assert not np.allclose(other.positions, two.flock("centred", components=5).positions)
    assert other.variance.sum() < two.flock("centred", components=5).variance.sum()
    axes = one.flock(axes={"east": np.eye(10)[0]}, components=3)
    again = two.flock(basis=axes)
    assert again.axes == ("east",)
    assert list(again.positions["component"].values) == ["east", "PC1", "PC2"]


def test_axes_come_first_and_principal_components_fill_up() -> None:
    x = paths()
    east, north = np.eye(10)[0], np.eye(10)[0] + np.eye(10)[1]
    flock = recording(x).flock(axes={"east": east, "north": torch.from_numpy(north)}, components=4)
    assert flock.axes == ("east", "north")
    assert list(flock.positions["component"].values) == ["east", "north", "PC1", "PC2"]
    middle = x[:, 1:].reshape(-1, 10).mean(0)
    np.testing.assert_allclose(flock.positions.sel(component="east"), x[..., 0] - middle[0])
    np.testing.assert_allclose(flock.positions.sel(component="north"), x[..., 1] - middle[1], atol=1e-12)  # less the first
    assert flock.null_variance is not None
    assert flock.null_variance.shape == flock.variance.shape == (4,)
    assert "axes east, north" in repr(flock)


def test_stops_that_are_rotated_copies_are_laid_on_each_other() -> None:
    rng = np.random.default_rng(0)
    first = rng.standard_normal((8, 10)) * 0.7 ** np.arange(10)
    turns = [np.linalg.qr(rng.standard_normal((10, 10)))[0] for _ in range(4)]
    x = np.stack([first @ turn + 7 * rng.standard_normal(10) for turn in turns])
    flock = recording(x).flock(align="procrustes", components=6)
    assert flock.residual is not None
    assert np.isnan(flock.residual[0])
    assert flock.residual[1:].max() < 1e-8
    np.testing.assert_allclose(flock.positions[:, 1:], np.broadcast_to(flock.positions[0, 1:], (4, 7, 6)), atol=1e-8)
    assert flock.note is not None
    assert "part of the motion is made up by the fit" in flock.note
    assert flock.basis is flock.null_variance is None
    joint = recording(x).flock(components=6)
    assert joint.residual is None
    assert joint.note is None
    moved = np.linalg.norm(np.diff(joint.positions[:, 1:], axis=0), axis=-1)
    assert moved.min() > 0.5  # in one basis they are seen to move, as they did
    own = np.linalg.norm(x - x[:, 1:].mean(1, keepdims=True), axis=-1)
    np.testing.assert_allclose(flock.distance, own)
    apart = recording(paths()).flock(align="procrustes").residual
    assert apart is not None
    assert apart[1:].min() > 0.1


def test_moves_neighbours_and_measures_are_of_the_full_stream_in_every_view() -> None:
    x = paths()
    rec = recording(x, ["input", "attention", "mlp", "input", "attention", "mlp", "attention+mlp"])
    flocks = [rec.flock(view, components=1, neighbours=3) for view in ("plain", "sphere")]
    for flock in flocks:
        np.testing.assert_allclose(flock.moved[1:], np.linalg.norm(np.diff(x, axis=0), axis=-1))
        assert (flock.moved[0] == 0).all()
        apart = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) + np.where(np.eye(6), np.inf, 0)
        np.testing.assert_array_equal(flock.neighbours, apart.argsort(-1)[..., :3])
        np.testing.assert_allclose(flock.neighbour_distance, np.sort(apart)[..., :3])
        assert flock.neighbours.dims == ("stop", "query", "neighbour")
        for name, value in (("all", apart), ("without_first", apart[:, 1:, 1:])):
            np.testing.assert_allclose(flock.measures["nearest"].sel(tokens=name), value.min(-1).mean(-1))
        nothing = flock.measures["alignment"].isnull()
        assert nothing.sel(tokens="all").values.tolist() == [True, False, False, True, False, False, False]
        assert (
            flock.measures["alignment_null"].isnull().sel(bound="low").values.tolist()
            == nothing.sel(tokens="all").values.tolist()
        )
    assert recording(x).flock(neighbours=0).neighbours.shape == (7, 6, 0)
    assert recording(x).flock(neighbours=50).neighbours.shape == (7, 6, 5)


def test_the_table_has_a_row_per_stop_and_measure() -> None:
    flock = recording(paths()).flock()
    table = flock.measures_table()
    assert list(table.columns) == ["stop", "layer", "part", "measure", "all", "without_first", "null_low", "null_high"]
    assert len(table) == 7 * 6
    row = table[(table["measure"] == "effective_rank") & (table["stop"] == 4)].iloc[0]
    assert row["without_first"] == float(flock.measures["effective_rank"].sel(tokens="without_first", stop=4))
    assert row["null_high"] == float(flock.measures["effective_rank_null"].sel(bound="high", stop=4))
    assert {v.attrs["units"] for n, v in flock.measures.data_vars.items() if not str(n).endswith("_null")} >= {
        "cosine",
        "clusters",
    }


@settings(deadline=None, max_examples=25)
@given(
    stops=st.integers(2, 6),
    tokens=st.integers(1, 7),
    width=st.integers(1, 9),
    components=st.integers(1, 12),
    neighbours=st.integers(0, 9),
    view=st.sampled_from(["plain", "centred", "sphere"]),
)
def test_every_size_has_a_flock(stops: int, tokens: int, width: int, components: int, neighbours: int, view: str) -> None:
    x = np.random.default_rng(stops * 100 + tokens).standard_normal((stops, tokens, width)).astype(np.float32)
    flock = recording(x).flock(view, components=components, neighbours=neighbours, null=2)
    fitted = stops * (tokens - len(flock.fitted_without))
    assert flock.positions.shape == (stops, tokens, min(components, max(1, fitted - 1), width))
    assert flock.distance.shape == flock.error.shape == flock.moved.shape == (stops, tokens)
    assert flock.neighbours.shape == (stops, tokens, min(neighbours, tokens - 1))
    assert flock.measures["cohesion"].dims == ("tokens", "stop")
    assert flock.measures["cohesion_null"].dims == ("bound", "stop")
    assert flock.null_variance is not None
    assert flock.null_variance.shape == flock.variance.shape
    assert flock.fitted_without[:1] == ((0,) if tokens > 1 else ())  # few numbers make loud tokens by chance
    assert np.isfinite(flock.positions).all()
    assert repr(flock)
    for name in ("cohesion", "nearest"):
        assert flock.measures[name].sel(tokens="without_first").isnull().all() == (tokens < 3)
    np.testing.assert_array_equal(recording(x).flock(view, components=components, null=2).positions, flock.positions)


def test_a_lone_token_is_its_own_flock() -> None:
    flock = recording(paths(tokens=1)).flock()
    assert flock.fitted_without == ()
    assert flock.note == "fitted with the first token: there is no other"
    assert flock.variance.sum() == pytest.approx(1)
    assert flock.measures["dispersion"].sel(tokens="all").values.tolist() == [0] * 7
    assert flock.measures["dispersion"].sel(tokens="without_first").isnull().all()


@pytest.mark.parametrize(
    ("name", "stack"), [("t5", "encoder"), ("t5", "decoder"), ("bert", None), ("vit", None), ("whisper", "encoder")]
)
def test_every_stack_has_a_flock_of_its_own(name: str, stack: str | None) -> None:
    rec = tiny(name)
    flock = rec.flock(stack=stack)
    residual = rec.stack(stack or rec.main)["residual"]
    assert flock.positions.shape[:2] == residual.shape[:2]
    assert flock.basis is not None
    np.testing.assert_allclose(flock.positions, (residual.values - flock.basis.mean) @ flock.basis.directions.T, atol=1e-5)


def test_a_stored_recording_needs_no_model_but_for_its_norm(tmp_path: Path) -> None:
    rec = tiny("llama")
    rec.save(tmp_path / "rec")
    alone = sg.open_recording(tmp_path / "rec")
    for view in VIEWS[:3]:
        xr.testing.assert_identical(alone.flock(view).positions, rec.flock(view).positions)
        xr.testing.assert_identical(alone.flock(view).measures, rec.flock(view).measures)
    with pytest.raises(
        sg.RecordingError, match=r"view='normed' needs the model's final norm: open .*open_recording\(path, model"
    ):
        alone.flock("normed")


def test_questions_that_have_no_answer_say_so() -> None:
    rec, other = recording(paths()), recording(paths(width=11))
    flock, turned = rec.flock(null=0), rec.flock(align="procrustes", null=0)
    for asked, words in (
        ({"view": "round"}, "view='round': choose one of plain, centred, sphere, normed"),
        ({"components": 0}, "components=0: at least 1"),
        ({"null": -1}, "null=-1: at least 0"),
        ({"neighbours": -1}, "neighbours=-1: at least 0"),
        ({"align": "umap"}, r"align='umap': choose None \(one basis for all stops\) or \"procrustes\""),
        ({"align": "procrustes", "basis": flock}, "it goes with neither basis= nor axes="),
        ({"align": "procrustes", "axes": {"a": np.ones(10)}}, "it goes with neither basis= nor axes="),
        ({"basis": flock, "axes": {"a": np.ones(10)}}, "give one of them"),
        ({"basis": flock, "view": "sphere"}, "view='sphere', but the basis is a flock of the 'plain' view"),
        ({"basis": turned}, "it has none to lend"),
        ({"basis": flock.basis}, r"basis= takes another flock \(rec.flock\(\)\), not Basis"),
        ({"basis": other.flock(null=0)}, "basis= is a flock of d_model 11, and this stream has 10"),
        ({"stack": "north"}, "no stack 'north' in this recording; it has decoder"),
    ):
        with pytest.raises(sg.InputError, match=words):
            rec.flock(**asked)  # type: ignore[arg-type]
    with pytest.raises(sg.InputError, match="it needs two tokens besides the first"):
        recording(paths(tokens=2)).flock(align="procrustes")
    with pytest.raises(sg.InputError, match="stack='decoder_cross' has no stream of its own: its readers are in 'decoder'"):
        tiny("t5").flock(stack="decoder_cross")
    with pytest.raises(sg.InputError, match="only 'decoder' ends in the model's final norm, not 'encoder'"):
        tiny("t5").flock("normed", stack="encoder")
    with pytest.raises(sg.InputError, match="view='normed' cannot be had of BertForMaskedLM: between the last layer"):
        tiny("bert").flock("normed")
    broken = paths()
    broken[3, 2, 1] = np.inf
    with pytest.raises(sg.RecordingError, match="holds numbers that are not finite"):
        recording(broken).flock()


def test_several_sequences_and_a_missing_stream_are_named() -> None:
    model = tiny("llama").model
    assert model is not None
    ids = torch.arange(1, 13).reshape(2, 6)
    both = sg.record(model, ids)
    with pytest.raises(
        sg.InputError, match=r"flock\(\) is about one sequence, and this recording holds 2: choose one with rec.seq"
    ):
        both.flock()
    np.testing.assert_allclose(both.sequence(1).flock().positions, sg.record(model, ids[1]).flock().positions, atol=1e-4)
    with pytest.raises(sg.RecordingError, match="residual was not kept"):
        sg.record(model, ids[0], keep=("weights",)).flock()


def test_of_many_tokens_a_sample_is_paired_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    x = paths(stops=4, tokens=60, width=12)
    exact = recording(x).flock(null=0).measures
    monkeypatch.setattr(crowd, "PAIRED", 40)
    monkeypatch.setattr(crowd, "SAMPLED", 59)
    xr.testing.assert_allclose(recording(x).flock(null=0).measures, exact)  # all drawn: the same numbers
    monkeypatch.setattr(crowd, "SAMPLED", 20)
    flock = recording(x).flock(null=0)
    drawn = flock.crowd.drawn.numpy()
    assert len(drawn) == 21
    assert drawn[0] == 0
    apart = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) + np.where(np.eye(60), np.inf, 0)
    near, near_others = apart.min(-1), apart[:, 1:, 1:].min(-1)
    found = flock.measures["nearest"]
    np.testing.assert_allclose(found.sel(tokens="without_first"), near_others[:, drawn[1:] - 1].mean(-1))
    np.testing.assert_allclose(found.sel(tokens="all"), (near[:, 0] + 59 * near[:, drawn[1:]].mean(-1)) / 60)
    some = torch.from_numpy(x[:, drawn])
    np.testing.assert_array_equal(flock.measures["clusters"].sel(tokens="all"), clusters(some))
    for name in ("cohesion", "alignment", "dispersion", "effective_rank"):  # these need no pairs: nobody is left out
        xr.testing.assert_allclose(flock.measures[name], exact[name])
        assert "sampled" not in flock.measures[name].attrs
    for name in ("nearest", "clusters"):
        assert flock.measures[name].attrs["sampled"] == 20
        assert flock.measures[name].attrs["long_name"].endswith("(20 of 60 tokens)")
    assert flock.neighbours.shape == (4, 60, 5)  # asked for, they are those of all
    np.testing.assert_array_equal(flock.neighbours, apart.argsort(-1)[..., :5])


def test_nothing_of_the_size_tokens_by_tokens_is_made_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def gram(points: np.ndarray) -> np.ndarray:
        seen.append(points.shape)
        return was(points)

    was = linear.gram
    monkeypatch.setattr(linear, "gram", gram)
    monkeypatch.setattr(crowd, "PAIRED", 40)
    monkeypatch.setattr(crowd, "SAMPLED", 10)
    assert recording(paths(stops=3, tokens=400, width=12)).flock(null=0).measures["clusters"].notnull().all()
    assert max(shape[-2] for shape in seen) <= 12
