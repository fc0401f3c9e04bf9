"""Names, ARNs, patterns and defaults."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import ClientError
from wildsage.platform import names
from wildsage.platform.errors import ServiceError
from wildsage.platform.names import Kind
from wildsage.platform.service import Platform

PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@given(st.from_regex(PATTERN, fullmatch=True), st.sampled_from(list(Kind)))
def test_an_arn_comes_apart_again(name: str, kind: Kind) -> None:
    parsed = names.parse_arn(names.arn(kind, name, "eu-west-1"))
    assert (parsed.kind, parsed.name) == (kind, name)


@given(st.text())
def test_any_text_is_an_arn_or_refused(text: str) -> None:
    with suppress(ServiceError):
        assert names.parse_arn(text).name in text


@given(st.from_regex(PATTERN, fullmatch=True))
def test_generated_names_are_names_and_differ(base: str) -> None:
    first, second = names.generated(base), names.generated(base)
    assert first != second
    assert len(first) <= 63
    assert PATTERN.fullmatch(first)


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        (Kind.TRAINING_JOB, "ResourceInUse", "Training job names must be unique within an AWS account and region"),
        (Kind.TRANSFORM_JOB, "ResourceInUse", "must be unique"),
        (Kind.MODEL, "ValidationException", "Cannot create already existing model"),
        (Kind.ENDPOINT, "ValidationException", "Cannot create already existing endpoint"),
        (Kind.ENDPOINT_CONFIG, "ValidationException", "Cannot create already existing endpoint config"),
    ],
)
def test_the_texts_that_clients_look_into(kind: Kind, code: str, text: str) -> None:
    error = names.taken(kind, "n", "arn")
    assert error.response["Error"]["Code"] == code
    assert text in error.response["Error"]["Message"]
    gone = names.missing(kind, "n", "arn").response["Error"]
    assert gone["Code"] == "ValidationException"
    assert ("Requested resource not found." if "job" in kind else "Could not find") in gone["Message"]


def test_home_and_region_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WILDSAGE_HOME", str(tmp_path))
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert (names.default_home(), names.default_region()) == (tmp_path, "eu-west-1")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("WILDSAGE_HOME")
    assert names.default_home() == Path.home() / ".wildsage"
    assert names.default_region() == "us-east-1"
    assert names.default_bucket("us-east-1") == "sagemaker-us-east-1-000000000000"


def test_a_role_becomes_an_arn() -> None:
    assert names.role_arn(None) == names.DEFAULT_ROLE
    assert names.role_arn("me") == "arn:aws:iam::000000000000:role/me"
    assert names.role_arn("arn:aws:iam::123456789012:role/x") == "arn:aws:iam::123456789012:role/x"


def test_a_home_whose_name_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ClientError, match=r"/h\\udcff.*not UTF-8"):
        Platform(Path("/h\udcff"))
