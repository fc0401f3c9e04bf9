"""Train word vectors once, ours or a peer's, and say how long it took: a process of bench/word_vectors.py.

    python word_vectors.py ours|fasttext|gensim TEXT OUT SETTINGS

OUT.npy gets the vectors, float32 (V, dim), OUT.words the words, one a line. SETTINGS: JSON. One line of JSON comes out.
Seconds are from the text file, in the page cache, to a trained model in memory; imports and kernels are loaded before.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Trained = tuple[list[str], Callable[[], np.ndarray], Callable[[Path], None]]


@contextmanager
def clock(times: dict[str, float], name: str) -> Iterator[None]:
    begun, processor = time.perf_counter(), time.process_time()
    yield
    times[name] = time.perf_counter() - begun
    times[f"{name}_cpu"] = time.process_time() - processor


def peak_mib() -> float:
    """Resident memory at its peak; ru_maxrss would begin with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.split("\n") if line.startswith("VmHWM")).split()[1]) / 1024


def ours(text: Path, settings: dict[str, Any], times: dict[str, float]) -> Trained:
    from threading import Event

    from wildsage.algorithms.blazingtext import BlazingText
    from wildsage.algorithms.context import Silence, TrainingContext
    from wildsage.contract.channels import Channel

    class Quiet(Silence):
        def summary(self, **facts: Any) -> None:
            times.update({f"phase {name}": seconds for name, seconds in facts["seconds"].items()})

    def job(base: Path, source: Path, **more: Any) -> TrainingContext[Any]:
        (base / "train").mkdir(parents=True)
        (base / "train" / "text").symlink_to(source)
        values = {
            "mode": settings["mode"], "vector_dim": settings["dim"], "window_size": 5, "negative_samples": 5,
            "min_count": 5, "sampling_threshold": 1e-4, "epochs": settings["epochs"], "evaluation": False,
            "learning_rate": settings["rate"], "subwords": settings["subwords"], "seed": settings["seed"],
            **settings.get("more", {}), **more,
        }  # fmt: skip
        parameters = BlazingText.hyperparameters.parse({name: str(value) for name, value in values.items()})
        channels = {"train": Channel("train", base / "train")}
        return TrainingContext(
            parameters, channels, base, base / "checkpoints", Quiet(), Event(), threads=settings["threads"]
        )

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small"
        small.write_text("a first text , a second text\n" * 10)
        BlazingText().train(job(Path(folder) / "warm", small, min_count=1, epochs=1))
        context = job(Path(folder) / "job", text.resolve())
        with clock(times, "train"):
            model = BlazingText().train(context)
    words = [word.decode("utf-8", "replace") for word in model.words]
    return words, lambda: np.asarray(model.vectors(0, len(words))), model.save


def fasttext(text: Path, settings: dict[str, Any], times: dict[str, float]) -> Trained:
    import fasttext

    with clock(times, "train"):
        model = fasttext.train_unsupervised(
            str(text), model=settings["mode"], dim=settings["dim"], ws=5, neg=5, minCount=5, t=1e-4,
            epoch=settings["epochs"], lr=settings["rate"], thread=settings["threads"],
            minn=3 if settings["subwords"] else 0, maxn=6 if settings["subwords"] else 0, verbose=0,
        )  # fmt: skip
    words = model.get_words(on_unicode_error="replace")

    def save(folder: Path) -> None:
        model.save_model(str(folder / "vectors.bin"))
        with (folder / "vectors.vec").open("w", encoding="utf-8") as file:
            file.write(f"{len(words)} {settings['dim']}\n")
            for word in words:
                file.write(f"{word} {' '.join(f'{value:.5g}' for value in model.get_word_vector(word).tolist())}\n")

    return words, lambda: np.array([model.get_word_vector(word) for word in words], np.float32), save


def gensim(text: Path, settings: dict[str, Any], times: dict[str, float]) -> Trained:
    from gensim.models import FastText, Word2Vec

    kind, more = (FastText, {"min_n": 3, "max_n": 6}) if settings["subwords"] else (Word2Vec, {})
    with clock(times, "train"):
        model = kind(
            corpus_file=str(text), vector_size=settings["dim"], window=5, negative=5, min_count=5, sample=1e-4,
            sg=int(settings["mode"] == "skipgram"), epochs=settings["epochs"], alpha=settings["rate"],
            workers=settings["threads"], seed=settings["seed"], **more,
        )  # fmt: skip

    def save(folder: Path) -> None:
        model.wv.save_word2vec_format(str(folder / "vectors.txt"))
        model.wv.save_word2vec_format(str(folder / "vectors.bin"), binary=True)

    return model.wv.index_to_key, lambda: np.asarray(model.wv.vectors, np.float32), save


def count_ours(text: Path, settings: dict[str, Any], times: dict[str, float]) -> int:
    """Vocabulary and encoding."""
    from threading import Event

    from wildsage.algorithms.blazingtext import corpus, text_files
    from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
    from wildsage.contract.channels import Channel

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text").symlink_to(text.resolve())
        for name in ("warm", "count"):
            with clock(times, name):
                loaded = text_files.read(Channel("train", Path(folder)), labelled=False)
                found = corpus.encode(loaded, settings["threads"], Event(), labelled=False)
                vocabulary, _ = Vocabulary.build(found.counts, 5, labelled=False)
    return len(vocabulary.words)


def count_fasttext(text: Path, settings: dict[str, Any], times: dict[str, float]) -> int:
    """Vocabulary alone: no epoch, tables of one column."""
    import fasttext

    with clock(times, "count"):
        model = fasttext.train_unsupervised(
            str(text), model="cbow", dim=1, minCount=5, epoch=0, minn=0, maxn=0, thread=1, verbose=0
        )
    return len(model.get_words())


def count_gensim(text: Path, settings: dict[str, Any], times: dict[str, float]) -> int:
    """Vocabulary alone."""
    from gensim.models import Word2Vec

    model = Word2Vec(vector_size=1, min_count=5, workers=1)
    with clock(times, "count"):
        model.build_vocab(corpus_file=str(text))
    return len(model.wv.index_to_key)


def main(who: str, text: Path, out: Path, settings: dict[str, Any]) -> None:
    times: dict[str, float] = {}
    if settings.get("count"):
        counters = {"ours": count_ours, "fasttext": count_fasttext, "gensim": count_gensim}
        facts: dict[str, Any] = {"words": counters[who](text, settings, times)}
    else:
        words, vectors, save = {"ours": ours, "fasttext": fasttext, "gensim": gensim}[who](text, settings, times)
        facts = {"words": len(words), "peak_mib": peak_mib()}
        if settings.get("save"):
            with tempfile.TemporaryDirectory() as folder, clock(times, "save"):
                save(Path(folder))
        np.save(f"{out}.npy", vectors())
        Path(f"{out}.words").write_text("\n".join(words), encoding="utf-8")
    print(json.dumps(facts | times))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
