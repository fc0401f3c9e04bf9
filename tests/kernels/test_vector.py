"""Vector operations against NumPy, and again with the plain ones in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.kernels import vector
from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import (
    blanks,
    divide,
    fma,
    greatest,
    least,
    load,
    load8,
    matches,
    ones,
    prefetch,
    prefetch_far,
    splat,
    store,
    store_rounded,
    total,
    totals,
    trailing_zeros,
)

ALSO_PLAIN = (
    "kernels/test_vector.py",
    "data/test_csv.py",
    "data/test_recordio.py",
    "algorithms/blazingtext/test_corpus.py",
    "algorithms/blazingtext/test_features.py",
    "algorithms/blazingtext/test_rows.py",
    "algorithms/blazingtext/test_supervised.py::test_rows_are_those_of_the_slow_truth",
    "algorithms/blazingtext/test_losses.py::test_the_fasttext_package_gives_our_models_answers",
    "algorithms/blazingtext/test_word_kernels.py::test_rows_are_those_of_the_slow_truth",
)
SETTINGS = "WILDSAGE_PLAIN_KERNELS"


@kernel
def multiply_add(a, at, number, out):  # type: ignore[no-untyped-def]
    prefetch(a, at + 1000)
    prefetch_far(a, at + 1000)
    store(out, at, fma(splat(number), load(a, at), load(out, at)))
    return total(load(out, at))


@kernel
def move(source, target, noise, at):  # type: ignore[no-untyped-def]
    for i in range(0, source.size, 16):
        if noise.size > 0:
            store_rounded(target, i, load(source, i), noise, at)
        else:
            store(target, i, load(source, i))


@kernel
def bound_and_divide(a, b, out):  # type: ignore[no-untyped-def]
    store(out, 0, least(load(a, 0), load(b, 0)))
    store(out, 16, greatest(load(a, 0), load(b, 0)))
    store(out, 32, divide(load(a, 0), load(b, 0)))


@kernel
def sixteen_sums(a, out):  # type: ignore[no-untyped-def]
    sums = totals(
        load(a, 0), load(a, 16), load(a, 32), load(a, 48), load(a, 64), load(a, 80), load(a, 96), load(a, 112),
        load(a, 128), load(a, 144), load(a, 160), load(a, 176), load(a, 192), load(a, 208), load(a, 224), load(a, 240),
    )  # fmt: skip
    store(out, 0, sums)


@kernel
def first_eight(text, at):  # type: ignore[no-untyped-def]
    return load8(text, at)


@kernel
def find_blanks(text, at):  # type: ignore[no-untyped-def]
    return blanks(text, at)


@kernel
def find_newlines(text, at):  # type: ignore[no-untyped-def]
    return matches(text, at, np.uint8(10))


@kernel
def count_ones(number):  # type: ignore[no-untyped-def]
    return ones(number)


@kernel
def lowest(number):  # type: ignore[no-untyped-def]
    return trailing_zeros(number)


def test_sixteen_sums_at_once() -> None:
    a, out = np.random.default_rng(0).normal(size=256).astype(np.float32), np.zeros(16, np.float32)
    sixteen_sums(a, out)
    np.testing.assert_allclose(out, a.reshape(16, 16).sum(axis=1), rtol=1e-5, atol=1e-5)


def test_bounds_and_quotients_and_what_becomes_of_no_number() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=16).astype(np.float32) for _ in range(2))
    a[3], b[5] = np.nan, np.nan
    out = np.zeros(48, np.float32)
    bound_and_divide(a, b, out)
    np.testing.assert_array_equal(out[:16], np.where(a < b, a, b))
    np.testing.assert_array_equal(out[16:32], np.where(a > b, a, b))
    np.testing.assert_allclose(out[32:], a / b, rtol=1e-6)
    assert np.isnan(out[[5, 21]]).all()
    assert np.isfinite(out[[3, 19]]).all()


@pytest.mark.parametrize("at", [0, 1, 16, 47])
def test_floats_move_multiply_and_add(at: int) -> None:
    rng = np.random.default_rng(at)
    a, out = (rng.normal(size=63).astype(np.float32) for _ in range(2))
    expected = out.copy()
    expected[at : at + 16] += np.float32(1.5) * a[at : at + 16]
    result = multiply_add(a, at, np.float32(1.5), out)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    np.testing.assert_allclose(result, expected[at : at + 16].astype(np.float64).sum(), rtol=1e-5, atol=1e-5)


def test_a_nan_and_a_huge_value_come_through() -> None:
    a, out = np.zeros(16, np.float32), np.zeros(16, np.float32)
    a[3] = np.nan
    assert np.isnan(multiply_add(a, 0, np.float32(1), out))
    a[3], out[:] = 3e38, 0
    assert multiply_add(a, 0, np.float32(1), out) == np.float32(3e38)


@given(st.binary(min_size=64, max_size=64), st.integers(0, 56))
def test_bytes_are_read_as_they_lie(data: bytes, at: int) -> None:
    text = np.frombuffer(bytearray(data), np.uint8)
    assert int(first_eight(text, at)) == int.from_bytes(data[at : at + 8], "little")
    expected = sum(1 << k for k, byte in enumerate(data) if byte in b" \t\n\v\f\r\0")
    assert int(find_blanks(text, 0)) == expected
    found = find_newlines(text, 0)
    assert int(found) == sum(1 << k for k, byte in enumerate(data) if byte == 10)
    assert count_ones(np.uint64(found)) == data.count(b"\n")


@pytest.mark.parametrize("place", [0, 1, 31, 32, 63])
def test_the_lowest_bit_is_found(place: int) -> None:
    assert lowest(np.uint64(1 << place)) == place
    assert lowest(np.uint64((2**64 - 1) >> place << place)) == place


def test_arrays_start_at_a_cache_line() -> None:
    for count in (1, 15, 1000):
        for kind in (np.float32, np.int32, np.float64):
            array = vector.aligned(count, kind)
            assert array.size == count
            assert array.ctypes.data % vector.CACHE_LINE == 0
            assert not array.any()
    assert [vector.padded(width) for width in (1, 16, 17, 100)] == [16, 16, 32, 112]


@kernel
def look(text, at, byte, out):  # type: ignore[no-untyped-def]
    found = vector.matches(text, at, np.uint8(byte))
    store(out, 0, vector.load_bytes(text, at))
    out[16] = vector.single_of(vector.load4(text, at))
    return found, vector.ones(found), vector.trailing_zeros(found), vector.load4(text, at)


@kernel
def there_and_back(number):  # type: ignore[no-untyped-def]
    return vector.number_bits(number), vector.number_of(np.uint64(vector.number_bits(number)))


@given(st.binary(min_size=68, max_size=68), st.integers(0, 4), st.sampled_from([0, 10, 44, 255]))
def test_bytes_are_found_and_read_as_floats(data: bytes, at: int, byte: int) -> None:
    text, out = np.frombuffer(data, np.uint8).copy(), np.zeros(17, np.float32)
    found, count, first, integer = look(text, at, byte, out)
    places = [place for place in range(64) if data[at + place] == byte]
    assert int(found) == sum(1 << place for place in places)
    assert (count, first) == (len(places), places[0] if places else 64)
    assert integer == int.from_bytes(data[at : at + 4], "little")
    expected = np.frombuffer(data[at : at + 64], "<f4")
    np.testing.assert_array_equal(out[:16], expected)
    np.testing.assert_array_equal(out[16], expected[0])


@given(st.floats())
def test_a_number_is_its_bits(number: float) -> None:
    bits, same = there_and_back(number)
    assert bits == np.float64(number).view(np.int64)
    np.testing.assert_equal(same, number)


@pytest.mark.skipif(os.environ.get(SETTINGS) == "1", reason="this is the plain run")
@pytest.mark.parametrize("file", ALSO_PLAIN)
def test_the_same_with_plain_kernels(file: str) -> None:
    assert not vector.PLAIN
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(here.parent / file)]
    done = subprocess.run(
        command, cwd=here.parents[1], env={**os.environ, SETTINGS: "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.skipif(os.environ.get(SETTINGS) != "1", reason="run by the test above")
def test_this_is_plain() -> None:
    assert vector.PLAIN


needs_halves = pytest.mark.skipif(not vector.HALVES, reason="needs a processor with vectors of halves")
NONE = np.empty(0, np.int32)


@needs_halves
def test_halves_are_numpys() -> None:
    numbers = np.concatenate([np.linspace(-9, 9, 61), [0, -0.0, 1e-7, -6e-5, 65504, 1e5, np.inf, -np.inf]])
    numbers = np.resize(numbers, 80).astype(np.float32)
    halves, back = np.zeros(80, np.int16), np.zeros(80, np.float32)
    move(numbers, halves, NONE, 0)
    with np.errstate(over="ignore"):
        expected = numbers.astype(np.float16)
    np.testing.assert_array_equal(halves.view(np.float16), expected)
    move(halves, back, NONE, 0)
    np.testing.assert_array_equal(back, expected.astype(np.float32))
    move(np.full(16, np.nan, np.float32), halves, np.zeros(16, np.int32), 0)
    assert np.isnan(halves.view(np.float16)[:16]).all()


@needs_halves
def test_rounding_at_random_keeps_the_mean() -> None:
    numbers = np.array([0.1, -0.1, 3.14159, -1e-3, 1.0, 0.0, 1000.3, 2**-12] * 2, np.float32)
    halves, sums = np.zeros(16, np.int16), np.zeros(16)
    noise = np.arange(0, vector.NOISE, 8, dtype=np.int32)
    for offset in noise:
        move(numbers, halves, np.full(16, offset, np.int32), 0)
        sums += halves.view(np.float16)
        assert (np.abs(halves.view(np.float16) - numbers) < np.spacing(np.abs(numbers).astype(np.float16))).all()
    np.testing.assert_allclose(sums / noise.size, numbers, rtol=2e-6)


def test_floats_are_not_rounded() -> None:
    numbers, copy = np.linspace(0, 1, 16, dtype=np.float32), np.zeros(16, np.float32)
    move(numbers, copy, np.full(32, 8191, np.int32), 3)
    np.testing.assert_array_equal(numbers, copy)
