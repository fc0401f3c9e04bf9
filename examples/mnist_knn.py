"""Handwritten digits by their nearest neighbours: k-NN, from pixels to an endpoint.

    WILDSAGE_DATA=FOLDER python examples/mnist_knn.py

Fewer dimensions make each answer cheaper: 784 pixels become 128 numbers by a random transform that keeps distances.

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
    for name, part in {"train": slice(HELD_OUT, None), "test": slice(HELD_OUT)}.items():
        # The label comes first.
        np.savetxt(folder / f"{name}.csv", np.column_stack([digits[part], pixels[part]]), "%d", ",")

    image = sagemaker.image_uris.retrieve(framework="knn")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(
        feature_dim=784, k=5, predictor_type="classifier", sample_size=10_000,
        dimension_reduction_type="fjlt", dimension_reduction_target=128,
    )  # fmt: skip
    csv = "text/csv;label_size=1"
    estimator.fit(
        {
            "train": sagemaker.inputs.TrainingInput(str(folder / "train.csv"), content_type=csv),
            "test": sagemaker.inputs.TrainingInput(str(folder / "test.csv"), content_type=csv),
        }
    )

    predictor = estimator.deploy(
        initial_instance_count=1,
        instance_type="local",
        serializer=sagemaker.serializers.CSVSerializer(),
        deserializer=sagemaker.deserializers.JSONDeserializer(accept="application/json; verbose=true"),
    )
    try:
        answers = predictor.predict(pixels[:HELD_OUT])["predictions"]
        for answer, digit in list(zip(answers, digits, strict=False))[:5]:
            neighbours = [f"{label:.0f}" for label in answer["labels"]]
            print(
                f"a {digit}: its neighbours are {', '.join(neighbours)}; the nearest {answer['distances'][0]:.0f} away"
            )
        right = [answer["predicted_label"] == digit for answer, digit in zip(answers, digits, strict=False)]
        print(f"accuracy on {len(right)} held-out digits: {sum(right) / len(right):.3f}")
    finally:
        predictor.delete_endpoint()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
