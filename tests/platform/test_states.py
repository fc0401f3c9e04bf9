"""Which state may follow which."""

from __future__ import annotations

import pytest
from botocore.loaders import Loader

from wildsage.contract.errors import AlgorithmError
from wildsage.platform.names import Kind
from wildsage.platform.states import FOLLOWING, MESSAGES, SETTLED, Secondary, Status, check_step

SHAPES = {
    Kind.TRAINING_JOB: "TrainingJobStatus",
    Kind.TRANSFORM_JOB: "TransformJobStatus",
    Kind.ENDPOINT: "EndpointStatus",
}


def test_every_step_of_every_kind() -> None:
    for kind, following in FOLLOWING.items():
        for old in following:
            for new in Status:
                if new is old or new in following[old]:
                    check_step(kind, old, new)
                else:
                    with pytest.raises(AlgorithmError, match="cannot go from"):
                        check_step(kind, old, new)


def test_states_are_the_services_own() -> None:
    model = Loader().load_service_model("sagemaker", "service-2")["shapes"]
    for kind, shape in SHAPES.items():
        shown = set(FOLLOWING[kind])
        if kind is Kind.TRANSFORM_JOB:
            shown -= {Status.DELETING}  # the service cannot delete one, and neither can we
        assert {status.value for status in shown} <= set(model[shape]["enum"])
    assert {step.value for step in Secondary} <= set(model["SecondaryStatus"]["enum"])
    assert set(MESSAGES) == set(Secondary)


def test_from_what_is_settled_only_deletion_follows() -> None:
    for kind, settled in SETTLED.items():
        for status in settled:
            assert FOLLOWING[kind][status] <= {Status.DELETING}
        reachable = {new for following in FOLLOWING[kind].values() for new in following}
        assert settled <= reachable | {Status.NONE}
