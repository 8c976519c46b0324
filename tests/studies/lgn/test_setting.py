"""The authors' setting: what the images are, what a training restores, what is refused."""

import pytest
import torch

from studies.lgn import setting

FEW = {"train": 64, "test": 20, "statistics": 1500}


def test_photographs_are_whitened_by_more_images_than_are_trained_on():
    problem = setting.images("photographs", **FEW)
    assert problem.splits.train.inputs.shape == (64, 3, 16, 16) and problem.classes == 3
    assert len(problem.splits.test.inputs) == 20
    every = setting.images("photographs", train=1500, test=20, statistics=1500).splits.train.inputs
    assert torch.equal(every[:64], problem.splits.train.inputs)
    flat = every.flatten(1).double()
    variances = torch.linalg.eigvalsh(flat.mT @ flat / len(flat))
    assert variances[1:].sub(1).abs().max() < 0.01  # all but the mean, which crops do not have
    assert variances[0] < 0.01


def test_digits_are_standardised_with_one_channel():
    problem = setting.images("rotated digits", train=30, test=10)
    assert problem.splits.train.inputs.shape == (30, 1, 28, 28) and problem.classes == 10
    assert problem.splits.name == "rotated MNIST (embedded)"


@pytest.mark.parametrize("task", setting.TASKS)
def test_a_network_is_trained_by_the_recipe(task):
    problem = setting.images("photographs", **FEW)
    start = setting.untrained(problem, task, sets=2, seed=3)
    head = setting.trained(problem, task, sets=2, epochs=2, batch_size=32, seed=3)
    again = setting.trained(problem, task, sets=2, epochs=2, batch_size=32, seed=3)
    free = setting.trained(
        problem, task, sets=2, epochs=2, batch_size=32, seed=3, regularised=False
    )
    assert len(head.network.norms) == (3 if task == "classify" else 0)
    for layer, orbits in enumerate(head.network.orbits):
        torch.testing.assert_close(
            orbits.generators.flatten(2).norm(dim=2), torch.ones(2, 3), rtol=1e-4, atol=0
        )
        other = free.network.orbits[layer]
        assert torch.equal(orbits.generators, again.network.orbits[layer].generators)
        assert not torch.equal(orbits.generators, other.generators)
        # B has a gradient from the regulariser alone.
        assert torch.equal(other.inverses, start.network.orbits[layer].inverses)
        assert not torch.equal(orbits.inverses, other.inverses)


def test_a_run_is_measured_on_held_out_images():
    options = {**FEW, "train": 128, "epochs": 1, "sets": 2, "seed": 3}
    found = setting.run("photographs", "reconstruct", "learned", **options)
    test = setting.images("photographs", **{**FEW, "train": 128}).splits.test.inputs
    assert found["nothing"] == pytest.approx(float(test.square().mean()))
    assert 0 < found["score"] < 2 * found["nothing"]
    assert found["generators"].shape == (4, 2, 3, 36, 36)
    assert found["atoms"].shape == (4, 2, 4, 3, 36) and found["usage"].shape == (4, 2, 4)
    assert found["residual"].shape == (4,)
    # Base filters and A in four layers, thresholds, D.
    assert found["parameters"] == 4 * 2 * 3 * (36 + 36 * 36) + 4 * 8 + 8 * 108
    free = setting.run("photographs", "classify", "free", **options)
    assert "generators" not in free and 0 <= free["score"] <= 1
    expected = 4 * 8 * 108 + 4 * 8 + 3 * 16 + (8 * 16 + 1) * 3
    assert free["parameters"] == expected


def test_the_time_of_a_training_is_its_own():
    problem = setting.images("photographs", **FEW)
    short, long = (
        setting.timed(problem, "classify", epochs=e, batch_size=32, sets=1) for e in (0.5, 20)
    )
    assert 0 < short < long


def test_what_is_refused():
    with pytest.raises(ValueError, match="source must be one of photographs, digits"):
        setting.images("SVHN", 10, 10)
    with pytest.raises(ValueError, match="statistics must be at least train = 100, got 99"):
        setting.images("photographs", 100, 10, statistics=99)
    with pytest.raises(ValueError, match="task must be one of classify, reconstruct"):
        setting.untrained(setting.images("photographs", **FEW), "denoise")
