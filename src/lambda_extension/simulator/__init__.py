"""Lambda on a laptop: its APIs, processes, lifecycle and telemetry delivery, with faults on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.simulator._apis._extensions import Function as Function
    from lambda_extension.simulator._platform._delivery import DeliverySettings as DeliverySettings
    from lambda_extension.simulator._platform._ending import ShutdownReport as ShutdownReport
    from lambda_extension.simulator._platform._executables import Obstacle as Obstacle, obstacle as obstacle
    from lambda_extension.simulator._platform._faults import (
        ClockJump as ClockJump,
        DeliveryFault as DeliveryFault,
        EventFault as EventFault,
        Fault as Fault,
        Flood as Flood,
        KillFault as KillFault,
        OutOfMemory as OutOfMemory,
        RouteFault as RouteFault,
    )
    from lambda_extension.simulator._platform._functions import (
        ExtensionSpec as ExtensionSpec,
        FunctionContext as FunctionContext,
        ScriptedFunction as ScriptedFunction,
    )
    from lambda_extension.simulator._platform._surroundings import hosts_line as hosts_line
    from lambda_extension.simulator._simulator import InvocationResult as InvocationResult, Simulator as Simulator
    from lambda_extension.simulator._watching._clock import Clock as Clock
    from lambda_extension.simulator._watching._record import Entry as Entry, Finding as Finding, Record as Record
    from lambda_extension.simulator._watching._timeline import Span as Span, Timeline as Timeline
