from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.sdk.names import (
    base_from_name,
    base_name_from_image,
    filled,
    format_tags,
    name_from_base,
    unique_name_from_base,
)

WORDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,80}[a-z0-9])?", fullmatch=True)


@given(WORDS)
def test_a_name_fits_and_gives_its_base_back(base: str) -> None:
    name = name_from_base(base)
    assert len(name) <= 63
    assert base.startswith(base_from_name(name))
    assert re.fullmatch(r".+-\d{4}(-\d\d){5}-\d{3}", name)


@given(WORDS)
def test_short_and_unique_names_fit(base: str) -> None:
    assert len(name_from_base(base, max_length=32, short=True)) <= 32
    assert len(unique_name_from_base(base)) <= 63


@pytest.mark.parametrize(
    ("image", "base"),
    [
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1", "blazingtext"),
        ("blazing_text", "blazing-text"),
        ("BlazingText", "BlazingText"),
        ("registry:5000/team/image@sha256:abc", "image"),
        ("a/b/c:latest", "c"),
    ],
)
def test_the_base_of_an_image(image: str, base: str) -> None:
    assert base_name_from_image(image) == base


@given(st.text())
def test_any_image_gives_a_base_that_a_job_can_have(image: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9](-?[a-zA-Z0-9])*", base_name_from_image(image))


def test_tags_of_both_forms() -> None:
    assert format_tags({"team": 1}) == [{"Key": "team", "Value": "1"}]  # type: ignore[dict-item]
    assert format_tags([{"Key": "a", "Value": "b"}]) == [{"Key": "a", "Value": "b"}]
    assert format_tags(None) is None


def test_members_that_are_none_are_left_out() -> None:
    assert filled(A=0, B=None, C="", D=False) == {"A": 0, "C": "", "D": False}
