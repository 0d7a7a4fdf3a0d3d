"""Lambda on a laptop: its APIs, processes, lifecycle and telemetry delivery, with faults on demand."""

from __future__ import annotations

from ._clock import Clock
from ._delivery import DeliverySettings
from ._extensions_api import Function
from ._faults import ClockJump, DeliveryFault, Fault, Flood, KillFault, RouteFault
from ._functions import ExtensionSpec, FunctionContext, ScriptedFunction
from ._lifecycle import ShutdownReport
from ._record import Entry, Finding, Record
from ._simulator import InvocationResult, Simulator
from ._timeline import Span, Timeline

__all__ = [
    "Clock",
    "ClockJump",
    "DeliveryFault",
    "DeliverySettings",
    "Entry",
    "ExtensionSpec",
    "Fault",
    "Finding",
    "Flood",
    "Function",
    "FunctionContext",
    "InvocationResult",
    "KillFault",
    "Record",
    "RouteFault",
    "ScriptedFunction",
    "ShutdownReport",
    "Simulator",
    "Span",
    "Timeline",
]
