"""The AWS_LAMBDA_* variables, read in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

import attrs

from lambda_extension._api._enums import InitializationType


@attrs.frozen(kw_only=True)
class Environment:
    """What the execution environment says of itself; a variable that is absent is None.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html

    Attributes:
        runtime_api: `host:port` of the Lambda APIs.
        function_name: Name of the function.
        function_version: Version of the function, such as `$LATEST`.
        memory_size_mb: Configured memory in MB; None also when the variable is not a number.
        region: AWS region.
        initialization_type: How the environment was made; None when unknown (the emulator does not say).
        trace_id: X-Ray trace header of the current invocation; only internal extensions ever see one.
        log_format: `Text` or `JSON`, as configured.
    """

    runtime_api: str | None = None
    function_name: str | None = None
    function_version: str | None = None
    memory_size_mb: int | None = None
    region: str | None = None
    initialization_type: InitializationType | None = None
    trace_id: str | None = None
    log_format: str | None = None

    @classmethod
    def from_mapping(cls, variables: Mapping[str, str] | None = None) -> Self:
        """Read the variables; an empty one counts as absent.

        Args:
            variables: The environment variables; by default the process's own, as they are at this call.
        """
        get = (os.environ if variables is None else variables).get
        memory = get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "").strip()
        kind = get("AWS_LAMBDA_INITIALIZATION_TYPE")
        return cls(
            runtime_api=get("AWS_LAMBDA_RUNTIME_API") or None,
            function_name=get("AWS_LAMBDA_FUNCTION_NAME") or None,
            function_version=get("AWS_LAMBDA_FUNCTION_VERSION") or None,
            memory_size_mb=int(memory) if memory.isascii() and memory.isdigit() else None,
            region=get("AWS_REGION") or get("AWS_DEFAULT_REGION") or None,
            initialization_type=InitializationType(kind) if kind else None,
            trace_id=get("_X_AMZN_TRACE_ID") or None,
            log_format=get("AWS_LAMBDA_LOG_FORMAT") or None,
        )

    @property
    def is_managed_instance(self) -> bool:
        """Whether this is Lambda Managed Instances: no INVOKE, no freeze, several invocations at once."""
        return self.initialization_type == InitializationType.MANAGED_INSTANCES


def names_alone(variables: Mapping[str, str]) -> str:
    """Return environment variables for a `repr`: without their values, which may be credentials."""
    return f"<{', '.join(variables)}>"
