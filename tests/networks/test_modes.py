"""Eval mode for a while, and the device of a model."""

import pytest
import torch
from torch import nn

from symscope.networks.modes import device_of, evaluation_mode


def test_every_flag_comes_back_even_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)))
    model.train()
    model[2].eval()
    flags = [module.training for module in model.modules()]
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == flags
    with pytest.raises(KeyError), evaluation_mode(model):
        raise KeyError
    assert [module.training for module in model.modules()] == flags


def test_what_is_no_module_runs_as_it_is():
    with evaluation_mode(torch.tanh):
        assert torch.tanh(torch.zeros(1)) == 0


def test_the_device_is_that_of_the_first_parameter_or_buffer():
    meta, cpu = torch.device("meta"), torch.device("cpu")
    assert device_of(nn.Linear(2, 2, device="meta"), cpu) == meta
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta"), cpu) == meta
    assert device_of(nn.Tanh(), cpu) == cpu
    assert device_of(torch.tanh, meta) == meta
