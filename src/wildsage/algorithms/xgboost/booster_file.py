"""A booster as a file: UBJSON or JSON, looked through before the library, which a damaged one can bring down, reads it.

UBJSON: https://ubjson.org, draft 12; what is in it: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.xgboost.library import errors_of_the_library, library
from wildsage.contract.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {b"Z": 0, b"T": 0, b"F": 0, b"N": 0, b"i": 1, b"U": 1, b"C": 1, b"I": 2, b"l": 4, b"d": 4, b"L": 8, b"D": 8}
ARRAYS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8"}
NO_CHILD = -1
CATEGORICAL = 1  # a split
MOST_FEATURES, MOST_CATEGORIES = 1 << 31, 1 << 24
NODE_KEYS = (
    "base_weights", "default_left", "left_children", "loss_changes", "parents", "right_children", "split_conditions",
    "split_indices", "split_type", "sum_hessian",
)  # fmt: skip
INTEGERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}
DEEPEST = 32
PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
SAVE_ANEW = "load it where it was made, and save it with booster.save_model"


@dataclass(frozen=True)
class Booster:
    """A booster, and its file."""

    raw: bytes
    handle: Any  # the library's own
    objective: str
    num_class: int
    kind: str  # gbtree, dart or gblinear

    @property
    def rounds(self) -> int:
        return int(self.handle.num_boosted_rounds())


def is_booster(head: bytes) -> bool:
    """Whether a file of these first bytes may be a booster in today's forms."""
    return head[:1] == b"{" and b"learner" in head


def read(path: Path, parameters: dict[str, Any] | None = None) -> Booster:
    """Read a booster of any version in UBJSON or JSON. Raises DataError for what is none; nothing is unpickled."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path.name) from error
    return of_bytes(raw, path.name, parameters)


def of_bytes(raw: bytes, name: str, parameters: dict[str, Any] | None = None) -> Booster:
    """A booster of the bytes of its file, called `name` in messages."""
    if raw.startswith(PICKLES) or raw[:2] in (b"c_", b"(i", b"cc"):
        what = "a pickled booster, as images before 1.3-1 left it, is never loaded, since a pickle can run any program"
        raise DataError(f"{what}: {SAVE_ANEW}", file=name)
    if raw[:1] != b"{":
        what = "neither UBJSON nor JSON: if it is of the library's old binary form, which it no longer reads"
        raise DataError(f"{what}, {SAVE_ANEW} by a version from 1.3 to 3.0", file=name)
    document = _document(raw, name)
    learner = document.get("learner")
    parts = ("gradient_booster", "learner_model_param", "objective")
    if not isinstance(learner, dict) or any(not isinstance(learner.get(part), dict) for part in parts):
        raise DataError("holds no booster: there is no learner with a gradient_booster and an objective", file=name)
    _check(learner, name)
    handle = library().Booster(parameters or {"nthread": 1})
    try:
        with errors_of_the_library("it is no booster"):
            handle.load_model(bytearray(raw))
            handle.num_boosted_rounds()
    except DataError:
        raise
    except Exception as error:
        raise DataError(str(error), file=name) from error
    objective = learner["objective"].get("name")
    classes = str(learner["learner_model_param"].get("num_class", "0"))
    kind = str(learner["gradient_booster"].get("name"))
    return Booster(raw, handle, str(objective), int(classes) if classes.isdecimal() else 0, kind)


def of_training(handle: Any, num_class: int, objective: str, kind: str) -> Booster:
    """A booster that was just trained: its file, and itself made ready to answer as if it had been read from it."""
    raw = save(handle)
    handle.reset()  # lets go of the data
    handle.set_param({"nthread": 1, "device": "cpu"})
    return Booster(raw, handle, objective, num_class, kind)


def save(handle: Any) -> bytes:
    """A booster in the library's UBJSON."""
    return bytes(handle.save_raw("ubj"))


def _check(learner: dict[str, Any], name: str) -> None:
    """Raise DataError where parts of a booster do not fit each other.

    The library follows them as they are: in a circle of nodes it would walk for ever, beyond an end it would crash.
    """
    booster = learner["gradient_booster"]
    try:
        given = learner["learner_model_param"]
        width = int(given["num_feature"])
        outputs = max(1, int(given.get("num_class", 0))) * max(1, int(given.get("num_target", 1)))
        if not 0 <= width < MOST_FEATURES or outputs > MOST_FEATURES:
            raise ValueError(f"it has {width} features and {outputs} outputs")
        if booster.get("name") == "gblinear":
            if len(booster["model"]["weights"]) != (width + 1) * outputs:
                raise ValueError(f"its weights are not those of {width} features")
            return
        # That of dart has one of trees in it.
        model = booster.get("gbtree", booster)["model"]
        trees = model["trees"]
        if "weight_drop" in booster and len(booster["weight_drop"]) != len(trees):
            raise ValueError(f"{len(booster['weight_drop'])} weights of {len(trees)} trees")
        groups = np.asarray(model["tree_info"], np.int64)
        if groups.shape != (len(trees),) or ((groups < 0) | (groups >= outputs)).any():
            raise ValueError(f"its trees are not those of {outputs} outputs")
        bounds = np.asarray(model.get("iteration_indptr", (0, len(trees))), np.int64)
        if bounds[0] != 0 or bounds[-1] != len(trees) or (np.diff(bounds) < 0).any():
            raise ValueError("its rounds are not those of its trees")
        for number, tree in enumerate(trees):
            if not _is_tree(tree, width):
                raise ValueError(f"the nodes of tree {number} are no tree of {width} features")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError) as error:
        raise DataError(f"is damaged: {error}", file=name) from error


def _is_tree(tree: dict[str, Any], width: int) -> bool:
    """Whether each node but the root is one other's child, and what nodes have is there for each of them."""
    nodes, vector = int(tree["tree_param"]["num_nodes"]), int(tree["tree_param"].get("size_leaf_vector", 1))
    left, right, parents = (np.asarray(tree[key], np.int64) for key in ("left_children", "right_children", "parents"))
    if any(len(tree[key]) != nodes for key in NODE_KEYS if key in tree) or nodes < 1 or vector > 1:
        return False
    inner = np.flatnonzero(left != NO_CHILD)
    children = np.concatenate([left[inner], right[inner]])
    features = np.asarray(tree["split_indices"], np.int64)[inner]
    if (
        ((left != NO_CHILD) != (right != NO_CHILD)).any()
        or ((children < 1) | (children >= nodes)).any()
        or len(np.unique(children)) != len(children)
        or (parents[children] != np.concatenate([inner, inner])).any()
        or ((features < 0) | (features >= width)).any()
    ):
        return False
    with_categories, begins, sizes, categories = (
        np.asarray(tree.get(key, ()), np.int64)
        for key in ("categories_nodes", "categories_segments", "categories_sizes", "categories")
    )
    if not len(with_categories) == len(begins) == len(sizes):
        return False
    kinds = np.asarray(tree.get("split_type", np.zeros(nodes)), np.int64)
    return bool(
        np.array_equal(with_categories, np.flatnonzero(kinds == CATEGORICAL))
        and ((sizes >= 1) & (begins >= 0) & (begins + sizes <= len(categories))).all()
        and ((categories >= 0) & (categories < MOST_CATEGORIES)).all()
        and ((kinds == 0) | (kinds == CATEGORICAL)).all()
    )


def _document(raw: bytes, name: str) -> dict[str, Any]:
    """What is in the file; of arrays of UBJSON that are no integers, as many numbers, whichever."""
    try:
        if raw[1:2] in (b'"', b"\n", b"\r", b" ", b"\t"):
            found = json.loads(raw)
        else:
            reader = _Reader(raw)
            found = reader.value(reader.take(1), 0)
            if reader.at != len(raw):
                raise ValueError(f"{len(raw) - reader.at:,} bytes follow its end")
    except (ValueError, RecursionError) as error:
        raise DataError(f"is damaged: {error}", file=name) from error
    return found if isinstance(found, dict) else {}


class _Reader:
    """Walks through UBJSON. Raises ValueError where it is none."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.raw):
            raise ValueError(f"it ends within what begins at byte {self.at:,}")
        self.at += count
        return self.raw[self.at - count : self.at]

    def integer(self) -> int:
        kind = self.take(1)
        if kind not in INTEGERS:
            raise ValueError(f"byte {self.at - 1:,} is no integer's type")
        return int(struct.unpack(INTEGERS[kind], self.take(SIZES[kind]))[0])

    def text(self) -> str:
        return self.take(self.integer()).decode("utf-8", "replace")

    def value(self, kind: bytes, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        if kind == b"{":
            return self._object(depth)
        if kind == b"[":
            return self._array(depth)
        if kind in (b"S", b"H"):
            return self.text()
        if kind not in SIZES:
            raise ValueError(f"byte {self.at - 1:,} is no type")
        content = self.take(SIZES[kind])
        return int(struct.unpack(INTEGERS[kind], content)[0]) if kind in INTEGERS else None

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.raw[self.at : self.at + 1] != b"}":
            key = self.text()
            found[key] = self.value(self.take(1), depth + 1)
        self.at += 1
        return found

    def _array(self, depth: int) -> Any:
        head = self.raw[self.at : self.at + 1]
        if head == b"$":
            self.at += 1
            kind = self.take(1)
            if kind not in SIZES or self.take(1) != b"#":
                raise ValueError(f"byte {self.at - 1:,}: an array without a length")
            count = self.integer()
            content = self.take(count * SIZES[kind])
            return np.frombuffer(content, ARRAYS[kind]) if kind in ARRAYS else range(count)
        if head == b"#":
            self.at += 1
            count = self.integer()
            if count < 0 or count > len(self.raw):
                raise ValueError(f"byte {self.at:,}: an array of {count} values")
            return [self.value(self.take(1), depth + 1) for _ in range(count)]
        found = []
        while self.raw[self.at : self.at + 1] != b"]":
            found.append(self.value(self.take(1), depth + 1))
        self.at += 1
        return found
