"""Make the trained network of notebook 01: python data/train_quickstart_network.py

LieGG's digit classifier, trained on the embedded digits' training split of seed 0, each digit
in many rotations. Its validation and test digits are those that the notebook holds out too.
"""

from pathlib import Path

import studies

splits = studies.data.rotated_mnist(source="embedded", copies=16, blur=1.5, seed=0)
model = studies.networks.seeded(studies.networks.mnist_mlp, seed=0)
fit = studies.networks.fit(model, splits, epochs=40, schedule="cosine", seed=0, progress=True)
path = Path(__file__).with_name("rotation_mnist_mlp.safetensors")
studies.networks.save(model.cpu(), path)
accuracy = studies.networks.evaluate(model.cpu(), splits.test)[1]
print(f"{path.name}: best epoch {fit.best_epoch}, test accuracy {accuracy:.3f}")
