"""What users see of an extension's life: the invocations, the telemetry, and the shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, final

from lambda_extension._api._client import ExtensionClient
from lambda_extension._api._models import Registration
from lambda_extension._environment import Environment
from lambda_extension._session._invocation import Invocation
from lambda_extension.telemetry import TelemetryStream

if TYPE_CHECKING:
    from lambda_extension._session._life import Life
    from lambda_extension._session._shutdown import Shutdown


@final
class ExtensionSession:
    """A registered extension: an async iterator of invocations, which ends at SHUTDOWN.

    The first step ends this extension's part of init, each further one tells Lambda that it is done with the
    invocation before.
    """

    def __init__(self, life: Life) -> None:
        self._life = life

    @property
    def client(self) -> ExtensionClient:
        """The client of the Lambda APIs."""
        return self._life.client

    @property
    def shutdown(self) -> Shutdown | None:
        """Why and until when the environment shuts down; None while it does not."""
        return self._life.shutdown

    @property
    def registration(self) -> Registration:
        """What the platform told this extension when it registered."""
        return self._life.client.registration

    @property
    def environment(self) -> Environment:
        """The execution environment's variables."""
        return self._life.client.environment

    @property
    def telemetry(self) -> TelemetryStream:
        """The telemetry of this environment, between invocations and after SHUTDOWN.

        Where the extension asked for no INVOKE, reading it polls for SHUTDOWN too, so that nothing else needs to.

        Raises:
            RuntimeError: None was subscribed to.
        """
        return self._life.telemetry()

    @property
    def sees_ends(self) -> bool:
        """Whether the end of an invocation, `platform.runtimeDone`, can come here.

        It cannot without a subscription, with one that does not ask for it, and where there is no telemetry at all.
        """
        return self._life.sees_ends

    def answer_when_taken(self) -> None:
        """Have the platform answered only once the `taken` of a batch has been set, by whoever reads `batches()`.

        By default it is answered when the batch is in the stream. What has not been answered when the environment ends
        is sent again at best; while one waits for its answer, the platform sends no other.
        """
        self._life.answer_when_taken()

    async def wait_shutdown(self) -> Shutdown:
        """Wait until the environment, or this process, is about to end; for whoever works beside the iteration."""
        return await self._life.wait_shutdown()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Invocation:
        """Ask Lambda for the next event and wait for it, for hours if need be.

        A cancelled call loses nothing: the request stays under way and the next call takes its answer. One that was
        cancelled before it began asks for nothing.

        Raises:
            anyio.BusyResourceError: Another task waits already.
            LambdaExtensionError: The platform refused or failed.
            Exception: The telemetry receiver could not be started, or broke.
        """
        return await self._life.next_invocation()
