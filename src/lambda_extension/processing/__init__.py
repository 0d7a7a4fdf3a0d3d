"""Telemetry and invocations given to objects with methods, and the policies that say when to flush."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.processing._background_policies import Continuous as Continuous, OnSize as OnSize
    from lambda_extension.processing._extension import Extension as Extension, run as run
    from lambda_extension.processing._policies import (
        Action as Action,
        Adaptive as Adaptive,
        Decision as Decision,
        EndOfInvocation as EndOfInvocation,
        Every as Every,
        FlushPolicy as FlushPolicy,
        FlushSchedule as FlushSchedule,
    )
    from lambda_extension.processing._processor import (
        TelemetryProcessor as TelemetryProcessor,
        run_telemetry as run_telemetry,
    )
