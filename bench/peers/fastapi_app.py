"""FastAPI on uvicorn: WORKERS processes, an async handler, pydantic both ways."""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from bench.peers.classifier import Classifier


class Question(BaseModel):
    instances: list[str]


class Answer(BaseModel):
    label: list[str]
    prob: list[float]


app = FastAPI()
classifier = None if __name__ == "__main__" else Classifier()


@app.post("/invocations")
async def invocations(question: Question) -> list[Answer]:
    assert classifier is not None
    return [Answer(**answer) for answer in classifier.predict(question.instances)]


if __name__ == "__main__":
    uvicorn.run(
        "bench.peers.fastapi_app:app",
        port=int(os.environ["PORT"]),
        workers=int(os.environ["WORKERS"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
