"""Where the time goes: every margin and every share of time, as sums that a reader can check.

An invocation. Lambda gives a deadline, D; past it the function times out and the environment is reset.

    until D - INVOCATION_MARGIN   the extension may hold the invocation: wait for the function's end, then flush
    until D                       cancelled code ends, and Lambda is asked for the next event

A shutdown. Lambda gives 2,000 ms; past its deadline the process is killed. The same is assumed after a signal, which
brings no deadline, and after an error.

    2,000 ms
    -  300    SHUTDOWN_MARGIN: cancelled code, closing sockets, the interpreter's own end
    = 1,700   in four phases; what one leaves over goes to the next, so each has a moment at which it ends, not a length
       850    until 50 %: catch what the platform still sends (it flushes at SHUTDOWN)
       170    until 60 %: drain, the user's code takes in what was caught
       255    until 75 %: flush, what was taken in is sent
       425    until 100 %: the hook, the user's own last words; a delivery puts what is left where a later environment
              finds it, first of all, and has done so long before the end even with a tenth of a processor

    After an error there is nothing to catch or to drain: the hook has 1,190 ms, until 70 %, the report to Lambda 510,
    until 100 %, and in that order, since the platform may end the environment as soon as it is told.

The margin. Whatever was cut off, and on whichever path, what is open is closed and the closing line is written.

    300 ms
    - 100    REQUESTS_END: requests to the extension's own server that are under way are answered
    - 100    as much again: they are aborted, and the server ends (LIFESPAN_END for an app that has a lifespan)
    = 100    INTERPRETER_END

All moments are on the clock of `anyio.current_time()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

import anyio

# How much before an invocation's deadline this extension lets go of it, in every loop and runner alike.
INVOCATION_MARGIN = 0.1
# What Lambda leaves, for want of a deadline: after a signal, and after an error.
SHUTDOWN_BUDGET = 2.0
# What is left of it for cancelled code, for closing what is open, and for the interpreter's own end.
SHUTDOWN_MARGIN = 0.3
# Of it: how long the requests of an extension's own server, and then its app's lifespan, take to end when cancelled.
REQUESTS_END = 0.1
LIFESPAN_END = 0.1
INTERPRETER_END = SHUTDOWN_MARGIN - REQUESTS_END - LIFESPAN_END
# What Lambda has for taking the report of an error, which it answers at once or not at all.
REPORT_LIMIT = 0.5

# A call of Lambda's APIs, from the connection to the whole answer, and the connection alone: they are answered at once
# by a process on the same machine. Only waiting for the next event has no limit.
CALL_LIMIT = 5.0
CONNECT_LIMIT = 5.0
# How long an internal extension may take to register, while the function's own init waits for it.
INTERNAL_START_LIMIT = 5.0
# How long the name of the environment's own host may take to resolve; where it does not, there is loopback.
RESOLVE_LIMIT = 0.5
# How long nothing is accepted once the process has no file left.
EXHAUSTED_PAUSE = 0.1
# What one OTLP request may take, unless OpenTelemetry's variables say otherwise; the default of its specification.
EXPORT_LIMIT = 10.0
# What fetching the secrets of the ready-made extension may take at init, all of them, while the function's own init
# waits; Lambda gives an init 10 s.
SECRETS_LIMIT = 5.0
# How long log records wait for the trace of their invocation, which on Managed Instances comes with the report.
TRACE_LIMIT = 30.0
# For a time-out that must not be, where a server takes no infinity: hypercorn's default would close a connection right
# after a thaw.
NEVER = 10 * 365 * 24 * 3600.0
# How much longer than the buffering time-out nothing must have come before nothing more is expected at SHUTDOWN.
QUIET_MARGIN = 0.1

# How long a flush that was cut off may take to end, within the margin of an invocation.
FLUSH_END = INVOCATION_MARGIN / 2
# What one flush in the background may take, in seconds during which the environment was awake.
BACKGROUND_FLUSH_LIMIT = 30.0
# It is counted in waits of this many seconds, of which a freeze can use up one.
FLUSH_SLICE = 1.0
# How often a policy may tick at most, and how long it is left alone at most.
FASTEST_TICK = 0.05
SLOWEST_TICK = 1.0
# How long one of several processors may push the platform back on behalf of the others, before it gets no more.
CROWDED_LIMIT = 1.0
# How long a processor that keeps failing is left alone (on_error="degrade"), in seconds of the wall clock.
DEGRADED_PAUSE = 60.0

# So long before the end of a shutdown's hook a delivery sends no more: what is left is on disk already, its sink is
# closed, and what the process's own end takes beyond its margin, on a busy machine, is taken from here.
DELIVERY_END = 0.3
# How long closing what an HTTP sink has open may take.
CLOSING_LIMIT = 0.1
# How long noting on disk what became of a batch may hold up a cancellation.
NOTING_LIMIT = 0.5
# Sinks that block run in threads, which nobody can stop: they end by these limits of their own, in seconds.
THREAD_CONNECT_LIMIT = 2.0
THREAD_READ_LIMIT = 5.0
# And where they can look, how often they look whether anybody still waits.
THREAD_SLICE = 0.1
# How long one address of a name is waited for before the next one is tried beside it; RFC 8305 says so.
NEXT_ADDRESS = 0.25

_CATCH_SHARE = 0.50
_DRAIN_SHARE = 0.60
_FLUSH_SHARE = 0.75
_HOOK_SHARE_AFTER_ERROR = 0.70

# The wall clock, in epoch seconds. The simulator sets another for an extension that runs inside its process, whose
# clock may jump over a freeze.
wall_clock: ContextVar[Callable[[], float]] = ContextVar("lambda_extension_wall_clock", default=time.time)


class ShutdownPhases(NamedTuple):
    """Until when each phase of a shutdown may last; see the sum above.

    Attributes:
        catch: Waiting for what the platform still sends.
        drain: Taking in what was caught.
        flush: The last flush.
        hook: The user's shutdown method; everything else of the user's is cancelled then.
        report: Telling Lambda of an error, if there is one; the same moment as `hook` where there is none.
    """

    catch: float
    drain: float
    flush: float
    hook: float
    report: float


def shutdown_phases(deadline: float) -> ShutdownPhases:
    """Share out what is left from now on.

    Args:
        deadline: When Lambda kills the process.
    """
    now = anyio.current_time()
    left = max(deadline - SHUTDOWN_MARGIN - now, 0.0)
    end = now + left
    return ShutdownPhases(now + left * _CATCH_SHARE, now + left * _DRAIN_SHARE, now + left * _FLUSH_SHARE, end, end)


def error_phases(deadline: float | None = None) -> ShutdownPhases:
    """Share out what is left after an error: nothing is caught or drained any more.

    Args:
        deadline: When Lambda kills the process, where that is known.
    """
    now = anyio.current_time()
    budget = SHUTDOWN_BUDGET if deadline is None else min(deadline - now, SHUTDOWN_BUDGET)
    left = max(budget - SHUTDOWN_MARGIN, 0.0)
    hook = now + left * _HOOK_SHARE_AFTER_ERROR
    return ShutdownPhases(now, now, hook, hook, now + left)


def report_until(deadline: float | None) -> float:
    """Return until when Lambda may take to note the report of an error.

    Args:
        deadline: When Lambda kills the process, where that is known.
    """
    now = anyio.current_time()
    limit = now + REPORT_LIMIT
    return limit if deadline is None else max(now, min(limit, deadline - INTERPRETER_END))


def closing_until() -> float:
    """Return until when closing what is open may take, from now on."""
    return anyio.current_time() + SHUTDOWN_MARGIN - INTERPRETER_END


def to_deadline(deadline_ms: float) -> float:
    """Convert a moment of the wall clock, as the platform sends it, once, on receipt.

    A frozen sandbox jumps the wall clock, so what was computed before a freeze means nothing after it.

    Args:
        deadline_ms: Epoch milliseconds.
    """
    return anyio.current_time() + deadline_ms / 1000 - wall_clock.get()()


def shielded(until: float) -> anyio.CancelScope:
    """Make a scope for a last word to the outside world: no outer cancellation, but never beyond a moment."""
    return anyio.CancelScope(shield=True, deadline=until)
