"""Maps and systems whose pairs of motions are known by algebra, and those that have none."""

import pytest
import torch
from cases import frame_network, polynomial, random_network, vector_neurons
from helpers import seeded_stream
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import symscope as ss
from symscope import algebra
from symscope.reports.equivariance import dynamics_symmetries, equivariant_symmetries

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
SAMPLES = 1500


def drawn(size, kind="normal", dtype=torch.float64, seed=0):
    """Samples of several distributions: heavy tails, off centre, in unlike units."""
    draw = seeded_stream(seed)
    data = torch.randn(SAMPLES, size, generator=draw, dtype=torch.float64)
    if kind == "uniform":
        data = 2 * torch.rand(SAMPLES, size, generator=draw, dtype=torch.float64) - 1
    elif kind == "heavy tails":  # Student's t with three degrees of freedom
        data = data / torch.randn(SAMPLES, 3, generator=draw).square().mean(1, keepdim=True).sqrt()
    elif kind == "off centre":
        data = data + 1
    elif kind == "unlike units":
        data = data * torch.logspace(0, 2, size, dtype=torch.float64)
    return data.to(dtype)


def cross(x):
    return torch.linalg.cross(x[:, :3], x[:, 3:])


def product(x):
    return x[:, :4].reshape(-1, 2, 2) @ x[:, 4:].reshape(-1, 2, 2)


def inertia(x):
    """The moment of inertia of four unit masses in space: (N, 3, 3)."""
    points = x.reshape(len(x), 4, 3)
    square = points.square().sum((1, 2))[:, None, None]
    return square * torch.eye(3).to(x) - points.mT @ points


def cubic(x):
    a, b = x.unbind(1)
    return a**3 + 2 * b**3 - a * b * b


def length_cubed(x):
    return x.norm(dim=1) ** 3


# name: map, action, pairs, of these invariances, undefined outputs, degree
KNOWN = {
    # Ax x y + x x Ay = (tr A - A^T)(x x y): every A of gl(3) has its B.
    "cross product": (cross, ss.LinearAction(3, copies=2), 9, 0, 0, 2),
    # With x' = Px + Qy, y' = Rx + Sy: Qy x y is 0 mod x x y for all x, y only if Q = q, and so
    # R = r; the difference of P and S is d alike. So gl(3), and q, r, d, which are an sl(2) that
    # mixes the two vectors and leaves x x y alone.
    "cross product, inputs apart": (cross, ss.LinearAction(6), 12, 3, 0, 2),
    # P' = gP - Ph, Q' = hQ - Qk, (PQ)' = g PQ - PQ k: three gl(2), of which g = h = k = 1 moves
    # nothing. h leaves the product alone. Q cannot leak into P': L(Q) Q would be quadratic in Q.
    "matrix product": (product, ss.LinearAction(8), 11, 4, 0, 2),
    # The second moments C = sum r r^T go to AC + CA^T; that is 0 for no A but 0. J = tr C - C is C
    # after an invertible linear map. J is symmetric: 3 of 9 outputs are redundant, 3 x 9 B's.
    "moment of inertia": (inertia, ss.LinearAction(3, copies=4), 9, 0, 27, 2),
    # Binary cubics are an open orbit of gl(2), 4 and 4 dimensions: up to a factor 1 + 4 - 4 = 1.
    "generic cubic": (cubic, ss.LinearAction(2), 1, 0, 0, 3),
    "length cubed": (length_cubed, ss.LinearAction(3), 4, 3, 0, 3),
    # Rotations of space, and scaling: no bias, and the nonlinearity is homogeneous.
    "vector neurons": (vector_neurons, ss.LinearAction(3, copies=2), 4, 0, 0, 1),
    "frame of two vectors": (frame_network, ss.LinearAction(3, copies=2), 3, 0, 0, None),
}


def agrees(found, pairs, invariances, undefined, degree):
    assert (found.count, found.level) == (pairs, "exact"), found.why()
    assert len(found.invariances) == invariances
    assert len(found.on_inputs) == pairs and len(found.on_outputs) == pairs - invariances
    assert (len(found.undefined[0]), len(found.undefined[1])) == (0, undefined)
    assert found.degree == (None if degree is None else pytest.approx(degree, abs=1e-5))


@DTYPES
@pytest.mark.parametrize("name", KNOWN)
def test_known_pairs_are_found(name, dtype):
    function, action, *known = KNOWN[name]
    size = action.n * action.copies
    agrees(equivariant_symmetries(function, drawn(size, dtype=dtype), action=action), *known)


@pytest.mark.parametrize("kind", ["uniform", "heavy tails", "off centre", "unlike units"])
@pytest.mark.parametrize("name", ["cross product", "generic cubic", *list(KNOWN)[-2:]])
def test_however_the_inputs_are_distributed(name, kind):
    function, action, *known = KNOWN[name]
    data = drawn(action.n * action.copies, kind)
    agrees(equivariant_symmetries(function, data, action=action), *known)


def test_the_cross_product_turns_a_into_its_cofactor():
    found = equivariant_symmetries(cross, drawn(6), action=ss.LinearAction(3, copies=2))
    a, b = found.pairs
    one = torch.eye(3, dtype=torch.float64)
    trace = a.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    torch.testing.assert_close(b, trace * one - a.mT, atol=1e-12, rtol=0)


def test_vectors_out_turn_as_the_vectors_in():
    found = equivariant_symmetries(frame_network, drawn(6), action=ss.LinearAction(3, copies=2))
    turns = algebra.so(3)
    assert float(found.angles_to(turns, turns).max()) < 1e-5
    assert float(found.angles_to(turns, turns, metric="data").max()) < 1e-5
    assert float(found.angles_to(turns, -turns).max()) > 80  # not against each other


def test_any_action_moves_the_outputs():
    class Tensors:
        """B moves a 3 x 3 tensor T to B T + T B^T."""

        basis, shape, flow = algebra.gl(3), (3, 3), None

        def check(self, data):
            assert data.shape[1:] == (3, 3)

        def rows(self, data, cotangents, backend="auto"):
            basis = self.basis.to(data)
            moved = torch.einsum("kij,njl->nkil", basis, data)
            return torch.einsum("ncil,nkil->nck", cotangents, moved + moved.mT)

    # B J + J B^T = J' with J = tr C - C holds for the rotations and scaling only.
    found = equivariant_symmetries(
        inertia, drawn(12), action=ss.LinearAction(3, copies=4), outputs_action=Tensors()
    )
    known = torch.cat([algebra.so(3), algebra.scaling(3)])
    assert found.count == 4 and not len(found.undefined[1])
    assert float(found.angles_to(known, known).max()) < 1e-5


def test_affine_motions_of_outputs_by_a_constant_output():
    # f + c turns about c. A linear B does so for the axis through c and 0 alone.
    def off_centre(x):
        return frame_network(x) + torch.tensor([1.0, 2, 3]).to(x)

    action = ss.LinearAction(3, copies=2)
    assert equivariant_symmetries(off_centre, drawn(6), action=action).count == 1
    found = equivariant_symmetries(
        off_centre,
        drawn(6),
        action=action,
        outputs=lambda y: torch.cat([y, torch.ones_like(y[:, :1])], 1),
    )
    assert found.count == 3 and found.level == "exact"
    b = found.pairs[1]
    assert b[:, 3].abs().max() < 1e-12  # the last row of an affine motion
    centre = torch.tensor([1.0, 2, 3, 1], dtype=torch.float64)
    assert (b @ centre).abs().max() < 1e-12


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network_has_none(seed):
    network = random_network(4, (8, 16, 64)[seed % 3], (1, 3, 4)[seed % 3], seed)
    data = drawn(4, ("normal", "uniform")[seed % 2], seed=seed)
    found = equivariant_symmetries(network, data, action=ss.LinearAction(4))
    assert (found.count, found.level, found.degree) == (0, "none", None), found.why()
    assert len(found.pairs[0]) == len(found.invariances) == len(found.on_outputs) == 0


@pytest.mark.parametrize(("broken", "answer"), [(1e-3, "approximate"), (0.3, "none")])
@pytest.mark.parametrize("intact", [frame_network, vector_neurons])
def test_broken_a_little_is_approximate_and_by_a_third_is_none(intact, broken, answer):
    data, other = drawn(6), random_network(6, 32, 3, 7)
    share = broken * intact(data).norm() / other(data).norm()
    found = equivariant_symmetries(
        lambda x: intact(x) + share * other(x), data, action=ss.LinearAction(3, copies=2)
    )
    whole = {frame_network: 3, vector_neurons: 4}[intact]
    assert (found.count, found.level) == ((whole if broken < 0.1 else 0), answer)


def test_forwards_and_in_reverse_the_same_is_found():
    reports = [
        equivariant_symmetries(cross, drawn(6), action=ss.LinearAction(3, copies=2), mode=mode)
        for mode in ("forward", "reverse")
    ]
    assert [r.mode.name for r in reports] == ["forward", "reverse"]
    torch.testing.assert_close(reports[0].relative, reports[1].relative, rtol=0.1, atol=1e-12)


def test_data_may_come_in_batches_that_are_read_once():
    batches = iter(drawn(6).split(300))
    found = equivariant_symmetries(cross, batches, action=ss.LinearAction(3, copies=2))
    assert found.count == 9 and found.evidence.samples == SAMPLES


# Systems x' = f(x)


TURN = torch.tensor([[0.0, 1], [-1, 0]], dtype=torch.float64)


def linear(matrix):
    return lambda x: x @ matrix.T.to(x)


def lotka_volterra(x):
    prey, hunters = x.unbind(1)
    return torch.stack([prey - prey * hunters, prey * hunters - hunters], 1)


def lorenz(s):
    x, y, z = s.unbind(1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], 1)


def kepler(s):
    q, p = s.chunk(2, 1)
    return torch.cat([p, -q / q.norm(dim=1, keepdim=True) ** 3], 1)


# name: field, states, action, dimension, dimension where time may be scaled too
SYSTEMS = {
    # Matrices that commute with the field's: a + b TURN.
    "oscillator": (linear(TURN), drawn(2), ss.LinearAction(2), 2, 2),
    "two unlike": (
        linear(torch.block_diag(TURN, 2**0.5 * TURN)), drawn(4), ss.LinearAction(4), 4, 4,
    ),
    "two alike": (  # gl(2) over the complex numbers
        linear(torch.block_diag(TURN, TURN)), drawn(4), ss.LinearAction(4), 8, 8,
    ),
    "any commutes with x' = x": (linear(torch.eye(3)), drawn(3), ss.LinearAction(3), 9, 9),
    "Lotka-Volterra": (lotka_volterra, drawn(2).abs() + 0.2, ss.LinearAction(2), 0, 0),
    "Lorenz": (lorenz, 10 * drawn(3), ss.LinearAction(3), 0, 0),
    # Turning place and momentum together. Scaling needs q, p and time at 2 : -1 : 3, Kepler's
    # third law, which does not move q and p alike.
    "Kepler": (kepler, drawn(6), ss.LinearAction(3, copies=2), 3, 3),
    "Kepler, q and p apart": (kepler, drawn(6), ss.LinearAction(6), 3, 4),
}  # fmt: skip


@DTYPES
@pytest.mark.parametrize("time_scaling", [False, True])
@pytest.mark.parametrize("name", SYSTEMS)
def test_known_symmetries_of_systems(name, time_scaling, dtype):
    field, states, action, alone, scaled = SYSTEMS[name]
    found = dynamics_symmetries(field, states.to(dtype), action=action, time_scaling=time_scaling)
    expected = scaled if time_scaling else alone
    assert (found.count, found.level) == (expected, "exact" if expected else "none"), found.why()
    assert not len(found.undefined) and len(found.symmetries) == len(found.time) == expected


def test_keplers_third_law_and_the_rotation():
    field, states, action, *_ = SYSTEMS["Kepler, q and p apart"]
    found = dynamics_symmetries(field, states, action=action, time_scaling=True)
    turns = torch.stack([torch.block_diag(turn, turn) for turn in algebra.so(3)])
    law = torch.block_diag(torch.eye(3), -torch.eye(3) / 2)[None]
    known, tau = torch.cat([turns, law]), torch.tensor([0, 0, 0, 1.5])
    for metric in ("frobenius", "data"):
        assert float(found.angles_to(known, tau, metric).max()) < 1e-5
    assert float(found.angles_to(known, torch.zeros(4)).max()) > 20


def trajectories(field, starts, steps=150, step=0.02):
    """Runge and Kutta's, one trajectory after another."""
    states = [starts]
    for _ in range(steps - 1):
        x = states[-1]
        a = field(x)
        b = field(x + step / 2 * a)
        c = field(x + step / 2 * b)
        states.append(x + step / 6 * (a + 2 * b + 2 * c + field(x + step * c)))
    return torch.stack(states, 1).flatten(0, 1)


def test_along_trajectories():
    starts = torch.tensor([1.0, 0, 0, 1], dtype=torch.float64) + 0.2 * drawn(4)[:40]
    found = dynamics_symmetries(kepler, trajectories(kepler, starts), action=ss.LinearAction(4))
    turn = torch.block_diag(TURN, TURN)[None]
    assert found.count == 1 and float(found.angles_to(turn).max()) < 1e-5
    strayed = trajectories(lorenz, torch.tensor([0, 0, 25.0]) + 5 * drawn(3)[:20])
    assert dynamics_symmetries(lorenz, strayed, action=ss.LinearAction(3)).count == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_random_system_has_none_along_its_trajectories(seed):
    network = random_network(3, 16, 3, seed)
    states = trajectories(network, drawn(3, seed=seed)[:20])
    found = dynamics_symmetries(network, states, action=ss.LinearAction(3), time_scaling=True)
    assert found.count == 0, found.why()


def test_a_plane_that_no_trajectory_leaves_is_undefined():
    states = drawn(3)
    states[:, 2] = 0

    def field(x):
        return torch.cat(
            [linear(TURN)(x[:, :2]) * x.square().sum(1, keepdim=True), 0 * x[:, 2:]], 1
        )

    found = dynamics_symmetries(field, states, action=ss.LinearAction(3))
    # What is multiplied by the third coordinate: three. Of the rest, the turn, and no more.
    assert len(found.undefined) == 3 and found.undefined[:, :, :2].abs().max() < 1e-6
    turn = torch.block_diag(TURN, torch.zeros(1, 1))[None]
    assert found.count == 1 and float(found.angles_to(turn).max()) < 1e-5


# Bad input


VECTORS = ss.LinearAction(3, copies=2)
SPACE = ss.LinearAction(3)


@pytest.mark.parametrize(
    ("error", "says", "options"),
    [
        (ValueError, "tolerance must be between 0 and 1", {"tolerance": 1.5}),
        (ValueError, "confidence must be between 0 and 1", {"confidence": 0}),
        (ValueError, "outputs='sum' leaves one number", {"outputs": "sum"}),
        (ValueError, r"outputs_action must take the model's outputs, \(3,\) a sample: data must",
         {"outputs_action": ss.LinearAction(4)}),
        (TypeError, "outputs_action must be an object like", {"outputs_action": "gl3"}),
        (TypeError, "action must be an object like", {"action": 3}),
        (TypeError, "data must be a torch tensor", {"data": "data"}),
        (ValueError, "data is empty", {"data": iter(())}),
        (ValueError, "data must be of shape", {"data": drawn(5)}),
        (ValueError, "fewer than the 18 directions", {"data": drawn(6)[:5]}),
        (ValueError, "pairs need at least 2 samples",
         {"data": drawn(3)[:1], "model": lambda x: x.repeat(1, 2),
          "action": ss.LinearAction(1, copies=3), "outputs_action": ss.LinearAction(1, copies=6)}),
        (TypeError, "model must be callable", {"model": 3}),
        (ValueError, "the model's outputs must be a tensor", {"model": lambda x: "no"}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(error, says, options):
    settings = {"model": cross, "data": drawn(6), "action": VECTORS} | options
    with pytest.raises(error, match=says):
        equivariant_symmetries(settings.pop("model"), settings.pop("data"), **settings)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_of_scalar_outputs_only_the_degree_can_be_asked(shape):
    def model(x):
        return length_cubed(x).reshape(len(x), *shape)

    with pytest.raises(ValueError, match="only scaling acts: leave outputs_action out to ask"):
        equivariant_symmetries(
            model, drawn(3), action=ss.LinearAction(3), outputs_action=ss.LinearAction(3)
        )
    found = equivariant_symmetries(
        model, drawn(3), action=ss.LinearAction(3), outputs_action=ss.LinearAction(1)
    )
    assert found.degree == pytest.approx(3)


def test_velocities_must_be_of_the_states_shape():
    with pytest.raises(ValueError, match=r"velocities of the states' shape: \(6,\) a sample, got"):
        dynamics_symmetries(cross, drawn(6), action=VECTORS)


# Motions that are not linear, and what carries velocities: against a numerical flow


def flow(field, x, t, steps=8):
    """Where a field takes points in a time, by Runge and Kutta's steps."""
    for _ in range(steps):
        h = t / steps
        a = field(x)
        b = field(x + h / 2 * a)
        c = field(x + h / 2 * b)
        x = x + h / 6 * (a + 2 * b + 2 * c + field(x + h * c))
    return x


def commutator(field, moved, x, t=1e-3):
    """How far moving and flowing differ by their order; what is odd in t cancels."""
    found = 0
    for s in (t, -t):
        one, other = flow(moved, flow(field, x, s), s), flow(field, flow(moved, x, s), s)
        found = found + (one - other) / (2 * t**2)
    return found


CURVED = {
    "polynomials of degree 2": (polynomial(2, 2), (2,)),
    "polynomials of the line": (polynomial(1, 4), (1,)),
    "affine": (polynomial(3, 1), (3,)),
    "points": (ss.PointAction(2), (3, 2)),
    "turns and shifts, bent": (
        ss.FieldAction(
            [lambda x: x.sin(), lambda x: x[:, [1, 0]].cos(), lambda x: x * x[:, :1].cos()]
        ),
        (2,),
    ),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CURVED)
def test_the_count_agrees_with_a_numerical_flow(name, seed):
    # Random systems of an action's own fields: some commute with others, and none is known here.
    action, shape = CURVED[name]
    draw = torch.Generator().manual_seed(seed)
    weights = torch.randn(len(action.basis), generator=draw, dtype=torch.float64)
    weights = weights * (torch.rand(len(weights), generator=draw) < 0.4)
    weights[seed % len(weights)] = 0.7
    states = 0.5 * torch.randn(400, *shape, generator=draw, dtype=torch.float64)

    def field(x):
        return torch.tensordot(weights, action.fields(x), 1)

    found = dynamics_symmetries(field, states, action=action)
    few = states[:60]
    columns = torch.stack(
        [
            commutator(field, lambda x, k=k: action.fields(x)[k], few).flatten()
            for k in range(len(weights))
        ],
        1,
    )
    scale = torch.stack([f.flatten() for f in action.fields(few)], 1).norm(dim=0)
    singular = torch.linalg.svdvals(columns / scale)
    null = int((singular < 1e-4 * singular.max()).sum())
    assert found.count == null, (found.why(), singular)


def test_springs_keep_all_motions_of_space():
    states = torch.randn(600, 4, 3, generator=seeded_stream(0), dtype=torch.float64)

    def springs(x):
        apart = x - x.mean(1, keepdim=True)
        return -apart * apart.square().sum((1, 2), keepdim=True)

    found = dynamics_symmetries(springs, states, action=ss.PointAction())
    assert (found.count, found.level) == (6, "exact")
    motions = torch.cat([algebra.homogeneous(algebra.so(3)), algebra.translations(3)])
    assert float(found.angles_to(motions).max()) < 1e-5


def test_fields_and_a_stretch_of_time():
    # x' = x^2 on the line: scaling x by s makes time 1/s; d/dx does not carry it over.
    found = dynamics_symmetries(
        lambda x: x * x, drawn(1), action=polynomial(1, 1), time_scaling=True
    )
    assert (found.count, found.level) == (1, "exact")
    assert float(found.time[0] / found.symmetries[0, 1]) == pytest.approx(-1)
    exact = dynamics_symmetries(lambda x: 1 * x, drawn(2), action=polynomial(2, 2))
    assert exact.count == 4  # the linear ones


def test_fields_that_torch_cannot_differentiate_are_refused():
    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g

    action = ss.FieldAction([Rounded.apply, lambda x: x.sin()])
    with pytest.raises(TypeError, match="velocities are carried by the derivative of the fields"):
        dynamics_symmetries(lambda x: -x, drawn(2), action=action)


# Every kind of data


class Ones(IterableDataset):
    """Samples one by one."""

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return iter(self.samples)


KINDS = {
    "tensor": lambda x: x,
    "list of batches": lambda x: list(x.split(200)),
    "iterator": lambda x: iter(x.split(200)),
    "dataset": TensorDataset,
    "loader": lambda x: DataLoader(TensorDataset(x), 200),
}


@pytest.mark.parametrize("kind", [*KINDS, "iterable dataset"])
def test_pairs_take_every_kind_of_data(kind):
    data = KINDS.get(kind, Ones)(drawn(3))
    found = equivariant_symmetries(lambda x: x * x.norm(dim=1)[:, None], data, action=SPACE)
    assert (found.count, found.level, found.degree) == (4, "exact", pytest.approx(2))
    data = KINDS.get(kind, Ones)(drawn(3))
    found = dynamics_symmetries(
        lambda x: x * x.norm(dim=1)[:, None], data, action=SPACE, samples=900
    )
    assert found.count == 3 and found.evidence.samples >= 890


def test_pairs_take_several_inputs():
    draw = seeded_stream(0)
    data = {"pos": torch.randn(400, 5, 3, generator=draw), "z": torch.rand(400, 5, generator=draw)}

    def forces(pos, z):
        return (pos - pos.mean(1, keepdim=True)) * z[..., None]

    action = ss.PointAction(3, group="linear")
    found = equivariant_symmetries(
        forces, data, action=action, outputs_action=ss.PointAction(3, 5, group="linear"),
        moves="pos",
    )  # fmt: skip
    assert (found.count, found.level) == (9, "exact")
    found = dynamics_symmetries(forces, list(zip(data["pos"], data["z"], strict=True)),
                                action=action, moves=0)  # fmt: skip
    assert (found.count, found.level) == (9, "exact")
