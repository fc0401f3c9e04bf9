"""Handwritten digits in few numbers: PCA, from 784 pixels to 50 components.

    WILDSAGE_DATA=FOLDER python examples/mnist_pca.py

What the components keep of the pixels' variance is measured on digits that they were not made of.

FOLDER/mnist-10k/mnist_test.csv.gz: the 10,000 test digits of MNIST, a line each of 784 pixels (0 to 255) and the digit.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import wildsage as sagemaker

FILE = Path(os.environ.get("WILDSAGE_DATA", "")) / "mnist-10k" / "mnist_test.csv.gz"
HELD_OUT = 1000


def read() -> tuple[np.ndarray, np.ndarray]:
    """The digits' pixels, (10000, 784), and what they show, in a random order."""
    if not FILE.is_file():
        sys.exit(f"{FILE} is missing: set WILDSAGE_DATA to the folder that mnist-10k lies in")
    table = np.loadtxt(FILE, delimiter=",", dtype=np.uint8)
    table = table[np.random.default_rng(0).permutation(len(table))]
    return table[:, :-1], table[:, -1]


def main(folder: Path) -> None:
    pixels, _ = read()
    np.savetxt(folder / "train.csv", pixels[HELD_OUT:], "%d", ",")

    image = sagemaker.image_uris.retrieve(framework="pca")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(feature_dim=784, num_components=50, mini_batch_size=500, subtract_mean=True)
    train = sagemaker.inputs.TrainingInput(str(folder / "train.csv"), content_type="text/csv;label_size=0")
    estimator.fit({"train": train})

    predictor = estimator.deploy(
        initial_instance_count=1,
        instance_type="local",
        serializer=sagemaker.serializers.CSVSerializer(),
        deserializer=sagemaker.deserializers.JSONDeserializer(),
    )
    try:
        answers = predictor.predict(pixels[:HELD_OUT])["projections"]
    finally:
        predictor.delete_endpoint()
    projections = np.array([answer["projection"] for answer in answers])
    kept = projections.var(axis=0).sum() / pixels[:HELD_OUT].astype(float).var(axis=0).sum()
    print(f"{projections.shape[1]} of {pixels.shape[1]} numbers keep {kept:.3f} of the variance of held-out digits")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
