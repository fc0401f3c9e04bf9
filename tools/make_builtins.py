"""Write contract/builtins/*.json and contract/registries.json from their sources.

    python tools/make_builtins.py FACTS [IMAGE_URI_CONFIG]

FACTS: a folder with one YAML file per built-in algorithm (public facts: names, ranges, defaults, metrics, formats).
Those of the algorithms that the contract does not have lie in tools/beyond_contract, in the same form.
IMAGE_URI_CONFIG: the folder sagemaker/image_uri_config of the package sagemaker (Apache-2.0), for the registries.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

BEYOND = Path(__file__).parent / "beyond_contract"
CONTRACT = Path(__file__).parents[1] / "src" / "wildsage" / "contract"

# Names that people type, beside those of the facts. A name is compared by its letters and digits alone.
MORE_ALIASES = {
    "blazingtext": ["blazing_text", "fastText", "word2vec"],
    "forecasting-deepar": ["deep-ar"],
    "ipinsights": ["IP Insights"],
    "knn": ["k-nearest neighbours"],
    "lda": ["latent Dirichlet allocation"],
    "pca": ["principal component analysis"],
    "randomcutforest": ["random-cut-forest"],
    "xgboost": ["eXtreme Gradient Boosting"],
}

# What Wildsage adds to the contract.
BEYOND_CONTRACT: dict[str, list[dict[str, Any]]] = {
    "blazingtext": [
        {
            "name": "seed",
            "type": "int",
            "required": False,
            "default": 0,
            "minimum": 0,
            "meaning": "start of the random numbers; with one thread, equal seeds give equal models",
            "beyond_contract": True,
        },
        {
            "name": "loss",
            "type": "enum",
            "required": False,
            "default": "auto",
            "choices": ["ns", "hs", "softmax", "ova"],
            "special_values": ["auto"],
            "meaning": "what is learnt from: ns (negative sampling) or hs (hierarchical softmax); in supervised mode "
            "also softmax or ova (one-vs-all); auto is softmax in supervised mode, else ns",
            "beyond_contract": True,
        },
        {
            "name": "storage",
            "type": "enum",
            "required": False,
            "default": "auto",
            "choices": ["float32", "float16"],
            "special_values": ["auto"],
            "applies_to": ["supervised"],
            "meaning": "how rows are kept while they are learnt: float16, rounded at random, takes half of the memory "
            "and less time; arithmetic is float32 either way; auto is float16 for large tables",
            "beyond_contract": True,
        },
        {
            "name": "device",
            "type": "enum",
            "required": False,
            "default": "auto",
            "choices": ["cpu", "cuda"],
            "special_values": ["auto"],
            "meaning": "what to train on: the processor, or an NVIDIA GPU (needs the extra gpu); auto is cuda if the "
            "instance type has a GPU and there is one here, else cpu",
            "beyond_contract": True,
        },
        {
            "name": "deterministic",
            "type": "bool",
            "required": False,
            "default": False,
            "meaning": "the same model each time, with the same seed and number of threads; "
            "slower with several threads",
            "beyond_contract": True,
        },
        {
            "name": "k_fold",
            "type": "int",
            "required": False,
            "default": 0,
            "minimum": 0,
            "maximum": 1000,
            "applies_to": ["supervised"],
            "meaning": "train this many times on all lines but a share of them, and report the mean accuracy on these "
            "and its spread, before the model itself is trained on all lines; 0 for not at all",
            "beyond_contract": True,
        },
        {
            "name": "cbow_mean_gradient",
            "type": "bool",
            "required": False,
            "default": False,
            "applies_to": ["cbow"],
            "meaning": "each context takes its share of the gradient (corrected CBOW), not all of it as in word2vec",
            "beyond_contract": True,
        },
        {
            "name": "position_weights",
            "type": "bool",
            "required": False,
            "default": False,
            "applies_to": ["cbow"],
            "meaning": "learn a row of weights for each place of the window, which context vectors are multiplied by",
            "beyond_contract": True,
        },
        {
            "name": "phrases",
            "type": "int",
            "required": False,
            "default": 0,
            "minimum": 0,
            "maximum": 20,
            "applies_to": ["batch_skipgram", "skipgram", "cbow"],
            "meaning": "passes over the text that each join pairs of words that keep company (new_york), before words "
            "are learnt; 0 for none",
            "beyond_contract": True,
        },
        {
            "name": "phrase_threshold",
            "type": "float",
            "required": False,
            "default": 200,
            "minimum": 0,
            "minimum_inclusive": False,
            "applies_to": ["batch_skipgram", "skipgram", "cbow"],
            "meaning": "score above which a pair is joined, in the first pass of phrases; each later one has half of "
            "the last one's",
            "beyond_contract": True,
        },
        {
            "name": "phrase_discount",
            "type": "int",
            "required": False,
            "default": 5,
            "minimum": 0,
            "applies_to": ["batch_skipgram", "skipgram", "cbow"],
            "meaning": "taken from a pair's count before it is scored, so that pairs of rare words do not become "
            "phrases",
            "beyond_contract": True,
        },
    ]
}

# Channels that Wildsage adds to the contract: what training begins with, and sets of its own to be measured on.
# The algorithms whose state is small and can be gone on with.
STREAMING = ("kmeans", "knn", "linear-learner", "pca", "randomcutforest", "xgboost")
SEED: dict[str, Any] = {
    "name": "seed",
    "type": "int",
    "required": False,
    "default": 0,
    "minimum": 0,
    "meaning": "start of the random numbers; equal seeds give equal models",
    "beyond_contract": True,
}
for _name in STREAMING:
    BEYOND_CONTRACT.setdefault(_name, [])
    if _name != "xgboost":  # which has one of its own
        BEYOND_CONTRACT[_name].append(SEED)

BEYOND_CONTRACT["pca"].insert(
    0,
    {
        "name": "epochs",
        "type": "int",
        "required": False,
        "default": 1,
        "minimum": 1,
        "applies_to": ["algorithm_mode randomized"],
        "meaning": "passes over the data; each one after the first makes randomized more exact",
        "beyond_contract": True,
    },
)
BEYOND_CONTRACT["randomcutforest"] += [
    {
        "name": "shingle_size",
        "type": "int",
        "required": False,
        "default": 1,
        "minimum": 1,
        "maximum": 10000,
        "meaning": "consecutive rows that are seen as one: for series, in order of time, such as a day's or a week's",
        "beyond_contract": True,
    },
    {
        "name": "time_decay",
        "type": "float",
        "required": False,
        "default": 0,
        "minimum": 0,
        "maximum": 1,
        "meaning": "how fast older rows leave the samples: a row's weight falls by this share with each later row; 0 "
        "keeps all alike",
        "beyond_contract": True,
    },
    {
        "name": "stream_scores",
        "type": "bool",
        "required": False,
        "default": False,
        "meaning": "score each row of train before the forest learns it, into scores.csv of the output data",
        "beyond_contract": True,
    },
    {
        "name": "scale_floor",
        "type": "float",
        "required": False,
        "default": 0.001,
        "minimum": 0,
        "maximum": 1,
        "meaning": "share of a constant column's value by which a row may differ from it unnoticed",
        "beyond_contract": True,
    },
]

# What the contract requires and the data tells.
FOUND_IN_DATA = {
    "kmeans": ("feature_dim",),
    "knn": ("feature_dim",),
    "pca": ("feature_dim", "mini_batch_size"),
    "randomcutforest": ("feature_dim",),
}

CHANNELS_BEYOND_CONTRACT: dict[str, list[dict[str, Any]]] = {
    "blazingtext": [
        {
            "name": name,
            "required": False,
            "meaning": meaning,
            "content_types": content_types,
            "input_modes": ["File"],
            "distributions": ["FullyReplicated"],
            "beyond_contract": True,
        }
        for name, content_types, meaning in (
            (
                "test",
                ["text/plain"],
                "same format as train; precision, recall and F1 by label on it are in the output data; "
                "supervised mode only",
            ),
            (
                "evaluation",
                ["text/plain"],
                "sets of word pairs that people judged, lines of two words and a score; not in supervised mode",
            ),
            (
                "pretrained_vectors",
                ["text/plain", "application/octet-stream"],
                "word vectors that words start from, of vector_dim columns: a file, or a job's model.tar.gz; "
                "supervised mode only",
            ),
            (
                "model",
                ["application/x-sagemaker-model"],
                "a model to go on from: model.tar.gz, model.bin or vectors.bin, or vectors.txt",
            ),
        )
    ]
}
for _name in STREAMING:
    CHANNELS_BEYOND_CONTRACT[_name] = [
        {
            "name": "model",
            "required": False,
            "meaning": "a model of this algorithm that training goes on from: its model.tar.gz or its files",
            "content_types": ["application/x-sagemaker-model"],
            "input_modes": ["File"],
            "distributions": ["FullyReplicated"],
            "beyond_contract": True,
        }
    ]

# What is worth saying of a hyperparameter of the contract, since it is otherwise here.
NOTES: dict[str, dict[str, str]] = {
    "blazingtext": {
        "evaluation": "here on the word pairs of channel evaluation; WordSimilarity-353 does not come along"
    }
}

# Regexes that leave a word open, and the word that Wildsage writes there.
OPEN_WORDS = [
    (r"\S+_objective", "loss_objective"),
    (r"binary_f_\S+", "binary_f_1.000"),
    (r"macro_f_\S+", "macro_f_1.000"),
    (r"top_k_accuracy_\S+", "top_k_accuracy_3"),
]

KEPT_HYPERPARAMETER_FIELDS = ("choices", "special_values", "applies_to", "aliases", "pattern", "required_if", "note")
KEPT_CHANNEL_FIELDS = ("name", "required", "meaning", "content_types", "input_modes", "attribute_names", "variant")
KEPT_TUNABLE_FIELDS = ("name", "kind", "min", "max", "values", "scale", "applies_to")


def main(facts: Path, image_uri_config: Path | None) -> None:
    folder = CONTRACT / "builtins"
    folder.mkdir(exist_ok=True)
    names = []
    for path in sorted([*facts.glob("*.yaml"), *BEYOND.glob("*.yaml")]):
        fact = yaml.safe_load(path.read_text("utf-8"))
        if "hyperparameters" not in fact:
            continue
        if path.parent != BEYOND:
            names.append(fact["name"])
        write(folder / f"{fact['name']}.json", built_in(fact), one_line=False)
    if image_uri_config is not None:
        write(CONTRACT / "registries.json", registries(names, image_uri_config), one_line=True)


def write(path: Path, value: Any, *, one_line: bool) -> None:
    # One row a line: a diff then shows what changed, and the file stays small.
    if one_line:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    else:
        text = "{\n" + ",\n".join(f" {json.dumps(key)}: {rows(entry)}" for key, entry in value.items()) + "\n}"
    path.write_text(text + "\n", "utf-8")


def rows(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join("  " + json.dumps(row, ensure_ascii=False, allow_nan=False) for row in value) + "\n ]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def built_in(fact: dict[str, Any]) -> dict[str, Any]:
    name = fact["name"]
    for key in FOUND_IN_DATA.get(name, ()):
        fact["hyperparameters"][key] |= {"required": False, "default": "auto", "special_values": ["auto"]}
    aliases = [alias for alias in fact["aliases"] if "(" not in alias] + MORE_ALIASES.get(name, [])
    known = {hyperparameter["name"] for hyperparameter in BEYOND_CONTRACT.get(name, [])} & set(fact["hyperparameters"])
    notes = NOTES.get(name, {})
    if known:
        raise SystemExit(f"{name}: {known} is in the contract, not beyond it")
    return {
        "name": name,
        "aliases": aliases,
        "versions": [str(version) for version in fact["image_versions"]],
        "version_aliases": {"latest": fact.get("version_aliases", {}).get("latest", "1")},
        "tasks": fact["tasks"],
        "hyperparameters": [
            hyperparameter(key, row | ({"note": notes[key]} if key in notes else {}))
            for key, row in fact["hyperparameters"].items()
        ]
        + BEYOND_CONTRACT.get(name, []),
        "container_only_hyperparameters": [
            hyperparameter(key, row) for key, row in fact.get("container_only_hyperparameters", {}).items()
        ],
        "tunable": [keep(row, KEPT_TUNABLE_FIELDS) for row in fact["tunable"]],
        "metrics": [metric(row, name) for row in fact["metrics"]],
        "channels": [channel(row) for row in fact["channels"]] + CHANNELS_BEYOND_CONTRACT.get(name, []),
        "request_types": fact["inference"]["request_content_types"],
        "response_types": fact["inference"]["response_content_types"],
        "examples": fact["inference"]["examples"],
        "incremental_training": bool(fact["incremental_training"]["supported"]),
        "label_position": fact["label_position"],
        "sources": fact["sources"],
    } | ({"beyond_contract": True} if fact.get("beyond_contract") else {})


def keep(row: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    # JSON knows no infinity, and a bound at infinity is none.
    return {field: row[field] for field in fields if field in row and row[field] not in (float("inf"), float("-inf"))}


def hyperparameter(name: str, row: dict[str, Any]) -> dict[str, Any]:
    default = row.get("default")
    if default == float("inf"):
        default = "inf"  # as a hyperparameter's text; JSON has no infinity
    entry = {"name": name, "type": row["type"], "required": row["required"], "default": default}
    limits = row.get("range", {})
    for bound in ("min", "max"):
        if bound in limits and limits[bound] not in (float("inf"), float("-inf")):
            entry[f"{bound}imum"] = limits[bound]
            if not limits.get(f"{bound}_inclusive", True):
                if row["type"] == "int":
                    entry[f"{bound}imum"] += 1 if bound == "min" else -1
                else:
                    entry[f"{bound}imum_inclusive"] = False
    kept = keep(row, KEPT_HYPERPARAMETER_FIELDS)
    if "auto" in kept.get("choices", ()):  # no choice of its own: it stands for one of the others
        kept["choices"] = [choice for choice in kept["choices"] if choice != "auto"]
        kept["special_values"] = ["auto"]
    return entry | kept | {"meaning": row["meaning"]}


def channel(row: dict[str, Any]) -> dict[str, Any]:
    types = [re.sub(r" \(.*\)$", "", text) for text in row["content_types"]]
    kept = keep(row, KEPT_CHANNEL_FIELDS) | {"content_types": list(dict.fromkeys(types))}
    return kept | {"distributions": row["s3_data_distribution"]["allowed"]}


def metric(row: dict[str, Any], algorithm: str) -> dict[str, Any]:
    regex = row["regex"] or row.get("suggested_regex")
    line = template(regex, algorithm) if regex else None
    return {
        "name": row["name"],
        "regex": regex,
        "published": row["regex"] is not None,
        "line": line,
        "direction": row["direction"],
        "objective": row["objective"],
        "meaning": row["meaning"],
    }


def template(regex: str, algorithm: str) -> str:
    """The log line that a regex was made for, with {host}, {epoch} and {value} in it."""
    line = regex
    for pattern, word in OPEN_WORDS:
        line = line.replace(pattern, word)
    line = line.replace(r"host=\S+", "host={host}").replace(r"epoch=\S+", "epoch={epoch}")
    line = line.replace(r"batch=\S+", "batch=0").replace(r"Epoch\S*", "Epoch[{epoch}]")
    line = line.replace(r".*\[[0-9]+\].*", "[{epoch}]")
    line = line.replace(r"(\S+)", "{value}").replace(r"(\S*)", "{value}")
    line = line.replace(r"\({value}\)", "({value})")
    example = line.replace("{host}", "algo-1").replace("{epoch}", "3").replace("{value}", "0.125")
    match = re.search(regex, example)
    if "\\" in line or match is None or match[1] != "0.125":
        raise SystemExit(f"{algorithm}: no log line could be made for {regex!r}: {line!r}")
    return line


def registries(names: list[str], folder: Path) -> dict[str, Any]:
    """Which account holds which repository in which region; regions with equal accounts are written once."""
    groups: list[dict[str, str]] = []
    repositories: dict[str, Any] = {}
    for name in names:
        config = json.loads((folder / f"{name}.json").read_text("utf-8"))
        versions = config["versions"] if "versions" in config else config["training"]["versions"]
        for version, entry in versions.items():
            accounts = dict(sorted(entry["registries"].items()))
            if accounts not in groups:
                groups.append(accounts)
            tag = "-".join([version, *entry.get("processors", []), *entry.get("py_versions", [])])
            repository = repositories.setdefault(entry["repository"], {"algorithm": name, "versions": {}})
            repository["versions"][version] = {"tag": tag, "accounts": groups.index(accounts)}
    return {
        "source": "package sagemaker 2.257.7, image_uri_config/*.json, condensed by tools/make_builtins.py",
        "licence": "Apache-2.0, Copyright Amazon.com, Inc. or its affiliates",
        "accounts": groups,
        "repositories": repositories,
    }


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None)
