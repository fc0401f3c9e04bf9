"""The package's front door: SageMaker's names, loaded on first use, as attributes and as modules."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys

import pytest

import wildsage as sagemaker
import wildsage.sdk.estimator
import wildsage.sdk.inputs


def fresh(code: str) -> str:
    """What a new interpreter prints for the code."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_an_import_loads_nothing_heavy() -> None:
    heavy = "numpy numba pydantic sqlalchemy fsspec pandas boto3 botocore torch"
    assert fresh(f"import wildsage, sys; print(*[m for m in {heavy.split()!r} if m in sys.modules])") == ""


def test_the_sdk_loads_neither_numpy_nor_the_platform() -> None:
    modules = "estimator model predictor serializers deserializers transformer analytics session inputs"
    heavy = "numpy numba sqlalchemy boto3 pandas wildsage.platform.service"
    found = fresh(
        f"import wildsage, sys; [getattr(wildsage, m) for m in {modules.split()!r}]\n"
        f"print(*[m for m in {heavy.split()!r} if m in sys.modules])"
    )
    assert found == ""


def test_attributes_and_import_statements_give_one_module() -> None:
    module = importlib.import_module("wildsage.inputs")
    from wildsage.estimator import Estimator
    from wildsage.inputs import TrainingInput

    assert sagemaker.inputs is module is wildsage.sdk.inputs is sys.modules["wildsage.inputs"]
    assert TrainingInput is wildsage.sdk.inputs.TrainingInput is sagemaker.TrainingInput
    assert Estimator is sagemaker.estimator.Estimator


@pytest.mark.parametrize(
    "statement",
    [
        "import wildsage.inputs as m",
        "from wildsage import inputs as m",
        "import wildsage; m = wildsage.inputs",
        "import wildsage.sdk.inputs; import wildsage.inputs as m",
        "import importlib; m = importlib.import_module('wildsage.inputs')",
    ],
)
def test_every_way_of_importing(statement: str) -> None:
    assert fresh(f"{statement}\nprint(m.__name__, m.__spec__.name, m.TrainingInput.__module__)") == " ".join(
        ["wildsage.sdk.inputs"] * 3
    )


def test_threads_that_import_at_once_get_one_module() -> None:
    code = """
import threading, wildsage
found, start = [], threading.Barrier(8)
def load(name):
    start.wait()
    found.append(__import__(name, fromlist=['x']).Session)
threads = [threading.Thread(target=load, args=(f'wildsage.{part}session',)) for part in ['', 'sdk.'] * 4]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(found), len(set(found)))
"""
    assert fresh(code) == "8 1"


def test_a_reload_goes_to_the_real_module() -> None:
    code = "import importlib, wildsage.utils as m; print(importlib.reload(m) is m, m.__name__)"
    assert fresh(code) == "True wildsage.sdk.names"


def test_objects_of_aliased_modules_can_be_pickled() -> None:
    from wildsage.inputs import TrainingInput

    copy = pickle.loads(pickle.dumps(TrainingInput("s3://bucket/train", content_type="text/plain")))
    assert type(copy) is TrainingInput
    assert copy.config["ContentType"] == "text/plain"


def test_every_promised_name_is_there() -> None:
    for name in dir(sagemaker):
        assert getattr(sagemaker, name) is not None or name == "__doc__"


@pytest.mark.parametrize("name", ["estimater", "tuner", "__wrapped__"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"{name}'; SageMaker's modules that it has: .*estimator, "):
        getattr(sagemaker, name)


@pytest.mark.parametrize("name", ["wildsage.estimater", "wildsage.inputs.deeper", "wildsage.sdk.nonsense"])
def test_an_unknown_module_is_not_found(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


def test_the_notebooks_way_to_recordio() -> None:
    code = "import wildsage.amazon.common as smac, wildsage as w; print(smac.write_numpy_to_dense_tensor.__module__)"
    assert fresh(f"{code}; w.amazon.common.RecordSerializer") == "wildsage.sdk.records"


def test_estimators_of_one_algorithm_are_pointed_to_the_general_one() -> None:
    with pytest.raises(AttributeError, match=r'no KMeans, but its algorithm: .*image_uris.retrieve\("kmeans"\)'):
        _ = sagemaker.KMeans


def test_real_submodules_are_untouched() -> None:
    assert importlib.import_module("wildsage.contract.errors").__spec__.name == "wildsage.contract.errors"
