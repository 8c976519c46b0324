"""The report on an image network: its levels, its words, its names."""

import pytest
import torch

from symscope.actions.plane import PlaneAction
from symscope.algebra import matrices as algebra
from symscope.decide.decision import PLANE, RULE
from symscope.decide.rule import decide
from symscope.extract.evidence import NETWORK, RANDOM, Evidence
from symscope.reports.plane import PlaneSymmetries, named_movements

REFERENCE = torch.linspace(0.8, 1.2, 101).double()


def made(q: list[float], contrast: list[float] | None = None, group: str = "affine"):
    """A report in which the change along each element of the basis is given."""

    def evidence(changes: list[float]) -> Evidence:
        held = Evidence(len(changes))
        for start, stop, piece in held.spans(320):
            n = stop - start
            grams = (
                torch.diag(torch.tensor(changes).double() ** 2),
                torch.eye(len(changes)) / RULE.kappa**2,
            )
            for kind, gram in zip((NETWORK, RANDOM), grams, strict=True):
                piece.factors[kind].update_gram(n * gram.double(), n, n, torch.float64)
        return held

    other = None if contrast is None else decide(evidence(contrast), PLANE.loose)
    own = evidence(q)
    return PlaneSymmetries(PlaneAction(group), own, other, REFERENCE)


@pytest.mark.parametrize(
    ("q", "count", "answer"),
    [
        ([0.05, 1, 1, 1], 1, "exact"),
        ([0.05, 0.09, 1, 1], 2, "exact"),
        ([0.05, 0.14, 1, 1], 2, "approximate"),
        ([0.01, 0.14, 1, 1], 2, "approximate"),  # whatever the gap between them
        ([0.05, 0.09, 0.2, 1], 3, "approximate"),
        ([0.3, 1, 1, 1], 1, "approximate"),
        ([0.3, 0.5, 1, 1], 1, "approximate"),  # no gap is needed
        ([0.09, 0.2, 0.5, 1], 2, "approximate"),
        ([0.35, 2, 2, 2], 0, "none"),
        ([1, 1, 1, 1], 0, "none"),
    ],
)
def test_the_answers(q, count, answer):
    found = made(q, group="gl2")
    assert (found.count, found.level) == (count, answer)
    torch.testing.assert_close(found.q, torch.tensor(q).double(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "learned"),
    [([0.3, 1, 1, 1], 1), ([0.2, 0.25, 1, 1], 2), ([0.2, 0.6, 0.9, 1], 1), ([0.9, 1, 1, 1], 0)],
)
def test_what_was_learned(change, learned):
    assert made([1, 1, 1, 1], change, "gl2").learned == learned
    assert made([1, 1, 1, 1], [PLANE.learned + 0.01, 1, 1, 1], "gl2").learned == 0


def test_along_a_generator():
    found = made([0.1, 0.3, 0.5, 0.7], group="gl2")
    both = torch.tensor([[3.0, 4.0], [0, 0]])
    expected = ((3 * 0.1) ** 2 + (4 * 0.3) ** 2) ** 0.5 / 5
    assert found.along(both) == pytest.approx(expected)
    names = found.named()
    assert list(names)[0] == "scaling of x" and "translation in x" not in names
    for wrong in (torch.eye(3), torch.zeros(2, 2)):
        with pytest.raises(ValueError, match="generator must be"):
            found.along(wrong)
    with pytest.raises(ValueError, match="generator must be in the algebra"):
        made([1] * 6).along(torch.eye(3))


def test_what_cannot_be_told_apart_is_said():
    found = made([1, 0.40, 1, 1, 0.38, 1])  # a shear and a translation
    assert found.alike() == ["translation in x", "shear along x"]
    assert "not told apart: translation in x, shear along x" in found.why()
    for clear in ([1, 0.15, 1, 1, 1, 1], [1, 0.30, 1, 1, 0.28, 1], [1, 1, 1, 1, 1, 1]):
        assert made(clear).alike() == [] and "not told apart" not in made(clear).why()
    unlike = made([1.0, 0.6, 1, 1, 0.55, 1])
    span = algebra.principal_angles(unlike.span, torch.stack(
        [named_movements(unlike.action)[name] for name in ("shear along x", "translation in x")]
    ))  # fmt: skip
    assert float(span.max()) < 1e-3


def test_words_and_picture():
    found = made([0.05, 1, 1, 1], [0.2, 1, 1, 1], "gl2")
    assert "1 of 4 directions are symmetries: exact" in found.why()
    assert "1 learned" in found.why() and "(95% of these: 0.81 to 1.2)" in found.why()
    assert "1 of 4 directions (exact; relative changes 0.05, 1, ...)" in repr(found)
    assert len(found.plot().axes) == 2


def test_names_of_the_plane():
    affine = named_movements(PlaneAction("affine"))
    assert len(affine) == 10 and len(named_movements(PlaneAction())) == 8
    angle = algebra.principal_angles(affine["rotation"][None], algebra.homogeneous(algebra.so(2)))
    assert float(angle) < 1e-6
