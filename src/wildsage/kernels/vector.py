"""Sixteen floats as one value in a kernel, with what kernels need and Numba lacks: fused multiply-add and prefetch.

Explicit vectors take the choice from LLVM: neither possible aliasing nor unknown trip counts keep it from vector code,
and it splits them to what the processor has (one 512-bit register, two of 256, four of 128).
This module alone leans on how Numba lowers code. With WILDSAGE_PLAIN_KERNELS=1, or where a trial of the intrinsics
fails to compile, the same names are plain Numba: slower, same results but for the order of sums.

Arrays are flat. `load(array, i)` and `store(array, i, v)` move float32 array[i:i + 16], `splat(x)` is x sixteen times,
`fma(a, b, c)` is a * b + c, `divide(a, b)` is a / b, `least(a, b)` the smaller and `greatest(a, b)` the larger of each
two, and b where either is no number. `total(v)` is the sum of all sixteen; `totals` of sixteen vectors is the vector of
their sums. `prefetch(array, i)` asks for the cache line of array[i]; i may lie outside. `prefetch_far` asks for it in
the second-level cache, for what comes too late or is too much for the first, where it would displace rows in use.
`load8(bytes, i)` is a little-endian uint64. `blanks(bytes, i)` has a bit for each of 64 bytes: is it 0, 9 to 13, or
32, what fastText splits words at; `matches(bytes, i, c)` a bit for each that is c. `trailing_zeros(x)` counts the zero
bits below the lowest one (64 for 0), `ones(x)` the bits that are set; x is uint64. `number_bits(x)` is the float64 x as
int64, `number_of(x)` back from uint64, `single_of(x)` for uint32 and float32. `load4(bytes, i)` is a little-endian
uint32, and `load_bytes(bytes, i)` sixteen float32 that may begin at any byte.

Where HALVES is true, `load` and `store` also take int16 arrays, which hold halves (IEEE 754 binary16); store rounds to
the nearest. `store_rounded(array, i, v, noise, j)` rounds up or down at random, with chances that leave the mean as
it is: noise[j:j + 16] are int32, uniform from 0 to NOISE - 1. For float32 it is store.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.kernels.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

WIDTH = 16  # floats of a vector
CACHE_LINE = 64  # bytes
HALF_BITS = 13  # of a float's mantissa that a half has no place for
NOISE = 1 << HALF_BITS


def aligned(count: int, dtype: Any = np.float32, *, zero: bool = True) -> NDArray[Any]:
    """A flat array that has its cache lines for itself; with zero=False its values are whatever was there.

    What a thread writes again and again must lie so: a line with something of another thread's in it goes back and
    forth between their cores at each write.
    """
    item = np.dtype(dtype).itemsize
    array = (np.zeros if zero else np.empty)(count + 2 * CACHE_LINE // item, dtype)
    start = -array.ctypes.data % CACHE_LINE // item
    return array[start : start + count]


def padded(width: int) -> int:
    """The least whole number of vectors that holds `width` floats, in floats."""
    return -(-width // WIDTH) * WIDTH


def _explicit() -> tuple[Any, ...]:
    """The operations as LLVM's own vector instructions. Raises whatever Numba does where its internals changed."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, models, register_model

    float_type, vector = ir.FloatType(), ir.VectorType(ir.FloatType(), WIDTH)
    half, short = ir.VectorType(ir.HalfType(), WIDTH), ir.VectorType(ir.IntType(16), WIDTH)
    index32 = ir.IntType(32)

    class Vector(types.Type):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="Vector16")

    value = Vector()

    @register_model(Vector)
    class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, vector)

    def address(context: Any, builder: Any, kind: Any, given: Any, pointee: Any) -> Any:
        array, index = given[:2]
        data = context.make_array(kind)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [index]), pointee.as_pointer())

    def write(context: Any, builder: Any, kind: Any, given: Any, number: Any) -> None:
        if kind.dtype == types.int16:
            bits = builder.bitcast(builder.fptrunc(number, half), short)
            builder.store(bits, address(context, builder, kind, given, short), align=2)
        else:
            builder.store(number, address(context, builder, kind, given, vector), align=4)

    def call(builder: Any, name: str, result: Any, arguments: Any, **flags: Any) -> Any:
        signature = ir.FunctionType(result, [argument.type for argument in arguments])
        return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments, **flags)

    @intrinsic
    def load(typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            if array.dtype == types.int16:
                bits = builder.load(address(context, builder, signature.args[0], given, short), align=2)
                return builder.fpext(builder.bitcast(bits, half), vector)
            return builder.load(address(context, builder, signature.args[0], given, vector), align=4)

        return value(array, types.intp), generate

    @intrinsic
    def store(typing: Any, array: Any, index: Any, what: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            write(context, builder, signature.args[0], given, given[2])
            return context.get_dummy_value()

        return types.void(array, types.intp, value), generate

    @intrinsic
    def store_rounded(typing: Any, array: Any, index: Any, what: Any, noise: Any, place: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            number = given[2]
            if array.dtype == types.int16:
                integers = ir.VectorType(index32, WIDTH)
                at = address(context, builder, signature.args[3], given[3:], integers)
                bits = builder.add(builder.bitcast(number, integers), builder.load(at, align=4))
                bits = builder.and_(bits, ir.Constant(integers, [-NOISE] * WIDTH))
                number = builder.bitcast(bits, vector)
            write(context, builder, signature.args[0], given, number)
            return context.get_dummy_value()

        return types.void(array, types.intp, value, noise, types.intp), generate

    @intrinsic
    def splat(typing: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            nothing = ir.Constant(vector, ir.Undefined)
            first = builder.insert_element(nothing, given[0], index32(0))
            return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(index32, WIDTH), [0] * WIDTH))

        return value(types.float32), generate

    @intrinsic
    def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return call(builder, "llvm.fma.v16f32", vector, given)

        return value(value, value, value), generate

    @intrinsic
    def total(typing: Any, v: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            arguments = [float_type(-0.0), given[0]]
            return call(builder, "llvm.vector.reduce.fadd.v16f32", float_type, arguments, fastmath=("reassoc",))

        return types.float32(value), generate

    @intrinsic
    def divide(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.fdiv(given[0], given[1], flags=("arcp", "nsz"))

        return value(value, value), generate

    @intrinsic
    def least(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<", given[0], given[1]), given[0], given[1])

        return value(value, value), generate

    @intrinsic
    def greatest(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", given[0], given[1]), given[0], given[1])

        return value(value, value), generate

    @intrinsic
    def totals(
        typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any,
        i: Any, j: Any, k: Any, m: Any, n: Any, o: Any, p: Any, q: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            # Halve the lanes that a sum is spread over, two vectors becoming one: a quarter of the additions and
            # shuffles of sixteen sums one by one.
            vectors, step = list(given), 1
            while len(vectors) > 1:
                low = [lane + (WIDTH - step if lane & step else 0) for lane in range(WIDTH)]
                lanes = ir.VectorType(index32, WIDTH)
                masks = [ir.Constant(lanes, [lane + more for lane in low]) for more in (0, step)]
                halves = [
                    [builder.shuffle_vector(first, second, mask) for mask in masks]
                    for first, second in zip(vectors[::2], vectors[1::2], strict=True)
                ]
                vectors = [builder.fadd(first, second, flags=("reassoc", "nsz")) for first, second in halves]
                step *= 2
            return vectors[0]

        return value(*[value] * WIDTH), generate

    def fetcher(locality: int) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            where = address(context, builder, signature.args[0], given, ir.IntType(8))
            call(builder, "llvm.prefetch.p0", ir.VoidType(), [where, index32(0), index32(locality), index32(1)])
            return context.get_dummy_value()

        return generate

    @intrinsic
    def prefetch(typing: Any, array: Any, index: Any) -> Any:
        return types.void(array, types.intp), fetcher(3)

    @intrinsic
    def prefetch_far(typing: Any, array: Any, index: Any) -> Any:
        return types.void(array, types.intp), fetcher(2)

    @intrinsic
    def load8(typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.load(address(context, builder, signature.args[0], given, ir.IntType(64)), align=1)

        return types.uint64(array, types.intp), generate

    @intrinsic
    def blanks(typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            block = ir.VectorType(ir.IntType(8), 64)
            text = builder.load(address(context, builder, signature.args[0], given, block), align=1)

            def every(number: int) -> Any:
                return ir.Constant(block, [number] * 64)

            control = builder.icmp_unsigned("<", builder.sub(text, every(9)), every(5))
            zero_or_space = builder.icmp_unsigned("==", builder.and_(text, every(0xDF)), every(0))
            return builder.bitcast(builder.or_(control, zero_or_space), ir.IntType(64))

        return types.uint64(array, types.intp), generate

    @intrinsic
    def matches(typing: Any, array: Any, index: Any, byte: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            block = ir.VectorType(ir.IntType(8), 64)
            text = builder.load(address(context, builder, signature.args[0], given, block), align=1)
            nothing = ir.Constant(block, ir.Undefined)
            first = builder.insert_element(nothing, given[2], index32(0))
            lanes = ir.Constant(ir.VectorType(index32, 64), [0] * 64)
            wanted = builder.shuffle_vector(first, nothing, lanes)
            return builder.bitcast(builder.icmp_unsigned("==", text, wanted), ir.IntType(64))

        return types.uint64(array, types.intp, types.uint8), generate

    @intrinsic
    def ones(typing: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.ctpop(given[0])

        return types.int64(types.uint64), generate

    @intrinsic
    def load4(typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.load(address(context, builder, signature.args[0], given, index32), align=1)

        return types.uint32(array, types.intp), generate

    @intrinsic
    def load_bytes(typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.load(address(context, builder, signature.args[0], given, vector), align=1)

        return value(array, types.intp), generate

    @intrinsic
    def number_of(typing: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.bitcast(given[0], ir.DoubleType())

        return types.float64(types.uint64), generate

    @intrinsic
    def single_of(typing: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.bitcast(given[0], float_type)

        return types.float32(types.uint32), generate

    @intrinsic
    def number_bits(typing: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.bitcast(given[0], ir.IntType(64))

        return types.int64(types.float64), generate

    @intrinsic
    def trailing_zeros(typing: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.cttz(given[0], ir.IntType(1)(0))

        return types.int64(types.uint64), generate

    return (
        load, store, store_rounded, splat, fma, divide, least, greatest, total, totals, prefetch, prefetch_far,
        load8, blanks, load4, load_bytes, matches, trailing_zeros, ones, number_bits, number_of, single_of,
    )  # fmt: skip


def _plain() -> tuple[Any, ...]:
    """The operations in Numba without internals; a vector is a tuple of sixteen."""

    @kernel
    def load(a, i):
        return (
            a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7],
            a[i + 8], a[i + 9], a[i + 10], a[i + 11], a[i + 12], a[i + 13], a[i + 14], a[i + 15],
        )  # fmt: skip

    @kernel
    def store(a, i, v):
        for k in range(16):
            a[i + k] = v[k]

    @kernel
    def store_rounded(a, i, v, noise, j):
        store(a, i, v)

    @kernel
    def splat(x):
        return (x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x)

    @kernel
    def fma(a, b, c):
        return (
            a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3],
            a[4] * b[4] + c[4], a[5] * b[5] + c[5], a[6] * b[6] + c[6], a[7] * b[7] + c[7],
            a[8] * b[8] + c[8], a[9] * b[9] + c[9], a[10] * b[10] + c[10], a[11] * b[11] + c[11],
            a[12] * b[12] + c[12], a[13] * b[13] + c[13], a[14] * b[14] + c[14], a[15] * b[15] + c[15],
        )  # fmt: skip

    @kernel
    def total(v):
        return (
            ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]))
            + (((v[8] + v[9]) + (v[10] + v[11])) + ((v[12] + v[13]) + (v[14] + v[15])))
        )  # fmt: skip

    @kernel
    def divide(a, b):
        return (
            a[0] / b[0], a[1] / b[1], a[2] / b[2], a[3] / b[3], a[4] / b[4], a[5] / b[5], a[6] / b[6], a[7] / b[7],
            a[8] / b[8], a[9] / b[9], a[10] / b[10], a[11] / b[11],
            a[12] / b[12], a[13] / b[13], a[14] / b[14], a[15] / b[15],
        )  # fmt: skip

    @kernel
    def less(a, b):
        return a if a < b else b

    @kernel
    def more(a, b):
        return a if a > b else b

    @kernel
    def least(a, b):
        return (
            less(a[0], b[0]), less(a[1], b[1]), less(a[2], b[2]), less(a[3], b[3]),
            less(a[4], b[4]), less(a[5], b[5]), less(a[6], b[6]), less(a[7], b[7]),
            less(a[8], b[8]), less(a[9], b[9]), less(a[10], b[10]), less(a[11], b[11]),
            less(a[12], b[12]), less(a[13], b[13]), less(a[14], b[14]), less(a[15], b[15]),
        )  # fmt: skip

    @kernel
    def greatest(a, b):
        return (
            more(a[0], b[0]), more(a[1], b[1]), more(a[2], b[2]), more(a[3], b[3]),
            more(a[4], b[4]), more(a[5], b[5]), more(a[6], b[6]), more(a[7], b[7]),
            more(a[8], b[8]), more(a[9], b[9]), more(a[10], b[10]), more(a[11], b[11]),
            more(a[12], b[12]), more(a[13], b[13]), more(a[14], b[14]), more(a[15], b[15]),
        )  # fmt: skip

    @kernel
    def totals(a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q):
        return (
            total(a), total(b), total(c), total(d), total(e), total(f), total(g), total(h),
            total(i), total(j), total(k), total(m), total(n), total(o), total(p), total(q),
        )  # fmt: skip

    @kernel
    def prefetch(a, i):
        pass

    @kernel
    def prefetch_far(a, i):
        pass

    @kernel
    def load8(a, i):
        x = np.uint64(0)
        for k in range(8):
            x |= np.uint64(a[i + k]) << np.uint64(8 * k)
        return x

    @kernel
    def blanks(a, i):
        x = np.uint64(0)
        for k in range(64):
            c = a[i + k]
            if c == 32 or c == 0 or (c >= 9 and c <= 13):
                x |= np.uint64(1) << np.uint64(k)
        return x

    @kernel
    def matches(a, i, c):
        x = np.uint64(0)
        for k in range(64):
            if a[i + k] == c:
                x |= np.uint64(1) << np.uint64(k)
        return x

    @kernel
    def ones(x):
        n = 0
        while x != 0:
            x &= x - np.uint64(1)
            n += 1
        return n

    @kernel
    def number_bits(x):
        return np.float64(x).view(np.int64)

    @kernel
    def number_of(x):
        return np.uint64(x).view(np.float64)

    @kernel
    def single_of(x):
        return np.uint32(x).view(np.float32)

    @kernel
    def load4(a, i):
        return (
            np.uint32(a[i]) | np.uint32(a[i + 1]) << np.uint32(8)
            | np.uint32(a[i + 2]) << np.uint32(16) | np.uint32(a[i + 3]) << np.uint32(24)
        )  # fmt: skip

    @kernel
    def float_at(a, i):
        return np.uint32(load4(a, i)).view(np.float32)

    @kernel
    def load_bytes(a, i):
        return (
            float_at(a, i), float_at(a, i + 4), float_at(a, i + 8), float_at(a, i + 12),
            float_at(a, i + 16), float_at(a, i + 20), float_at(a, i + 24), float_at(a, i + 28),
            float_at(a, i + 32), float_at(a, i + 36), float_at(a, i + 40), float_at(a, i + 44),
            float_at(a, i + 48), float_at(a, i + 52), float_at(a, i + 56), float_at(a, i + 60),
        )  # fmt: skip

    @kernel
    def trailing_zeros(x):
        n = 0
        while n < 64 and x & np.uint64(1) == 0:
            x >>= np.uint64(1)
            n += 1
        return n

    return (
        load, store, store_rounded, splat, fma, divide, least, greatest, total, totals, prefetch, prefetch_far,
        load8, blanks, load4, load_bytes, matches, trailing_zeros, ones, number_bits, number_of, single_of,
    )  # fmt: skip


@kernel
def _trial(numbers, text):
    """Use every operation once; 1274 for ones, and for text of "A" with a blank in fourth place."""
    prefetch(numbers, 16)
    prefetch_far(numbers, 16)
    store(numbers, 0, fma(load(numbers, 0), splat(np.float32(2)), load(numbers, 0)))
    v = load(numbers, 0)
    v = divide(greatest(least(v, splat(np.float32(4))), v), splat(np.float32(16)))
    store(numbers, 0, totals(v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v))
    number = total(load(numbers, 0)) + trailing_zeros(blanks(text, 0)) + np.int64(load8(text, 0) & np.uint64(255))
    found = ones(matches(text, 0, np.uint8(65)))
    whole = number_of(np.uint64(number_bits(np.float64(number)))) + single_of(np.uint32(0x3F800000))
    whole += total(load_bytes(text, 0)) * 0 + np.float32(load4(text, 4) >> np.uint32(24))
    return whole + found + (number_bits(np.float64(number)) >> 52)


def _works() -> bool:
    text = np.full(64, 65, np.uint8)
    text[3] = 32
    return bool(_trial(np.ones(WIDTH, np.float32), text) == 1274)


PLAIN = os.environ.get("WILDSAGE_PLAIN_KERNELS", "") not in ("", "0")
if not PLAIN:
    try:
        operations = _explicit()
        (
            load, store, store_rounded, splat, fma, divide, least, greatest, total, totals, prefetch, prefetch_far,
            load8, blanks, load4, load_bytes, matches, trailing_zeros, ones, number_bits, number_of, single_of,
        ) = operations  # fmt: skip
        PLAIN = not _works()
    except Exception as error:  # noqa: BLE001 (an internal of Numba that changed may raise anything)
        logger.warning("vector instructions are not available with this Numba, so kernels run slower: %s", error)
        PLAIN = True
if PLAIN:
    (
        load, store, store_rounded, splat, fma, divide, least, greatest, total, totals, prefetch, prefetch_far,
        load8, blanks, load4, load_bytes, matches, trailing_zeros, ones, number_bits, number_of, single_of,
    ) = _plain()  # fmt: skip


@kernel
def _trial_of_halves(numbers, halves, noise):
    """Round numbers to halves and back."""
    store_rounded(halves, 0, load(numbers, 0), noise, 0)
    v = load(halves, 0)
    store(halves, 0, v)
    store(numbers, 0, load(halves, 0))


def _halves_work() -> bool:
    from llvmlite import binding

    # Without the instruction LLVM calls a function for it, which may not be there: that would end the process.
    if PLAIN or (
        binding.get_process_triple().startswith(("x86_64", "i686")) and not binding.get_host_cpu_features().get("f16c")
    ):
        return False
    numbers = np.array([1.5, -2.25, 0, 1e-3] * 4, np.float32)
    expected = numbers.astype(np.float16)
    try:
        _trial_of_halves(numbers, np.zeros(WIDTH, np.int16), np.zeros(WIDTH, np.int32))
    except Exception as error:  # noqa: BLE001 (as above)
        logger.warning("halves are not available with this Numba: %s", error)
        return False
    return bool(np.allclose(numbers, expected, rtol=1e-3))


HALVES = _halves_work()
