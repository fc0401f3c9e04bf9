"""The SM_* variables and the arguments that a user's script gets in script mode.

Names and the form of values are those of aws/sagemaker-training-toolkit (environment.py, mapping.py).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wildsage.contract import machine
from wildsage.contract.hyperparameters import SPECIAL
from wildsage.contract.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wildsage.contract.layout import Layout

# Switches of a job that takes part in distributed training; with one of them on, its own group is meant.
_DISTRIBUTIONS = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
)


@dataclass(frozen=True)
class ScriptEnvironment:
    """All that a script is told. hyperparameters: as in hyperparameters.json, the platform's own among them."""

    layout: Layout
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    input_data_config: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    user_entry_point: str | None = None  # the script's file name; else hyperparameter sagemaker_program
    module_dir: str | None = None  # where the code came from; else hyperparameter sagemaker_submit_directory
    framework_module: str | None = None
    job_name: str | None = None
    log_level: int | None = None
    num_cpus: int = field(default_factory=machine.cores)
    num_gpus: int = field(default_factory=machine.gpus)
    num_neurons: int = field(default_factory=machine.neuron_cores)

    @property
    def user_hyperparameters(self) -> dict[str, Any]:
        """The user's hyperparameters, each read as JSON where it is JSON."""
        decoded = decode(self.hyperparameters)
        return {name: value for name, value in decoded.items() if not _is_platform(name)}

    @property
    def framework_parameters(self) -> dict[str, Any]:
        """Hyperparameters whose names start with sagemaker_, but for those that the toolkit itself uses up."""
        decoded = decode(self.hyperparameters)
        return {name: value for name, value in decoded.items() if _is_platform(name) and name not in SPECIAL}

    def arguments(self) -> list[str]:
        """The script's command line: --name value, sorted by name; -x for a name of one letter."""
        found: list[str] = []
        for name, value in sorted(self.user_hyperparameters.items()):
            if isinstance(value, dict):
                text = ",".join(f"{key}={entry}" for key, entry in sorted(value.items()))
            else:
                text = "" if value is None else str(value)
            found += [f"--{name}" if len(name) > 1 else f"-{name}", text]
        return found

    def variables(self) -> dict[str, str]:
        """Every SM_* variable, in its written form."""
        hyperparameters = self.user_hyperparameters
        values: dict[str, Any] = {name.upper(): value for name, value in self._common().items()}
        values |= {
            "HPS": hyperparameters,
            "FRAMEWORK_PARAMS": self.framework_parameters,
            "CHANNELS": sorted(self.input_data_config),
            "USER_ARGS": self.arguments(),
            "TRAINING_ENV": self._training_env(),
        }
        values |= {f"CHANNEL_{name.upper()}": path for name, path in self._channel_folders().items()}
        values |= {f"HP_{name.upper()}": value for name, value in hyperparameters.items()}
        return {f"SM_{name}": encode(value) for name, value in values.items()}

    def _common(self) -> dict[str, Any]:
        """What is both a variable of its own and a key of SM_TRAINING_ENV, under its name in lower case."""
        special = decode(self.hyperparameters)
        entry_point = self.user_entry_point or special.get("sagemaker_program")
        resources, layout = self.resources, self.layout
        level = self.log_level if self.log_level is not None else special.get("sagemaker_container_log_level")
        common: dict[str, Any] = {
            "current_host": resources.current_host,
            "current_instance_group": resources.group,
            "current_instance_group_hosts": list(resources.group_hosts),
            "current_instance_type": resources.current_instance_type or "local",
            "distribution_instance_groups": self._distribution_groups(),
            "framework_module": self.framework_module,
            "hosts": list(resources.hosts),
            "input_config_dir": str(layout.input_config),
            "input_data_config": dict(self.input_data_config),
            "input_dir": str(layout.input),
            "instance_groups": [group.name for group in resources.instance_groups],
            "instance_groups_dict": {group.name: group.to_json() for group in resources.instance_groups},
            "is_hetero": resources.is_heterogeneous,
            "log_level": logging.INFO if level is None else level,
            "model_dir": str(layout.model),
            "module_dir": self.module_dir or special.get("sagemaker_submit_directory") or str(layout.code),
            "module_name": None if entry_point is None else str(entry_point).removesuffix(".py"),
            "network_interface_name": resources.network_interface_name,
            "num_cpus": self.num_cpus,
            "num_gpus": self.num_gpus,
            "num_neurons": self.num_neurons,
            "output_data_dir": str(layout.output_data),
            "output_dir": str(layout.output),
            "output_intermediate_dir": str(layout.intermediate),
            "resource_config": resources.to_json(),
            "user_entry_point": entry_point,
        }
        if resources.topology is not None:
            common["topology"] = list(resources.topology)
        return common

    def _training_env(self) -> dict[str, Any]:
        master = self._distribution_hosts()[0]
        return self._common() | {
            "additional_framework_parameters": self.framework_parameters,
            "channel_input_dirs": self._channel_folders(),
            "distribution_hosts": self._distribution_hosts(),
            "hyperparameters": self.user_hyperparameters,
            "is_master": self.resources.current_host == master,
            "job_name": self.job_name,
            "master_hostname": master,
        }

    def _channel_folders(self) -> dict[str, str]:
        return {name: str(self.layout.channel(name)) for name in sorted(self.input_data_config)}

    def _distribution_groups(self) -> list[str]:
        parameters = self.framework_parameters
        given = parameters.get("sagemaker_distribution_instance_groups")
        if isinstance(given, list):
            return given
        return [self.resources.group] if any(parameters.get(switch) for switch in _DISTRIBUTIONS) else []

    def _distribution_hosts(self) -> list[str]:
        """The hosts of the groups that train together; all of them where there are no groups."""
        chosen = self._distribution_groups()
        hosts = [host for group in self.resources.instance_groups if group.name in chosen for host in group.hosts]
        return hosts or list(self.resources.hosts)


def encode(value: Any) -> str:
    """A value as a variable holds it: text as it is, None as no text, all else as compact JSON with sorted keys."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def decode(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Read each hyperparameter's text as JSON where it is JSON, else keep the text."""
    return {name: _decode(value) for name, value in hyperparameters.items()}


def _decode(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _is_platform(name: str) -> bool:
    return name in SPECIAL or name.startswith("sagemaker_")
