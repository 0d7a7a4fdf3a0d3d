"""Every variable that does not belong to one kind of destination. The documentation's table is held against this."""

from __future__ import annotations

from typing import Final, final

import attrs

from lambda_extension.ship import _values
from lambda_extension.ship._values import Form

PREFIX: Final = "LAMBDA_EXTENSION_"


@final
@attrs.frozen(kw_only=True)
class Variable:
    """An environment variable.

    Attributes:
        name: Its name, less `LAMBDA_EXTENSION_`, and less the destination's name if it belongs to one.
        form: What its text must be.
        meaning: What it says, for the documentation.
        argument: What its value is passed as; by default its name in lower case.
        default: Its text where it is not set; None leaves the argument out.
        required: Whether it has to be set.
        secret: Whether it may hold a secret: no message repeats it.
        trial: What stands for it when a layer is tried, so that nothing leaves the machine that makes it.
    """

    name: str
    form: Form
    meaning: str
    argument: str = attrs.Factory(lambda self: self.name.lower(), takes_self=True)
    default: str | None = None
    required: bool = False
    secret: bool = False
    trial: str | None = None

    def read(self, name: str, text: str) -> object:
        """Return the value of a text.

        Args:
            name: The variable's whole name.
            text: The text.

        Raises:
            ValueError: It is not of this form; the message names the variable, and repeats no secret.
        """
        try:
            return self.form.read(text)
        except ValueError:
            shown = "" if self.secret else f", not {text!r}"
            msg = f"{name} must be {self.form.words}{shown}"
            raise ValueError(msg) from None


SOURCES: Final = ("function", "extension", "platform", "report")

DESTINATIONS: Final = Variable(
    name="DESTINATIONS",
    form=_values.NAMES,
    meaning="where to: names of destinations, with commas between",
    required=True,
)
# Of the extension as a whole.
GENERAL: Final = (
    DESTINATIONS,
    Variable(
        name="POLICY",
        form=_values.POLICY,
        meaning="when telemetry leaves: `adaptive`, `end-of-invocation`, `every:SECONDS`, `on-size`, `continuous`",
        default="adaptive",
    ),
    Variable(
        name="NAME",
        form=_values.TEXT,
        meaning="the extension's name, where a launcher of your own starts it; a packaged layer has its file's",
    ),
)
# Of all destinations, or of one, whose own wins.
FOR_EACH: Final = (
    Variable(
        name="SOURCES",
        form=_values.some_of(*SOURCES),
        meaning="what to send: lines of the function, lines of extensions, events of the platform, reports",
        default="function,platform,report",
    ),
    Variable(
        name="LEVEL",
        form=_values.LEVEL,
        meaning="leave out lines below this level; one without a level stays",
    ),
    Variable(
        name="SAMPLE",
        form=_values.RATIO,
        meaning="share of the invocations to keep, besides every one that failed",
    ),
    Variable(
        name="REDACT",
        form=_values.some_of("all", "email", "card", "aws_key", "bearer", none="none"),
        meaning="what to replace by `[redacted]`",
        default="none",
    ),
    Variable(
        name="REDACT_PATTERN",
        form=_values.PATTERN,
        meaning="a regular expression that is replaced too; of one with a group `secret`, that group",
    ),
)
SPILL: Final = Variable(
    name="SPILL",
    form=_values.one_of("on", "durable", "off"),
    meaning="store on disk what cannot leave: `on`; everything, before Lambda is answered: `durable`; or `off`",
    default="on",
)
