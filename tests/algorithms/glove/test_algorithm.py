"""GloVe as a job: topics, files, going on from a model, evaluation."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.algorithms.glove.jobs import TOPICS, job, sentences
from tests.algorithms.jobs import Listener
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.algorithms.glove import Glove
from wildsage.algorithms.glove.model import BIASES_FILE, GloveVectors
from wildsage.contract.channels import Channel
from wildsage.contract.errors import ClientError, DataError
from wildsage.runtime import words


def fit(folder: Path, channels: dict[str, Any], listener: Listener | None = None, **values: Any) -> GloveVectors:
    return Glove().train(job(folder, channels, listener, **values))


def saved(model: GloveVectors, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    return folder


@pytest.mark.parametrize("symmetric", [True, False])
def test_words_of_a_topic_come_together(symmetric: bool, tmp_path: Path) -> None:
    model = fit(tmp_path, {"train": sentences(1000)}, epochs=30, symmetric=symmetric)
    units = model.of([word for topic in TOPICS for word in topic])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines, own = units @ units.T, np.kron(np.eye(4), np.ones((12, 12))).astype(bool)
    assert cosines[own].mean() > cosines[~own].mean() + 0.1


def test_files_are_those_of_word_vectors(tmp_path: Path) -> None:
    model = fit(tmp_path / "job", {"train": sentences(60)})
    folder = saved(model, tmp_path / "model")
    assert {path.name for path in folder.iterdir()} == {"vectors.txt", "vectors.bin", BIASES_FILE}
    for each in (GloveVectors.load(folder), WordVectors.load(folder), WordVectors.read(folder / "vectors.txt")):
        assert np.array_equal(each.of(["sea1", "unheard"]), model.of(["sea1", "unheard"]))
    assert Glove.model_in(folder) is GloveVectors
    assert words.answer(folder, "nearest", ["sea1"], 3) == [
        {"word": word, "cosine": cosine} for word, cosine in model.nearest("sea1", 3)
    ]
    assert words.answer(folder, "export", [str(tmp_path / "v.safetensors")], 1)["words"] == 53


def test_a_damaged_file_of_biases_is_told(tmp_path: Path) -> None:
    folder = saved(fit(tmp_path / "job", {"train": sentences(60)}), tmp_path / "model")
    path = folder / BIASES_FILE
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="not GloVe's biases"):
        GloveVectors.load(folder)
    saved(fit(tmp_path / "other", {"train": "a b c\n"}), tmp_path / "less")
    path.write_bytes((tmp_path / "less" / BIASES_FILE).read_bytes())
    with pytest.raises(DataError, match="3 biases, where there are 53 words"):
        GloveVectors.load(folder)


@pytest.mark.parametrize("packed", [True, False])
def test_training_goes_on_from_a_model(packed: bool, tmp_path: Path) -> None:
    first = Listener()
    folder = saved(fit(tmp_path / "first", {"train": sentences(300)}, first, epochs=20), tmp_path / "model")
    if packed:
        (tmp_path / "packed").mkdir()
        with tarfile.open(tmp_path / "packed" / "model.tar.gz", "w:gz") as archive:
            for path in folder.iterdir():
                archive.add(path, path.name)
        folder = tmp_path / "packed"
    listener = Listener()
    context = job(tmp_path / "second", {"train": sentences(300) + "one new word\n"}, listener, epochs=1)
    context.channels["model"] = Channel("model", folder)  # type: ignore[index]
    model = Glove().train(context)
    assert listener.facts["costs"][0] < 1.1 * first.facts["costs"][-1]
    assert b"new" in model.words
    assert any("going on from a model of 53 words" in line for line in listener.lines)


def test_vectors_of_another_kind_are_gone_on_from_too(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vectors.txt").write_text("2 8\nsea1 1 2 3 4 5 6 7 8\nonly -1 0 0 0 0 0 0 0\n")
    context = job(tmp_path / "job", {"train": sentences(60)}, epochs=1)
    context.channels["model"] = Channel("model", tmp_path / "model")  # type: ignore[index]
    model = Glove().train(context)
    assert model.of(["only"]).tolist() == [[-1, 0, 0, 0, 0, 0, 0, 0]]


def test_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    folder = saved(fit(tmp_path / "first", {"train": sentences(60)}), tmp_path / "model")
    context = job(tmp_path / "second", {"train": sentences(60)}, vector_dim=9)
    context.channels["model"] = Channel("model", folder)  # type: ignore[index]
    with pytest.raises(ClientError, match="channel model: its vectors have 8 columns, so vector_dim must be 8"):
        Glove().train(context)


def test_vectors_are_evaluated(tmp_path: Path) -> None:
    pairs = "sea1 sea2 9\nsea1 law1 1\nfood1 food2 8\nstar1 food1 2\nnot here 3\n"
    listener = Listener()
    model = fit(tmp_path, {"train": sentences(300), "evaluation": pairs}, listener)
    assert model.evaluation is not None
    assert model.evaluation["text.txt"]["not_found"] == 1
    assert [name for name, *_ in listener.metrics][-1] == "train:mean_rho"


def test_memory_is_estimated_with_advice(tmp_path: Path) -> None:
    small = Glove().estimate_memory(job(tmp_path, {"train": sentences(60)}))
    large = Glove().estimate_memory(job(tmp_path, {"train": sentences(60)}, vector_dim=1_000_000))
    assert large.peak_bytes > small.peak_bytes + 8 * 53 * 1_000_000
    assert "lower vector_dim" in large.advice


def test_what_has_no_effect_is_said(tmp_path: Path) -> None:
    listener = Listener()
    fit(tmp_path, {"train": sentences(20)}, listener, patience=3, deterministic=False)
    assert listener.lines[0] == "patience has no effect without early_stopping"
    assert listener.lines[1].startswith("deterministic = False has no effect")


def test_it_warms_up() -> None:
    from wildsage.kernels.kernel import missing

    Glove.warm_up()
    assert missing("wildsage.algorithms.glove.kernels") == []
