"""What the models that are trained side by side differ in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wildsage.algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters

MODELS = 32
WIDE = 1 << 14  # weights of a model above which 16 models are trained
VERY_WIDE = 1 << 18  # and above which one is, if it has several classes

# What "auto" tries, the likeliest first: steps for features of variance 1, and penalties for a mean loss.
RATES = {"adam": (0.1, 0.03, 0.3, 0.01), "rmsprop": (0.01, 0.03, 0.003, 0.001), "sgd": (0.03, 0.1, 0.01, 0.003)}
DECAYS = (0.0, 1e-4, 1e-3, 1e-5, 1e-2, 3e-4, 3e-3, 3e-2)
CLOSE = (1.0, 0.5, 2.0, 0.25)  # multiples of a rate that was given
POSITIVES = (0.0, 1.0, 0.5)  # powers of the balance that positives weigh with "auto"


@dataclass(frozen=True)
class Setting:
    """One model's."""

    rate: float
    wd: float
    l1: float
    balance: float  # power of (negatives / positives) that positive rows weigh


def count_models(parameters: LinearLearnerHyperparameters, d: int) -> int:
    """How many models are trained."""
    if parameters.num_models != "auto":
        return parameters.num_models
    weights = (d + 1) * parameters.classes
    if weights <= WIDE:
        return MODELS
    # Sixteen lanes take the time of one, unless the lanes could be classes.
    return 16 if weights <= VERY_WIDE or parameters.classes == 1 else 1


def settings(parameters: LinearLearnerHyperparameters, models: int) -> list[Setting]:
    """The settings of each model: all that was given is kept, but for close step sizes where nothing is left open."""
    optimizer = "adam" if parameters.optimizer == "auto" else parameters.optimizer
    rate, wd, l1 = parameters.learning_rate, parameters.wd, parameters.l1
    open_rate, open_wd = rate == "auto", wd == "auto"
    rates = RATES[optimizer] if rate == "auto" else tuple(rate * each for each in (CLOSE if not open_wd else CLOSE[:1]))
    decays = DECAYS if wd == "auto" else (wd,)
    powers = POSITIVES if parameters.positive_example_weight_mult == "auto" else (0.0,)
    if not open_rate and not open_wd and models == 1:
        rates = rates[:1]
    # Neighbours in this order differ in what matters most, so that few models are still a good choice.
    combined = sorted(
        product(enumerate(rates), enumerate(decays), enumerate(powers)),
        key=lambda each: (sum(place for place, _ in each), each[2][0], each[0][0]),
    )
    made = [Setting(rate, decay, 0.0 if l1 == "auto" else l1, power) for (_, rate), (_, decay), (_, power) in combined]
    return [made[k % len(made)] for k in range(models)]
