"""Norms and projections as linear maps with this run's scale."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from sociogram.models.frozen import freeze_norm, is_affine, projection_matrix


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.3, std=1.0)
    return module


@pytest.mark.parametrize("width", [7, 16])
@pytest.mark.parametrize(
    ("norm", "centred"),
    [(nn.LayerNorm, True), (nn.RMSNorm, False), (lambda w: nn.LayerNorm(w, elementwise_affine=False), True)],
)
def test_a_norm_is_its_frozen_form(norm: type[nn.Module], centred: bool, width: int) -> None:
    module = randomised(norm(width)).double()
    x = torch.randn(3, 5, width, dtype=torch.float64) + 2
    frozen = freeze_norm(module, width, x)
    assert frozen is not None
    assert frozen.centred == centred
    y = module(x)
    torch.testing.assert_close(frozen.scale(x, y)[..., None] * frozen.linear(x) + frozen.bias, y, rtol=1e-6, atol=1e-6)


def test_gain_stored_as_one_plus_g_is_found_too() -> None:
    from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm

    module = randomised(Gemma2RMSNorm(8))
    x = torch.randn(2, 4, 8)
    frozen = freeze_norm(module, 8, x)
    assert frozen is not None
    torch.testing.assert_close(frozen.gain, 1 + module.weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("other", [nn.Linear(8, 8), nn.GELU(), nn.Identity(), nn.Tanh(), nn.Softmax(-1), nn.Linear(8, 4)])
def test_what_is_no_norm_is_not_taken_for_one(other: nn.Module) -> None:
    assert freeze_norm(other, 8, torch.zeros(1)) is None


def test_transposed_is_the_transpose_of_linear() -> None:
    frozen = freeze_norm(randomised(nn.LayerNorm(6)), 6, torch.zeros(1))
    assert frozen is not None
    x, u = torch.randn(6), torch.randn(6)
    torch.testing.assert_close(frozen.linear(x) @ u, x @ frozen.transposed(u))


@pytest.mark.parametrize(
    "module", [nn.Linear(5, 7), nn.Linear(5, 7, bias=False), Conv1D(7, 5), nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 7))]
)
def test_projection_matrix_of_any_affine_module(module: nn.Module) -> None:
    matrix, bias = projection_matrix(randomised(module), 5, torch.zeros(1))
    x = torch.randn(4, 5)
    torch.testing.assert_close(x @ matrix + bias, module(x), rtol=1e-5, atol=1e-5)


def test_affine_is_told_from_what_only_looks_so() -> None:
    assert is_affine(nn.Linear(8, 3), 8, torch.zeros(1))
    assert not is_affine(nn.Sequential(nn.Linear(8, 8), nn.GELU()), 8, torch.zeros(1))
    assert not is_affine(nn.LayerNorm(8), 8, torch.zeros(1))


def test_what_is_remembered_of_weights_is_forgotten_when_they_change() -> None:
    module = nn.Linear(5, 7)
    first, _ = projection_matrix(module, 5, torch.zeros(1))
    assert projection_matrix(module, 5, torch.zeros(1))[0] is first
    bias = projection_matrix(module, 5, torch.zeros(1))[1].clone()
    with torch.no_grad():
        module.bias.add_(1.0)
    torch.testing.assert_close(projection_matrix(module, 5, torch.zeros(1))[1], bias + 1)
    module.weight.data.mul_(2.0)  # past torch's version counter
    torch.testing.assert_close(projection_matrix(module, 5, torch.zeros(1))[0], module.weight.T)
    module.weight.data[[0, 1]] = module.weight.data[[1, 0]].clone()
    torch.testing.assert_close(projection_matrix(module, 5, torch.zeros(1))[0], module.weight.T)
    module.weight = nn.Parameter(torch.ones(7, 5))
    torch.testing.assert_close(projection_matrix(module, 5, torch.zeros(1))[0], torch.ones(5, 7))
