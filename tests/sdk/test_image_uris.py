from __future__ import annotations

import pytest

from wildsage.contract.errors import ClientError
from wildsage.sdk import image_uris
from wildsage.sdk.exceptions import ArgumentError


@pytest.mark.parametrize("name", ["blazingtext", "blazing_text", "BlazingText"])
def test_names_and_aliases(name: str) -> None:
    assert image_uris.retrieve(name, "us-east-1") == "811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1"
    assert (
        image_uris.retrieve(framework=name, region="eu-central-1", version="latest")
        == "813361260812.dkr.ecr.eu-central-1.amazonaws.com/blazingtext:1"
    )


def test_the_region_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert image_uris.retrieve("blazingtext").startswith("433757028032.dkr.ecr.us-west-2")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert image_uris.retrieve("blazingtext").startswith("685385470294.dkr.ecr.eu-west-1")


@pytest.mark.parametrize("kind", [ValueError, ClientError, ArgumentError])
def test_an_unknown_name_is_a_value_error_with_the_nearest(kind: type[Exception]) -> None:
    with pytest.raises(kind, match='did you mean "blazingtext"'):
        image_uris.retrieve("blazingtxt")


def test_an_unknown_region_and_version() -> None:
    with pytest.raises(ArgumentError, match="region"):
        image_uris.retrieve("blazingtext", "us-est-1")
    with pytest.raises(ArgumentError, match="version"):
        image_uris.retrieve("blazingtext", "us-east-1", version="9")
