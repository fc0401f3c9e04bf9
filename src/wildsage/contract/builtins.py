"""The table of built-ins: names, hyperparameters, metrics, channels and formats, and the images that hold them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from wildsage.contract.errors import ClientError, nearest
from wildsage.contract.files import shown
from wildsage.contract.hyperparameters import HyperparameterFact
from wildsage.contract.metrics import MetricDefinition

if TYPE_CHECKING:
    from collections.abc import Mapping

# Third-party packages register their algorithms here.
GROUP = "wildsage.algorithms"

# ACCOUNT.dkr.ecr.REGION.DOMAIN/REPOSITORY:TAG, or @sha256:DIGEST; the domain differs between partitions.
_REGISTRY_URI = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<domain>[a-z0-9.-]+)"
    r"/(?P<repository>[a-z0-9._/-]+?)(?::(?P<tag>[\w.-]+))?(?:@sha256:[0-9a-f]{64})?"
)
_NAME = re.compile(r"(?P<name>[^:@]+?)(?::(?P<tag>[\w.-]+))?")

_DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("", "amazonaws.com"),
)


@dataclass(frozen=True)
class MetricFact:
    """A metric of a built-in. line: its log line, with {value}, {host} and {epoch} in it."""

    name: str
    regex: str | None
    line: str | None
    direction: str | None  # maximize, minimize, or None where neither is meant
    objective: bool  # a tuning job may aim at it
    meaning: str
    published: bool = True  # False: the regex is not published, and this one is ours


@dataclass(frozen=True)
class TunableFact:
    """A range that a tuning job may search. kind: integer, continuous or categorical."""

    name: str
    kind: str
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[Any, ...] = ()
    scale: str = "Auto"
    applies_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChannelFact:
    """A channel. The same name may come again with a variant, such as augmented_manifest."""

    name: str
    required: bool
    meaning: str
    content_types: tuple[str, ...]
    input_modes: tuple[str, ...]
    distributions: tuple[str, ...]
    attribute_names: tuple[str, ...] = ()
    variant: str | None = None
    beyond_contract: bool = False  # an addition of ours, which the managed service would refuse


@dataclass(frozen=True)
class Example:
    """A request and its answer, to the byte; numbers are illustrative."""

    content_type: str
    request: str
    accept: str
    response: str
    note: str = ""


@dataclass(frozen=True)
class BuiltIn:
    """One row of the table."""

    name: str
    aliases: tuple[str, ...]
    versions: tuple[str, ...]
    version_aliases: Mapping[str, str]
    tasks: tuple[str, ...]
    hyperparameters: tuple[HyperparameterFact, ...]
    container_only_hyperparameters: tuple[HyperparameterFact, ...]
    tunable: tuple[TunableFact, ...]
    metrics: tuple[MetricFact, ...]
    channels: tuple[ChannelFact, ...]
    request_types: tuple[str, ...]
    response_types: tuple[str, ...]
    examples: tuple[Example, ...]
    incremental_training: bool
    label_position: str
    sources: tuple[str, ...]
    beyond_contract: bool = False  # an addition of ours, which the managed service has no image of

    @classmethod
    def third_party(
        cls,
        name: str,
        hyperparameters: tuple[HyperparameterFact, ...],
        channels: tuple[ChannelFact, ...],
        request_types: tuple[str, ...],
    ) -> BuiltIn:
        """A row for an algorithm that the contract does not have; what its own package does not say stays empty."""
        nothing: dict[str, Any] = dict.fromkeys(
            [
                "aliases",
                "versions",
                "tasks",
                "container_only_hyperparameters",
                "tunable",
                "metrics",
                "response_types",
                "examples",
                "sources",
            ],
            (),
        )
        return cls(
            name=name,
            hyperparameters=hyperparameters,
            channels=channels,
            request_types=request_types,
            version_aliases={},
            incremental_training=False,
            label_position="",
            **nothing,
        )

    @property
    def metric_definitions(self) -> list[MetricDefinition]:
        """The metric definitions that the service adds to a job of this algorithm."""
        return [MetricDefinition(metric.name, metric.regex) for metric in self.metrics if metric.regex is not None]

    def metric(self, name: str) -> MetricFact | None:
        return next((metric for metric in self.metrics if metric.name == name), None)

    def input_modes(self, channel: str) -> tuple[str, ...]:
        """The input modes that a channel takes in any variant; FastFile works wherever File does."""
        modes = {mode for fact in self.channels if fact.name == channel for mode in fact.input_modes}
        return tuple(sorted(modes | ({"FastFile"} if "File" in modes else set())))

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> BuiltIn:
        parts: dict[str, Any] = {
            "hyperparameters": tuple(map(HyperparameterFact.from_json, row["hyperparameters"])),
            "container_only_hyperparameters": tuple(
                map(HyperparameterFact.from_json, row["container_only_hyperparameters"])
            ),
            "tunable": tuple(_tunable(entry) for entry in row["tunable"]),
            "metrics": tuple(MetricFact(**entry) for entry in row["metrics"]),
            "channels": tuple(ChannelFact(**_tuples(entry)) for entry in row["channels"]),
            "examples": tuple(Example(**entry) for entry in row["examples"]),
        }
        return cls(**(_tuples(row) | parts))


@cache
def names() -> tuple[str, ...]:
    """The canonical names of the built-ins, in order, whether or not this version can train them."""
    folder = files("wildsage.contract") / "builtins"
    return tuple(sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")))


def installed() -> tuple[str, ...]:
    """The names of the algorithms that are installed, ours and third parties'; none of them is loaded."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def table(name: str) -> BuiltIn:
    """The facts of a built-in, by any of its names. Raises ClientError for an unknown name, and for a third party's."""
    canonical = resolve(name)
    if canonical not in names():
        raise ClientError(f"{canonical} is not a built-in of the contract; its own package describes it")
    return _load(canonical)


def resolve(name: str) -> str:
    """The canonical name of a built-in or of an installed third-party algorithm.

    name: a name, an alias, either with a tag (blazingtext:1), or the URI of a real image of any account and region,
    which is recognised by its repository alone. Raises ClientError with the nearest right name.
    """
    uri = _REGISTRY_URI.fullmatch(name)
    if uri is not None:
        repository = uri["repository"]
        entry = _registries()["repositories"].get(repository)
        if entry is not None:
            return str(entry["algorithm"])
        known = sorted(_registries()["repositories"])
        hint = nearest(repository, known)
        raise ClientError(f"{shown(name)} is no image of a built-in: its repository is not one of {_list(known)}{hint}")
    match = _NAME.fullmatch(name)
    found = _by_alias().get(_key(match["name"])) if match is not None else None
    if found is None and match is not None:
        found = next((entry for entry in installed() if _key(entry) == _key(match["name"])), None)
    if found is None:
        known = sorted({*names(), *installed()})
        bare = match["name"] if match is not None else name
        hint = nearest(bare, known) or nearest(bare, _spellings())
        raise ClientError(f"{shown(name)} is not an algorithm; there are {_list(known)}{hint}")
    tag = match["tag"] if match is not None else None
    if tag is not None and found in names() and tag not in _tags(found):
        raise ClientError(f"{found} has no version {shown(tag)}; there are {_list(sorted(_tags(found)))}")
    return found


def is_registry_uri(text: str) -> bool:
    """Whether a text is the URI of an image in the managed service's registries, of a built-in or not."""
    return _REGISTRY_URI.fullmatch(text) is not None


def image(name: str, region: str, version: str | None = None) -> str:
    """What a job asks for a built-in by: the URI of the real image, or, of one beyond the contract, its name."""
    facts = table(name)
    if not facts.beyond_contract:
        return registry_uri(name, region, version)
    allowed = [*facts.versions, "latest"]
    if version is not None and version not in allowed:
        hint = nearest(version, allowed)
        raise ClientError(f"{facts.name} has no version {shown(version)}; there are {_list(allowed)}{hint}")
    return facts.name


def regions() -> tuple[str, ...]:
    """Every region that holds images of built-ins."""
    return tuple(sorted({region for accounts in _registries()["accounts"] for region in accounts}))


def registry_uri(name: str, region: str, version: str | None = None) -> str:
    """The URI of the real image: 811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1.

    version: one of the built-in's, or latest; None means the newest. Raises ClientError for a region or version that
    has no such image.
    """
    facts = table(name)
    if facts.beyond_contract:
        raise ClientError(f"{facts.name} is beyond the contract, so no registry has an image of it: its name is enough")
    if version is None:
        wanted = facts.versions[-1]
    elif version == "latest" and len(facts.versions) > 1:
        wanted = facts.version_aliases["latest"]
    else:
        wanted = facts.versions[-1] if version == "latest" else version
    found = [
        (repository, entry["versions"][wanted])
        for repository, entry in _registries()["repositories"].items()
        if entry["algorithm"] == facts.name and wanted in entry["versions"]
    ]
    if not found:
        allowed = [*facts.versions, "latest"]
        hint = nearest(wanted, allowed)
        raise ClientError(f"{facts.name} has no version {shown(version)}; there are {_list(allowed)}{hint}")
    repository, image = found[0]
    accounts = _registries()["accounts"][image["accounts"]]
    if region not in accounts:
        reason = f"{facts.name} {wanted} has no image in region {shown(region)}"
        raise ClientError(f"{reason}; there are {_list(sorted(accounts))}{nearest(region, accounts)}")
    domain = next(domain for prefix, domain in _DOMAINS if region.startswith(prefix))
    # Where there are several versions, their tag "latest" is an image of its own.
    tag = "latest" if version == "latest" and len(facts.versions) > 1 else image["tag"]
    return f"{accounts[region]}.dkr.ecr.{region}.{domain}/{repository}:{tag}"


@cache
def _load(name: str) -> BuiltIn:
    return BuiltIn.from_json(json.loads((files("wildsage.contract") / "builtins" / f"{name}.json").read_text("utf-8")))


@cache
def _registries() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((files("wildsage.contract") / "registries.json").read_text("utf-8"))
    return loaded


@cache
def _by_alias() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names():
        for spelling in (name, *_load(name).aliases):
            found[_key(spelling)] = name
    return found


def _spellings() -> list[str]:
    return [*(alias for name in names() for alias in _load(name).aliases)]


def _tags(name: str) -> set[str]:
    images = [entry for entry in _registries()["repositories"].values() if entry["algorithm"] == name]
    tags = {image["tag"] for entry in images for image in entry["versions"].values()}
    return tags | set(_load(name).versions) | {"latest"}


def _key(name: str) -> str:
    """What counts in a name: its letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _list(values: list[str]) -> str:
    return ", ".join(values)


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def _tunable(row: Mapping[str, Any]) -> TunableFact:
    renamed = {"min": "minimum", "max": "maximum"}
    return TunableFact(**_tuples({renamed.get(key, key): value for key, value in row.items()}))
