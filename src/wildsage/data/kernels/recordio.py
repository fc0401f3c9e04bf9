"""RecordIO frames, and the Record messages in them, to float32 rows.

A frame: 0xced7230a, the length of the payload, both little-endian uint32, the payload, zeros up to a multiple of four.
The payload is a protobuf message (the wire format: https://protobuf.dev/programming-guides/encoding/), read here
without a protobuf library. Records of one file are nearly always laid out alike, so a record whose bytes outside of its
numbers are those of the record before needs no walk through its fields.
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import fma, load4, load8, load_bytes, number_of, single_of, splat, store, total

MAGIC = np.uint32(0xCED7230A)
LARGEST_LENGTH = np.uint32(1 << 29)  # the bits above are flags of MXNet's own RecordIO
HEAD = 8  # bytes of a frame before the payload

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
FLOAT32, FLOAT64, INT32 = 2, 3, 7  # the fields of a Value, and so the types of tensors
VALUES, KEYS, SHAPE = 1, 2, 3  # the fields of a tensor

# What is wrong with a record. ODD: it may be right, but takes the slow way.
DONE, ODD, BROKEN, NO_FEATURES, WIDTH, KEY, SHAPELESS, COUNT, LABELS, NOT_FINITE, FULL = range(11)

# Places in a layout, int64 (LAYOUT,), the bytes of each from and to, of features, label, keys and shape.
VALUES_AT, VALUES_END, VALUES_TYPE, LABEL_AT, LABEL_END, LABEL_TYPE, KEYS_AT, KEYS_END, SHAPE_AT, SHAPE_END = range(10)
LAYOUT = 10


@kernel_part
def stride_of(length):
    """Bytes of a frame whose payload has this length."""
    return HEAD + ((np.int64(length) + 3) & -4)


@kernel
def find_records(data, begin, limit, end, wanted, found):
    """Pass over up to `wanted` whole frames that begin before `limit` and end by `end`.

    found: int64 (2,), gets how many, and the place behind them. Returns BROKEN at a place where no frame begins, or one
    that is too long, else DONE.
    """
    at, rows, code = begin, np.int64(0), DONE
    while rows < wanted and at < limit and at + HEAD <= end:
        length = load4(data, at + 4)
        if load4(data, at) != MAGIC or length >= LARGEST_LENGTH:
            code = BROKEN
            break
        behind = at + stride_of(length)
        if behind > end:
            break
        at = behind
        rows += 1
        # Records as long as this one: the next place does not wait for a length to be loaded.
        head, stride = load8(data, at - stride_of(length)), stride_of(length)
        while rows < wanted and at < limit and at + stride <= end and load8(data, at) == head:
            at += stride
            rows += 1
    found[0], found[1] = rows, at
    return code


@kernel
def varint(data, at, end):
    """The number that begins at data[at], and the place behind it; that is -1 where it does not end by `end`."""
    number, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(64):
        byte = np.uint64(data[at])
        at += 1
        number |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            return number, at
        shift += np.uint64(7)
    return number, np.int64(-1)


@kernel
def field(data, at, end):
    """The field at data[at]: (number, wire type, where its content begins, and ends); the end is -1 if it is broken."""
    tag, at = varint(data, at, end)
    if at < 0:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(-1)
    number, wire = np.int64(tag >> np.uint64(3)), np.int64(tag & np.uint64(7))
    behind = np.int64(-1)
    if wire == BYTES:
        length, at = varint(data, at, end)
        if at >= 0 and length <= np.uint64(end - at):
            behind = at + np.int64(length)
    elif wire == VARINT:
        _, behind = varint(data, at, end)
    elif wire == FIXED64:
        behind = at + 8 if at + 8 <= end else np.int64(-1)
    elif wire == FIXED32:
        behind = at + 4 if at + 4 <= end else np.int64(-1)
    return number, wire, at, behind


@kernel
def walk_tensor(data, at, end, layout, first):
    """Note where a tensor's values, keys and shape are; `first` is where in the layout its values are noted."""
    while at < end:
        number, wire, begin, behind = field(data, at, end)
        if behind < 0:
            return BROKEN
        if number >= VALUES and number <= SHAPE:
            place = first if number == VALUES else (KEYS_AT if number == KEYS else SHAPE_AT)
            if wire != BYTES or layout[place + 1] > layout[place]:
                return ODD  # numbers one by one, or in several pieces
            if number == VALUES or first == VALUES_AT:
                layout[place], layout[place + 1] = begin, behind
        at = behind
    return DONE


@kernel
def is_tensor(number):
    """Whether a field of a Value is a tensor."""
    return number in (FLOAT32, FLOAT64, INT32)


@kernel
def walk_entry(data, at, end, layout, first):
    """Note where the numbers of an entry of the features or of the labels are, which is to be called "values"."""
    named = False
    tensor_at = tensor_end = np.int64(-1)
    while at < end:
        number, wire, begin, behind = field(data, at, end)
        if behind < 0:
            return BROKEN
        if number == 1:
            named = wire == BYTES and behind - begin == 6
            named = named and data[begin] == 118 and data[begin + 1] == 97 and data[begin + 2] == 108
            named = named and data[begin + 3] == 117 and data[begin + 4] == 101 and data[begin + 5] == 115
        elif number == 2:
            if wire != BYTES or tensor_at >= 0:
                return ODD
            tensor_at, tensor_end = begin, behind
        at = behind
    if not named or tensor_at < 0:
        return ODD
    number, wire, begin, behind = field(data, tensor_at, tensor_end)
    if behind < 0:
        return BROKEN if tensor_at < tensor_end else ODD
    if wire != BYTES or behind != tensor_end or not is_tensor(number):
        return ODD
    layout[first + 2] = number
    return walk_tensor(data, begin, behind, layout, first)


@kernel
def walk(data, at, end, layout):
    """Note where the numbers of a record, data[at:end], are."""
    for k in range(LAYOUT):
        layout[k] = 0
    while at < end:
        number, wire, begin, behind = field(data, at, end)
        if behind < 0:
            return BROKEN
        if number == 1 or number == 2:
            first = VALUES_AT if number == 1 else LABEL_AT
            if wire != BYTES or layout[first + 2] != 0:
                return ODD
            code = walk_entry(data, begin, behind, layout, first)
            if code != DONE:
                return code
        at = behind
    return DONE if layout[VALUES_TYPE] != 0 else NO_FEATURES


@kernel_part
def same_bytes(data, a, b, count):
    """Whether data[a:a + count] and data[b:b + count] are equal."""
    k = np.int64(0)
    while k + 8 <= count:
        if load8(data, a + k) != load8(data, b + k):
            return False
        k += 8
    while k < count:
        if data[a + k] != data[b + k]:
            return False
        k += 1
    return True


@kernel
def count_varints(data, at, end):
    """How many numbers there are in a packed field; -1 if the last does not end."""
    count = np.int64(0)
    for k in range(at, end):
        count += np.int64(data[k] < 128)
    return count if at == end or data[end - 1] < 128 else np.int64(-1)


@kernel
def value_count(data, at, end, kind):
    """How many numbers a tensor's values are; -1 if they are cut off."""
    if kind == INT32:
        return count_varints(data, at, end)
    size = np.int64(4 if kind == FLOAT32 else 8)
    return (end - at) // size if (end - at) % size == 0 else np.int64(-1)


@kernel
def copy_floats(data, at, out, first, count):
    """out[first:first + count], float32 and flat, = the floats at data[at:]. Returns whether all are finite.

    Bound by memory. A product with zero is not a number where one is not finite: a sixteenth of an operation a value.
    """
    sums = splat(np.float32(0))
    zero = splat(np.float32(0))
    k = np.int64(0)
    while k + 16 <= count:
        values = load_bytes(data, at + 4 * k)
        sums = fma(values, zero, sums)
        store(out, first + k, values)
        k += 16
    rest = np.float32(0)
    while k < count:
        value = single_of(load4(data, at + 4 * k))
        rest += value * np.float32(0)
        out[first + k] = value
        k += 1
    return total(sums) == 0 and rest == 0


@kernel
def copy_numbers(data, at, end, kind, out, first):
    """out[first:], float32 and flat, = the float64 or int32 at data[at:end]. Returns whether all are finite."""
    finite = True
    if kind == INT32:
        k = first
        while at < end:
            number, at = varint(data, at, end)
            if at < 0:
                return False
            out[k] = np.float32(np.int32(np.int64(number)))
            k += 1
    else:
        for k in range((end - at) // 8):
            value = np.float32(number_of(load8(data, at + 8 * k)))
            finite = finite and is_finite(value)
            out[first + k] = value
    return finite


@kernel_part
def is_finite(value):
    """Whether it is a number."""
    return value - value == 0


@kernel
def first_not_finite(out, first, count):
    """The place of the first number that is not finite."""
    for k in range(count):
        if not is_finite(out[first + k]):
            return k
    return np.int64(-1)


@kernel
def blank_not_finite(out, first, count):
    """Put NaN in place of what is infinite."""
    for k in range(count):
        if not is_finite(out[first + k]):
            out[first + k] = np.float32(np.nan)


@kernel
def shape_width(data, at, end):
    """The columns that a tensor's shape tells: the product of its numbers; -1 if it has none, or one too large."""
    if at == end:
        return np.int64(-1)
    width = np.int64(1)
    while at < end:
        number, at = varint(data, at, end)
        if at < 0 or number > np.uint64(1 << 31):
            return np.int64(-1)
        width *= np.int64(number)
        if width > (1 << 31):
            return np.int64(-1)
    return width


@kernel
def copy_values(data, layout, out, first, count, allow_missing):
    """Copy a record's values, `count` of them. Returns the place of the first that is not finite, else -1."""
    at, kind = layout[VALUES_AT], layout[VALUES_TYPE]
    if kind == FLOAT32:
        finite = copy_floats(data, at, out, first, count)
    else:
        finite = copy_numbers(data, at, layout[VALUES_END], kind, out, first)
    if finite:
        return np.int64(-1)
    if allow_missing:
        blank_not_finite(out, first, count)
        return np.int64(-1)
    return first_not_finite(out, first, count)


@kernel
def copy_label(data, layout, out, first, labels):
    """out[first:first + labels] = a record's labels. Returns DONE, LABELS or NOT_FINITE."""
    at, end, kind = layout[LABEL_AT], layout[LABEL_END], layout[LABEL_TYPE]
    if kind == 0 or value_count(data, at, end, kind) != labels:
        return LABELS
    if kind == FLOAT32:
        finite = copy_floats(data, at, out, first, labels)
    else:
        finite = copy_numbers(data, at, end, kind, out, first)
    return DONE if finite else NOT_FINITE


@kernel
def copy_keys(data, layout, columns, first, count, width):
    """columns[first:first + count], int32, = a record's keys. Returns the place of one not below width, or -1."""
    at, end = layout[KEYS_AT], layout[KEYS_END]
    for k in range(count):
        number, at = varint(data, at, end)
        if at < 0 or number >= np.uint64(width):
            return np.int64(k)
        columns[first + k] = np.int32(number)
    return np.int64(-1)


@kernel
def parse_dense(data, at, rows, leading, features, width, labels, first, allow_missing, scratch, state):
    """Fill rows `first` on: labels into leading, float32 flat (R * labels), features into flat (R * width).

    data: uint8, whole frames from data[at:] on, as find_records found them; no byte behind them is looked at.
    scratch: (int64 (LAYOUT,), int32 (width,), float32 (width,)), for sparse records. state: int64 (4,), gets the rows
    done, the place of the next frame, and two numbers about what is wrong. Returns DONE, or what is wrong there.
    """
    layout, columns, values = scratch
    before = np.int64(-1)  # the payload that the layout is of
    before_length = np.int64(-1)
    code = DONE
    for i in range(first, first + rows):
        length = np.int64(load4(data, at + 4))
        begin = at + HEAD
        alike, sparse = length == before_length, False
        if alike:
            shift = begin - before
            head, middle = layout[VALUES_AT] - before, layout[LABEL_AT] - layout[VALUES_END]
            behind = layout[LABEL_END] if labels > 0 else layout[VALUES_END]
            alike = same_bytes(data, begin, before, head)
            if labels > 0:
                alike = alike and same_bytes(data, layout[VALUES_END] + shift, layout[VALUES_END], middle)
            alike = alike and same_bytes(data, behind + shift, behind, before + length - behind)
            if alike:
                layout[VALUES_AT] += shift
                layout[VALUES_END] += shift
                layout[LABEL_AT] += shift
                layout[LABEL_END] += shift
                before = begin
        state[0], state[1] = i, at
        if not alike:
            before_length = -1
            code = walk(data, begin, begin + length, layout)
            if code != DONE:
                return code
            count = value_count(data, layout[VALUES_AT], layout[VALUES_END], layout[VALUES_TYPE])
            sparse = layout[KEYS_END] > layout[KEYS_AT] or count == 0
            if not sparse and count != width:
                state[2] = count
                return WIDTH if count >= 0 else BROKEN
            if sparse:
                code = sparse_row(data, layout, count, columns, values, width, allow_missing, state)
                if code != DONE:
                    return code
                for k in range(width):
                    features[i * width + k] = 0
                for k in range(count):
                    features[i * width + columns[k]] = values[k]
            # Numbers that are not of one size, or labels that come first, are walked through each time.
            elif layout[VALUES_TYPE] != INT32 and (
                labels == 0 or (layout[LABEL_TYPE] != INT32 and layout[LABEL_AT] >= layout[VALUES_END])
            ):
                before, before_length = begin, length
        if alike or not sparse:
            wrong = copy_values(data, layout, features, i * width, width, allow_missing)
            if wrong >= 0:
                state[2] = wrong
                return NOT_FINITE
        if labels > 0:
            code = copy_label(data, layout, leading, i * labels, labels)
            if code != DONE:
                state[2] = -1
                return code
        at = begin + ((length + 3) & -4)
    state[0], state[1] = first + rows, at
    return DONE


@kernel
def sparse_row(data, layout, count, columns, values, width, allow_missing, state):
    """Read a sparse record's `count` values and their columns into the beginning of these."""
    keys = count_varints(data, layout[KEYS_AT], layout[KEYS_END])
    if count < 0 or keys < 0:
        return BROKEN
    state[2], state[3] = keys, count
    if keys != count:
        return COUNT
    told = shape_width(data, layout[SHAPE_AT], layout[SHAPE_END])
    if told < 0:
        return SHAPELESS
    if told != width:
        state[2] = told
        return WIDTH
    if count > width:
        state[2] = count
        return COUNT
    wrong = copy_keys(data, layout, columns, 0, count, width)
    if wrong >= 0:
        state[2] = wrong
        return KEY
    wrong = copy_values(data, layout, values, 0, count, allow_missing)
    if wrong >= 0:
        state[2] = columns[wrong]
        return NOT_FINITE
    return DONE


@kernel
def parse_sparse(data, at, rows, leading, starts, columns, values, width, labels, first, allow_missing, scratch, state):
    """As parse_dense, but compressed: row i's values from starts[i - first] on, int64 (rows + 1,) that begins with a 0.

    Dense records become rows in which every column is there. columns and values have `width` to spare behind the last
    row's: FULL is returned, to be called again with longer ones, when they have not.
    """
    layout, _, _ = scratch
    filled = starts[state[0] - first]
    for i in range(state[0], first + rows):
        length = np.int64(load4(data, at + 4))
        begin = at + HEAD
        state[0], state[1] = i, at
        if filled + width > columns.shape[0]:
            return FULL
        code = walk(data, begin, begin + length, layout)
        if code != DONE:
            return code
        count = value_count(data, layout[VALUES_AT], layout[VALUES_END], layout[VALUES_TYPE])
        if layout[KEYS_END] > layout[KEYS_AT] or count == 0:
            code = sparse_row(data, layout, count, columns[filled:], values[filled:], width, allow_missing, state)
            if code != DONE:
                return code
        else:
            if count != width:
                state[2] = count
                return WIDTH if count >= 0 else BROKEN
            wrong = copy_values(data, layout, values, filled, count, allow_missing)
            if wrong >= 0:
                state[2] = wrong
                return NOT_FINITE
            for k in range(width):
                columns[filled + k] = k
        filled += count
        starts[i - first + 1] = filled
        if labels > 0:
            code = copy_label(data, layout, leading, i * labels, labels)
            if code != DONE:
                state[2] = -1
                return code
        at = begin + ((length + 3) & -4)
    state[0], state[1] = first + rows, at
    return DONE
