"""krcf, the Rust core of random-cut-forest-by-aws, as a process: a command a line, in JSON, and an answer to each.

{"make": {"dimensions", "seed", "trees", "samples", "decay"}}: a new forest.
{"run": "stream" | "score" | "update", "rows": FILE.npy, "scores": FILE.npy}: over the rows in turn; the answer has
seconds of processor and wall. Rows are lists before the clock starts.
{"job": FILE.csv, …as make}: read with pandas, then update with each row, all of it on the clock.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from krcf import RandomCutForest


def make(what: dict[str, Any]) -> RandomCutForest:
    return RandomCutForest(
        {
            "dimensions": what["dimensions"],
            "shingle_size": 1,
            "num_trees": what["trees"],
            "sample_size": what["samples"],
            "output_after": 1,
            "random_seed": what["seed"],
            "parallel_execution_enabled": False,
            "lambda": what["decay"],
        }
    )


def run(forest: RandomCutForest, what: str, rows: list[list[float]]) -> list[float]:
    scores = []
    for row in rows:
        if what != "update":
            scores.append(forest.score(row))
        if what != "score":
            forest.update(row)
    return scores


def main() -> None:
    forest = None
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any] = {}
        if "make" in asked:
            forest = make(asked["make"])
        elif "run" in asked:
            rows = np.load(asked["rows"]).tolist()
            begun, wall = time.process_time(), time.perf_counter()
            scores = run(forest, asked["run"], rows)
            answer = {"seconds": time.process_time() - begun, "wall": time.perf_counter() - wall}
            np.save(asked["scores"], np.array(scores))
        else:
            import pandas

            begun, wall = time.process_time(), time.perf_counter()
            rows = pandas.read_csv(asked["job"], header=None, dtype=np.float32).to_numpy().tolist()
            run(make(asked), "update", rows)
            answer = {"seconds": time.process_time() - begun, "wall": time.perf_counter() - wall}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
