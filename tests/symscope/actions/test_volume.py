"""Volumes: rows, fields and flow agree, and a function of distances keeps rotations."""

import pytest
import torch
from helpers import random

import symscope as ss
from symscope.actions import VolumeAction
from symscope.testing import check_action


def blobs(count: int, sides=(13, 12, 11), channels: int = 1) -> torch.Tensor:
    """Smooth volumes that are dark at their border: two lumps each, somewhere."""
    axes = [torch.arange(s, dtype=torch.float64) - (s - 1) / 2 for s in sides]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    centres = 1.5 * random(count, channels, 2, 3, dtype=torch.float64)
    apart = grid - centres[:, :, :, None, None, None]
    return (-apart.square().sum(-1) / 5).exp().sum(2)


@pytest.mark.parametrize("group", ["gl3", "affine"])
@pytest.mark.parametrize("channels", [0, 2])
def test_rows_fields_and_flow_agree(group, channels):
    volumes = blobs(3, channels=channels or 1)
    volumes = volumes if channels else volumes[:, 0]
    errors = check_action(VolumeAction(group), volumes)
    assert set(errors) == {"rows", "fields", "group law"} and errors["rows"] < 1e-3


def test_a_quarter_turn_is_that_of_the_array():
    cube = random(2, 5, 5, 5, dtype=torch.float64)
    turn = torch.zeros(3, 3, dtype=torch.float64)
    turn[0, 1], turn[1, 0] = -1, 1
    turned = VolumeAction().flow(cube, turn, torch.pi / 2)
    torch.testing.assert_close(turned, cube.flip(-2).mT, rtol=1e-6, atol=1e-6)


def test_shifts_are_along_the_axes():
    volumes = blobs(2)
    shift = torch.zeros(4, 4, dtype=torch.float64)
    shift[0, 3] = 2 / 12  # one voxel
    moved = VolumeAction("affine").flow(volumes, shift, 1.0)
    torch.testing.assert_close(moved[..., 1:], volumes[..., :-1], rtol=1e-6, atol=1e-6)


def test_a_network_of_volumes_is_asked_with_one_call():
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool3d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    )
    found = ss.learned_symmetries(network, blobs(40).float(), action=VolumeAction("affine"))
    assert found.generators.shape[1:] == (4, 4) and found.count is not None


@pytest.mark.parametrize("shape", [(4, 5, 5), (4, 1, 2, 5, 5), (4, 1, 1, 5, 5, 5)])
def test_what_is_no_volume_is_refused(shape):
    with pytest.raises(ValueError, match=r"must be volumes \(N, D, H, W\) .*at least 3 voxels"):
        VolumeAction().check(torch.zeros(shape))
    with pytest.raises(ValueError, match="are moved by VolumeAction"):
        ss.PlaneAction().check(torch.zeros(4, 1, 5, 5, 5))
