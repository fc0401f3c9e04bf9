"""scikit-learn's linear models, for bench.linear_learner, in an environment of their own: JSON lines in and out.

{"do": "sgd" | "optimum", "train": FILE, "test": FILE} of generated rows (NumPy's .npy, the label first), or
{"do": "best", "kind": …, "train": FILE, "validation": FILE, "test": FILE} of CSV.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

PENALTIES = (0.1, 1.0, 10.0)
loaded: dict[str, Any] = {}


def rows_of(path: str) -> tuple[Any, Any]:
    if path not in loaded:
        loaded[path] = np.load(path) if path.endswith(".npy") else np.loadtxt(path, delimiter=",")
    return loaded[path][:, 1:], loaded[path][:, 0]


def sgd(asked: dict[str, str]) -> dict[str, float]:
    """One pass of one model."""
    x, y = rows_of(asked["train"])
    model = SGDClassifier(loss="log_loss", max_iter=1, tol=None, random_state=0)
    begun, used = time.perf_counter(), time.process_time()
    model.fit(x, y)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    a, b = rows_of(asked["test"])
    return {"seconds": seconds, "cpu": cpu, "loss": log_loss(b, model.predict_proba(a))}


def optimum(asked: dict[str, str]) -> dict[str, float]:
    """The loss of a model that has converged."""
    x, y = rows_of(asked["train"])
    begun = time.perf_counter()
    model = LogisticRegression(C=1e4, max_iter=1000, tol=1e-6).fit(x.astype(np.float64), y)
    a, b = rows_of(asked["test"])
    return {"seconds": time.perf_counter() - begun, "loss": log_loss(b, model.predict_proba(a))}


def best(asked: dict[str, str]) -> dict[str, float]:
    """The linear model that does best on validation, judged on test."""
    (x, y), (v, w), (a, b) = (rows_of(asked[name]) for name in ("train", "validation", "test"))
    scaler = StandardScaler().fit(x)
    x, v, a = (scaler.transform(each) for each in (x, v, a))
    found = []
    if asked["kind"] == "regressor":
        for model in (LinearRegression(), *(Ridge(each) for each in (1, 10, 100))):
            model.fit(x, y)
            mse = [float(np.mean((model.predict(rows) - labels) ** 2)) for rows, labels in ((v, w), (a, b))]
            found.append((mse[0], {"loss": mse[1], "score": 1 - mse[1] / float(np.var(b))}))
    else:
        for penalty in PENALTIES:
            model = LogisticRegression(C=penalty, max_iter=300).fit(x, y)
            test = {"loss": log_loss(b, model.predict_proba(a)), "score": float(model.score(a, b))}
            found.append((log_loss(w, model.predict_proba(v)), test))
    return min(found, key=lambda each: each[0])[1]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for given in sys.stdin:
        request = json.loads(given)
        print(json.dumps({"sgd": sgd, "optimum": optimum, "best": best}[request["do"]](request)), flush=True)
