"""Settings of a simulation, and the environment variables that follow from them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs

from lambda_extension._environment import names_alone
from lambda_extension.simulator._apis._extensions import Function
from lambda_extension.simulator._apis._metadata import CREDENTIALS_PATH, TOKEN
from lambda_extension.simulator._platform._delivery import DeliverySettings
from lambda_extension.simulator._platform._faults import Fault
from lambda_extension.simulator._platform._functions import ExtensionSpec, ScriptedFunction, function_argv
from lambda_extension.simulator._platform._surroundings import Surroundings

# What runs, as AWS names it.
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_ANY = "provided.al2023"

Mode: TypeAlias = Literal["on-demand", "provisioned-concurrency", "snap-start", "managed-instances"]

# What an init may take while a caller waits for it, and what at least where none does.
_INIT_LIMIT: Final = 10.0
_INIT_LIMIT_AHEAD: Final = 130.0


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that a simulation is told; times in seconds."""

    extensions: tuple[ExtensionSpec, ...]
    function: Any
    mode: Mode = "on-demand"
    timeout: float = 3.0
    init_timeout: float = _INIT_LIMIT
    memory_mb: int = 128
    concurrency: int = 1
    log_format: Literal["Text", "JSON"] = "Text"
    freeze: bool = False
    freeze_grace: float = 0.02
    tracing: bool = False
    telemetry_supported: bool = True
    delivery: DeliverySettings = attrs.field(factory=DeliverySettings)
    faults: Sequence[Fault] = ()
    about: Function = attrs.field(factory=Function)
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=names_alone)
    record_limit: int = 20_000
    opt: Path | None = None
    api_port: int = 0

    @property
    def managed(self) -> bool:
        """Whether this is Lambda Managed Instances."""
        return self.mode == "managed-instances"

    @property
    def initialization_type(self) -> str:
        """The value of AWS_LAMBDA_INITIALIZATION_TYPE."""
        return "lambda-managed-instances" if self.managed else self.mode

    @property
    def function_is_process(self) -> bool:
        """Whether the function is a command to start."""
        in_process = callable(self.function) or isinstance(self.function, ScriptedFunction)
        return not in_process

    def commands(self) -> list[tuple[list[str], dict[str, str]]]:
        """Return the command lines of all processes to start, with the variables that are configured for them."""
        extensions = [spec for spec in self.extensions if spec.argv is not None]
        found = [(spec.argv or [], {**self.environment, **spec.environment}) for spec in extensions]
        if self.function_is_process:
            found.append((function_argv(self.function)[0], dict(self.environment)))
        return found

    def extension_environment(self, api: str, surroundings: Surroundings | None = None) -> dict[str, str]:
        """Return what an external extension sees; nothing of the host but paths.

        Args:
            api: Address of the APIs.
            surroundings: Where it runs, if that is not the host as it is.
        """
        about = self.about
        customer = {key: text for key, text in self.environment.items() if key[:1] != "_"}
        variables = {
            **_paths({**_host(surroundings), **customer}, surroundings),
            "AWS_LAMBDA_RUNTIME_API": api,
            "AWS_LAMBDA_INITIALIZATION_TYPE": self.initialization_type,
            "AWS_LAMBDA_FUNCTION_NAME": about.name,
            "AWS_LAMBDA_FUNCTION_VERSION": about.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_REGION": customer.get("AWS_REGION", about.region),
            "AWS_DEFAULT_REGION": customer.get("AWS_DEFAULT_REGION", about.region),
            "AWS_LAMBDA_METADATA_API": api,
            "AWS_LAMBDA_METADATA_TOKEN": TOKEN,
            "TZ": ":UTC",
        }
        if self.mode == "snap-start":
            variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://{api}{CREDENTIALS_PATH}"
            variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = TOKEN
        else:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
                # Lambda lets nobody set them; a developer may, to reach the real AWS.
                variables.setdefault(name, "simulator")
        if self.managed:
            variables["AWS_LAMBDA_LOG_FORMAT"] = self.log_format
        return variables

    def runtime_environment(self, api: str, task_root: str, surroundings: Surroundings) -> dict[str, str]:
        """Return what the runtime sees."""
        python = isinstance(self.function, str) and ":" in self.function
        paths = [task_root, *(at.get("PYTHONPATH") for at in (self.environment, os.environ))]
        if surroundings.opt_path is not None:
            paths.append(f"{surroundings.opt_path}/python")
        variables = {
            **{key: text for key, text in self.environment.items() if key[:1] == "_"},
            **self.extension_environment(api, surroundings),
            "_HANDLER": self.about.handler,
            "LAMBDA_TASK_ROOT": task_root,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{_PYTHON if python else _ANY}",
            "AWS_LAMBDA_LOG_FORMAT": self.log_format,
        }
        if python:
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            variables["PYTHONUNBUFFERED"] = "1"
        if self.mode != "snap-start":
            variables["AWS_LAMBDA_LOG_GROUP_NAME"] = f"/aws/lambda/{self.about.name}"
            variables["AWS_LAMBDA_LOG_STREAM_NAME"] = "simulator"
        if self.managed:
            variables["AWS_LAMBDA_MAX_CONCURRENCY"] = str(self.concurrency)
        return variables


def init_limit(mode: Mode, timeout: float) -> float:
    """Return the seconds that Lambda gives an init, for a function with this time-out."""
    return _INIT_LIMIT if mode == "on-demand" else max(_INIT_LIMIT_AHEAD, timeout)


def _host(surroundings: Surroundings | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "HOME") if name in os.environ}
    return kept if surroundings is None or surroundings.mounted else {**kept, "TMPDIR": str(surroundings.tmp)}


def _paths(variables: dict[str, str], surroundings: Surroundings | None) -> dict[str, str]:
    """Put what layers bring at the head of the search paths."""
    if surroundings is not None and surroundings.opt_path is not None:
        for name, place in (("PATH", "bin"), ("LD_LIBRARY_PATH", "lib")):
            own = f"{surroundings.opt_path}/{place}"
            variables[name] = os.pathsep.join(filter(None, (own, variables.get(name))))
    return variables
