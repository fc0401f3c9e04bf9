"""A third party's algorithm for the tests: counts the words of its channels, and fails on request."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from wildsage.algorithms.base import Algorithm, MemoryEstimate, Model
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import write_json
from wildsage.contract.hyperparameters import Auto, Hyperparameters


class CountingHyperparameters(Hyperparameters):
    rounds: int = Field(ge=1, description="passes over the data")
    behaviour: Literal["train", "crash", "exit", "memory", "disk", "wait"] = Field("train", description="what happens")
    weight: float = Field(1.0, gt=0, le=10, description="what each word counts")
    needs_bytes: int = Field(0, ge=0, description="claimed memory")
    limit: int | Auto = Field("auto", description="most words")

    @model_validator(mode="after")
    def _limit_allows_rounds(self) -> Self:
        if self.limit != "auto" and self.limit < self.rounds:
            raise ValueError("limit must not be below rounds")
        return self


class CountingModel(Model):
    def __init__(self, counts: dict[str, float]) -> None:
        self.counts = counts

    def save(self, folder: Path) -> None:
        write_json(folder / "counts.json", self.counts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        counts = json.loads((folder / "counts.json").read_text())
        if not isinstance(counts, dict):
            raise DataError("there are no counts in it", file=folder / "counts.json")
        return cls(counts)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return (folder / "counts.json").is_file()

    def predict(self, instances: Any, options: Any) -> list[Any]:
        return [{"count": self.counts.get(word, 0)} for word in instances]


class Counting(Algorithm[CountingHyperparameters]):
    name = "counting"
    hyperparameters = CountingHyperparameters
    model = CountingModel

    def estimate_memory(self, context: Any) -> MemoryEstimate:
        return MemoryEstimate(context.hyperparameters.needs_bytes, "lower needs_bytes")

    def train(self, context: Any) -> CountingModel:
        asked = context.hyperparameters
        checkpoint = context.checkpoints / "counts.json"
        counts, first = {}, 0
        if checkpoint.exists():
            state = json.loads(checkpoint.read_text())
            counts, first = state["counts"], state["rounds"]
            context.report.say(f"resumed after {first} rounds")
        for number in range(first, asked.rounds):
            if asked.behaviour == "crash":
                raise ZeroDivisionError("the second line of\nthe message")
            if asked.behaviour == "exit":
                raise SystemExit(0)
            if asked.behaviour == "memory":
                raise MemoryError
            if asked.behaviour == "disk":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "counts.json")
            for path in context.channels["train"].files():
                for line_number, line in enumerate(path.read_text().splitlines(), 1):
                    if "bad" in line:
                        raise DataError("a bad word", file=path, line=line_number)
                    for word in line.split():
                        counts[word] = counts.get(word, 0) + asked.weight
            write_json(checkpoint, {"counts": counts, "rounds": number + 1})
            context.report.metric("train:words", sum(counts.values()), epoch=number + 1)
            context.report.progress(number + 1, asked.rounds, unit="rounds", words=len(counts))
            if asked.behaviour == "wait":
                context.report.say("waiting")
                context.stop.wait(60)
            if context.stop.is_set():
                break
        context.report.summary(words=len(counts), seconds={"count": 0.5}, cores=threading.active_count() > 0)
        if not counts:
            raise ClientError("no words")
        return CountingModel(counts)
