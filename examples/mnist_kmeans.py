"""Handwritten digits in clusters: k-means, which is never told what they show.

    WILDSAGE_DATA=FOLDER python examples/mnist_kmeans.py

A cluster is named after the digit that most of its members are; the share of digits that have their cluster's name
says how well clusters and digits agree.

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
    pixels, digits = read()
    np.savetxt(folder / "train.csv", pixels, "%d", ",")

    image = sagemaker.image_uris.retrieve(framework="kmeans")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(feature_dim=784, k=20, mini_batch_size=500, epochs=3)
    train = sagemaker.inputs.TrainingInput(str(folder / "train.csv"), content_type="text/csv;label_size=0")
    estimator.fit({"train": train})

    predictor = estimator.deploy(
        initial_instance_count=1,
        instance_type="local",
        serializer=sagemaker.serializers.CSVSerializer(),
        deserializer=sagemaker.deserializers.JSONDeserializer(),
    )
    try:
        answers = predictor.predict(pixels[:HELD_OUT])["predictions"]
        clusters = np.array([int(answer["closest_cluster"]) for answer in answers])
    finally:
        predictor.delete_endpoint()
    agreeing = 0
    for cluster in np.unique(clusters):
        counts = np.bincount(digits[:HELD_OUT][clusters == cluster], minlength=10)
        print(f"cluster {cluster:2}: {counts.sum():3} digits, {counts.max():3} of them a {counts.argmax()}")
        agreeing += counts.max()
    print(f"{agreeing / HELD_OUT:.3f} of the digits have the name of their cluster")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
