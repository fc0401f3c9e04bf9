"""Malignant or benign? Cells from their nuclei, by Linear Learner, whose threshold is chosen for recall.

    python examples/breast_cancer_linear_learner.py

The data come with the package (wildsage.samples).
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import wildsage as sagemaker
from wildsage import samples

HELD_OUT = 100


def main(folder: Path) -> None:
    rows = [[int(malignant), *values] for malignant, values in samples.breast_cancer()]  # the label comes first
    random.Random(0).shuffle(rows)
    held_out, validation, train = rows[:HELD_OUT], rows[HELD_OUT : 2 * HELD_OUT], rows[2 * HELD_OUT :]
    channels = {}
    for name, part in {"train": train, "validation": validation}.items():
        path = folder / f"{name}.csv"
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in part))
        channels[name] = sagemaker.inputs.TrainingInput(str(path), content_type="text/csv;label_size=1")

    image = sagemaker.image_uris.retrieve(framework="linear-learner")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(
        predictor_type="binary_classifier", mini_batch_size=20, epochs=30,
        # A cancer that is missed is worse than a false alarm.
        binary_classifier_model_selection_criteria="precision_at_target_recall", target_recall=0.97,
    )  # fmt: skip
    estimator.fit(channels)

    predictor = estimator.deploy(
        initial_instance_count=1,
        instance_type="local",
        serializer=sagemaker.serializers.CSVSerializer(),
        deserializer=sagemaker.deserializers.JSONDeserializer(),
    )
    try:
        answers = predictor.predict([row[1:] for row in held_out])["predictions"]
    finally:
        predictor.delete_endpoint()
    told = [int(answer["predicted_label"]) for answer in answers]
    truth = [row[0] for row in held_out]
    found = sum(a and b for a, b in zip(told, truth, strict=True))
    print(f"{found} of {sum(truth)} cancers found, with {sum(told) - found} false alarms")
    right = sum(a == b for a, b in zip(told, truth, strict=True))
    print(f"accuracy on {HELD_OUT} held-out images: {right / HELD_OUT:.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
