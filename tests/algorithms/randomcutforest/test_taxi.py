"""The example of the managed service: taxi passengers in New York, whose five known events are to be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.algorithms.randomcutforest.jobs import csv, job
from wildsage.algorithms.randomcutforest import RandomCutForest
from wildsage.data.readers import read_body

EVENTS = ("2014-11-01 19:00", "2014-11-27 15:30", "2014-12-25 15:00", "2015-01-01 01:00", "2015-01-27 00:00")
WEEK, DAY = 336, 48  # half-hours


def test_the_five_events_of_the_taxi_series_are_found_and_nothing_else(data_folder: Path, tmp_path: Path) -> None:
    """Weeks are compared with weeks: those that score as high as the event that scores least are weeks of events."""
    lines = (data_folder / "nab" / "nyc_taxi.csv").read_text().splitlines()[1:]
    times, values = zip(*(line.split(",") for line in lines), strict=True)
    series = np.array(values, np.float32)[:, None]
    context = job(
        tmp_path, {"train": csv(series)}, shingle_size=WEEK, num_trees=100, num_samples_per_tree=1024, threads=2
    )
    model = RandomCutForest().train(context)
    scores = model.answer(read_body(csv(series).encode(), "text/csv"), {})["score"]
    places = [next(k for k, time in enumerate(times) if time.startswith(event)) for event in EVENTS]
    highest = [scores[place - DAY // 2 : place + WEEK + DAY // 2].max() for place in places]
    scored = scores[WEEK:]
    assert min(highest) > scored.mean() + 1.5 * scored.std()
    near = np.zeros(len(scores), bool)
    for place in places:
        near[place - DAY // 2 : place + WEEK + DAY // 2] = True
    assert (scores[~near] >= min(highest)).sum() <= 5
