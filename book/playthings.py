"""Computes the arrays behind the page "Things to play with": python book/playthings.py

From the trained network and the tables in `data/`, in seconds. Written as scripts that hand JSON
to `play.js`, since a page opened from the disk may load a script and may not fetch a file.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "book" / "_static" / "play"
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "notebooks")]

import studies  # noqa: E402
import symscope as ss  # noqa: E402
from symscope.decide.rule import reference_metric  # noqa: E402

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


def main() -> None:
    """Writes the three scripts."""
    model = studies.networks.load(ROOT / "data" / "rotation_mnist_mlp.safetensors")
    turned = studies.data.rotated_mnist(blur=1.5, seed=0).test.inputs
    upright = studies.data.mnist(blur=1.5, seed=0).test
    with torch.no_grad():
        read = model(upright.inputs).argmax(1)
    places = [
        int(torch.nonzero((upright.targets == digit) & (read == digit))[0]) for digit in DIGITS
    ]
    images = upright.inputs[places]
    write("dial", dial(model, turned, images))
    write("gauge", gauge(model, turned, images))
    write("epochs", epochs(pandas.read_csv(ROOT / "data" / "layers_and_training.csv")))


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


if __name__ == "__main__":
    main()
