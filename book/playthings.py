"""Computes the arrays behind the page "Things to play with": python book/playthings.py

From the trained network and the tables in `data/`, in seconds. Written as scripts that hand JSON
to `play.js`, since a page opened from the disk may load a script and may not fetch a file.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "book" / "_static" / "play"
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "notebooks")]

import studies  # noqa: E402
import symscope as ss  # noqa: E402
from studies import gnina, gnina_turns  # noqa: E402
from symscope.decide.rule import reference_metric  # noqa: E402
from symscope.reports.controls import untrained_copy  # noqa: E402

TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]]) / math.sqrt(2)
PARTNERS = {
    "scaling": torch.eye(2) / math.sqrt(2),
    "stretch": torch.tensor([[1.0, 0.0], [0.0, -1.0]]) / math.sqrt(2),
    "diagonal stretch": torch.tensor([[0.0, 1.0], [1.0, 0.0]]) / math.sqrt(2),
}
DIGITS = (2, 4, 7)  # the classes that are shown
DIAL = 18  # steps of half a turn; the other half is the way back
AMOUNTS = range(-9, 10)  # pixels, root mean square, at the speed of the start
GAUGE = [k / 8 for k in range(-16, 17)]  # log10 of the factor of the mean, or of what is added
SCORE = 200  # digits that the variance of the sum is taken on
CHOICES = {  # as in the chapter on digits, but for the first
    "network": ["trained", "untrained"],
    "images": ["test", "training"],
    "blur": ["as trained", "1 pixel more"],
    "origin": ["centre", "pixel 14"],
    "differences": ["central", "forward"],
    "outputs": ["all", "centred", "log-probabilities", "sum"],
    "logits": ["as they are", "at unit length"],
    "scale": ["raw", "whitened"],
}
ANALYSED = 300  # images
POSE, TURNS = "cdk2", range(0, 360, 15)  # a complex, and degrees about the upright axis
JUDGES = {
    "GNINA 1": "general_default2018",
    "GNINA 2": "general_default2018_1",
    "GNINA dense": "dense",
    "untrained": "untrained default2018 0",
}


def main() -> None:
    """Writes the five scripts, or those that are named."""
    named = sys.argv[1:] or ["dial", "gauge", "epochs", "choices", "pose"]
    model = studies.networks.load(ROOT / "data" / "rotation_mnist_mlp.safetensors")
    turned = studies.data.rotated_mnist(blur=1.5, seed=0).test.inputs
    upright = studies.data.mnist(blur=1.5, seed=0).test
    with torch.no_grad():
        read = model(upright.inputs).argmax(1)
    places = [
        int(torch.nonzero((upright.targets == digit) & (read == digit))[0]) for digit in DIGITS
    ]
    images = upright.inputs[places]
    table = ROOT / "data" / "layers_and_training.csv"
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "dial": lambda: dial(model, turned, images),
        "gauge": lambda: gauge(model, turned, images),
        "epochs": lambda: epochs(pandas.read_csv(table)),
        "choices": lambda: choices(model),
        "pose": pose,
    }
    for name in named:
        write(name, made[name]())


def write(name: str, values: dict[str, Any]) -> None:
    """One script that hands over one object."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    script = f"(window.symscopePlay ??= {{}}).{name} = {text};\n"
    (FOLDER / f"{name}.js").write_text(script, encoding="utf-8")


def packed(values: Tensor) -> str:
    """Numbers from 0 to 1 in one byte each, as base64."""
    levels = (values.clamp(0, 1) * 255).round().to(torch.uint8)
    return base64.b64encode(levels.contiguous().numpy().tobytes()).decode()


def pictures(images: Tensor) -> list[str]:
    """Each image's pixels, 28 x 28, from its darkest to its brightest."""
    low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
    return [packed(image) for image in (images - low) / (high - low)]


def dial(model: torch.nn.Module, turned: Tensor, images: Tensor) -> dict[str, Any]:
    """Relative change and probabilities along directions of gl(2), a circle for each partner.

    A direction is cos(p) times the turn plus sin(p) times the partner, both of unit norm.
    """
    action = ss.PlaneAction("gl2")
    found = ss.learned_symmetries(model, turned, action=action)
    assert found.evidence is not None  # it is there unless the controls were left out
    reference = reference_metric(found.evidence)
    # Coordinates run from -1 to 1, so a matrix of unit norm moves pixels at this root mean square.
    start = (images.shape[-1] - 1) / 2 / math.sqrt(3)
    circles = []
    for partner in PARTNERS.values():
        rho, probabilities = [], []
        for step in range(DIAL):
            angle = math.pi * step / DIAL
            h = math.cos(angle) * TURN + math.sin(angle) * partner
            along = ss.algebra.coordinates(h, action.basis).to(reference)
            rho.append(math.sqrt(found.liegg.variance_along(h) / float(along @ reference @ along)))
            with torch.no_grad():
                answers = [model(action.flow(images, h, d / start)).softmax(1) for d in AMOUNTS]
            probabilities.append(torch.stack(answers, 1))  # digits x amounts x classes
        circles.append(
            {
                "rho": [round(value, 3) for value in rho],
                "probabilities": packed(torch.stack(probabilities)),
            }
        )
    return {
        "digits": list(DIGITS),
        "images": pictures(images),
        "partners": list(PARTNERS),
        "matrices": [partner.flatten().tolist() for partner in PARTNERS.values()],
        "amounts": list(AMOUNTS),
        "speed": start,
        "circles": circles,
    }


def gauge(model: torch.nn.Module, turned: Tensor, images: Tensor) -> dict[str, Any]:
    """The variance of the summed logits as more or less is added to all ten alike.

    At s < 0 only 10^s of the logits' mean is left; at s > 0 a function of the image is added as
    well, 10^s - 1 times the brightness of its right half less that of its left.
    """

    def added(x: Tensor, s: float) -> Tensor:
        columns = x.mean(-2)
        lopsided = (columns[:, 14:] - columns[:, :14]).mean(1, keepdim=True)
        mean = model(x).mean(1, keepdim=True)
        return (min(10.0**s, 1.0) - 1) * mean + (max(10.0**s, 1.0) - 1) * lopsided

    action = ss.PlaneAction("gl2")
    data = turned[:SCORE]

    def least(outputs: Any) -> float:
        found = ss.learned_symmetries(outputs, data, action=action)
        return float(found.liegg.variance.min())

    score = [least(lambda x, s=s: (model(x) + added(x, s)).sum(1, keepdim=True)) for s in GAUGE]
    own = least(lambda x: model(x) - model(x).mean(1, keepdim=True))
    with torch.no_grad():
        shifts = torch.stack([added(images, s)[:, 0] for s in GAUGE], 1)
        logits = model(images)
    return {
        "digits": list(DIGITS),
        "images": pictures(images),
        "steps": GAUGE,
        "score": [float(f"{value:.4g}") for value in score],
        "centred": float(f"{own:.4g}"),
        "logits": [[round(float(value), 2) for value in row] for row in logits],
        "shifts": [[round(float(value), 3) for value in row] for row in shifts],
    }


def epochs(table: pandas.DataFrame) -> dict[str, Any]:
    """Plain training: each hidden layer's relative change along a turn, and the error, by epoch.

    The table holds ratios of variances; their roots are amplitudes. Geometric means over seeds.
    """
    plain = table[table["regime"] == "plain"]
    columns = [f"ratio_{k}" for k in range(1, 7)]
    stops = sorted(int(stop) for stop in plain["epochs"].unique())
    layers, error = [], []
    for stop in stops:
        rows = plain[plain["epochs"] == stop]
        ratios = torch.tensor(rows[columns].to_numpy(dtype=float))
        layers.append([round(float(value), 3) for value in ratios.log().mean(0).div(2).exp()])
        error.append(round(float(1 - rows["accuracy"].mean()), 4))
    seeds = int(plain["seed"].nunique())
    return {"epochs": stops, "layers": layers, "error": error, "seeds": seeds}


def choices(model: torch.nn.Module) -> dict[str, Any]:
    """Gap and bias of every analysis, in the own pairing and in a wrong one.

    They follow from the logits' rows under gl(2), each image's Jacobian of what is done to the
    logits applied to them.
    """
    networks = [model, untrained_copy(model, 0)]
    digits = studies.data.rotated_mnist(blur=1.5, seed=0)
    outputs: list[Callable[[Tensor], Tensor]] = [
        lambda z: z,
        lambda z: z - z.mean(),
        lambda z: z.log_softmax(0),
        lambda z: z.sum(0, keepdim=True),
    ]
    found = []
    for network, part, blur in itertools.product(networks, (digits.test, digits.train), (0, 1)):
        images = torch.from_numpy(gaussian_filter(part.inputs[:ANALYSED].numpy(), [0, blur, blur]))
        logits = network(images).detach().double()
        one = torch.func.jacrev(lambda x, network=network: network(x[None])[0])
        gradients = torch.func.vmap(one)(images).detach()
        for origin, how in itertools.product(("center", "paper"), ("central", "forward")):
            action = ss.PlaneAction("gl2", origin=origin, differences=how)
            rows = [action.rows(x, gradients).double() for x in (images, images.roll(1, 0))]
            for output, scaled in itertools.product(outputs, (False, True)):
                for jacobian in jacobians(logits, output, scaled):
                    found.append([n for each in rows for n in gap_and_bias(jacobian @ each)])
    values = [[float(f"{n:.3g}") for n in column] for column in zip(*found, strict=True)]
    names = ["gap", "bias", "gapWrong", "biasWrong"]
    return {"choices": CHOICES} | dict(zip(names, values, strict=True))


def jacobians(logits: Tensor, output: Callable[[Tensor], Tensor], scaled: bool) -> list[Tensor]:
    """What is done to each image's logits, differentiated: raw, and whitened afterwards."""

    def done(z: Tensor) -> Tensor:
        return output(z / z.norm() if scaled else z)

    raw = torch.func.vmap(torch.func.jacrev(done))(logits)
    size, turn = torch.linalg.eigh(torch.atleast_2d(torch.func.vmap(done)(logits).T.cov()))
    there = size > 1e-9 * size.max()  # a constant has no direction to scale
    return [raw, (turn[:, there] / size[there].sqrt()).T @ raw]


def gap_and_bias(rows: Tensor) -> list[float]:
    """The step behind the least variance, and how far its direction is from a rotation."""
    flat = rows.flatten(0, 1)
    variance, directions = torch.linalg.eigh(flat.T @ flat)
    h = directions[:, 0].view(2, 2)
    return [float(variance[1] / variance[0]), float((h + h.T).norm() / 2)]


def pose() -> dict[str, Any]:
    """A docked ligand in its pocket, and its scores as all turns, and as the ligand alone does."""
    this = gnina.Complex.load(POSE)
    atoms = this.placed()
    ligand, pocket = atoms[this.ligand], atoms[~this.ligand]
    near = torch.cdist(pocket, ligand).amin(1) < 5
    bonds = (torch.cdist(ligand, ligand) < 1.9).triu(1).nonzero()
    axis, scores = torch.tensor([[0.0, 1.0, 0.0]]), []
    for movable in (torch.ones_like(this.ligand), this.ligand):
        turned = torch.stack(
            [
                torch.where(movable[:, None], atoms @ gnina_turns.about(axis, d)[0].mT, atoms)
                for d in TURNS
            ]
        )
        logits = gnina_turns.asked(list(JUDGES.values()), this, turned)[..., 0]
        scores.append([[round(float(n), 3) for n in row] for row in logits.sigmoid()])
    return {
        "name": POSE.upper(),
        "ligand": [[round(float(n), 1) for n in atom] for atom in ligand],
        "pocket": [[round(float(n), 1) for n in atom] for atom in pocket[near]],
        "bonds": bonds.tolist(),
        "degrees": list(TURNS),
        "judges": list(JUDGES),
        "scores": scores,
    }


if __name__ == "__main__":
    main()
