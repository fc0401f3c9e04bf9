"""BlazingText's hyperparameters: the published names, ranges and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from wildsage.contract.hyperparameters import Auto, Hyperparameters

WORD_VECTOR_MODES = ("batch_skipgram", "skipgram", "cbow")
LARGEST = 2**31 - 1
# What a model's reader takes; the published ranges have no upper end.
LIMITS = {"word_ngrams": 1024, "max_char": 1024, "vector_dim": 1 << 24}
# Of each mode, the default first.
LOSSES = {"supervised": ("softmax", "hs", "ova", "ns")} | dict.fromkeys(WORD_VECTOR_MODES, ("ns", "hs"))

Whole = Annotated[int, Field(ge=1, le=LARGEST)]


def _for(*modes: str, ours: bool = False) -> dict[str, Any]:
    return {"applies_to": list(modes)} | ({"beyond_contract": True} if ours else {})


class BlazingTextHyperparameters(Hyperparameters):
    """Values arrive as strings. Those beyond_contract are ours; all else is the original's."""

    mode: Literal["batch_skipgram", "skipgram", "cbow", "supervised"] = Field(
        description="training architecture; supervised means classification, the others learn word vectors"
    )
    batch_size: Whole = Field(
        11, description="words per mini-batch in batch_skipgram", json_schema_extra=_for("batch_skipgram")
    )
    buckets: Whole = Field(2_000_000, description="hash buckets, for word n-grams (supervised) or subwords")
    early_stopping: bool = Field(
        False,
        description="stop when validation accuracy stalls for patience epochs, and keep the best epoch",
        json_schema_extra=_for("supervised"),
    )
    epochs: Whole = Field(5, description="passes over the training text; the most, with early_stopping")
    evaluation: bool = Field(
        True,
        description="score the vectors on WordSimilarity-353 after training",
        json_schema_extra=_for(*WORD_VECTOR_MODES),
    )
    learning_rate: float = Field(0.05, gt=0, allow_inf_nan=False, description="step size; it falls to zero")
    min_char: Whole = Field(
        3, description="shortest character n-gram for subwords", json_schema_extra=_for(*WORD_VECTOR_MODES)
    )
    max_char: Whole = Field(
        6, description="longest character n-gram for subwords", json_schema_extra=_for(*WORD_VECTOR_MODES)
    )
    min_count: int = Field(5, ge=0, le=LARGEST, description="drop words seen fewer times than this")
    min_epochs: Whole = Field(
        5, description="epochs that always run before early stopping may act", json_schema_extra=_for("supervised")
    )
    negative_samples: Whole = Field(
        5, description="negative words drawn per positive", json_schema_extra=_for(*WORD_VECTOR_MODES)
    )
    patience: Whole = Field(
        4,
        description="epochs without validation gain tolerated before stopping; with early_stopping",
        json_schema_extra=_for("supervised"),
    )
    sampling_threshold: float = Field(
        0.0001,
        gt=0,
        allow_inf_nan=False,
        description="frequency above which words are randomly left out",
        json_schema_extra=_for(*WORD_VECTOR_MODES),
    )
    subwords: bool = Field(
        False,
        description="learn character n-gram vectors too, so that unseen words get a vector",
        json_schema_extra=_for("skipgram", "cbow"),
    )
    vector_dim: Whole = Field(100, description="size of the vectors")
    window_size: Whole = Field(
        5,
        description="context words on each side of the target word",
        json_schema_extra=_for(*WORD_VECTOR_MODES),
    )
    word_ngrams: Whole = Field(
        2, description="longest word n-gram used as a feature", json_schema_extra=_for("supervised")
    )
    seed: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="start of the random numbers; with one thread, equal seeds give equal models",
        json_schema_extra={"beyond_contract": True},
    )

    loss: Literal["ns", "hs", "softmax", "ova"] | Auto = Field(
        "auto",
        description="what is learnt from: ns (negative sampling) or hs (hierarchical softmax); in supervised mode also "
        "softmax or ova (one-vs-all); auto is softmax in supervised mode, else ns",
        json_schema_extra={"beyond_contract": True},
    )
    storage: Literal["float32", "float16"] | Auto = Field(
        "auto",
        description="how rows are kept while they are learnt: float16, rounded at random, takes half of the memory and "
        "less time; arithmetic is float32 either way; auto is float16 for large tables",
        json_schema_extra=_for("supervised", ours=True),
    )
    device: Literal["cpu", "cuda"] | Auto = Field(
        "auto",
        description="what to train on: the processor, or an NVIDIA GPU (needs the extra gpu); auto is cuda if the "
        "instance type has a GPU and there is one here, else cpu",
        json_schema_extra={"beyond_contract": True},
    )
    deterministic: bool = Field(
        False,
        description="the same model each time, with the same seed and number of threads; slower with several threads",
        json_schema_extra={"beyond_contract": True},
    )
    k_fold: int = Field(
        0,
        ge=0,
        le=1000,
        description="train this many times on all lines but a share of them, and report the mean accuracy on these and "
        "its spread, before the model itself is trained on all lines; 0 for not at all",
        json_schema_extra=_for("supervised", ours=True),
    )
    cbow_mean_gradient: bool = Field(
        False,
        description="each context takes its share of the gradient (corrected CBOW), not all of it as in word2vec",
        json_schema_extra=_for("cbow", ours=True),
    )
    position_weights: bool = Field(
        False,
        description="learn a row of weights for each place of the window, which context vectors are multiplied by",
        json_schema_extra=_for("cbow", ours=True),
    )
    phrases: int = Field(
        0,
        ge=0,
        le=20,
        description="passes over the text that each join pairs of words that keep company (new_york), before words are "
        "learnt; 0 for none",
        json_schema_extra=_for(*WORD_VECTOR_MODES, ours=True),
    )
    phrase_threshold: float = Field(
        200,
        gt=0,
        allow_inf_nan=False,
        description="score above which a pair is joined, in the first pass of phrases; each later one has half of the "
        "last one's",
        json_schema_extra=_for(*WORD_VECTOR_MODES, ours=True),
    )
    phrase_discount: int = Field(
        5,
        ge=0,
        le=LARGEST,
        description="taken from a pair's count before it is scored, so that pairs of rare words do not become phrases",
        json_schema_extra=_for(*WORD_VECTOR_MODES, ours=True),
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        allowed = LOSSES[self.mode]
        if self.loss not in ("auto", *allowed):
            raise ValueError(f"loss = {self.loss} is not allowed in mode {self.mode}: {' or '.join(allowed)}")
        if self.k_fold == 1:
            raise ValueError("k_fold = 1 is not allowed: 2 or more folds, or 0 for none")
        if self.makes_subwords and self.min_char > self.max_char:
            raise ValueError(f"min_char = {self.min_char} is not allowed: max_char, which is {self.max_char}, or less")
        for name, most in LIMITS.items():
            if (value := getattr(self, name)) > most:
                raise ValueError(f"{name} = {value} is not allowed: 1 to {most}, or the model could not be loaded")
        return self

    @property
    def makes_subwords(self) -> bool:
        """Whether words have character n-grams."""
        return self.subwords and self.mode in ("skipgram", "cbow")

    @property
    def weighs_positions(self) -> bool:
        """Whether the places of a window have weights."""
        return self.position_weights and self.mode == "cbow"

    @property
    def chosen_loss(self) -> str:
        return LOSSES[self.mode][0] if self.loss == "auto" else self.loss

    def notes(self) -> list[str]:
        """What the user set and this mode does not use: accepted, as the original does, but worth a word."""
        notes = []
        for name, field in type(self).model_fields.items():
            extra: Any = field.json_schema_extra or {}
            modes = extra.get("applies_to", [self.mode])
            used = self.mode in modes or (name == "negative_samples" and self.chosen_loss == "ns")
            if name in self.model_fields_set and not used:
                notes.append(f"{name} has no effect in mode {self.mode} (it is for {', '.join(modes)})")
        if self.mode == "supervised" and not self.early_stopping:
            notes += [
                f"{name} has no effect without early_stopping"
                for name in ("patience", "min_epochs")
                if name in self.model_fields_set
            ]
        if self.mode != "supervised":
            if not self.makes_subwords:
                notes += [
                    f"{name} has no effect without subwords"
                    for name in ("min_char", "max_char", "buckets")
                    if name in self.model_fields_set
                ]
            if not self.phrases:
                notes += [
                    f"{name} has no effect without phrases"
                    for name in ("phrase_threshold", "phrase_discount")
                    if name in self.model_fields_set
                ]
            if self.chosen_loss == "hs" and "negative_samples" in self.model_fields_set:
                notes.append("negative_samples has no effect with loss = hs")
        return notes
