"""The peers of bench.pca, in a process of their own: one JSON line a job, for each line on stdin.

A line is one of `incremental`, `covariance` (scikit-learn on the array, in memory) and `file` (pandas and the latter).
"""

import json
import sys
import time

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA


def fit(kind, rows, components, batch_rows):
    if kind == "incremental":
        return IncrementalPCA(components, batch_size=batch_rows).fit(rows)
    return PCA(components, svd_solver="covariance_eigh").fit(rows)


def main(array, csv, components, batch_rows, out):
    rows = np.load(array)
    for line in sys.stdin:
        kind = line.strip()
        wall, cpu = time.perf_counter(), time.process_time()
        if kind == "file":
            import pandas

            given = pandas.read_csv(csv, header=None, dtype=np.float32).to_numpy(np.float32)
        else:
            given = rows
        found = fit(kind, given, int(components), int(batch_rows))
        took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        np.save(out, found.components_)
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
