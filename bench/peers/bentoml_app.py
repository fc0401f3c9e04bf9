"""BentoML: WORKERS workers, an async method."""

from __future__ import annotations

import os
from typing import Any

import bentoml

from bench.peers.classifier import Classifier


@bentoml.service(workers=int(os.environ["WORKERS"]), traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Service:
    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api(route="/invocations")
    async def invocations(self, instances: list[str]) -> list[dict[str, Any]]:
        return self.classifier.predict(instances)
