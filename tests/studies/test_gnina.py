"""GNINA's networks and their grid, rebuilt: against GNINA's own printed scores, and by symmetry."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
import yaml

from studies import gnina, gnina_cube, gnina_reports, gnina_turns, gnina_verdicts, others
from studies.gnina import Complex

ROOT = Path(__file__).resolve().parents[2]
# Three tiny complexes, and what GNINA 1.0 printed of them: pose scores, affinities (pK). From the
# tests of gninatorch 0.0.2.
TINY = ("printed_r1_l1", "printed_r2_l2", "printed_r1_l2")
PRINTED = {
    "redock_default2018": ([0.02956, 0.00114, 0.00095], [1.31840, 1.20986, 1.14063]),
    "general_default2018": ([0.32619, 0.37634, 0.39832], [1.28267, 1.36640, 1.50419]),
    "crossdock_default2018": ([0.64764, 0.43467, 0.19287], [1.28360, 1.27934, 1.06574]),
    "dense": ([0.94850, 0.82229, 0.65933], [1.93134, 1.81497, 1.56016]),
}
MIXED = ([0.66093, 0.43392, 0.44233], [1.82328, 1.49802, 1.54133])  # GNINA's default five


def has_weights() -> bool:
    try:
        return gnina.weights_file("dense").exists()
    except gnina.MissingWeightsError:
        return False


needs_weights = pytest.mark.skipif(not has_weights(), reason=gnina.WANTED)


def random_atoms(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    positions = 26 * (torch.rand(2, 40, 3, generator=generator, dtype=torch.float64) - 0.5)
    channels = torch.randint(0, gnina.CHANNELS, (40,), generator=generator)
    return positions, channels, 1.2 + torch.rand(40, generator=generator, dtype=torch.float64)


def tiny_grids() -> torch.Tensor:
    return torch.cat([c.grids(c.placed()[None]) for c in map(Complex.load, TINY)])


@needs_weights
@pytest.mark.parametrize("name", PRINTED)
def test_the_printed_scores_are_reproduced(name: str) -> None:
    logit, affinity = gnina.network(name)(tiny_grids()).T
    scores, affinities = map(torch.tensor, PRINTED[name])
    assert (logit.sigmoid() - scores).abs().max() < 1e-5  # all printed digits
    assert (affinity - affinities).abs().max() < 1e-5


@needs_weights
def test_the_printed_scores_of_the_default_five_are_reproduced() -> None:
    found = torch.stack([gnina.network(name)(tiny_grids()) for name in gnina.DEFAULT])
    scores, affinities = map(torch.tensor, MIXED)
    assert (found[..., 0].sigmoid().mean(0) - scores).abs().max() < 1e-5
    assert (found[..., 1].mean(0) - affinities).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("package", "version"), [(gnina.PACKAGE, gnina.VERSION), others.POTENTIAL, others.PITCH]
)
def test_the_weights_are_pinned_to_the_version_that_is_read(package: str, version: str) -> None:
    text = (gnina.DATA.parent / "weights.txt").read_text(encoding="utf-8")
    assert re.search(rf"^{package}=={version} --hash=sha256:[0-9a-f]{{64}}$", text, re.M)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gnina, "PACKAGE", "gninatorch-that-is-not-there")
    with pytest.raises(gnina.MissingWeightsError, match="pip install --no-deps"):
        gnina.weights_file("dense")


def test_an_atoms_density_is_as_defined() -> None:
    q = torch.tensor([0.0, 0.25, 1.0, 1.69, 2.25, 4.0], dtype=torch.float64)
    wanted = [1.0, 0.60653066, 0.13533528, 0.02165365, 0.0, 0.0]
    assert torch.allclose(gnina.density(q), torch.tensor(wanted, dtype=torch.float64), atol=1e-6)


def test_the_grid_is_the_sum_of_the_densities_at_every_point() -> None:
    positions, channels, radii = random_atoms()
    found = gnina.grids(positions, channels, radii)
    points = (torch.arange(gnina.SIDE) - (gnina.SIDE - 1) / 2) * gnina.SPACING
    place = torch.stack(torch.meshgrid(points, points, points, indexing="ij"), 3).double()
    wanted = torch.zeros_like(found)
    for n, a in torch.cartesian_prod(torch.arange(2), torch.arange(40)).tolist():
        q = ((place - positions[n, a]) / radii[a]).square().sum(3)
        wanted[n, channels[a]] += gnina.density(q)
    assert wanted.abs().max() > 0.5
    assert (found - wanted).abs().max() < 1e-12


def test_the_grid_is_differentiable_in_the_positions() -> None:
    positions, channels, radii = random_atoms()
    weights = torch.randn(
        gnina.CHANNELS, *[gnina.SIDE] * 3, generator=torch.Generator().manual_seed(1)
    )
    moving = positions.requires_grad_()

    def total(x: torch.Tensor) -> torch.Tensor:
        return (gnina.grids(x, channels, radii) * weights).sum()

    (slope,) = torch.autograd.grad(total(moving), moving)
    way = torch.randn(positions.shape, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        step = (total(positions + 1e-5 * way) - total(positions - 1e-5 * way)) / 2e-5
    assert float((slope * way).sum()) == pytest.approx(float(step), rel=1e-5)
    by_grid = weights.expand(1, 2, *weights.shape).double()
    (again,) = gnina.pulled(positions.detach(), channels, radii, by_grid)
    assert (again - slope).abs().max() < 1e-10  # for many networks at once, without autograd


def test_a_turn_of_the_cube_turns_the_grid() -> None:
    positions, channels, radii = random_atoms()
    grid = gnina.grids(positions, channels, radii)
    cube = gnina_turns.cube_turns()
    assert len({tuple(turn.flatten().tolist()) for turn in cube}) == 24
    for turn in cube:
        again = gnina.grids(positions @ turn.T.double(), channels, radii)
        assert (gnina_turns.turned_grid(grid, turn) - again).abs().max() < 1e-12


def test_random_turns_are_turns_and_uniform() -> None:
    turns = gnina_turns.random_turns(20000, torch.Generator().manual_seed(0))
    assert (turns @ turns.mT - torch.eye(3)).abs().max() < 1e-5
    assert (torch.linalg.det(turns) > 0.99).all()
    assert turns.mean(0).abs().max() < 0.02
    trace = turns.diagonal(dim1=1, dim2=2).sum(1)  # 1 + 2 cos(angle), of mean 0 and variance 1
    assert abs(float(trace.mean())) < 0.03 and abs(float(trace.var()) - 1) < 0.03


def test_a_report_finds_planted_rotations_and_no_others() -> None:
    # The gradient of an energy of distances has no component along a motion of space.
    x = torch.randn(40, 12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moving = x.clone().requires_grad_()
    distances = (moving[:, :, None] - moving[:, None]).square().sum(3)
    (slope,) = torch.autograd.grad((-0.3 * distances).exp().sum(), moving)
    found, other = gnina_reports.reports(x, torch.stack([slope, torch.randn_like(slope)]))
    assert found.count == 6
    assert found.within(gnina_reports.ROTATIONS).relative.max() < 1e-6
    assert other.within(gnina_reports.ROTATIONS).relative.min() > 0.3


def test_parts_of_the_affine_algebra_make_all_of_it() -> None:
    parts = [part.flatten(1) for part in gnina_reports.PARTS.values()]
    assert [len(part) for part in parts] == [3, 3, 6]
    assert torch.linalg.matrix_rank(torch.cat(parts)) == 12


def test_numbers_of_reports_tell_the_ligand_from_the_whole() -> None:
    # A force on the ligand alone that depends on where it stands, and none on the receptor.
    this = Complex.load("printed_r1_l2")
    x = this.placed() @ gnina_turns.random_turns(30, torch.Generator().manual_seed(0)).mT
    slopes = torch.zeros(1, *x.shape)
    slopes[0][:, this.ligand] = torch.randn(30, int(this.ligand.sum()), 3)
    found = gnina_reports.numbers("printed_r1_l2", x, slopes)
    assert found["angles"].shape == found["within"].shape == (1, 3)
    assert found["strains"].shape == (1, 6)
    assert torch.allclose(found["force"][:, 0], found["force"][:, 1])  # the receptor adds nothing
    merged = gnina_reports.merged([x, x], [slopes, slopes])
    assert len(merged) == 2 and merged[1][0].decided().samples == 60


def test_shares_of_symmetric_and_of_random_kernels() -> None:
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(400, 5, 3, 3, 3, generator=generator)
    chance = gnina_cube.chance(3)
    assert chance == pytest.approx(4 / 27)
    assert gnina_cube.symmetric_share(random) == pytest.approx(chance, abs=0.01)
    distance = torch.tensor([1.0, 0.0, 1.0])
    squared = distance[:, None, None] + distance[:, None] + distance
    assert gnina_cube.symmetric_share((-squared).exp()[None, None]) == pytest.approx(1, abs=1e-6)


def test_scenes_of_the_small_networks_are_turned_as_said() -> None:
    def up(turns: str) -> float:
        positions, _ = gnina_cube.scenes(500, turns, torch.Generator().manual_seed(0))
        gap = positions[:, 1] - positions[:, 0]
        return float((gap[:, 2] > 0.8 * gap.norm(dim=1)).double().mean())

    assert up("none") == 1.0
    assert 0.05 < up("cube") < 0.3 and 0.03 < up("random") < 0.2


# --- The rules ------------------------------------------------------------------------------------


def scores_with(shared: float, own: float, turns: int = 400) -> torch.Tensor:
    """(C, M, P, T) with a turn's error that members share, and one of their own."""
    generator = torch.Generator().manual_seed(3)
    common = shared * torch.randn(4, 1, 5, turns, generator=generator, dtype=torch.float64)
    return common + own * torch.randn(4, 5, 5, turns, generator=generator, dtype=torch.float64)


def test_the_shared_error_is_found_and_its_absence() -> None:
    for shared, wanted in ((1.0, 0.5), (0.0, 0.0)):
        table = gnina_verdicts.correlations(scores_with(shared, 1.0))
        found = gnina_verdicts.shared("a set", table, 0.3, True)
        assert found.estimate == pytest.approx(wanted, abs=0.05)
        assert found.outcome == ("held" if shared else "failed")


def test_own_turns_cut_the_part_that_is_shared() -> None:
    # Five members with variances 1 + 1 in common: (1 + 1/5) falls to (1 + 1)/5.
    found = gnina_verdicts.own_turns("a set", scores_with(1.0, 1.0))
    assert found.estimate == pytest.approx(1 - (0.4 / 1.2) ** 0.5, abs=0.03)
    none = gnina_verdicts.own_turns("a set", scores_with(0.0, 1.0))
    assert none.estimate == pytest.approx(0, abs=0.05)
    assert none.outcome == "failed"


def test_variance_inside_and_between_the_sets_of_cube_turns() -> None:
    generator = torch.Generator().manual_seed(5)
    between = 2 * torch.randn(3000, 1, generator=generator)
    logits = (between + torch.randn(3000, 24, generator=generator)).reshape(10, 300, 24)
    inside, among = gnina_verdicts.within_cosets(logits)
    assert float(inside.mean()) == pytest.approx(1, abs=0.03)
    assert float(among.mean()) == pytest.approx(4, abs=0.3)


def test_a_report_passes_by_its_three_angles() -> None:
    angles = torch.tensor([[5.0, 9.0, 29.0], [5, 31, 40], [5, 29, 46], [20, 30, 45]])
    assert gnina_verdicts.passing(angles).tolist() == [True, False, False, True]


def test_the_interval_of_a_share_is_one_of_shares() -> None:
    found = gnina_verdicts.of_shares(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert found and tuple(found[:3]) == (0.25, 0.0, 1.0)


def test_the_worst_part_decides_a_statement() -> None:
    def part(estimate: float) -> gnina_verdicts.Outcome:
        return gnina_verdicts._plain("x", "y", estimate, 0.5, True)

    assert gnina_verdicts.together([part(0.6), part(0.7)]) == "held"
    assert gnina_verdicts.together([part(0.6), part(0.4)]) == "failed"


# --- What is stored -------------------------------------------------------------------------------


def test_the_statements_are_those_that_are_judged() -> None:
    path = ROOT / "notebooks" / "expectations" / "gnina.yaml"
    stated = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert stated["set"] == "before the run"
    keys = {"id", "sentence", "measurement", "rule", "interval"}
    assert all(set(each) == keys for each in stated["statements"] + stated["beside"])
    assert [each["id"] for each in stated["statements"]] == list(stated["former"])


def test_the_complexes_are_those_of_the_readme() -> None:
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    files = sorted(gnina.DATA.glob("*.npz"))
    assert len(gnina.complexes()) == 12
    for path in files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert f"`{path.name}` | " in text and digest in text, path.name


@pytest.mark.parametrize("name", gnina.complexes())
def test_a_complex_is_a_ligand_in_a_pocket(name: str) -> None:
    this = Complex.load(name)
    first, count = this.poses[0], len(this.receptor)
    assert (this.channels[:count] < 14).all() and (this.channels[count:] >= 14).all()
    assert len(this.channels) == len(this.radii) == count + this.poses.shape[1]
    nearest = torch.cdist(this.receptor, first).amin(0)
    assert nearest.min() > 1.9 and (nearest < 5).all()
    shape = torch.pdist(first)
    for pose in this.poses:
        assert torch.allclose(torch.pdist(pose), shape, atol=5e-3)  # rigid


def test_the_split_of_a_score_finds_planted_parts() -> None:
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    cs, m, p, t = 60, 5, 6, 8
    scores = 3 * normal(cs, 1, p, 1) + 2 * normal(cs, m, p, 1)
    scores = scores + 1.5 * normal(cs, 1, p, t) + normal(cs, m, p, t)
    scores = scores + 5 * normal(cs, m, 1, t)  # is in no difference of poses
    found = {key: float(value.mean()) for key, value in gnina_verdicts.split(scores).items()}
    wanted = {"pose": 9.0, "member": 4.0, "turn": 2.25, "rest": 1.0}
    assert found == pytest.approx(wanted, rel=0.2)


def test_flips_are_counted_among_close_pairs_alone() -> None:
    scores = torch.zeros(1, 1, 3, 4)
    scores[0, 0, 1] = torch.tensor([0.1, 0.1, 0.1, -0.1])  # close to pose 0, once below it
    scores[0, 0, 2] = 2.0
    assert gnina_verdicts.flips(scores, 0.0, 0.5).tolist() == [0.25]
    assert gnina_verdicts.flips(scores, 0.5, 3.0).tolist() == [0.0]
    assert gnina_verdicts.flips(scores, 5.0, 6.0).isnan().all()


@needs_weights
def test_a_network_made_in_inference_mode_can_be_differentiated() -> None:
    gnina.network.cache_clear()
    with torch.inference_mode():
        gnina.network("redock_default2018_1")
    found = gnina_turns.gradients("printed_r1_l2", ["redock_default2018_1"], 1, 1, seed=0)
    assert found["gradients"].shape == (1, 1, 8, 3) and found["gradients"].abs().max() > 0
