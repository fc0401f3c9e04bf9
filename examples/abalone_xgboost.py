"""How old is an abalone? Its rings from its measures, by XGBoost, with early stopping.

    python examples/abalone_xgboost.py

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
    # Rings come first; sexes become numbers, which trees can part as they are.
    rows = [[values[-1], "MFI".index(sex), *values[:-1]] for sex, values in samples.abalone()]
    random.Random(0).shuffle(rows)
    held_out, validation, train = rows[:HELD_OUT], rows[HELD_OUT : 2 * HELD_OUT], rows[2 * HELD_OUT :]
    channels = {}
    for name, part in {"train": train, "validation": validation}.items():
        path = folder / f"{name}.csv"
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in part))
        channels[name] = sagemaker.inputs.TrainingInput(str(path), content_type="text/csv")

    image = sagemaker.image_uris.retrieve(framework="xgboost", version="1.7-1")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(
        objective="reg:squarederror", num_round=300, early_stopping_rounds=15, max_depth=4, eta=0.1, subsample=0.8
    )
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
