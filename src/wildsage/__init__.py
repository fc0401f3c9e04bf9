"""Amazon SageMaker's built-in algorithms, growing wild.

`import wildsage as sagemaker` and go: the names are those of SageMaker's Python SDK v2, and each is loaded on first
use. `wildsage.estimator`, `import wildsage.estimator` and `from wildsage.estimator import Estimator` all mean the one
module `wildsage.sdk.estimator`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import spec_from_loader
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    # What `__getattr__` below finds at run time, for type checkers and editors.
    from wildsage.sdk import amazon as amazon
    from wildsage.sdk import analytics as analytics
    from wildsage.sdk import deserializers as deserializers
    from wildsage.sdk import estimator as estimator
    from wildsage.sdk import exceptions as exceptions
    from wildsage.sdk import image_uris as image_uris
    from wildsage.sdk import inputs as inputs
    from wildsage.sdk import model as model
    from wildsage.sdk import names as utils  # noqa: F401
    from wildsage.sdk import predictor as predictor
    from wildsage.sdk import s3 as s3
    from wildsage.sdk import serializers as serializers
    from wildsage.sdk import session as session
    from wildsage.sdk import transformer as transformer
    from wildsage.sdk.analytics import TrainingJobAnalytics as TrainingJobAnalytics
    from wildsage.sdk.estimator import Estimator as Estimator
    from wildsage.sdk.inputs import TrainingInput as TrainingInput
    from wildsage.sdk.model import Model as Model
    from wildsage.sdk.predictor import Predictor as Predictor
    from wildsage.sdk.session import Session as Session
    from wildsage.sdk.session import container_def as container_def
    from wildsage.sdk.session import get_execution_role as get_execution_role
    from wildsage.sdk.session import production_variant as production_variant
    from wildsage.sdk.transformer import Transformer as Transformer

__version__ = "0.1.0"

# SageMaker's module name -> the module of wildsage.sdk that plays it.
_MODULES = {
    "amazon": "amazon",
    "analytics": "analytics",
    "base_deserializers": "deserializers",
    "base_predictor": "predictor",
    "base_serializers": "serializers",
    "deserializers": "deserializers",
    "estimator": "estimator",
    "exceptions": "exceptions",
    "image_uris": "image_uris",
    "inputs": "inputs",
    "model": "model",
    "predictor": "predictor",
    "s3": "s3",
    "serializer_utils": "records",
    "serializers": "serializers",
    "session": "session",
    "transformer": "transformer",
    "utils": "names",
}

# A name of the top level -> the module of wildsage.sdk that has it.
_NAMES = {
    "Estimator": "estimator",
    "Model": "model",
    "Predictor": "predictor",
    "Session": "session",
    "TrainingInput": "inputs",
    "TrainingJobAnalytics": "analytics",
    "Transformer": "transformer",
    "container_def": "session",
    "get_execution_role": "session",
    "production_variant": "session",
}

# SageMaker's estimators of one algorithm each -> the algorithm's name, for the message.
_ALGORITHMS = {
    "KMeans": "kmeans",
    "KNN": "knn",
    "LinearLearner": "linear-learner",
    "PCA": "pca",
    "RandomCutForest": "randomcutforest",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(f"wildsage.sdk.{_MODULES[name]}")
    elif name in _NAMES:
        value = getattr(import_module(f"wildsage.sdk.{_NAMES[name]}"), name)
    elif name in _ALGORITHMS:
        raise AttributeError(
            f"module {__name__!r} has no {name}, but its algorithm: estimator.Estimator("
            f'image_uris.retrieve("{_ALGORITHMS[name]}"), …) with set_hyperparameters(…)'
        )
    else:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; SageMaker's modules that it has: {', '.join(_MODULES)}",
            name=name,
            obj=sys.modules[__name__],
        )  # with name and obj, Python itself suggests a near name
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_NAMES})


class _Alias:
    """Lets `import wildsage.inputs` find `wildsage.sdk.inputs`: one module object under two names.

    A second entry in `__path__` would be shorter, but would load each file twice, as two modules whose classes are not
    each other's.
    """

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        return spec_from_loader(fullname, cls()) if package == __name__ and name in _MODULES else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(f"wildsage.sdk.{_MODULES[spec.name.rpartition('.')[2]]}")
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put the alias's over it, which would confuse a reload


# Last in line, so that it is asked only for names that are no module of ours.
if _Alias not in sys.meta_path:
    sys.meta_path.append(_Alias)
