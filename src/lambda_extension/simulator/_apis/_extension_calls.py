"""What the Extensions, Telemetry and Logs APIs do to an environment."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import anyio

from lambda_extension.simulator._apis._extensions import ApiError, ExtensionState
from lambda_extension.simulator._apis._telemetry import parse_subscription
from lambda_extension.simulator._platform._listeners import listeners
from lambda_extension.simulator._platform._participants import Mailbox
from lambda_extension.simulator._platform._sandbox import Sandbox
from lambda_extension.simulator._platform._surroundings import LOOPBACK

_API_PORT: Final = 9001


def register(sandbox: Sandbox, headers: Mapping[str, str], body: bytes) -> tuple[ExtensionState, bytes]:
    """Register an extension."""
    sent = headers.get("lambda-extension-name", "")
    try:
        state, answer = sandbox.table.register(headers, body)
    except ApiError as error:
        # A name that no file has makes an internal extension, which may not have SHUTDOWN: the usual way to find out.
        if error.error_type == "Extension.InvalidEventType":
            _judge_name(sandbox, sent)
        raise
    sandbox.boxes.setdefault(state.name, Mailbox())
    sandbox.record.add("state", state.name, "Registered", events=state.events)
    _judge_name(sandbox, sent)
    sandbox.notify()
    return state, answer


def _judge_name(sandbox: Sandbox, sent: str) -> None:
    known = sandbox.table.extensions.get(sent)
    missing = [item.name for item in sandbox.table.extensions.values() if item.external and item.state == "Started"]
    if missing and (known is None or not known.external):
        sandbox.verdicts.wrong_name(sent, missing)


async def next_event(sandbox: Sandbox, state: ExtensionState) -> dict[str, Any]:
    """Long poll: block until an event for this extension."""
    sandbox.table.next(state)
    sandbox.record.add("state", state.name, "Ready")
    sandbox.notify()
    event: dict[str, Any] = await sandbox.boxes[state.name].get()
    sandbox.table.delivered(state)
    sandbox.telemetry.feedback.stimulated(state.name)
    sandbox.record.add("state", state.name, "Running", event=event["eventType"])
    return event


def report_error(sandbox: Sandbox, headers: Mapping[str, str], body: bytes, target: str) -> None:
    """Take init/error or exit/error."""
    state, first = sandbox.table.fail(headers, target)
    participant = sandbox.participants.get(state.name)
    # One in this process is cancelled, which leaves it time for last words; a process that is killed has none.
    if first and not (participant is not None and participant.killed):
        error_type = state.error_type or ""
        message = sandbox.verdicts.reported(state.name, target, error_type, body)
        sandbox.record.add("state", state.name, target, error_type=error_type, message=message)
        sandbox.fail(f"Extension.{target}")


def subscribe(sandbox: Sandbox, headers: Mapping[str, str], body: bytes, *, api: str) -> None:
    """Subscribe to telemetry or logs."""
    state = sandbox.table.identify(headers)
    title = api.capitalize()
    if not sandbox.telemetry.open:
        sandbox.verdicts.subscribes_late(state.name, api)
        raise ApiError(403, f"{title}.SubscriptionClosed", f"{title} API subscription is closed already")
    try:
        subscription = parse_subscription(body, api=api, managed=sandbox.settings.managed)
    except ApiError as error:
        if "sandbox.localdomain" in error.message:
            sandbox.verdicts.wrong_host(state.name, api)
        raise
    known = sandbox.telemetry.of(state.name)
    if known and known[0].subscription.api != api:
        raise ApiError(400, "ValidationError", f"subscribed to {known[0].subscription.api} already")
    if known and sandbox.settings.managed:
        raise ApiError(500, "InternalServerError", "Internal Server Error")
    address = _judge_listener(sandbox, state.name, subscription.port)
    subscriber = sandbox.telemetry.subscribe(
        state.name, subscription, address=address, host_clock=sandbox.has_host_clock(state.name)
    )
    if subscriber is not None:
        sandbox.tasks.start_soon(_deliver, sandbox, subscriber.run, name=f"delivery to {state.name}")


def _judge_listener(sandbox: Sandbox, name: str, port: int) -> str:
    """Return where to deliver, and say what is wrong with who listens there."""
    if port == _API_PORT:
        sandbox.verdicts.taken_port(name)
    found = listeners(port)
    address = sandbox.surroundings.address if sandbox.has_host_clock(name) else None
    if address is None:
        # What the name means to it is not known here: 127.0.0.1 is what there is without the name.
        others = sorted(known for known in found if known.startswith("127."))
        address = LOOPBACK if LOOPBACK in others or not others else others[0]
    sandbox.verdicts.listens_on(name, port, found, address)
    return address


async def _deliver(sandbox: Sandbox, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        while not sandbox.closed:
            await sandbox.changed()
        tasks.cancel_scope.cancel()
