"""Distilled attention: examples are the layer's own, nets are causal, stand-ins stand in and leave, lengths are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import learned_attention as experiment
from sociogram.experiments.distilling import Constant, Examples, Imitator, Net, Outputs, Weights, distil, examples_of, instead

torch.set_num_threads(1)

PLACES, WIDTH = 6, 16


@pytest.fixture(scope="module")
def society() -> sg.grow.Society:
    torch.manual_seed(0)
    config = sg.grow.SocietyConfig(
        vocab_size=9, hidden_size=WIDTH, num_hidden_layers=2, max_position_embeddings=12, convolution=3
    )
    model = sg.grow.Society(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return torch.randint(9, (50, PLACES), generator=torch.Generator().manual_seed(1))


def logits(model: sg.grow.Society, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(tokens, use_cache=False).logits


def lost(net: Imitator, own: Examples) -> float:
    with torch.no_grad():
        return float(net.loss(own))


def test_examples_are_what_the_layer_read_weighed_and_added(society: sg.grow.Society, ids: torch.Tensor) -> None:
    for layer, own in zip(society.layers, examples_of(society, ids), strict=True):
        value = layer.mixer.v_proj(own.inputs).unflatten(2, (4, 4)).transpose(1, 2)
        told = layer.mixer.o_proj((own.weights @ value).transpose(1, 2).flatten(2))
        assert torch.allclose(told, own.outputs, atol=1e-5)
        assert own.weights.shape == (50, 4, PLACES, PLACES)
        assert float(own.weights.triu(1).abs().max()) == 0
    first = examples_of(society, ids)[0]
    assert torch.allclose(
        first.inputs, society.layers[0].sums(society.layers[0].mixer_norm(society.embed_tokens(ids))), atol=1e-6
    )


@pytest.mark.parametrize("form", [Outputs, Weights])
def test_nets_read_no_later_place(form: type[Outputs | Weights], society: sg.grow.Society) -> None:
    torch.manual_seed(2)
    net = form(society.layers[0].mixer, PLACES, WIDTH, 5)
    hidden = torch.randn(1, PLACES, WIDTH)
    for changed in range(PLACES):
        other = hidden.clone()
        other[0, changed] += 1
        moved = (net(hidden) != net(other))[0].any(-1).tolist()
        assert moved == [place >= changed for place in range(PLACES)]


def test_parameters_are_those_that_the_masks_leave() -> None:
    net = Net(3, 2, 5, 4)
    assert net.used == 6 * (2 * 5) + 6 * (5 * 4) + 3 * 5 + 3 * 4
    hidden = torch.randn(2, 3, 2)
    before = net(hidden)
    with torch.no_grad():
        net.gather.weight[:5, 2:] += 1  # units of the first place, from later ones
        net.tell.weight[:4, 5:] += 1
    assert torch.equal(net(hidden), before)


def test_told_the_layer_s_own_weights_the_net_is_the_layer(society: sg.grow.Society, ids: torch.Tensor) -> None:
    for layer, own in zip(society.layers, examples_of(society, ids), strict=True):
        net = Weights(layer.mixer, PLACES, WIDTH, 5)
        net.scores = lambda hidden, own=own: own.weights.log()  # type: ignore[method-assign]
        assert torch.allclose(net(own.inputs), own.outputs, atol=1e-5)
        assert lost(net, own) == pytest.approx(0, abs=1e-6)
        net.scores = lambda hidden, own=own: own.weights.roll(1, 0).log()  # type: ignore[method-assign]
        assert lost(net, own) > 1e-2


def test_the_loss_of_the_mean_output_is_one(society: sg.grow.Society, ids: torch.Tensor) -> None:
    own = examples_of(society, ids)[0]
    constant = Constant(own.outputs.mean(0))
    assert experiment._error(constant, own) == pytest.approx(1)
    net = Outputs(None, PLACES, WIDTH, 5)
    net.net = constant  # type: ignore[assignment]
    assert lost(net, own) == pytest.approx(1)
    assert experiment._error(Constant(torch.zeros(PLACES, WIDTH)), own) > 1


def test_what_stands_in_leaves_again_whatever_happens(society: sg.grow.Society, ids: torch.Tensor) -> None:
    before, own = logits(society, ids), society.layers[1].mixer
    with pytest.raises(ZeroDivisionError), instead(society, {1: Constant(torch.ones(PLACES, WIDTH))}):
        assert not torch.allclose(logits(society, ids), before)
        1 / 0  # noqa: B018
    assert society.layers[1].mixer is own
    assert torch.equal(logits(society, ids), before)


def test_distilling_lowers_the_error(society: sg.grow.Society, ids: torch.Tensor) -> None:
    own = examples_of(society, ids)[1]
    for form in (Outputs, Weights):
        torch.manual_seed(3)
        net = form(society.layers[1].mixer, PLACES, WIDTH, 8)
        before = lost(net, own)
        values = society.layers[1].mixer.v_proj.weight.clone()
        distil(net, own, steps=300, batch=50, rate=5e-3, seed=0)
        assert lost(net, own) < 0.5 * before
        assert torch.equal(society.layers[1].mixer.v_proj.weight, values), "the layer's values are not trained"
        assert society.layers[1].mixer.v_proj.weight.requires_grad


def test_shorter_sequences_are_padded_and_longer_ones_refused() -> None:
    torch.manual_seed(4)
    net, hidden = Outputs(None, PLACES, WIDTH, 5), torch.randn(2, 4, WIDTH)
    zeros = torch.zeros(2, 2, WIDTH)
    assert torch.equal(net(hidden), net(torch.cat([hidden, zeros], 1))[:, :4])
    behind = net(hidden)
    net.align = "last"
    assert torch.equal(net(hidden), net(torch.cat([zeros, hidden], 1))[:, 2:])
    assert not torch.allclose(net(hidden), behind)
    with pytest.raises(sg.InputError, match="the net has 6 places, and there are 7 tokens"):
        net(torch.randn(1, 7, WIDTH))


def test_an_imitator_of_nothing_is_none() -> None:
    with pytest.raises(NotImplementedError):
        Imitator(2, 2, 2, 2).loss(Examples(*3 * [torch.zeros(1)]))


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


def test_the_quick_run_is_whole(quick: Study) -> None:
    assert [table.title for table in quick.tables] == [*experiment.PLACE.values(), experiment.LENGTHS, experiment.SCRATCH]
    for name, title in experiment.PLACE.items():
        table = quick[title].set_index(["instead", "layer"])
        assert len(table) == 1 + 6
        assert table["fell"].notna().sum() == 2, "of the nets that were trained"
        alone = quick[experiment.SCRATCH].set_index(["task", "society"])["accuracy"]
        assert table.loc[("attention itself", "none"), "accuracy"] == alone[name, "flock"]
        assert np.allclose(table.loc["mean output", "error"], 1, atol=0.1)
        assert (table.loc["zeros", "error"] > table.loc["mean output", "error"]).all()
    lengths = quick[experiment.LENGTHS].set_index(["task", "instead", "length"])["accuracy"]
    for (_, instead_of, length), accuracy in lengths.items():
        assert np.isnan(accuracy) == (length == 14 and instead_of != "attention itself")
    assert len(quick.draw().axes) == 4


@pytest.mark.parametrize("places", [8, 14])
def test_places_that_do_not_divide_are_refused(places: int) -> None:
    with pytest.raises(sg.InputError, match=f"places={places}: a number from 12 on that 4 divides"):
        experiment.run(quick=True, places=places)
