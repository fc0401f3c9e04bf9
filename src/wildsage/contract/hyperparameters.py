"""hyperparameters.json: text in, a typed and checked model out."""

from __future__ import annotations

import json
import math
import types
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError

from wildsage.contract.errors import ClientError, nearest
from wildsage.contract.files import parse_json, read_json_object, shown, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pydantic.fields import FieldInfo

MAX_COUNT = 100
MAX_KEY_LENGTH = 256
MAX_VALUE_LENGTH = 2500

# What the platform and its SDKs add to a job's hyperparameters; they are no concern of a built-in.
SPECIAL = frozenset(
    {
        "sagemaker_program",
        "sagemaker_submit_directory",
        "sagemaker_enable_cloudwatch_metrics",
        "sagemaker_region",
        "sagemaker_container_log_level",
        "sagemaker_job_name",
        "sagemaker_s3_output",
        "default_user_module_name",
        "_tuning_objective_metric",
    }
)

# A hyperparameter that may be left to the algorithm: `feature_dim: PositiveInt | Auto = "auto"`.
Auto = Literal["auto"]

_BOOLEANS = {"true": True, "false": False}


def is_special(name: str) -> bool:
    """Whether a hyperparameter is the platform's own; names that start with an underscore are internal."""
    return name in SPECIAL or name.startswith(("_", "sagemaker_"))


@dataclass(frozen=True)
class HyperparameterFact:
    """What is known of one hyperparameter. type: int, float, bool, str, enum, json, json_list, comma_list or tuple."""

    name: str
    type: str
    required: bool = False
    default: Any = None  # None: none
    meaning: str = ""
    minimum: float | None = None
    minimum_inclusive: bool = True
    maximum: float | None = None
    maximum_inclusive: bool = True
    choices: tuple[Any, ...] = ()
    special_values: tuple[str, ...] = ()  # allowed beside the range or the choices, such as "auto"
    applies_to: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    pattern: str | None = None
    required_if: str | None = None
    note: str | None = None
    beyond_contract: bool = False  # an addition of ours, which the managed service would refuse

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """A row of a table; what is empty is left out, except the default."""
        empty = {"minimum_inclusive": True, "maximum_inclusive": True, "beyond_contract": False}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key in ("name", "type", "required", "default", "meaning") or value not in ((), None, empty.get(key))
        }

    def allowed(self) -> str:
        """What is allowed, in words: "an integer, 1 or more", "one of skipgram, cbow, supervised"."""
        if self.type in ("comma_list", "json_list", "tuple") and self.choices:
            text = f"a list of {_listed(self.choices)}"
        elif self.choices:
            text = f"one of {_listed(self.choices)}"
        else:
            kinds = {
                "int": "an integer",
                "float": "a number",
                "bool": "True or False",
                "str": "text",
                "json": "JSON",
                "json_list": 'a JSON list, such as ["a", "b"]',
                "comma_list": "values with commas between",
                "tuple": "a tuple of integers, such as (0, 1)",
            }
            text = kinds.get(self.type, self.type) + self._range()
        others = [shown(value) if value == "" else str(value) for value in self.special_values]
        return f"{text}, or {' or '.join(others)}" if others else text

    def _range(self) -> str:
        low = None if self.minimum is None else _number(self.minimum)
        high = None if self.maximum is None else _number(self.maximum)
        if low is not None and high is not None and self.minimum_inclusive and self.maximum_inclusive:
            return f", {low} to {high}"
        parts = []
        if low is not None:
            parts.append(f"{low} or more" if self.minimum_inclusive else f"above {low}")
        if high is not None:
            parts.append(f"{high} or less" if self.maximum_inclusive else f"below {high}")
        return f", {' and '.join(parts)}" if parts else ""


class Hyperparameters(BaseModel):
    """Base of every algorithm's hyperparameters: SageMaker's names, types, ranges and defaults.

    A field's description is its meaning; json_schema_extra may say applies_to and beyond_contract. A rule over
    several fields is a model_validator that raises ValueError with the whole sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    container_only: ClassVar[frozenset[str]] = frozenset()  # names that the SDK sends and that mean nothing here

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Check values as they arrive: strings, as the contract has them, or native JSON.

        The platform's own hyperparameters are dropped, and those of `container_only`. Raises ClientError that names
        every bad field at once, one a line: the field, its value, what is allowed, and the nearest right name.
        """
        facts = {fact.name: fact for fact in cls.describe()}
        fact_of = {name: fact for fact in facts.values() for name in (fact.name, *fact.aliases)}
        problems = limit_problems(values)
        ready: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
                continue
            if name in fact_of:
                try:
                    ready[name] = _native(value, fact_of[name])
                except (ValueError, ClientError):
                    problems.append(_refused(name, value, fact_of[name]))
            elif not is_special(name) and name not in cls.container_only:
                problems.append(f"{name} is not a hyperparameter of {cls._title()}{nearest(name, fact_of)}")
        try:
            parsed = cls.model_validate(ready)
        except ValidationError as error:
            refused = {line.split(" ", 1)[0] for line in problems}
            problems += [line for line in _explain(error, fact_of, values) if line.split(" ", 1)[0] not in refused]
        if problems:
            raise ClientError("\n".join(problems))
        return parsed

    @classmethod
    def describe(cls) -> list[HyperparameterFact]:
        """The table of this model: a row a hyperparameter, in the order of the fields."""
        return [_describe(name, field) for name, field in cls.model_fields.items()]

    @classmethod
    def _title(cls) -> str:
        return cls.__name__.removesuffix("Hyperparameters") or cls.__name__


def read_hyperparameters(path: Path) -> dict[str, Any]:
    """Read hyperparameters.json; no file means none. Raises DataError with file and line for broken JSON."""
    try:
        return read_json_object(path, "names to values")
    except FileNotFoundError:
        return {}


def write_hyperparameters(path: Path, values: Mapping[str, str]) -> None:
    """Write hyperparameters.json. Raises ClientError for values that the contract does not allow."""
    problems = [f"{name} = {shown(value)} is not a string" for name, value in values.items() if type(value) is not str]
    problems += limit_problems(values)
    if problems:
        raise ClientError("\n".join(problems))
    write_json(path, dict(values))


def limit_problems(values: Mapping[str, Any]) -> list[str]:
    """What breaks the contract's limits: 100 hyperparameters, names of 256 characters, values of 2500."""
    problems = []
    if len(values) > MAX_COUNT:
        problems.append(f"{len(values)} hyperparameters are not allowed: up to {MAX_COUNT}")
    for name, value in values.items():
        if not 1 <= len(name) <= MAX_KEY_LENGTH:
            problems.append(f"hyperparameter name {shown(name)} is not allowed: 1 to {MAX_KEY_LENGTH} characters")
        if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
            problems.append(f"{name[:MAX_KEY_LENGTH]} has {len(value)} characters: up to {MAX_VALUE_LENGTH}")
    return problems


def table_problems(values: Mapping[str, Any], facts: Sequence[HyperparameterFact], title: str) -> list[str]:
    """What a table of hyperparameters alone says against values, in the words of Hyperparameters.parse().

    Rules over several of them are the algorithm's own, which says the rest. title: the algorithm's name.
    """
    fact_of = {name: fact for fact in facts for name in (fact.name, *fact.aliases)}
    problems = limit_problems(values)
    for name, value in values.items():
        fact = fact_of.get(name)
        if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
            continue
        if fact is not None:
            try:
                fits = _fits(_native(value, fact), fact)
            except (ValueError, ClientError):
                fits = False
            if not fits:
                problems.append(_refused(name, value, fact))
        elif not is_special(name):
            problems.append(f"{name} is not a hyperparameter of {title}{nearest(name, fact_of)}")
    problems.extend(
        f"{fact.name} is missing: {fact.allowed()}"
        for fact in facts
        if fact.required and not any(name in values for name in (fact.name, *fact.aliases))
    )
    return problems


def _fits(value: Any, fact: HyperparameterFact) -> bool:
    """Whether a value is in the range or among the choices; what the table cannot tell fits."""
    if isinstance(value, str) and value in fact.special_values:
        return True
    if fact.type == "enum" and fact.choices:
        return str(value) in map(str, fact.choices)
    if fact.type not in ("int", "float"):
        return True
    if fact.choices and value not in fact.choices:
        return False
    low, high = fact.minimum, fact.maximum
    above = low is None or value > low or (fact.minimum_inclusive and value == low)
    return above and (high is None or value < high or (fact.maximum_inclusive and value == high))


def _native(value: Any, fact: HyperparameterFact) -> Any:
    """A value as it arrived, made ready for pydantic. Raises ValueError for what pydantic would let pass too easily."""
    if isinstance(value, str):
        text = value.strip()
        # Framework estimators send text as JSON, in quotes.
        if len(text) >= 2 and text[0] == text[-1] == '"' and fact.type in ("enum", "str", "comma_list"):
            text = _unquoted(text)
        if text in fact.special_values:
            return text
        if fact.type == "bool":
            # "yes" and "1", which pydantic takes, mean nothing to the built-ins.
            return _BOOLEANS[text] if text in _BOOLEANS else _BOOLEANS[_uncapitalised(text)]
        if fact.type == "int":
            return _integer(text)
        if fact.type == "float":
            return _finite(float(text), fact)
        if fact.type in ("json", "json_list"):
            return parse_json(text)
        return text
    if isinstance(value, bool) and fact.type != "bool":
        raise ValueError("a boolean is no number")
    if fact.type == "bool" and not isinstance(value, bool) and value not in fact.special_values:
        raise ValueError("a number is no boolean")
    return _finite(value, fact) if isinstance(value, float) else value


def _finite(value: float, fact: HyperparameterFact) -> float:
    # No range refuses an infinite learning rate; where infinity means something, it is the default.
    if not math.isfinite(value) and fact.default not in (math.inf, "inf"):
        raise ValueError("not finite")
    return value


def _uncapitalised(text: str) -> str:
    if text not in ("True", "False"):
        raise ValueError("not a boolean")
    return text.lower()


def _integer(text: str) -> int | str:
    """An integer, also one that a float formatter wrote: "10", "10.0", "1e3"."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise ValueError("not an integer") from None
        return int(number)


def _unquoted(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def _explain(error: ValidationError, fact_of: Mapping[str, HyperparameterFact], values: Mapping[str, Any]) -> list[str]:
    """One line a bad field: pydantic reports each arm of a union by itself."""
    lines: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0]) if detail["loc"] else ""
        fact = fact_of.get(name)
        own_words = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else None
        if fact is None:
            lines.setdefault(own_words or detail["msg"], own_words or detail["msg"])
        elif detail["type"] == "missing":
            lines.setdefault(name, f"{name} is missing: {fact.allowed()}")
        elif own_words is not None:
            lines.setdefault(name, f"{name} = {_value(values.get(name))} is not allowed: {own_words}")
        else:
            lines.setdefault(name, _refused(name, values.get(name), fact))
    return list(lines.values())


def _refused(name: str, value: Any, fact: HyperparameterFact) -> str:
    hint = ""
    if isinstance(value, str):
        hint = nearest(value, [str(choice) for choice in (*fact.choices, *fact.special_values) if choice != ""])
    return f"{name} = {_value(value)} is not allowed: {fact.allowed()}{hint}"


def _value(value: Any) -> str:
    """Numbers that came as text are shown as numbers."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return shown(value)
        return value.strip()[:100]
    return shown(value)


def _describe(name: str, field: FieldInfo) -> HyperparameterFact:
    bounds: dict[str, Any] = {}
    kinds, choices = _unfold(field.annotation, bounds)
    for item in field.metadata:
        _bounds(item, bounds)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    names = _names(name, field)
    required = field.is_required()
    default = None if required else field.get_default(call_default_factory=True, validated_data={})
    kind = _kind(kinds, choices)
    others: tuple[Any, ...] = ()
    if kind == "json_list":
        # A table has a default as the contract does: as text.
        default = json.dumps(default, separators=(",", ":")) if isinstance(default, list | tuple) else default
    elif kinds and kind != "enum":
        choices, others = tuple(c for c in choices if not isinstance(c, str)), tuple(map(str, choices))
        others = tuple(text for text in others if text not in map(str, choices))
    elif len(choices) > 1 and "auto" in choices:
        choices, others = tuple(choice for choice in choices if choice != "auto"), ("auto",)
    if kind == "int":
        _to_closed(bounds)
    applies_to: Any = extra.get("applies_to", ())
    return HyperparameterFact(
        name=names[0],
        type=kind,
        required=required,
        default=default.value if isinstance(default, Enum) else default,
        meaning=field.description or "",
        choices=choices,
        special_values=others,
        applies_to=tuple(applies_to),
        aliases=tuple(names[1:]),
        beyond_contract=bool(extra.get("beyond_contract", False)),
        **bounds,
    )


def _names(name: str, field: FieldInfo) -> list[str]:
    """The published name first, then other names under which a value may arrive."""
    alias = field.validation_alias or field.alias
    if isinstance(alias, AliasChoices):
        names = [choice for choice in alias.choices if isinstance(choice, str)]
    else:
        names = [alias] if isinstance(alias, str) else []
    return names or [name]


def _unfold(annotation: Any, bounds: dict[str, Any]) -> tuple[set[type], tuple[Any, ...]]:
    """The plain types and the literal values of an annotation; bounds inside Annotated are added to `bounds`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        for item in metadata:
            _bounds(item, bounds)
        return _unfold(inner, bounds)
    if origin is Literal:
        return set(), get_args(annotation)
    if origin in (Union, types.UnionType):
        kinds: set[type] = set()
        choices: tuple[Any, ...] = ()
        for arm in get_args(annotation):
            more_kinds, more_choices = _unfold(arm, bounds)
            kinds, choices = kinds | more_kinds, choices + more_choices
        return kinds, choices
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return set(), tuple(member.value for member in annotation)
    if origin is list:
        # Of a list of literal values, they are what its entries may be.
        _, choices = _unfold(next(iter(get_args(annotation)), Any), {})
        return {list}, choices
    plain = origin if origin is not None else annotation
    return (set() if plain is type(None) else {plain}), ()


def _kind(kinds: set[type], choices: Iterable[Any]) -> str:
    if not kinds:
        # 0 and 1, or 18, 34, 50: integers that may take few values.
        return "int" if all(isinstance(choice, int) for choice in choices) else "enum"
    for plain, name in ((bool, "bool"), (float, "float"), (int, "int"), (str, "str"), (list, "json_list")):
        if plain in kinds:
            return name
    return "json"


def _bounds(item: Any, bounds: dict[str, Any]) -> None:
    """Read a constraint by its attributes (ge, gt, le, lt, pattern), whichever library its class is from."""
    for attribute, bound, inclusive in (
        ("ge", "minimum", True),
        ("gt", "minimum", False),
        ("le", "maximum", True),
        ("lt", "maximum", False),
    ):
        value = getattr(item, attribute, None)
        if value is not None:
            bounds[bound], bounds[f"{bound}_inclusive"] = value, inclusive
    if isinstance(getattr(item, "pattern", None), str):
        bounds["pattern"] = item.pattern
    for nested in getattr(item, "metadata", ()) or ():
        _bounds(nested, bounds)


def _to_closed(bounds: dict[str, Any]) -> None:
    """Of integers, "above 0" is "1 or more"."""
    for bound, step in (("minimum", 1), ("maximum", -1)):
        if bounds.get(f"{bound}_inclusive") is False:
            bounds[bound], bounds[f"{bound}_inclusive"] = bounds[bound] + step, True


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
