"""k-means of other libraries, in a process of its own: a request in JSON a line on stdin, an answer a line on stdout.

Environment: OMP_NUM_THREADS, OPENBLAS_NUM_THREADS and OPENBLAS_CORETYPE as the bench sets them, before NumPy loads.
A request: {"method", "data" (an .npy file), "k", "seed", "batch", "centres" (where to put them, .npy)}; method `job`
has "csv" instead of data, and reads it with pandas. An answer: {"wall", "cpu"} in seconds, of fitting alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")
_data: dict[str, Any] = {}


def one_pass(rows: Any, request: dict[str, Any]) -> Any:
    """MiniBatchKMeans fed by hand, each row once: the least that it can do."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(request["k"], batch_size=request["batch"], n_init=1, random_state=request["seed"])
    for begin in range(0, len(rows), request["batch"]):
        model.partial_fit(rows[begin : begin + request["batch"]])
    return model.cluster_centers_


def fit_once(rows: Any, request: dict[str, Any]) -> Any:
    """MiniBatchKMeans.fit with max_iter=1: as many rows as there are, drawn at random, and labels at the end."""
    from sklearn.cluster import MiniBatchKMeans

    more = {"batch_size": request["batch"], "n_init": 1, "max_iter": 1, "random_state": request["seed"]}
    return MiniBatchKMeans(request["k"], **more).fit(rows).cluster_centers_


def default(rows: Any, request: dict[str, Any]) -> Any:
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(request["k"], random_state=request["seed"]).fit(rows).cluster_centers_


def full(rows: Any, request: dict[str, Any]) -> Any:
    from sklearn.cluster import KMeans

    return KMeans(request["k"], n_init=1, random_state=request["seed"]).fit(rows).cluster_centers_


def faiss_all(rows: Any, request: dict[str, Any]) -> Any:
    import faiss

    faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    more = {"niter": request.get("rounds", 25), "seed": request["seed"] + 1, "max_points_per_centroid": 10**9}
    model = faiss.Kmeans(rows.shape[1], request["k"], **more)
    model.train(rows)
    return model.centroids


def job(rows: Any, request: dict[str, Any]) -> Any:
    """The CSV file, whole, with pandas, then a pass by hand."""
    import pandas

    frame = pandas.read_csv(request["csv"], header=None, dtype=np.float32)
    return one_pass(np.ascontiguousarray(frame.to_numpy()), request)


METHODS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "one pass": one_pass, "fit once": fit_once, "default": default, "full": full, "faiss": faiss_all, "job": job,
}  # fmt: skip


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        name = request.get("data")
        if name is not None and name not in _data:
            _data.clear()
            _data[name] = np.load(name)
        wall, cpu = time.perf_counter(), time.process_time()
        centres = METHODS[request["method"]](_data.get(name), request)
        answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        np.save(request["centres"], centres)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
