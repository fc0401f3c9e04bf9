"""Rounds by the library's own functions against those by its package."""

from __future__ import annotations

import numpy as np
import pytest

from wildsage.algorithms.xgboost.library import errors_of_the_library, library, quick_round
from wildsage.contract.errors import ClientError

PARAMETERS = {"objective": "binary:logistic", "eval_metric": ["auc", "logloss"], "nthread": 1, "max_depth": 3}


def matrices() -> list[tuple[object, str]]:
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 5)).astype(np.float32)
    labels = rows[:, 0] + random.normal(size=300) > 0
    return [
        (library().DMatrix(rows[:200], labels[:200], nthread=1), "train"),
        (library().DMatrix(rows[200:], labels[200:], nthread=1), "validation"),
    ]


def test_a_quick_round_is_that_of_the_package() -> None:
    evals, other = matrices(), matrices()
    ours, theirs = (library().Booster(PARAMETERS, [matrix for matrix, _ in each]) for each in (evals, other))
    ours.update(evals[0][0], 0)
    first = ours.eval_set(evals, 0)
    step = quick_round(ours, evals[0][0], evals)
    lines = [first, *map(step, range(1, 6))]
    wanted = []
    for number in range(6):
        theirs.update(other[0][0], number)
        wanted.append(theirs.eval_set(other, number))
    assert lines == wanted
    assert ours.save_raw("ubj") == theirs.save_raw("ubj")


def test_what_it_raises_is_the_librarys() -> None:
    evals = matrices()
    booster = library().Booster({**PARAMETERS, "eval_metric": "none-such"}, [evals[0][0]])
    with pytest.raises(ClientError, match="none-such"), errors_of_the_library("training"):
        quick_round(booster, evals[0][0], evals)(0)
