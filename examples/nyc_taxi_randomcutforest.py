"""When was New York not itself? Half-hours of taxi passengers, by Random Cut Forest.

    WILDSAGE_DATA=FOLDER python examples/nyc_taxi_randomcutforest.py

FOLDER/nab/nyc_taxi.csv: the series of the Numenta Anomaly Benchmark (MIT licence), July 2014 to January 2015, in which
five events are known. The forest is shown a week at a time, one beginning every hour: a few passengers are nothing
strange, unless they are few for that hour of that day.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

import wildsage as sagemaker

FILE = Path(os.environ.get("WILDSAGE_DATA", "")) / "nab" / "nyc_taxi.csv"
HOUR, WEEK = 2, 336  # half-hours
A_REQUEST = 500  # weeks
EVENTS = {
    "New York City Marathon": "2014-11-01 19:00:00",
    "Thanksgiving": "2014-11-27 15:30:00",
    "Christmas": "2014-12-25 15:00:00",
    "New Year": "2015-01-01 01:00:00",
    "snow storm": "2015-01-27 00:00:00",
}


def read() -> tuple[list[datetime], np.ndarray]:
    if not FILE.is_file():
        sys.exit(f"{FILE} is missing: set WILDSAGE_DATA to the folder that nab lies in")
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [datetime.fromisoformat(row["timestamp"]) for row in rows], np.array([int(row["value"]) for row in rows])


def main(folder: Path) -> None:
    times, passengers = read()
    weeks = np.lib.stride_tricks.sliding_window_view(passengers, WEEK)[::HOUR]
    ends = times[WEEK - 1 :: HOUR]
    np.savetxt(folder / "train.csv", weeks, "%d", ",")

    image = sagemaker.image_uris.retrieve(framework="randomcutforest")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(feature_dim=WEEK, num_trees=100, num_samples_per_tree=1024)
    train = sagemaker.inputs.TrainingInput(
        str(folder / "train.csv"), content_type="text/csv;label_size=0", distribution="ShardedByS3Key"
    )
    estimator.fit({"train": train})

    predictor = estimator.deploy(
        initial_instance_count=1,
        instance_type="local",
        serializer=sagemaker.serializers.CSVSerializer(),
        deserializer=sagemaker.deserializers.JSONDeserializer(),
    )
    try:
        scores = np.array(
            [
                answer["score"]
                for begin in range(0, len(weeks), A_REQUEST)
                for answer in predictor.predict(weeks[begin : begin + A_REQUEST])["scores"]
            ]
        )
    finally:
        predictor.delete_endpoint()
    threshold = scores.mean() + 1.5 * scores.std()

    strange = [end for end, score in zip(ends, scores, strict=True) if score > threshold]
    found = set()
    for first, last in spells(strange):
        # A score is of the week that ends then.
        held = [
            name
            for name, when in EVENTS.items()
            if first - timedelta(days=7.5) <= datetime.fromisoformat(when) <= last + timedelta(days=0.5)
        ]
        found.update(held)
        print(f"strange weeks end from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}: {', '.join(held) or 'unknown'}")
    print(f"{len(found)} of {len(EVENTS)} known events found")


def spells(times: list[datetime]) -> list[tuple[datetime, datetime]]:
    """First and last times of spells that are more than a day apart."""
    made: list[tuple[datetime, datetime]] = []
    for time in times:
        if made and time - made[-1][1] <= timedelta(days=1):
            made[-1] = (made[-1][0], time)
        else:
            made.append((time, time))
    return made


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
