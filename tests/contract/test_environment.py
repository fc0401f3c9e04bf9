from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import channel_names, json_values
from wildsage.contract.environment import ScriptEnvironment, encode
from wildsage.contract.layout import Layout
from wildsage.contract.resources import InstanceGroup, Resources

# Every variable of the published list that is always there.
PUBLISHED = [
    "HOSTS",
    "CURRENT_HOST",
    "NETWORK_INTERFACE_NAME",
    "CURRENT_INSTANCE_TYPE",
    "CURRENT_INSTANCE_GROUP",
    "CURRENT_INSTANCE_GROUP_HOSTS",
    "INSTANCE_GROUPS",
    "INSTANCE_GROUPS_DICT",
    "DISTRIBUTION_INSTANCE_GROUPS",
    "IS_HETERO",
    "NUM_CPUS",
    "NUM_GPUS",
    "NUM_NEURONS",
    "MODEL_DIR",
    "INPUT_DIR",
    "INPUT_CONFIG_DIR",
    "OUTPUT_DIR",
    "OUTPUT_DATA_DIR",
    "OUTPUT_INTERMEDIATE_DIR",
    "MODULE_DIR",
    "MODULE_NAME",
    "USER_ENTRY_POINT",
    "USER_ARGS",
    "FRAMEWORK_MODULE",
    "FRAMEWORK_PARAMS",
    "HPS",
    "CHANNELS",
    "INPUT_DATA_CONFIG",
    "RESOURCE_CONFIG",
    "LOG_LEVEL",
    "TRAINING_ENV",
]


def environment(**hyperparameters: Any) -> ScriptEnvironment:
    channels = {"validation": {"TrainingInputMode": "File"}, "train": {"TrainingInputMode": "File"}}
    return ScriptEnvironment(
        Layout(Path("/opt/ml")), hyperparameters, channels, num_cpus=4, num_gpus=1, num_neurons=0, job_name="job"
    )


def test_the_variables_of_a_script() -> None:
    variables = environment(
        **{
            "batch-size": "256",
            "name": '"net"',
            "plain": "text",
            "nested": '{"b": 1, "a": [true, null]}',
            "x": "null",
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"/opt/ml/code.tar.gz"',
            "sagemaker_container_log_level": "10",
            "sagemaker_mpi_enabled": "true",
            "_tuning_objective_metric": "loss",
        }
    ).variables()
    assert {f"SM_{name}" for name in PUBLISHED} <= variables.keys()
    expected = {
        "SM_HP_BATCH-SIZE": "256",
        "SM_HP_NAME": "net",
        "SM_HP_PLAIN": "text",
        "SM_HP_NESTED": '{"a":[true,null],"b":1}',
        "SM_HP_X": "",
        "SM_HPS": '{"batch-size":256,"name":"net","nested":{"a":[true,null],"b":1},"plain":"text","x":null}',
        "SM_USER_ARGS": json.dumps(
            ["--batch-size", "256", "--name", "net", "--nested", "a=[True, None],b=1", "--plain", "text", "-x", ""],
            separators=(",", ":"),
        ),
        "SM_FRAMEWORK_PARAMS": '{"sagemaker_mpi_enabled":true}',
        "SM_DISTRIBUTION_INSTANCE_GROUPS": '["homogeneousCluster"]',
        "SM_CHANNELS": '["train","validation"]',
        "SM_CHANNEL_TRAIN": "/opt/ml/input/data/train",
        "SM_CHANNEL_VALIDATION": "/opt/ml/input/data/validation",
        "SM_USER_ENTRY_POINT": "train.py",
        "SM_MODULE_NAME": "train",
        "SM_MODULE_DIR": "/opt/ml/code.tar.gz",
        "SM_FRAMEWORK_MODULE": "",
        "SM_LOG_LEVEL": "10",
        "SM_NUM_CPUS": "4",
        "SM_NUM_GPUS": "1",
        "SM_IS_HETERO": "false",
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_INSTANCE_TYPE": "local",
        "SM_OUTPUT_INTERMEDIATE_DIR": "/opt/ml/output/intermediate",
    }
    assert {name: variables.get(name) for name in expected} == expected
    assert "SM_TOPOLOGY" not in variables
    whole = json.loads(variables["SM_TRAINING_ENV"])
    assert whole["hyperparameters"] == json.loads(variables["SM_HPS"])
    assert whole["channel_input_dirs"]["train"] == "/opt/ml/input/data/train"
    assert (whole["job_name"], whole["is_master"], whole["num_cpus"]) == ("job", True, 4)


def test_groups_of_hosts() -> None:
    groups = (InstanceGroup("a", "ml.c5.xlarge", ("algo-1",)), InstanceGroup("b", "ml.p3.2xlarge", ("algo-2",)))
    resources = Resources("algo-1", ("algo-1", "algo-2"), "eth0", "ml.c5.xlarge", "a", groups, ("rack",))
    hyperparameters = {"sagemaker_distribution_instance_groups": '["b"]'}
    variables = ScriptEnvironment(Layout(), hyperparameters, {}, resources).variables()
    assert variables["SM_IS_HETERO"] == "true"
    assert variables["SM_INSTANCE_GROUPS"] == '["a","b"]'
    assert variables["SM_CURRENT_INSTANCE_GROUP_HOSTS"] == '["algo-1"]'
    assert json.loads(variables["SM_INSTANCE_GROUPS_DICT"])["b"]["hosts"] == ["algo-2"]
    assert variables["SM_TOPOLOGY"] == '["rack"]'
    whole = json.loads(variables["SM_TRAINING_ENV"])
    assert (whole["distribution_hosts"], whole["is_master"], whole["master_hostname"]) == (["algo-2"], False, "algo-2")


@given(json_values)
def test_a_value_is_written_by_the_rule(value: object) -> None:
    text = encode(value)
    if value is None:
        assert text == ""
    elif isinstance(value, str):
        assert text == value
    else:
        assert json.loads(text) == value


@given(st.dictionaries(st.text(min_size=1), json_values | st.text()), st.lists(channel_names, unique=True))
def test_any_hyperparameters_make_text(hyperparameters: dict[str, Any], names: list[str]) -> None:
    made = ScriptEnvironment(Layout(), hyperparameters, {name: {} for name in names}, num_cpus=1, num_gpus=0)
    assert all(isinstance(value, str) for value in made.variables().values())
    assert len(made.arguments()) == 2 * len(made.user_hyperparameters)
