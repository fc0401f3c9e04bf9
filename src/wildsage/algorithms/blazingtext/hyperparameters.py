"""BlazingText's hyperparameters: the published names, ranges and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from wildsage.contract.hyperparameters import Hyperparameters

WORD_VECTOR_MODES = ("batch_skipgram", "skipgram", "cbow")
LARGEST = 2**31 - 1

Whole = Annotated[int, Field(ge=1, le=LARGEST)]


class BlazingTextHyperparameters(Hyperparameters):
    """Values arrive as strings. `seed` is ours; all else is the original's."""

    mode: Literal["batch_skipgram", "skipgram", "cbow", "supervised"] = Field(description="training architecture")
    batch_size: Whole = Field(11, description="words per mini-batch in batch_skipgram")
    buckets: Whole = Field(2_000_000, description="hash buckets for word n-grams (supervised) or subwords")
    early_stopping: bool = Field(False, description="stop when validation accuracy stalls for patience epochs")
    epochs: Whole = Field(5, description="passes over the training text; the most, with early_stopping")
    evaluation: bool = Field(True, description="score word vectors on WordSimilarity-353 after training")
    learning_rate: float = Field(0.05, gt=0, allow_inf_nan=False, description="step size at the start; falls to zero")
    min_char: Whole = Field(3, description="shortest character n-gram for subwords")
    max_char: Whole = Field(6, description="longest character n-gram for subwords")
    min_count: int = Field(5, ge=0, le=LARGEST, description="drop words seen fewer times than this")
    min_epochs: Whole = Field(5, description="epochs that always run before early stopping may act")
    negative_samples: Whole = Field(5, description="negative words drawn per positive")
    patience: Whole = Field(4, description="epochs without validation gain before stopping; with early_stopping")
    sampling_threshold: float = Field(
        0.0001, gt=0, allow_inf_nan=False, description="frequency above which words are randomly left out"
    )
    subwords: bool = Field(False, description="learn character n-gram vectors too, so unseen words get a vector")
    vector_dim: Whole = Field(100, description="size of the vectors")
    window_size: Whole = Field(5, description="context words on each side of the target word")
    word_ngrams: Whole = Field(2, description="longest word n-gram used as a feature")
    seed: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="same seed, same model, on one thread",
        json_schema_extra={"beyond_contract": True},
    )

    @field_validator("mode")
    @classmethod
    def _is_there(cls, mode: str) -> str:
        if mode in WORD_VECTOR_MODES:
            raise ValueError(f'mode {mode} is not in this version; allowed: "supervised" (text classification)')
        return mode

    def notes(self) -> list[str]:
        """What the user set and this mode does not use: accepted, as the original does, but worth a word."""
        modes = {
            "batch_size": ("batch_skipgram",),
            "evaluation": WORD_VECTOR_MODES,
            "min_char": WORD_VECTOR_MODES,
            "max_char": WORD_VECTOR_MODES,
            "negative_samples": WORD_VECTOR_MODES,
            "sampling_threshold": WORD_VECTOR_MODES,
            "subwords": ("skipgram", "cbow"),
            "window_size": WORD_VECTOR_MODES,
            "early_stopping": ("supervised",),
            "min_epochs": ("supervised",),
            "patience": ("supervised",),
            "word_ngrams": ("supervised",),
        }
        notes = [
            f"{name} has no effect in mode {self.mode} (it is for {', '.join(modes[name])})"
            for name in type(self).model_fields
            if name in self.model_fields_set and name in modes and self.mode not in modes[name]
        ]
        if self.mode == "supervised" and not self.early_stopping:
            notes += [
                f"{name} has no effect without early_stopping"
                for name in ("patience", "min_epochs")
                if name in self.model_fields_set
            ]
        return notes
