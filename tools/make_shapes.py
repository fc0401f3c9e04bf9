"""Cut the request and response shapes of the operations that Wildsage answers out of botocore's service models.

Run `python tools/make_shapes.py` with botocore installed; it writes src/wildsage/platform/shapes.json.
botocore is licensed under Apache-2.0, and so is what is cut from it. Documentation is left out.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

OPERATIONS = {
    "sagemaker": [
        *(f"{verb}TrainingJob" for verb in ("Create", "Describe", "Stop", "Delete")),
        *(f"{verb}Model" for verb in ("Create", "Describe", "Delete")),
        *(f"{verb}EndpointConfig" for verb in ("Create", "Describe", "Delete")),
        *(f"{verb}Endpoint" for verb in ("Create", "Describe", "Delete", "Update")),
        *(f"{verb}TransformJob" for verb in ("Create", "Describe", "Stop")),
        *(f"List{kinds}" for kinds in ("TrainingJobs", "Models", "EndpointConfigs", "Endpoints", "TransformJobs")),
        *("AddTags", "ListTags", "DeleteTags"),
    ],
    "sagemaker-runtime": ["InvokeEndpoint"],
    "logs": ["DescribeLogStreams", "GetLogEvents", "FilterLogEvents"],
    "cloudwatch": ["GetMetricStatistics"],
}
KEPT = ("type", "required", "members", "member", "key", "value", "enum", "min", "max", "pattern")
# What Java's regular expressions have and Python's lack. \p{…} stands inside brackets everywhere in these models.
JAVA = {
    r"\p{L}": r"\w",
    r"\p{M}": "",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Print}": r"\x20-\x7e",
    r"\p{ASCII}": r"[\x00-\x7f]",
    r"\z": r"\Z",
}


def pattern(text: str) -> str | None:
    """The pattern in Python's dialect; None for one that allows everything."""
    if text == ".*":
        return None
    for java, python in JAVA.items():
        text = text.replace(java, python)
    re.compile(text)
    return text


def cut(shape: dict[str, Any]) -> dict[str, Any]:
    """A shape without documentation, traits of the wire and patterns that allow everything."""
    kept = {key: shape[key] for key in KEPT if key in shape}
    if "members" in kept:
        kept["members"] = {name: member["shape"] for name, member in kept["members"].items()}
    for part in ("member", "key", "value"):
        if part in kept:
            kept[part] = kept[part]["shape"]
    if "pattern" in kept and (python := pattern(kept.pop("pattern"))) is not None:
        kept["pattern"] = python
    return kept


def reach(shapes: dict[str, Any], name: str, found: dict[str, Any]) -> None:
    """Add the shape and all below it to `found`."""
    if name in found:
        return
    shape = found[name] = cut(shapes[name])
    for below in (*shape.get("members", {}).values(), *(shape[p] for p in ("member", "key", "value") if p in shape)):
        reach(shapes, below, found)


def make() -> str:
    """The text of shapes.json."""
    import botocore
    from botocore.loaders import Loader

    services = {}
    for service, names in OPERATIONS.items():
        model = Loader().load_service_model(service, "service-2")
        operations: dict[str, Any] = {}
        found: dict[str, Any] = {}
        for name in names:
            operation = model["operations"][name]
            operations[name] = {part: operation[part]["shape"] for part in ("input", "output") if part in operation}
            for shape in operations[name].values():
                reach(model["shapes"], shape, found)
        services[service] = {"operations": operations, "shapes": dict(sorted(found.items()))}
    about = (
        f"Cut by tools/make_shapes.py from the service models of botocore {botocore.__version__} "
        "(https://github.com/boto/botocore), Copyright Amazon.com, Inc. or its affiliates, licensed under Apache-2.0."
    )
    return json.dumps({"about": about, "services": services}, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "src" / "wildsage" / "platform" / "shapes.json"
    target.write_text(make(), encoding="utf-8")
    sys.stdout.write(f"{target}: {target.stat().st_size} bytes\n")
