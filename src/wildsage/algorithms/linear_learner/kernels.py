"""Kernels of linear models that are trained side by side.

Sixteen models make a block, one a lane: their weights for a feature are one vector. A score of a block's row is a
vector, too; with several classes there are as many vectors, and `width` is 16 * classes. A single model of many
classes has its classes in the lanes instead, and `width` is their number, padded (`by_class`). All arrays are flat.

Weights are kept for features of mean 0 and variance 1 (`values`); what rows are multiplied by (`weights`) has the mean
and the scale folded in, so rows are never normalised. The row behind the last feature is that of the biases.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import WIDTH, divide, fma, greatest, least, load, splat, store, total

LOGISTIC, HINGE, SQUARED, ABSOLUTE, QUANTILE, HUBER, EPS_SQUARED, EPS_ABSOLUTE, SOFTMAX, SOFTMAX_BY_CLASS = range(10)

STEEP = np.float32(1e20)  # a ramp this steep is a step
GROUP_LIMIT = 30.0  # decimal digits that a product of sums of exponentials may have before its logarithm is taken


class Block(NamedTuple):
    """Models of one block. float32 ((d + 1) * width,) each, but for what is said."""

    values: Any
    weights: Any  # what rows are multiplied by
    mean: Any  # of the values so far, later ones counting more
    first: Any  # moments of the gradient
    second: Any
    gradient: Any
    scores: Any  # (rows of an update * width,)
    rates: Any  # (width,), step sizes
    floors: Any  # (width,), smallest step sizes
    l1: Any  # (width,)
    wd: Any  # (width,)
    positives: Any  # (16,), weight of rows of label 1, less 1
    losses: Any  # float64 (16,), added to
    scratch: Any  # (16,)


class Task(NamedTuple):
    """What is learnt."""

    kind: int  # which loss
    classes: int
    width: int
    parameter: float  # margin, quantile, delta or insensitivity, by kind


class Rows(NamedTuple):
    """Labels of rows, and what they weigh."""

    labels: Any  # float32 (n,)
    weights: Any  # float32 (n,), or of length 0 where all weigh 1
    classes: Any  # float32 (classes,): weight of each; of length 0 where all weigh 1


class Steps(NamedTuple):
    """How steps are taken."""

    decay: float  # of the first moment
    take: float  # share of the gradient that goes into it
    decay_second: float
    adaptive: bool  # steps are divided by the root of the second moment
    corrected: bool  # for the moments' beginning at 0
    bias_rate: float
    bias_wd: float
    multiplier: float  # of the rates
    factor: float  # of the rates again, every `every` updates; 0: never
    every: int
    averaging: float  # the larger, the fewer of the latest values are averaged


@kernel_part
def exponential(x):
    """exp(x) for x from -32 to 0, and exp(-32) below that: a polynomial of x / 64, squared six times.

    Its relative error is below 6e-6.
    """
    zero = splat(np.float32(0))
    x = fma(greatest(x, splat(np.float32(-32))), splat(np.float32(1 / 64)), zero)
    y = fma(splat(np.float32(0.00650451)), x, splat(np.float32(0.0406822)))
    y = fma(y, x, splat(np.float32(0.16641667)))
    y = fma(y, x, splat(np.float32(0.49997102)))
    y = fma(y, x, splat(np.float32(0.99999876)))
    y = fma(y, x, splat(np.float32(0.99999999)))
    y = fma(y, y, zero)
    y = fma(y, y, zero)
    y = fma(y, y, zero)
    y = fma(y, y, zero)
    y = fma(y, y, zero)
    return fma(y, y, zero)


@kernel_part
def log_1p(x):
    """log(1 + x) for x from 0 to 1, with an error below 3e-7."""
    y = fma(splat(np.float32(-0.00837115254944365)), x, splat(np.float32(0.04349389981533136)))
    y = fma(y, x, splat(np.float32(-0.1068500286374956)))
    y = fma(y, x, splat(np.float32(0.17687476700423233)))
    y = fma(y, x, splat(np.float32(-0.24474774178478675)))
    y = fma(y, x, splat(np.float32(0.332719283833915)))
    y = fma(y, x, splat(np.float32(-0.4999717452300584)))
    y = fma(y, x, splat(np.float32(0.9999997807585044)))
    return fma(y, x, splat(np.float32(0)))


@kernel
def multiply(x, begin, rows, d, weights, width, scores):
    """scores = x @ weights: rows from x[begin] on, of d features; weights (d + 1, width), scores (rows, width).

    Bound by multiply-adds, of which eight rows' at a time hide their latency.
    """
    for q in range(0, width, WIDTH):
        bias = load(weights, d * width + q)
        i = 0
        while i + 8 <= rows:
            p = begin + i * d
            a, b, c, e, f, g, h, k = bias, bias, bias, bias, bias, bias, bias, bias
            for j in range(d):
                w = load(weights, j * width + q)
                a = fma(splat(x[np.uint64(p + j)]), w, a)
                b = fma(splat(x[np.uint64(p + d + j)]), w, b)
                c = fma(splat(x[np.uint64(p + 2 * d + j)]), w, c)
                e = fma(splat(x[np.uint64(p + 3 * d + j)]), w, e)
                f = fma(splat(x[np.uint64(p + 4 * d + j)]), w, f)
                g = fma(splat(x[np.uint64(p + 5 * d + j)]), w, g)
                h = fma(splat(x[np.uint64(p + 6 * d + j)]), w, h)
                k = fma(splat(x[np.uint64(p + 7 * d + j)]), w, k)
            o = i * width + q
            store(scores, o, a)
            store(scores, o + width, b)
            store(scores, o + 2 * width, c)
            store(scores, o + 3 * width, e)
            store(scores, o + 4 * width, f)
            store(scores, o + 5 * width, g)
            store(scores, o + 6 * width, h)
            store(scores, o + 7 * width, k)
            i += 8
        while i < rows:
            p = begin + i * d
            a = bias
            for j in range(d):
                a = fma(splat(x[np.uint64(p + j)]), load(weights, j * width + q), a)
            store(scores, i * width + q, a)
            i += 1


@kernel
def multiply_back(x, begin, rows, d, errors, width, gradient):
    """gradient = [x, 1].T @ errors: errors (rows, width), gradient (d + 1, width)."""
    zero = splat(np.float32(0))
    for q in range(0, width, WIDTH):
        j = 0
        while j + 8 <= d:
            a, b, c, e, f, g, h, k = zero, zero, zero, zero, zero, zero, zero, zero
            for i in range(rows):
                p = begin + i * d + j
                r = load(errors, i * width + q)
                a = fma(splat(x[np.uint64(p)]), r, a)
                b = fma(splat(x[np.uint64(p + 1)]), r, b)
                c = fma(splat(x[np.uint64(p + 2)]), r, c)
                e = fma(splat(x[np.uint64(p + 3)]), r, e)
                f = fma(splat(x[np.uint64(p + 4)]), r, f)
                g = fma(splat(x[np.uint64(p + 5)]), r, g)
                h = fma(splat(x[np.uint64(p + 6)]), r, h)
                k = fma(splat(x[np.uint64(p + 7)]), r, k)
            o = j * width + q
            store(gradient, o, a)
            store(gradient, o + width, b)
            store(gradient, o + 2 * width, c)
            store(gradient, o + 3 * width, e)
            store(gradient, o + 4 * width, f)
            store(gradient, o + 5 * width, g)
            store(gradient, o + 6 * width, h)
            store(gradient, o + 7 * width, k)
            j += 8
        while j + 2 <= d:
            a, b, c, e = zero, zero, zero, zero
            i = 0
            while i + 2 <= rows:
                p = begin + i * d + j
                r, s = load(errors, i * width + q), load(errors, i * width + width + q)
                a = fma(splat(x[np.uint64(p)]), r, a)
                b = fma(splat(x[np.uint64(p + 1)]), r, b)
                c = fma(splat(x[np.uint64(p + d)]), s, c)
                e = fma(splat(x[np.uint64(p + d + 1)]), s, e)
                i += 2
            if i < rows:
                p = begin + i * d + j
                r = load(errors, i * width + q)
                a = fma(splat(x[np.uint64(p)]), r, a)
                b = fma(splat(x[np.uint64(p + 1)]), r, b)
            one = splat(np.float32(1))
            store(gradient, j * width + q, fma(a, one, c))
            store(gradient, (j + 1) * width + q, fma(b, one, e))
            j += 2
        a, b, one = zero, zero, splat(np.float32(1))
        if j < d:
            for i in range(rows):
                r = load(errors, i * width + q)
                a = fma(splat(x[np.uint64(begin + i * d + j)]), r, a)
                b = fma(one, r, b)
            store(gradient, j * width + q, a)
        else:
            for i in range(rows):
                b = fma(one, load(errors, i * width + q), b)
        store(gradient, d * width + q, b)


@kernel
def multiply_sparse(starts, columns, x, begin, rows, d, weights, width, scores):
    """As multiply, for compressed rows from `begin` on."""
    for i in range(rows):
        for q in range(0, width, WIDTH):
            a = load(weights, d * width + q)
            for p in range(starts[begin + i], starts[begin + i + 1]):
                a = fma(splat(x[np.uint64(p)]), load(weights, np.int64(columns[p]) * width + q), a)
            store(scores, i * width + q, a)


@kernel
def multiply_back_sparse(starts, columns, x, begin, rows, d, errors, width, gradient):
    """As multiply_back, for compressed rows from `begin` on."""
    for k in range((d + 1) * width):
        gradient[k] = np.float32(0)
    one = splat(np.float32(1))
    for q in range(0, width, WIDTH):
        b = splat(np.float32(0))
        for i in range(rows):
            r = load(errors, i * width + q)
            b = fma(one, r, b)
            for p in range(starts[begin + i], starts[begin + i + 1]):
                o = np.int64(columns[p]) * width + q
                store(gradient, o, fma(splat(x[np.uint64(p)]), r, load(gradient, o)))
        store(gradient, d * width + q, b)


@kernel
def weigh(given, at, i, share):
    """What row at + i weighs: its own weight and its class's, times `share`."""
    weight = np.float32(share)
    if given.weights.size > 0:
        weight *= given.weights[at + i]
    if given.classes.size > 0:
        weight *= given.classes[np.int64(given.labels[at + i])]
    return weight


@kernel
def link(kind, parameter, scores, rows, given, at, share, positives, losses, scratch):
    """Put the gradient of the loss by each score in its place, and add the losses up. Labels are given.labels[at:].

    scores (rows, 16). share: what a row counts in the gradient; in losses it counts 1. positives: of each model, the
    weight of label 1, less 1.
    A vector at a time: no branch depends on a score, steps are steep ramps.
    """
    zero, one, minus = splat(np.float32(0)), splat(np.float32(1)), splat(np.float32(-1))
    steep, half, size = splat(STEEP), splat(np.float32(0.5)), splat(np.float32(parameter))
    up, sums = load(positives, 0), zero
    for i in range(rows):
        weight = splat(weigh(given, at, i, share))
        label = np.float32(given.labels[at + i])
        v = load(scores, i * WIDTH)
        if kind == LOGISTIC:
            weight = fma(weight, fma(splat(label), up, one), zero)
            away = greatest(v, fma(v, minus, zero))
            e = exponential(fma(away, minus, zero))
            sign = greatest(least(fma(v, steep, zero), one), minus)
            tanh = divide(fma(e, minus, one), fma(e, one, one))
            gradient = fma(fma(sign, half, zero), tanh, splat(np.float32(0.5) - label))
            loss = fma(v, splat(-label), fma(greatest(v, zero), one, log_1p(e)))
        elif kind == HINGE:
            weight = fma(weight, fma(splat(label), up, one), zero)
            side = np.float32(2) * label - np.float32(1)
            loss = greatest(fma(v, splat(-side), size), zero)
            gradient = fma(least(fma(loss, steep, zero), one), splat(-side), zero)
        else:
            error = fma(one, v, splat(-label))
            sign = greatest(least(fma(error, steep, zero), one), minus)
            if kind == SQUARED:
                loss = fma(error, error, zero)
                gradient = fma(error, one, error)
            elif kind == ABSOLUTE:
                loss = fma(error, sign, zero)
                gradient = sign
            elif kind == QUANTILE:
                # Labels above the score weigh `parameter`, those below 1 - parameter.
                gradient = fma(greatest(sign, zero), one, fma(size, minus, zero))
                loss = fma(error, gradient, zero)
            elif kind == HUBER:
                gradient = greatest(least(error, size), fma(size, minus, zero))
                loss = fma(gradient, fma(gradient, splat(np.float32(-0.5)), error), zero)
            else:
                beyond = greatest(fma(error, sign, fma(size, minus, zero)), zero)
                if kind == EPS_SQUARED:
                    loss = fma(beyond, beyond, zero)
                    gradient = fma(fma(sign, beyond, zero), one, fma(sign, beyond, zero))
                else:
                    loss = beyond
                    gradient = fma(sign, least(fma(beyond, steep, zero), one), zero)
        sums = fma(loss, weight, sums)
        store(scores, i * WIDTH, fma(gradient, weight, zero))
    store(scratch, 0, sums)
    for k in range(WIDTH):
        losses[k] += np.float64(scratch[k]) / share


@kernel
def link_classes(classes, scores, rows, given, at, share, losses, scratch):
    """As link, for softmax with a model a lane: scores (rows, classes, 16).

    Sums of exponentials are multiplied before their logarithm is taken, as many as a float has digits for, if all rows
    weigh the same: a logarithm takes as long as a dozen exponentials.
    """
    zero, one, minus = splat(np.float32(0)), splat(np.float32(1)), splat(np.float32(-1))
    plain = given.weights.size == 0 and given.classes.size == 0
    group = max(1, int(GROUP_LIMIT / math.log10(classes + 1.0))) if plain else 1
    sums, product, members = zero, one, 0
    width = classes * WIDTH
    for i in range(rows):
        share_of_row = weigh(given, at, i, share)
        weight, label = splat(share_of_row), np.int64(given.labels[at + i])
        o = i * width
        largest = load(scores, o)
        for c in range(1, classes):
            largest = greatest(largest, load(scores, o + c * WIDTH))
        low = fma(largest, minus, zero)
        own = fma(load(scores, o + label * WIDTH), minus, largest)
        total_e = zero
        for c in range(classes):
            e = exponential(fma(one, load(scores, o + c * WIDTH), low))
            total_e = fma(e, one, total_e)
            store(scores, o + c * WIDTH, e)
        to_share = divide(weight, total_e)
        for c in range(classes):
            store(scores, o + c * WIDTH, fma(load(scores, o + c * WIDTH), to_share, zero))
        store(scores, o + label * WIDTH, fma(weight, minus, load(scores, o + label * WIDTH)))
        sums = fma(own, weight, sums)
        product = fma(product, total_e, zero)
        members += 1
        if members == group or i == rows - 1:
            store(scratch, 0, product)
            for k in range(WIDTH):
                losses[k] += np.float64(share_of_row) / share * math.log(np.float64(scratch[k]))
            product, members = one, 0
    store(scratch, 0, sums)
    for k in range(WIDTH):
        losses[k] += np.float64(scratch[k]) / share


@kernel
def link_by_class(width, scores, rows, given, at, share, losses, scratch):
    """As link_classes, for one model with its classes in the lanes: scores (rows, width); the loss is losses[0]."""
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    for i in range(rows):
        weight, label = weigh(given, at, i, share), np.int64(given.labels[at + i])
        o = i * width
        most = load(scores, o)
        for q in range(WIDTH, width, WIDTH):
            most = greatest(most, load(scores, o + q))
        store(scratch, 0, most)
        largest = scratch[0]
        for k in range(1, WIDTH):
            largest = max(largest, scratch[k])
        own = largest - scores[o + label]
        low, sums = splat(-largest), zero
        for q in range(0, width, WIDTH):
            e = exponential(fma(one, load(scores, o + q), low))
            sums = fma(e, one, sums)
            store(scores, o + q, e)
        total_e = total(sums)
        to_share = splat(weight / total_e)
        for q in range(0, width, WIDTH):
            store(scores, o + q, fma(load(scores, o + q), to_share, zero))
        scores[o + label] -= weight
        losses[0] += np.float64(weight) / share * (np.float64(own) + math.log(np.float64(total_e)))


@kernel
def link_any(task, block, rows, given, at, share):
    """The gradient of the loss by each of the block's scores, in their place; losses are added up."""
    if task.kind == SOFTMAX:
        link_classes(task.classes, block.scores, rows, given, at, share, block.losses, block.scratch)
    elif task.kind == SOFTMAX_BY_CLASS:
        link_by_class(task.width, block.scores, rows, given, at, share, block.losses, block.scratch)
    else:
        link(
            task.kind, task.parameter, block.scores, rows, given, at, share, block.positives, block.losses,
            block.scratch,
        )  # fmt: skip


@kernel
def take_roots(second, correction, count, roots):
    """roots = 1 / (sqrt(second * correction) + 1e-8). A loop that LLVM makes vectors of by itself."""
    for k in range(count):
        roots[k] = np.float32(1) / (math.sqrt(second[k] * correction) + np.float32(1e-8))


@kernel
def step(block, width, d, shift, scale, steps, number):
    """Take one step of the optimiser from block.gradient, and fold the new values into weights. number: from 1.

    shift, scale: float32 (d,), of each feature its mean and 1 / its deviation. L1 is a soft threshold behind the step
    (Parikh and Boyd, "Proximal Algorithms", 2014, 6.5.2). The mean is that of Shamir and Zhang, ICML 2013, 4.
    Bound by the first cache: three sweeps over the block.
    """
    zero, one, minus = splat(np.float32(0)), splat(np.float32(1)), splat(np.float32(-1))
    decay, take = splat(np.float32(steps.decay)), splat(np.float32(steps.take))
    decay_second = splat(np.float32(steps.decay_second))
    take_second = splat(np.float32(1.0 - steps.decay_second))
    for q in range(0, width, WIDTH):
        at_bias = d * width + q
        bias, wd = load(block.gradient, at_bias), load(block.wd, q)
        for j in range(d + 1):
            o = j * width + q
            if j < d:
                g = fma(fma(splat(-shift[j]), bias, load(block.gradient, o)), splat(scale[j]), zero)
                g = fma(wd, load(block.values, o), g)
            else:
                g = fma(fma(wd, splat(np.float32(steps.bias_wd)), zero), load(block.values, o), bias)
            store(block.first, o, fma(take, g, fma(decay, load(block.first, o), zero)))
            if steps.adaptive:
                square = fma(g, g, zero)
                store(block.second, o, fma(take_second, square, fma(decay_second, load(block.second, o), zero)))
    first_correction, second_correction = 1.0, 1.0
    if steps.corrected:
        first_correction = 1.0 / (1.0 - steps.decay**number)
        second_correction = 1.0 / (1.0 - steps.decay_second**number)
    if steps.adaptive:
        take_roots(block.second, np.float32(second_correction), (d + 1) * width, block.gradient)
    multiplier = steps.multiplier
    if steps.factor > 0:
        multiplier *= steps.factor ** ((number - 1) // steps.every)
    share = splat(np.float32((steps.averaging + 1.0) / (steps.averaging + number)))
    correction = splat(np.float32(first_correction))
    for q in range(0, width, WIDTH):
        rate = fma(load(block.rates, q), splat(np.float32(multiplier)), zero)
        rate = greatest(rate, load(block.floors, q))
        l1, bias = load(block.l1, q), zero
        for j in range(d + 1):
            o = j * width + q
            size = rate
            if j == d:
                size = fma(rate, splat(np.float32(steps.bias_rate)), zero)
            if steps.adaptive:
                size = fma(size, load(block.gradient, o), zero)
            old = load(block.values, o)
            v = fma(fma(size, fma(load(block.first, o), minus, zero), zero), correction, old)
            if j < d:
                threshold = fma(size, l1, zero)
                away = fma(threshold, minus, zero)
                v = fma(greatest(fma(one, v, away), zero), one, least(fma(one, v, threshold), zero))
            store(block.values, o, v)
            mean = load(block.mean, o)
            store(block.mean, o, fma(share, fma(mean, minus, v), mean))
            if j < d:
                w = fma(v, splat(scale[j]), zero)
                store(block.weights, o, w)
                bias = fma(splat(-shift[j]), w, bias)
            else:
                store(block.weights, o, fma(v, one, bias))


@kernel
def train(x, rows, d, given, parts, task, block, shift, scale, steps, number, share):
    """Train a block on rows in so many updates; number: of the first, from 1. share: 1 / the mean weight."""
    for part in range(parts):
        at = rows * part // parts
        count = rows * (part + 1) // parts - at
        multiply(x, at * d, count, d, block.weights, task.width, block.scores)
        link_any(task, block, count, given, at, share / count)
        multiply_back(x, at * d, count, d, block.scores, task.width, block.gradient)
        step(block, task.width, d, shift, scale, steps, number)
        number += 1


@kernel
def train_sparse(starts, columns, x, rows, d, given, parts, task, block, shift, scale, steps, number, share):
    """As train, for compressed rows."""
    for part in range(parts):
        at = rows * part // parts
        count = rows * (part + 1) // parts - at
        multiply_sparse(starts, columns, x, at, count, d, block.weights, task.width, block.scores)
        link_any(task, block, count, given, at, share / count)
        multiply_back_sparse(starts, columns, x, at, count, d, block.scores, task.width, block.gradient)
        step(block, task.width, d, shift, scale, steps, number)
        number += 1


@kernel
def assess(x, rows, d, given, size, task, block):
    """Add the losses of rows to block.losses, by block.weights; `size` rows at a time, in block.scores."""
    for at in range(0, rows, size):
        count = min(size, rows - at)
        multiply(x, at * d, count, d, block.weights, task.width, block.scores)
        link_any(task, block, count, given, at, 1.0)


@kernel
def assess_sparse(starts, columns, x, rows, d, given, size, task, block):
    """As assess, for compressed rows."""
    for at in range(0, rows, size):
        count = min(size, rows - at)
        multiply_sparse(starts, columns, x, at, count, d, block.weights, task.width, block.scores)
        link_any(task, block, count, given, at, 1.0)


@kernel
def score(x, begin, rows, d, weights, biases, out):
    """Exact scores in float64, each row for itself: x (n, d), weights (classes, d), out (rows, classes)."""
    classes = biases.size
    for i in range(rows):
        for c in range(classes):
            s = 0.0
            for j in range(d):
                s += np.float64(x[(begin + i) * d + j]) * weights[c * d + j]
            out[i * classes + c] = s + biases[c]


@kernel
def score_sparse(starts, columns, x, begin, rows, d, weights, biases, out):
    """As score, for compressed rows."""
    classes = biases.size
    for i in range(rows):
        for c in range(classes):
            s = 0.0
            for p in range(starts[begin + i], starts[begin + i + 1]):
                s += np.float64(x[p]) * weights[c * d + np.int64(columns[p])]
            out[i * classes + c] = s + biases[c]
