"""Functions whose symmetry algebra is known exactly: right dimension, right algebra, no others."""

import pytest
import torch

import symscope as ss
from symscope import algebra


def radius(x):
    return x.norm(dim=-1)


def angle(x):
    a, b = x.unflatten(1, (2, -1)).unbind(1)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def o5(x):
    a, b = x[:, :5], x[:, 5:]
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return a.norm(dim=1).sin() - b.norm(dim=1) ** 3 / 2 + cosine


def minkowski(x):
    return (-(x[:, 0] ** 2) + (x[:, 1:] ** 2).sum(1)).div(4).sin()


def area(x):
    return (x[:, 0] * x[:, 3] - x[:, 1] * x[:, 2]).sin()


def symplectic(x):
    a, b = x[:, :4], x[:, 4:]
    return ((a[:, :2] * b[:, 2:]).sum(1) - (a[:, 2:] * b[:, :2]).sum(1)).div(3).sin()


def direction(x):
    return x / x.norm(dim=1, keepdim=True)


def generic(x):
    # Many outputs in random directions treat all directions alike. Small weights, since a
    # saturated tanh is nearly invariant under scaling.
    weights = torch.randn(x.shape[1], 64, generator=torch.Generator().manual_seed(1))
    return torch.tanh(0.3 * x @ weights.to(x))


SO2_OF_3 = torch.zeros(1, 3, 3, dtype=torch.float64)
SO2_OF_3[0, 0, 1], SO2_OF_3[0, 1, 0] = 1, -1

# name: function, n, copies, algebra
KNOWN = {
    "so(2)": (radius, 2, 1, algebra.so(2)),
    "so(3)": (radius, 3, 1, algebra.so(3)),
    "so(5)": (o5, 5, 2, algebra.so(5)),
    "so(1,3)": (minkowski, 4, 1, algebra.so(1, 3)),
    "sl(2)": (area, 2, 2, algebra.sl(2)),
    "sp(4)": (symplectic, 4, 2, algebra.sp(4)),
    "scaling": (direction, 3, 1, algebra.scaling(3)),
    "gl(1)xso(3)": (angle, 3, 2, torch.cat([algebra.scaling(3), algebra.so(3)])),
}


def ask(function, n, copies, dtype, turn=None):
    data = torch.randn(1500, copies * n, generator=torch.Generator().manual_seed(0)).to(dtype)
    if turn is not None:  # the same function in another basis of R^n: f'(x) = f(turn^-1 x)
        data = (data.reshape(-1, copies, n) @ turn.T).reshape(data.shape)
        back = torch.linalg.inv(turn).T

        def moved(x):
            return function((x.reshape(-1, copies, n) @ back).reshape(x.shape))

        return ss.learned_symmetries(moved, data, action=ss.LinearAction(n, copies=copies))
    return ss.learned_symmetries(function, data, action=ss.LinearAction(n, copies=copies))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", KNOWN)
def test_known_algebra_is_found(name, dtype):
    function, n, copies, basis = KNOWN[name]
    found = ask(function, n, copies, dtype)
    assert found.count == len(basis)
    assert found.level == "exact" and not len(found.undefined)
    assert float(algebra.principal_angles(found.symmetries, basis).max()) < 0.1
    assert float(found.angles_to(basis).max()) < 0.1
    assert found.closure() < 1e-3
    assert float(found.liegg.bias_to(basis)[: found.count].max()) < 1e-3
    assert float(found.bound[found.count - 1]) < {torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    floor = {torch.float32: 1e-10, torch.float64: 1e-26}[dtype]
    assert float(found.liegg.relative_variance[found.count - 1]) < floor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("n", "copies"), [(3, 1), (2, 2), (5, 2)])
def test_a_function_without_symmetry_has_none(n, copies, dtype):
    assert ask(generic, n, copies, dtype).count == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_ignored_input_is_a_symmetry(dtype):
    # Whatever moves the third coordinate: three directions, in the control too.
    found = ask(lambda x: generic(x[:, :2]), 3, 1, dtype)
    assert found.count == 3 and found.level == "exact"
    moved = torch.zeros(3, 3, 3, dtype=torch.float64)
    moved[range(3), 2, range(3)] = 1
    assert float(algebra.principal_angles(found.symmetries, moved).max()) < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_where_the_data_do_not_move_nothing_is_claimed(dtype):
    def padded(x):
        return radius(x[:, :2]) + x[:, 2]  # of the third coordinate, which is always zero

    data = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    data[:, 2] = 0
    found = ss.learned_symmetries(padded, data, action=ss.LinearAction(3))
    assert len(found.undefined) == 3  # whatever is multiplied by the third coordinate
    assert found.undefined[:, :, :2].abs().max() < 1e-6
    assert found.count == 1
    assert float(algebra.principal_angles(found.symmetries, SO2_OF_3).max()) < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1, 100, 1000])
def test_coordinates_of_unlike_size(size, dtype):
    sizes = torch.tensor([size, 1.0, 1.0])
    data = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)) * sizes
    found = ss.learned_symmetries(
        lambda x: (x / sizes.to(x)).square().sum(1).sin(), data.to(dtype), action=ss.LinearAction(3)
    )
    assert found.count == 3 and found.level == "exact"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_plane_is_found_beside_an_idle_feature(dtype):
    def idle(x):
        return torch.sin(x[:, 0] ** 2 + x[:, 1] ** 2) + x[:, 2] ** 3

    data = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = ss.learned_symmetries(idle, data, action=ss.LinearAction(4))
    assert found.count == 1 + 4  # the rotation, and whatever moves the fourth coordinate


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mean", [0.0, 0.05, 1.0, 5.0])
@pytest.mark.parametrize("samples", [60, 3000])
def test_where_data_lie_in_a_plane_what_leaves_it_is_no_symmetry(samples, mean, dtype):
    # Features that depend on each other, or points of a flat molecule: the directions that move
    # none of them were "exact" once, since the shrunk mean of the data lay off the plane.
    draw = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(3, 3, generator=draw, dtype=torch.float64)).Q
    data = (torch.randn(samples, 2, generator=draw, dtype=torch.float64) + mean) @ plane[:2]
    weights = torch.randn(3, 4, generator=draw, dtype=torch.float64).to(dtype)
    found = ss.learned_symmetries(
        lambda x: (x @ weights).sin(), data.to(dtype), action=ss.LinearAction(3)
    )
    assert (found.count, found.level, len(found.relative)) == (0, "none", 6)

    flat = torch.randn(samples, 5, 2, generator=draw, dtype=torch.float64) @ plane[:2]
    flat = flat + mean * plane.sum(0)  # the plane does not hold the origin
    found = ss.learned_symmetries(
        lambda x: (x @ weights).sin().sum(1), flat.to(dtype), action=ss.PointAction(3)
    )
    assert (found.count, found.level, len(found.relative)) == (0, "none", 9)


@pytest.mark.parametrize("call", [ss.equivariant_symmetries, ss.dynamics_symmetries])
def test_pairs_of_data_in_a_plane_are_those_that_move_them(call):
    draw = torch.Generator().manual_seed(0)
    data = (torch.randn(300, 2, generator=draw, dtype=torch.float64) + 1) @ torch.randn(
        2, 3, generator=draw, dtype=torch.float64
    )
    weights = torch.randn(3, 3, generator=draw, dtype=torch.float64)
    found = call(lambda x: (x @ weights).sin(), data, action=ss.LinearAction(3))
    assert found.level == "none"


@pytest.mark.parametrize("name", KNOWN)
def test_a_change_of_basis_conjugates_the_algebra(name):
    function, n, copies, basis = KNOWN[name]
    turn = torch.eye(n, dtype=torch.float64) + 0.3 * torch.randn(
        n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64
    )
    found = ask(function, n, copies, torch.float64, turn)
    conjugate = turn @ basis @ torch.linalg.inv(turn)
    assert found.count == len(basis)
    assert float(found.angles_to(conjugate).max()) < 0.1


def test_rotation_invariant_images_are_found_on_the_plane():
    # Moments of the picture about its centre that a rotation leaves alone, and one it does not.
    action = ss.PlaneAction("gl2")
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(400, 31, 31, generator=generator, dtype=torch.float64)
    images = torch.nn.functional.avg_pool2d(images[:, None], 9, 1, 4)[:, 0]
    x, y = action.coordinates(images)
    square = x[None] ** 2 + y[:, None] ** 2
    window = torch.exp(-square / 0.1)

    def invariant(pictures):
        moments = [(pictures * window * square**k).sum((1, 2)) for k in range(4)]
        return torch.stack(moments, 1)

    def variant(pictures):
        return (pictures * window * x[None] * y[:, None]).sum((1, 2))

    found = ss.learned_symmetries(invariant, images, action=action)
    assert float(found.liegg.bias_to(algebra.so(2))[0]) < 0.05 and float(found.liegg.gaps[0]) > 100
    other = ss.learned_symmetries(variant, images, action=action)
    assert float(other.liegg.bias_to(algebra.so(2))[0]) > 0.3


@pytest.mark.parametrize("share", [0.9, 0.97, 0.98])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("start", ["mixed", "dead first"])
def test_where_most_samples_are_dead_the_others_answer(share, dtype, start):
    data = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    data = data[radius(data).argsort()] if start == "dead first" else data
    least = float(radius(data).quantile(share))
    found = ss.learned_symmetries(
        lambda x: (radius(x) - least).relu(), data, action=ss.LinearAction(3)
    )
    assert (found.count, found.level) == (3, "exact")
    assert float(found.angles_to(algebra.so(3)).max()) < 0.1
    turns = torch.randn(3, 9, generator=torch.Generator().manual_seed(1)).to(dtype)
    least = float((data @ turns).sin().sum(1).quantile(share))
    found = ss.learned_symmetries(
        lambda x: ((x @ turns).sin().sum(1) - least).relu(), data, action=ss.LinearAction(3)
    )
    assert found.count == 0


@pytest.mark.parametrize("alive", [1, 2, 5, 8])
def test_samples_at_which_no_output_changes_are_no_evidence(alive):
    data = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for function in (radius, lambda x: radius(x) + 0.1 * x[:, 0].tanh()):
        values = function(data).sort().values
        last = values[-alive - 1 : len(data) - alive + 1].mean()
        found = ss.learned_symmetries(
            lambda x, f=function, last=last: (f(x) - last).relu(), data, action=ss.LinearAction(3)
        )
        assert (found.count, found.level) == (None, "too few data")
        assert f"{alive} independent samples for 9 directions" in found.why()
        assert f"at {1000 - alive} of 1000 no output changes" in found.why()


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: ss.dynamics_symmetries(lambda y: 0 * y, x, action=ss.LinearAction(3)),
        lambda x: ss.equivariant_symmetries(lambda y: 0 * y, x, action=ss.LinearAction(3)),
        lambda x: ss.symmetries_of_gradients(x, 1e-200 * x, ss.LinearAction(3)),
    ],
    ids=["dynamics", "pairs", "gradients"],
)
def test_where_nothing_moves_it_is_said(ask):
    found = ask(torch.randn(100, 3, generator=torch.Generator().manual_seed(0)).double())
    with pytest.raises(ValueError, match="nothing moves: along every direction"):
        found.decide()


@pytest.mark.parametrize("spread", [2.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_where_lengths_spread_over_decades_not_all_is_a_symmetry(spread, seed):
    draw = torch.Generator().manual_seed(seed)
    lengths = (spread * torch.randn(1000, 1, generator=draw, dtype=torch.float64)).exp()
    data = lengths * direction(torch.randn(1000, 3, generator=draw, dtype=torch.float64))
    turns = 2 * torch.randn(3, 9, generator=draw, dtype=torch.float64)

    def generic(x):
        return (direction(x) @ turns + radius(x).log()[:, None]).sin().sum(1)

    found = ss.learned_symmetries(generic, data, action=ss.LinearAction(3))
    assert found.count == 0 and "gradients are short where the data move far" in found.why()
    found = ss.learned_symmetries(lambda x: radius(x).log(), data, action=ss.LinearAction(3))
    assert (found.count, found.level) == (3, "exact")
