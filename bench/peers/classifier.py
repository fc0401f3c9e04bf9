"""The classifier that every peer serves: our own TextClassifier, from the folder in MODEL_FOLDER."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wildsage.algorithms.blazingtext.model import TextClassifier


class Classifier:
    def __init__(self) -> None:
        self.model = TextClassifier.load(Path(os.environ["MODEL_FOLDER"]))
        self.model.warm_up()

    def predict(self, texts: list[str]) -> list[Any]:
        return self.model.predict(texts, [{}] * len(texts))
