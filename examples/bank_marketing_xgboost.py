"""Who will take the bank's offer? Calls of a campaign, by XGBoost, and whom to call first.

    WILDSAGE_DATA=FOLDER python examples/bank_marketing_xgboost.py

FOLDER/bank-marketing/bank-additional-full.csv.gz: 41,188 calls (Moro, Cortez and Rita, 2014; UCI, CC BY 4.0), with 20
columns about customer and call, and whether the offer was taken. How long the call was is left out: who knows that
knows the outcome.
"""

from __future__ import annotations

import csv
import gzip
import os
import random
import sys
import tempfile
from pathlib import Path

import wildsage as sagemaker

FILE = Path(os.environ.get("WILDSAGE_DATA", "")) / "bank-marketing" / "bank-additional-full.csv.gz"
NUMBERS = (
    "age", "campaign", "pdays", "previous", "emp.var.rate", "cons.price.idx", "cons.conf.idx", "euribor3m",
    "nr.employed",
)  # fmt: skip
WORDS = ("job", "marital", "education", "default", "housing", "loan", "contact", "month", "day_of_week", "poutcome")
HELD_OUT = 4000


def read() -> list[list[float]]:
    """Calls in a random order: the outcome first, then numbers, and a column of 0 and 1 for each word of each kind."""
    if not FILE.is_file():
        sys.exit(f"{FILE} is missing: set WILDSAGE_DATA to the folder that bank-marketing lies in")
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as file:
        calls = list(csv.DictReader(file, delimiter=";"))
    kinds = [(name, word) for name in WORDS for word in sorted({call[name] for call in calls})]
    rows = [
        [
            float(call["y"] == "yes"),
            *(float(call[name]) for name in NUMBERS),
            *(float(call[name] == word) for name, word in kinds),
        ]
        for call in calls
    ]
    random.Random(0).shuffle(rows)
    return rows


def main(folder: Path) -> None:
    rows = read()
    held_out, validation, train = rows[:HELD_OUT], rows[HELD_OUT : 2 * HELD_OUT], rows[2 * HELD_OUT :]
    channels = {}
    for name, part in {"train": train, "validation": validation}.items():
        path = folder / f"{name}.csv"
        path.write_text("".join(",".join(f"{value:g}" for value in row) + "\n" for row in part))
        channels[name] = sagemaker.inputs.TrainingInput(str(path), content_type="text/csv")

    image = sagemaker.image_uris.retrieve(framework="xgboost", version="1.7-1")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(
        objective="binary:logistic", eval_metric="auc", num_round=200, early_stopping_rounds=10, max_depth=5, eta=0.2,
        min_child_weight=6, subsample=0.8,
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
    ranked = sorted(zip((answer["score"] for answer in answers), (row[0] for row in held_out), strict=True))[::-1]
    tenth = sum(taken for _, taken in ranked[: HELD_OUT // 10])
    taken_by = sum(taken for _, taken in ranked)
    print(f"the tenth of customers to call first has {tenth / taken_by:.0%} of those who take the offer")
    print(f"area under the curve on {HELD_OUT} held-out calls: {area(ranked):.3f}")


def area(ranked: list[tuple[float, float]]) -> float:
    """How often one who took the offer ranks before one who did not; ranked from the highest score."""
    above, pairs, takers = 0, 0.0, sum(taken for _, taken in ranked)
    for _, taken in ranked:
        if taken:
            above += 1
        else:
            pairs += above
    return pairs / (takers * (len(ranked) - takers))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
