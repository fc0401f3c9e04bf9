"""How old is an abalone? Its rings from its measures, by Linear Learner.

    python examples/abalone_linear_learner.py

The data come with the package (wildsage.samples).
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import wildsage as sagemaker
from wildsage import samples

HELD_OUT = 400


def main(folder: Path) -> None:
    # Rings come first; a sex becomes three numbers, of which one is 1.
    rows = [[values[-1], *(int(sex == each) for each in "MFI"), *values[:-1]] for sex, values in samples.abalone()]
    random.Random(0).shuffle(rows)
    held_out, validation, train = rows[:HELD_OUT], rows[HELD_OUT : 2 * HELD_OUT], rows[2 * HELD_OUT :]
    channels = {}
    for name, part in {"train": train, "validation": validation}.items():
        path = folder / f"{name}.csv"
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in part))
        channels[name] = sagemaker.inputs.TrainingInput(str(path), content_type="text/csv;label_size=1")

    image = sagemaker.image_uris.retrieve(framework="linear-learner")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(predictor_type="regressor", mini_batch_size=100, epochs=30)
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
    errors = [answer["score"] - row[0] for answer, row in zip(answers, held_out, strict=True)]
    rmse = (sum(error * error for error in errors) / len(errors)) ** 0.5
    print(f"root mean squared error on {len(errors)} held-out abalones: {rmse:.2f} rings")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
