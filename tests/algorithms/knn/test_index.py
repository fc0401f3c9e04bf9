"""Indexes against faiss used plainly, and against distances in float64."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from tests.algorithms.knn import naive
from tests.algorithms.knn.jobs import clusters
from wildsage.algorithms.knn.hyperparameters import FLAT, IVF_FLAT, IVF_PQ
from wildsage.algorithms.knn.index import Index
from wildsage.algorithms.knn.rows import Rows
from wildsage.algorithms.streaming import Workers
from wildsage.contract.errors import ClientError, DataError

BASE, _ = clusters(1500, 12, seed=1)
QUERIES, _ = clusters(60, 12, seed=2)


def build(kind: str, *, product: bool = False, lists: int = 10, base: np.ndarray = BASE) -> Index:
    rows = Rows(base.shape[1])
    for begin in range(0, len(base), 400):
        part = base[begin : begin + 400]
        rows.extend(len(part), 1 << 20)[:] = part
    return Index.build(kind, rows, product=product, lists=lists, subvectors=4, seed=0, threads=1)


def search(index: Index, queries: np.ndarray, k: int = 7, probes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return index.search(queries, k, Workers(1), probes)


@pytest.mark.parametrize("product", [False, True])
def test_a_flat_index_is_faisss_own_file_and_takes_no_copy(product: bool, tmp_path: Path) -> None:
    peer = faiss.IndexFlatIP(12) if product else faiss.IndexFlatL2(12)
    peer.add(BASE)
    index = build(FLAT, product=product)
    assert not index._index.codes.is_owned
    index.write(tmp_path / "ours")
    faiss.write_index(peer, str(tmp_path / "theirs"))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT"])
def test_a_flat_index_finds_the_exact_neighbours(metric: str) -> None:
    exact = naive.distances(BASE, QUERIES, metric)
    values, numbers = search(build(FLAT, product=metric != "L2"), QUERIES)
    wanted = np.argsort(exact, axis=1, kind="stable")[:, :7]
    assert (numbers == wanted).all()
    told = np.take_along_axis(exact, wanted, axis=1)
    np.testing.assert_allclose(values, told**2 if metric == "L2" else -told, rtol=1e-5, atol=1e-5)


def test_distances_far_from_the_origin_keep_their_digits() -> None:
    base = BASE + np.float32(3000)
    values, numbers = search(build(FLAT, base=base), base[:40])
    assert (numbers[:, 0] == np.arange(40)).all()
    assert not values[:, 0].any()


@pytest.mark.parametrize("product", [False, True])
def test_an_inverted_file_finds_what_faiss_finds(product: bool) -> None:
    metric = faiss.METRIC_INNER_PRODUCT if product else faiss.METRIC_L2
    quantizer = faiss.IndexFlat(12, metric)
    peer = faiss.IndexIVFFlat(quantizer, 12, 10, metric)
    peer.cp.seed = 1
    faiss.omp_set_num_threads(1)
    peer.train(BASE)
    peer.add(BASE)
    peer.nprobe = 3
    _, theirs = peer.search(QUERIES, 7)
    _, ours = search(build(IVF_FLAT, product=product), QUERIES, probes=3)
    assert (ours == theirs).all()


def test_lists_with_few_rows_are_made_up_for_by_more_lists() -> None:
    index = build(IVF_FLAT, lists=300)
    values, numbers = search(index, QUERIES, k=200, probes=1)
    assert numbers.min() >= 0
    assert (np.diff(values, axis=1) >= 0).all()
    assert all(len(set(row)) == 200 for row in numbers.tolist())


def test_all_lists_are_exact() -> None:
    wanted = np.argsort(naive.distances(BASE, QUERIES, "L2"), axis=1)[:, :7]
    assert (search(build(IVF_FLAT), QUERIES, probes=10)[1] == wanted).all()


@pytest.mark.parametrize("count", [3, 100, 1500])
def test_product_quantization_is_near_whatever_the_number_of_rows(count: int) -> None:
    index = build(IVF_PQ, lists=1, base=BASE[:count])
    values, numbers = search(index, BASE[:3], k=3)
    assert numbers.min() >= 0
    assert (np.diff(values, axis=1) >= 0).all()
    assert index.kind == IVF_PQ


@pytest.mark.parametrize("kind", [FLAT, IVF_FLAT, IVF_PQ])
def test_an_answer_does_not_depend_on_the_other_queries(kind: str) -> None:
    index = build(kind)
    values, numbers = search(index, QUERIES)
    for i in range(0, 60, 7):
        alone, its = search(index, QUERIES[i : i + 1])
        assert (its[0] == numbers[i]).all()
        assert (alone[0] == values[i]).all()
    with Workers(2) as workers:
        twice = index.search(QUERIES, 7, workers, 5)
    assert (twice[0] == values).all()
    assert (twice[1] == numbers).all()
    assert search(index, QUERIES[:0])[0].shape == (0, 7)


@pytest.mark.parametrize("kind", [FLAT, IVF_FLAT, IVF_PQ])
def test_written_and_mapped_it_is_the_same(kind: str, tmp_path: Path) -> None:
    index = build(kind)
    index.write(tmp_path / "a")
    loaded = Index.load(tmp_path / "a")
    assert (loaded.kind, loaded.count, loaded.width) == (kind, 1500, 12)
    for ours, theirs in zip(search(loaded, QUERIES), search(index, QUERIES), strict=True):
        assert (ours == theirs).all()
    loaded.write(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    if kind != IVF_PQ:
        assert (loaded.vectors() == BASE).all()
    else:
        assert np.square(loaded.vectors() - BASE).mean() < 0.5 * BASE.var()


@pytest.mark.parametrize("content", [b"", b"IxF2", b"IxF2" + bytes(30), b"something else that is longer" * 9])
def test_what_is_no_index_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(content)
    with pytest.raises(DataError, match=r"^index: not a faiss index"):
        Index.load(tmp_path / "index")


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="could not open"):
        build(FLAT).write(tmp_path / "none" / "index")


def test_without_faiss_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ClientError, match=r'knn needs the package faiss: pip install "wildsage\[knn\]"'):
        Index.load(Path("none"))


@pytest.mark.parametrize("kind", [IVF_FLAT, IVF_PQ])
def test_an_inverted_file_is_byte_by_byte_what_faiss_makes_of_the_rows(kind: str, tmp_path: Path) -> None:
    # More rows than training takes, so that a sample of them is drawn.
    base = np.random.default_rng(5).normal(size=(70_000 if kind == IVF_PQ else 1500, 8)).astype(np.float32)
    build(kind, base=base, lists=3).write(tmp_path / "ours")
    quantizer = faiss.IndexFlatL2(8)
    peer = faiss.IndexIVFFlat(quantizer, 8, 3) if kind == IVF_FLAT else faiss.IndexIVFPQ(quantizer, 8, 3, 4, 8)
    peer.cp.seed, peer.cp.min_points_per_centroid, peer.nprobe = 1, 1, 5
    if kind == IVF_FLAT:
        peer.train(base)
    else:
        # What its codes are trained with is drawn once more, of all rows: here of those that train the lists.
        peer.pq.cp.seed, peer.pq.cp.min_points_per_centroid = 1, 1
        drawn = np.empty(len(base), np.int32)
        faiss.rand_perm(faiss.swig_ptr(drawn), len(base), 1)
        peer.train(base[drawn[: 1 << 16]])
    peer.add(base)
    faiss.write_index(peer, str(tmp_path / "theirs"))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
