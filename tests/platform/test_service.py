"""The face of the platform: its methods, tags, and what importing it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform.conftest import CheckedPlatform, model
from wildsage.platform import shapes
from wildsage.platform.errors import ServiceError
from wildsage.platform.service import Platform


def method_name(operation: str) -> str:
    from botocore import xform_name

    name: str = xform_name(operation)
    return name


def test_each_operation_that_is_known_has_its_method() -> None:
    for operation in shapes.operations("sagemaker"):
        assert callable(getattr(Platform, method_name(operation)))
        assert operation in model("sagemaker").operation_names


def test_members_of_other_clients(platform: CheckedPlatform) -> None:
    clients = {"sagemaker-runtime": "runtime", "logs": "logs", "cloudwatch": "cloudwatch"}
    for service, member in clients.items():
        for operation in shapes.operations(service):
            assert inspect.ismethod(getattr(getattr(platform.plain, member), method_name(operation)))


def test_tags(platform: CheckedPlatform, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    container = {"Image": "counting", "ModelDataUrl": str(tmp_path / "m")}
    tags = [{"Key": "a", "Value": "1"}]
    arn = platform.create_model(ModelName="m", PrimaryContainer=container, Tags=tags)["ModelArn"]
    more = [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}]
    assert platform.add_tags(ResourceArn=arn, Tags=more)["Tags"] == more
    assert platform.list_tags(ResourceArn=arn, MaxResults=50) == {"Tags": more}
    platform.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert platform.list_tags(ResourceArn=arn) == {"Tags": more[1:]}
    with pytest.raises(ServiceError, match="there twice"):
        platform.add_tags(ResourceArn=arn, Tags=tags * 2)
    with pytest.raises(ServiceError, match="at most 50"):
        platform.add_tags(ResourceArn=arn, Tags=[{"Key": f"k{n}", "Value": ""} for n in range(50)])
    with pytest.raises(ServiceError, match="Could not find"):
        platform.list_tags(ResourceArn=arn + "x")
    with pytest.raises(ServiceError, match="ResourceArn"):
        platform.list_tags(ResourceArn="arn:aws:sagemaker:us-east-1:000000000000:pipeline/p")
    platform.delete_model(ModelName="m")
    with pytest.raises(ServiceError, match="Could not find"):
        platform.list_tags(ResourceArn=arn)


def test_a_relative_path_means_the_callers_folder(
    platform: CheckedPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path)
    platform.create_model(ModelName="m", PrimaryContainer={"Image": "counting", "ModelDataUrl": "m"})
    found = platform.describe_model(ModelName="m")
    assert found["PrimaryContainer"]["ModelDataUrl"] == str(tmp_path / "m")


def test_nothing_heavy_is_imported(home: Path) -> None:
    """Neither by the platform at its first use, nor, more sparing still, by what runs before a training's command."""
    program = (
        "import sys; from wildsage.platform.service import Platform\n"
        "with Platform() as p: p.list_models()\n"
        "print([m for m in ('numpy', 'numba', 'fsspec', 'alembic', 'botocore', 'jsonpath_ng') if m in sys.modules])\n"
    )
    hooks = "import sys, wildsage.platform.hooks; print([m for m in ('sqlalchemy', 'pydantic') if m in sys.modules])"
    for source in (program, hooks):
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n", source
