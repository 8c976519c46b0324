"""The public call: its arguments reach the decision."""

import pytest
import torch
from cases import plain, random_network, tuned_to, vectors
from helpers import random
from torch import nn

import symscope as ss


def test_levels_of_the_decision_travel_with_the_question():
    data = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    found = ss.learned_symmetries(
        lambda x: x.square().sum(1),
        data,
        action=ss.LinearAction(2),
        tolerance=0.2,
        confidence=0.8,
    )
    assert found.decision.tolerance == found.shuffled.decision.tolerance == 0.2
    assert found.decision.confidence == 0.8
    assert found.controls(data=data)["shuffled"] is found.shuffled


def test_one_sample_leaves_no_evidence():
    found = ss.learned_symmetries(
        lambda x: torch.cat([x, x * x], 1), torch.randn(1, 2), action=ss.LinearAction(2)
    )
    assert found.count is None and found.level == "no evidence"


@pytest.mark.parametrize("name", ["tolerance", "confidence"])
def test_levels_outside_of_0_and_1_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be between 0 and 1"):
        ss.learned_symmetries(
            lambda x: x, torch.randn(9, 2), action=ss.LinearAction(2), **{name: 1.5}
        )


# Levels, contrast, groups: of networks whose symmetry is broken by a known share

ROUND = ss.LinearAction(3)
SPACE = torch.randn(600, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def broken(x, share=0.25):
    a, b = (x @ torch.tensor([[1.0, 2, -1], [2, -1, 1]]).T.to(x)).unbind(1)
    return (2 * x.norm(dim=1)).sin() + share * (a.sin() + b.cos()) / 1.5


def asymmetric(x):
    return ((x @ torch.tensor([1.0, 2, -1]).to(x)).sin() + x[:, 0] ** 2 * x[:, 1]).tanh()


@pytest.fixture(scope="module")
def partly():
    return ss.learned_symmetries(broken, SPACE, action=ROUND, contrast=asymmetric)


def test_what_stands_out_is_partial_and_named(partly):
    assert (partly.count, partly.level) == (0, "partial")
    assert [partly.counted(level) for level in ("exact", "approximate", "partial")] == [0, 0, 3]
    assert len(partly.symmetries) == 0 and len(partly.at("partial")) == 3
    assert float(partly.angles_to(ss.algebra.so(3)).max()) < 15
    first, second, third = str(partly).splitlines()
    assert first.startswith("partial: so(3)") and "3 of 9 directions stand out" in first
    assert "shuffled" in second and "contrast" in second and "600 samples" in third


def test_the_ratio_to_a_contrast_network_is_paired(partly):
    ratio, bound = partly.over_contrast
    assert float(ratio[:3].max()) < 0.6 and float(bound[:3].max()) < 0.7
    same = ss.learned_symmetries(broken, SPACE, action=ROUND, contrast=broken)
    ratio, bound = same.over_contrast
    torch.testing.assert_close(ratio, torch.ones(9, dtype=torch.float64))
    torch.testing.assert_close(bound, torch.ones(9, dtype=torch.float64))  # they vary together
    assert (same.level, same.counted("partial")) == ("none", 0)  # nothing that the other lacks


def test_an_untrained_copy_can_be_the_contrast():
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    found = ss.learned_symmetries(net, SPACE.float(), action=ROUND, contrast="untrained")
    assert found.contrast.factor.samples == 600 and len(found.over_contrast[0]) == 9


def test_along_a_known_algebra_beside_its_controls(partly):
    found = partly.within(ss.algebra.so(3), other=partly.contrast)
    assert len(found.relative) == 3 and found.bound >= float(found.relative[-1])
    assert set(found.controls) == {"shuffled", "contrast", "other"}
    assert float(found.controls["shuffled"][0].min()) > 0.6 > found.bound
    units = torch.tensor([1.0, 100, 1], dtype=torch.float64)  # of the coordinates
    turned = units[:, None] * ss.algebra.so(3) / units
    scaled = ss.learned_symmetries(lambda x: broken(x / units), SPACE * units, action=ROUND)
    torch.testing.assert_close(scaled.within(turned).relative, found.relative, rtol=0.1, atol=0)


@pytest.mark.parametrize("least", [1.0, 1e-9])
def test_along_an_algebra_whatever_spans_it_in_whichever_units(least):
    units = torch.tensor([least, 1, 1 / least], dtype=torch.float64)
    found = ss.learned_symmetries(lambda x: (x / units).norm(dim=1), SPACE * units, action=ROUND)
    turns = units[:, None] * ss.algebra.so(3) / units
    told = found.within(turns)
    assert len(told.relative) == 3 and told.bound < 1e-12
    for others in (1e6 * turns, torch.cat([turns, turns[:2].sum(0, keepdim=True)])):
        again = found.within(others)
        assert len(again.relative) == 3 and again.bound < 1e-12
    with pytest.raises(ValueError, match="at least one generator"):
        found.within(turns[:0])


def test_groups_are_the_unit_of_bounds_and_of_what_is_enough():
    frames = SPACE[:40].repeat_interleave(10, 0) + 1e-9 * SPACE[:400]  # of forty molecules
    groups = torch.arange(40).repeat_interleave(10)
    alone = ss.learned_symmetries(broken, frames, action=ROUND)
    found = ss.learned_symmetries(broken, frames, action=ROUND, groups=groups)
    assert found.evidence.units == 40 and alone.evidence.units == 400
    assert all(piece.samples % 10 == 0 for piece in found.evidence.pieces)
    few = ss.learned_symmetries(broken, frames[:80], action=ROUND, groups=groups[:80])
    assert (few.count, few.level) == (None, "too few data")
    assert "8 independent groups of samples for 9 directions" in few.why()
    assert str(few).startswith("too few data: 8 independent groups")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"contrast": lambda x: x}, "contrast must have outputs like the model's, 1 a sample; got"),
        ({"contrast": "trained"}, "contrast must be a network, or 'untrained'"),
        ({"contrast": "untrained"}, "for a copy of a torch module"),  # of a plain function
        ({"groups": torch.arange(20)}, r"groups must say of every sample .* \(600,\); got \(20,\)"),
        ({"groups": torch.arange(600) % 7}, "sort the data by their groups"),
    ],
)
def test_contrasts_and_groups_that_do_not_fit_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        ss.learned_symmetries(broken, SPACE, action=ROUND, **options)


def test_a_contrast_of_another_precision_is_told_the_way_out():
    with pytest.raises(TypeError, match=r"contrast: .* on torch.float32 it does: hand in"):
        ss.learned_symmetries(broken, SPACE, action=ROUND, contrast=torch.nn.Linear(3, 1))


def test_a_contrast_reads_the_data_again():
    with pytest.raises(RuntimeError, match="data was an iterator, which is used up"):
        ss.learned_symmetries(broken, iter(SPACE.split(60)), action=ROUND, contrast=asymmetric)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda found: found.within(ss.algebra.so(4)), r"of the shape \(3, 3\) .* got \(6, 4, 4\)"),
        (lambda found: found.at("none"), "level must be one of exact, approximate, partial"),
        (lambda found: found.counted("some"), "level must be one of"),
        (lambda found: found.shuffled.over_contrast, "no contrast network was handed in"),
    ],
)
def test_questions_that_a_report_cannot_answer(partly, ask, says):
    with pytest.raises(ValueError, match=says):
        ask(partly)


def test_shifts_and_turns_that_are_broken_alike_are_equally_far_from_a_symmetry():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 12, 3, generator=draw, dtype=torch.float64)
    mix = torch.randn(36, 16, generator=draw, dtype=torch.float64) / 6
    turns, shifts = ss.algebra.homogeneous(ss.algebra.so(3)), ss.algebra.translations(3)
    for share in (0.1, 0.5):

        def energy(q, share=share):
            return torch.exp(-torch.cdist(q, q)).sum((1, 2)) + share * (
                q.flatten(1) @ mix
            ).tanh().sum(1)

        found = ss.learned_symmetries(energy, x, action=ss.PointAction())
        turned, shifted = (found.within(each).relative.mean() for each in (turns, shifts))
        assert 0.75 < float(turned / shifted) < 1.33, (share, turned, shifted)


def test_a_shift_is_told_by_the_net_force_over_that_of_random_directions():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 30, 3, generator=draw, dtype=torch.float64)
    weights = torch.randn(30, generator=draw, dtype=torch.float64)
    for share in (1, 3, 10):

        def energy(q, share=share):
            return torch.exp(-torch.cdist(q, q)).sum((1, 2)) + share * (
                q[..., 0].sin() * weights
            ).sum(1)

        (g,) = torch.autograd.grad(energy(z := x.clone().requires_grad_()).sum(), z)
        net = (g.sum(1)[:, 0].square().mean() / g.square().sum((1, 2)).mean() * 3).sqrt()
        found = ss.learned_symmetries(energy, x, action=ss.PointAction())
        along = found.within(ss.algebra.translations(3)[:1]).relative
        assert float(along[0]) == pytest.approx(float(net), rel=0.1)


def test_samples_all_in_one_frame_are_said_to_be():
    draw = torch.Generator().manual_seed(0)
    frame = torch.randn(1, 6, 3, generator=draw, dtype=torch.float64)
    still = frame + 0.03 * torch.randn(300, 6, 3, generator=draw, dtype=torch.float64)

    def energy(q):
        return torch.exp(-torch.cdist(q, q)).sum((1, 2))

    found = ss.learned_symmetries(energy, still, action=ss.PointAction())
    assert "along 3 directions all samples move alike" in str(found)
    assert (found.count, found.level) == (6, "exact")  # as far as numbers tell
    turns = torch.linalg.qr(torch.randn(300, 3, 3, generator=draw, dtype=torch.float64)).Q
    turned = ss.learned_symmetries(energy, still @ turns, action=ss.PointAction())
    assert turned.count == 6 and "move alike" not in str(turned)


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 0.005])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_constant_in_one_frame_is_no_symmetry(noise, dtype):
    frame, weights = random(6, 3, seed=1), random(6, 3, seed=2)
    still = (frame + noise * random(300, 6, 3, seed=3)).to(dtype)
    found = ss.learned_symmetries(
        lambda q: (q.square() * weights.to(q)).sum((1, 2)),
        still,
        action=ss.PointAction(group="linear"),
    )
    assert (found.count, found.counted("partial"), found.level) == (None, 0, "too few data")
    assert "along 8 directions all samples move alike, as in one frame" in str(found)


# Combinations of outputs


def many(x):
    """64 functions of the length, so that so(3) is exact."""
    return torch.sin(torch.linspace(1, 4, 64, dtype=x.dtype) * x.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("seed", range(5))
def test_exact_symmetries_stay_exact_in_combinations(seed):
    data = random(300, 3, seed=seed, dtype=torch.float64)
    found = ss.learned_symmetries(many, data, action=ROUND, seed=seed)
    assert found.mode.name == "combined"
    assert found.mode.reason.startswith("2 random combinations of 64 outputs a sample: rho is")
    assert (found.count, found.level) == (3, "exact") and found.relative[:3].max() < 1e-12
    assert float(found.angles_to(ss.algebra.so(3)).max()) < 1e-4
    assert found.factor.rows == 600


def test_combinations_err_by_as_much_as_is_said():
    function, data = random_network(3, 30, 40, 1), random(600, 3, dtype=torch.float64)
    exact = ss.learned_symmetries(function, data, action=ROUND, mode="exact")
    errors = torch.stack(
        [
            ss.learned_symmetries(function, data, action=ROUND, seed=seed).relative / exact.relative
            - 1
            for seed in range(20)
        ]
    )
    said = 0.5 * (9 / (600 * 2)) ** 0.5
    assert said / 2 < float(errors.square().mean().sqrt()) < 2 * said
    assert exact.mode.name == "forward" and exact.count == 0


def test_nothing_is_found_in_combinations_where_nothing_is():
    for seed in range(20):
        function, data = random_network(3, 30, 40, seed), random(100, 3, seed=seed).double()
        assert ss.learned_symmetries(function, data, action=ROUND).count == 0


@pytest.mark.parametrize(
    ("outputs", "samples", "mode"),
    [(2, 300, "reverse"), (9, 300, "reverse"), (10, 300, "combined"), (10, 24, "exact")],
)
def test_combinations_are_taken_where_there_are_more_outputs(outputs, samples, mode):
    data = random(samples, 3, dtype=torch.float64)
    found = ss.learned_symmetries(random_network(3, 30, outputs, 0), data, action=ROUND)
    assert found.mode.name == ("forward" if mode == "exact" else mode)


@pytest.mark.parametrize("size", [7, 64, 100])
def test_cutting_the_data_changes_nothing_of_combinations(size, monkeypatch):
    function, data = random_network(3, 30, 40, 1), random(300, 3, dtype=torch.float64)
    whole = ss.learned_symmetries(function, data, action=ROUND)
    cut = ss.learned_symmetries(function, data, action=ROUND, batch_size=size)
    torch.testing.assert_close(cut.liegg.variance, whole.liegg.variance)
    tuned_to(monkeypatch, chunk_bytes=2 * 3 * 8 * size)  # two combinations of so many samples
    small = ss.learned_symmetries(function, data, action=ROUND)
    torch.testing.assert_close(small.liegg.variance, whole.liegg.variance)


# Gradients that are at hand


@pytest.mark.parametrize("outputs", [1, 5])
def test_gradients_at_hand_give_the_answer_of_their_network(outputs):
    function, data = random_network(8, 30, outputs, 0), vectors(300)
    leaf = data.clone().requires_grad_()
    values = function(leaf)
    gradients = torch.stack(
        [
            torch.autograd.grad(values[:, c].sum(), leaf, retain_graph=True)[0]
            for c in range(outputs)
        ],
        1,
    )
    action = ss.LinearAction(4, copies=2)
    expected = ss.learned_symmetries(function, data, action=action, mode="reverse")
    found = ss.symmetries_of_gradients(data, gradients, action)
    torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)
    torch.testing.assert_close(found.relative, expected.relative, rtol=0.3, atol=0)
    assert (found.count, found.mode.name) == (expected.count, "gradients")
    with pytest.raises(RuntimeError, match="no data to ask again"):
        found.controls()
    if outputs == 1:
        one = ss.symmetries_of_gradients(data, gradients[:, 0], action)
        torch.testing.assert_close(one.relative, found.relative)


@pytest.mark.parametrize(
    ("x", "gradients", "error", "told"),
    [
        (vectors(9), vectors(8), ValueError, r"inputs' shape \(9, 8\), or of .*got \(8, 8\)"),
        (vectors(9), vectors(9)[:, :, None], ValueError, r"got \(9, 8, 1\)"),
        (vectors(9), vectors(9).long(), TypeError, "gradients must be a tensor of floating-point"),
        ([vectors(9)], vectors(9), TypeError, "x must be a tensor .* got list"),
        (vectors(90), vectors(90) * torch.nan, ValueError, "sample 0 are NaN"),
        (vectors(90), vectors(90) * 0, ValueError, "exactly zero"),
    ],
)
def test_bad_gradients(x, gradients, error, told):
    with pytest.raises(error, match=told):
        ss.symmetries_of_gradients(x, gradients, ss.LinearAction(8))


# Checks that count for others


class Detached(nn.Module):
    """A network of which autograd sees half."""

    def __init__(self, wide: int = 9):
        super().__init__()
        self.inner = plain(3, wide, 1)

    def forward(self, x):
        return self.inner(x).sin() + self.inner(x.detach()).square()


def test_derivatives_of_a_member_or_control_alike_are_not_compared_again():
    data = random(200, 3)
    with pytest.raises(ValueError, match="autograd does not see"):
        ss.learned_symmetries(Detached(), data, action=ROUND)
    first, sound = Detached(), Detached()
    sound.forward = lambda x: sound.inner(x).sin()
    checked = ss.learned_symmetries(sound, data, action=ROUND)
    checked.controls(untrained=first)  # which was not asked for
    ss.learned_symmetries(first, data, action=ROUND, checked=checked)
    with pytest.raises(ValueError, match="autograd does not see"):  # another architecture
        checked.controls(untrained=Detached(10))


@pytest.mark.parametrize(
    ("part", "level"),
    [(0, "exact"), (0.02, "approximate"), (0.2, "partial"), (0.45, "partial"), (None, "none")],
)
def test_an_algebra_that_was_named_has_a_level_of_its_own(part, level):
    """At 0.45 the search says none: nothing stands out from the next direction."""
    for seed in range(3):
        x, first, phase = (
            random(*size, seed=10 * seed + k, dtype=torch.float64)
            for k, size in enumerate([(900, 3), (3, 16), (16,)])
        )

        def wave(x, first=first, phase=phase):
            return torch.cos(x @ first + 3 * phase).mean(1)  # about as steep as the rest

        def network(x, wave=wave):
            return wave(x) if part is None else (2 * x.norm(dim=1)).sin() / 4 + part * wave(x)

        found = ss.learned_symmetries(network, x, action=ss.LinearAction(3))
        assert found.within(ss.algebra.so(3)).level == level
        assert found.level in (level, "none")


def test_in_one_frame_a_named_turn_is_not_judged():
    """One gradient happens to stand across a turn in half of all calls."""
    turns = torch.nn.functional.pad(ss.algebra.so(3), (0, 1, 0, 1))
    for seed in range(4):
        frame, weights, last, noise = (
            random(*size, seed=10 * seed + k, dtype=torch.float64)
            for k, size in enumerate([(8, 3), (24, 16), (16,), (400, 8, 3)])
        )
        found = ss.learned_symmetries(
            lambda x, w=weights, v=last: torch.tanh(x.flatten(1) @ w / 5) @ v,
            frame + 0.03 * noise,
            action=ss.PointAction(3),
        )
        assert {found.within(turn[None]).level for turn in turns} == {"too few data"}
