"""Routers: exact counts, choices replaced, causal readings, operations by formula, enrichment against hand-made choices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.experiments import Study, routers
from sociogram.experiments import depth_routing as experiment
from sociogram.experiments.best_rate import Plan, Run, grow_all
from sociogram.experiments.routed_tokens import enrichment, round_kinds, side_by_side, text_kinds
from sociogram.experiments.routing_cost import cost, counted_flops, flops

torch.set_num_threads(1)

SIZES = {"vocab_size": 19, "hidden_size": 16, "num_hidden_layers": 4, "max_position_embeddings": 16}
ROUTED = {**SIZES, "kind": "routed", "routed_share": 0.3}


def society(config: dict[str, object], seed: int = 0) -> sg.grow.Society:
    """Random weights, larger than training starts from, so that everything matters."""
    torch.manual_seed(seed)
    model = sg.grow.Society(sg.grow.SocietyConfig(**config)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def tokens(count: int = 6, length: int = 12, seed: int = 1) -> torch.Tensor:
    return torch.randint(19, (count, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "config",
    [
        SIZES,
        {**SIZES, "intermediate_size": 37, "num_hidden_layers": 2},
        ROUTED,
        {**ROUTED, "routing": "random", "routed_share": 0.5},
        {**ROUTED, "num_hidden_layers": 3},
    ],
)
@pytest.mark.parametrize("length", [7, 12])
def test_operations_by_formula_are_those_that_torch_counts(config: dict[str, object], length: int) -> None:
    model = society(config)
    assert counted_flops(model, tokens(3, length)) == pytest.approx(flops(model.config, length), rel=1e-12)
    assert not model.training


def test_the_rivals_have_as_many_operations() -> None:
    chosen = experiment.FULL
    plans = {plan.name: plan for plan in experiment.plans_of(chosen, 100)}
    need = {name: flops(sg.grow.SocietyConfig(**plan.config), chosen.tokens) for name, plan in plans.items()}
    assert need[experiment.SHALLOW] == pytest.approx(need[experiment.ROUTED], rel=0.005)
    assert need[experiment.LOT] == pytest.approx(need[experiment.ROUTED], rel=0.005)
    total = need[experiment.SHORTER] * plans[experiment.SHORTER].steps
    assert total == pytest.approx(need[experiment.ROUTED] * chosen.steps, rel=0.005)
    assert need[experiment.ROUTED] < 0.7 * need[experiment.FLOCK]


def test_the_choice_that_is_already_made_changes_nothing_and_another_does() -> None:
    model, ids = society(ROUTED), tokens()
    own = routers.choices(model, ids)
    assert sorted(own) == sorted(routers.routers_of(model)) == [1, 3]
    assert all(bool((chosen.sum(1) == 3).all()) for chosen in own.values())
    plain = routers.losses(model, ids, ids)
    with routers.choosing(model, lambda number, scores: own[number]):
        assert torch.equal(routers.losses(model, ids, ids), plain)
    with routers.choosing(model, routers.drawn(0.3, torch.Generator().manual_seed(0))):
        assert all(bool((chosen.sum(1) == 3).all()) for chosen in routers.choices(model, ids).values())
        assert not torch.allclose(routers.losses(model, ids, ids), plain)
    assert torch.equal(routers.losses(model, ids, ids), plain), "the routers are as they were"


def test_thresholds_let_the_share_take_part_and_are_causal() -> None:
    model, ids = society(ROUTED), tokens(40)
    limits = routers.thresholds(model, ids)
    other = routers.other_future(ids)
    assert torch.equal(other[:, :6], ids[:, :6])
    assert torch.equal(other[1:, 6:], ids[:-1, 6:])
    with routers.choosing(model, routers.above(limits)):
        shares = [float(chosen.double().mean()) for chosen in routers.choices(model, ids).values()]
        assert shares == pytest.approx([0.3, 0.3], abs=0.003)
        assert torch.equal(routers.losses(model, ids, ids)[:, :6], routers.losses(model, other, ids)[:, :6])
        assert torch.allclose(routers.prefix_losses(model, ids, ids), routers.losses(model, ids, ids), atol=1e-12)
    assert not torch.equal(routers.losses(model, ids, ids)[:, :6], routers.losses(model, other, ids)[:, :6])
    seen = {}

    def noting(number: int, scores: torch.Tensor) -> torch.Tensor:
        seen[number] = float(scores.flatten().quantile(0.7))
        return scores > limits[number]

    with routers.choosing(model, noting):
        routers.losses(model, ids, ids)
    assert seen == limits, "the upper layer's limit is of scores behind the lower layer's own choice"


@pytest.mark.parametrize("config", [SIZES, {**ROUTED, "routing": "random"}, ROUTED])
def test_prefixes_are_the_whole_where_the_future_is_not_seen(config: dict[str, object]) -> None:
    model, ids = society(config), tokens()
    apart = (routers.prefix_losses(model, ids, ids) - routers.losses(model, ids, ids)).abs()
    if config is SIZES:
        assert float(apart.max()) < 1e-12
    assert float(apart[:, -1].max()) < 1e-12, "the last prefix is the whole"
    by_hand = model(ids[:, :5], use_cache=False).logits[:, -1].log_softmax(-1).gather(1, ids[:, 4:5])[:, 0]
    assert torch.allclose(routers.prefix_losses(model, ids, ids)[:, 4], -by_hand)


def test_only_a_learned_choice_sees_the_future() -> None:
    ids = tokens(30)
    for config, sees in ((SIZES, False), ({**ROUTED, "routing": "random"}, False), (ROUTED, True)):
        model = society(config)
        run = Run(Plan("one", config, 1), 0, 0.1, (), type("Grown", (), {"model": model}))
        found = experiment.leak(run, ids, ids)
        assert (found["moved"] > 0.05) == (found["largest"] > 0) == sees
        assert (found["dearer"] == 0) == (not sees)


def test_enrichment_of_choices_made_by_hand() -> None:
    kind = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 0, 1, 0]]).bool()
    by = {"kind": kind, "all": torch.ones_like(kind)}
    table = enrichment(kind, by).set_index("tokens")
    assert table["base"].to_dict() == {"kind": 3 / 8, "all": 1}
    assert table["enrichment"].to_dict() == {"kind": pytest.approx(8 / 3), "all": 1}
    assert enrichment(~kind, by)["enrichment"].tolist() == [0, 1]
    assert enrichment(torch.ones_like(kind), by)["enrichment"].tolist() == [1, 1]


def test_kinds_of_characters_and_of_rounds() -> None:
    task = sg.grow.Language("character", length=16)
    ids = torch.tensor(task.tokenizer.encode("See 3 words, new\n"))[None]
    kinds = text_kinds(task, ids, torch.arange(17.0)[None])
    told = {name: "".join("See 3 words, new\n"[i] for i in where[0].nonzero()[:, 0]) for name, where in kinds.items()}
    assert told["letter, first of a word"] == "Swn"
    assert told["letter, inside a word"] == "eeordsew"
    assert (told["space"], told["line break"], told["digit"], told["punctuation"]) == ("   ", "\n", "3", ",")
    assert told["next is hard (highest quarter)"] == " new\n"
    assert told["next is easy (lowest quarter of loss)"] == "See 3"
    rounds = round_kinds(torch.tensor([[-100, -100, -100, 5, 6, 7]]))
    assert [where[0].nonzero()[:, 0].tolist() for where in rounds.values()] == [[0, 1, 2], [3], [4, 5]]


def test_the_best_rate_is_the_one_that_ends_lowest() -> None:
    task = sg.grow.Copy(vocab_size=5, tokens=3)
    config = {"vocab_size": 5, "hidden_size": 16, "num_hidden_layers": 1, "max_position_embeddings": 6}
    for rates in ((1e-5, 1e-2), (1e-2, 1e-5)):
        runs = grow_all([Plan("flock", config, 30)], task, rates=rates, seeds=[4, 5], batch=16)
        assert [run.rate for run in runs] == [1e-2, 1e-2]
        assert [run.seed for run in runs] == [4, 5]
        assert runs[0].tried[rates.index(1e-2)] == min(runs[0].tried)
        assert runs[0].fell > -0.5
        assert runs[0].grown.history["test_loss"].iloc[-1] == min(runs[0].tried)


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


def test_the_quick_run_is_whole(quick: Study) -> None:
    titles = [experiment.COST, experiment.GAIN, experiment.LEAK, experiment.KINDS, experiment.ROUNDS]
    assert [table.title for table in quick.tables] == titles
    costs, gains, leaks = (quick[title].set_index("society") for title in titles[:3])
    assert np.allclose(costs["flops"], costs["counted"])
    assert gains.loc["routed", "compute"] == pytest.approx(costs.loc["routed", "relative_flops"])
    assert gains.loc["flock", "prefix"] == pytest.approx(gains.loc["flock", "whole"], abs=1e-5)
    assert gains[["threshold", "by_lot"]].notna().any(axis=1).to_dict() == {name: name == "routed" for name in gains.index}
    assert leaks["largest"].to_dict() == {"flock": 0, "routed by lot": 0, "routed": leaks.loc["routed", "largest"]}
    assert len(quick.draw().axes) == 3


def test_side_by_side_keeps_seeds_apart() -> None:
    kinds, choices = {"a": torch.tensor([[True, True, False]])}, ([True, True, False], [True, False, True])
    tables = [
        enrichment(torch.tensor([chosen]), kinds).assign(router=router, layer=1)
        for router in ("learned", "untrained")
        for chosen in choices
    ]
    row = side_by_side(tables).iloc[0]
    assert (row["learned"], row["lowest"], row["highest"], row["base"]) == (1, 0, 2, 0.5)


def test_costs_name_each_society_once() -> None:
    table = cost({"a": society(SIZES).float(), "b": society(ROUTED).float()}, (2, 8), rounds=1)
    assert table["society"].tolist() == ["a", "b"]
    assert table["relative_flops"].iloc[0] == 1 > table["relative_flops"].iloc[1]


def test_odd_layers_are_refused() -> None:
    with pytest.raises(sg.InputError, match="layers=3: every second one is routed"):
        experiment.run(quick=True, layers=3)
