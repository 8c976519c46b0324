"""Free filters: unit atoms, and a dictionary pruned to few."""

import pytest
import torch

from studies.lgn.dictionaries import Dictionary, pruned_dictionary
from studies.lgn.planted import planted_group


def test_a_dictionary_has_free_unit_atoms():
    atoms = Dictionary(5, 7)
    torch.testing.assert_close(atoms().norm(dim=-1), torch.ones(7))
    torch.testing.assert_close(atoms(), atoms.base / atoms.base.norm(dim=-1, keepdim=True))


def test_pruning_ends_with_as_many_atoms_as_were_asked_for_and_no_twins():
    planted = planted_group("quarter turn", patch=4, filters=2, samples=1_000)
    network = pruned_dictionary(planted.samples, 8, steps=100)
    atoms = network.filters().detach()
    assert atoms.shape == (8, 16)
    assert (atoms @ atoms.T).fill_diagonal_(0).max() < 0.9
    again = pruned_dictionary(planted.samples, 8, steps=100)
    assert torch.equal(again.filters(), atoms)


@pytest.mark.parametrize("sizes", [{"dim": 0}, {"atoms": 0}])
def test_an_empty_dictionary(sizes):
    with pytest.raises(ValueError, match="must be a whole number of at least 1, got 0"):
        Dictionary(**sizes)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: pruned_dictionary(torch.randn(300, 4), 0), "atoms must be"),
        (lambda: pruned_dictionary(torch.randn(300, 4), 2, excess=0.5), "excess must be"),
        (lambda: pruned_dictionary(torch.randn(300, 4), 2, sparsity=()), "sparsity not empty"),
    ],
)
def test_a_pruning_that_cannot_be_done(call, text):
    with pytest.raises(ValueError, match=text):
        call()
