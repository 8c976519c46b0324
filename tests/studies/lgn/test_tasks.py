"""The tasks: to reconstruct, to denoise, to classify, each judged by its own loss."""

import pytest
import torch
from helpers import random
from torch import nn

from studies.lgn import tasks
from studies.lgn.dictionaries import Dictionary
from studies.lgn.unfolded import UnfoldedImages, UnfoldedPatches
from studies.networks import seeded


def patches(dim: int = 9, atoms: int = 14, **options) -> UnfoldedPatches:
    return seeded(lambda: UnfoldedPatches(Dictionary(dim, atoms), **options), 0)


def images(dim: int = 9, atoms: int = 4, **options) -> UnfoldedImages:
    return seeded(lambda: UnfoldedImages(Dictionary(dim, atoms), **options), 0)


@pytest.mark.parametrize("network", [patches(depth=3), images(shape=(9, 9), depth=3)])
def test_heads_judge_their_tasks(network):
    shape = (6, 9) if isinstance(network, UnfoldedPatches) else (6, 9, 9)
    network.eval()
    x, clean = random(*shape), random(*shape, seed=1)
    found = network(x)
    reconstructor, denoiser = tasks.Reconstructor(network), tasks.Denoiser(network)
    torch.testing.assert_close(reconstructor(x), found.output)
    torch.testing.assert_close(reconstructor.loss(x), network.objective(x, found))
    torch.testing.assert_close(denoiser(x), found.output)
    expected = (clean - found.output).flatten(1).square().sum(1).mean() / 2
    torch.testing.assert_close(denoiser.loss(x, clean), expected)
    classifier = seeded(lambda: tasks.Classifier(network, classes=3, pool=2), 0)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    sizes = found.codes.abs()
    if sizes.ndim == 4:  # 4 x 4 places, in regions of 2 x 2
        sizes = sizes.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1)).flatten(1)
    torch.testing.assert_close(classifier(x), classifier.linear(sizes))
    expected = nn.functional.cross_entropy(classifier(x), labels)
    torch.testing.assert_close(classifier.loss(x, labels), expected)


@torch.no_grad()
def test_a_reconstructor_judges_filters_that_are_handed_in():
    network, other = patches(depth=3), patches(9, 5, depth=3)
    head, x = tasks.Reconstructor(network), random(6, 9)
    given = head.loss(x, filters=random(14, 9, seed=3))
    assert given != head.loss(x)
    torch.testing.assert_close(head.loss(x, filters=network.filters()), head.loss(x))
    torch.testing.assert_close(
        head.loss(x, filters=other.filters()), other.objective(x, other(x)) + 0 * given
    )


def test_a_classifier_needs_classes_and_regions():
    with pytest.raises(ValueError, match="classes must be a whole number of at least 2, got 1"):
        tasks.Classifier(patches(), classes=1)
    with pytest.raises(ValueError, match="pool must be a whole number of at least 1, got 0"):
        tasks.Classifier(patches(), pool=0)
