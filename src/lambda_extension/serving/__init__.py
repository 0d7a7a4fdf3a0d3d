"""An ASGI app on a socket: the seam between what we serve and who serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.serving._asgi import ServerName as ServerName
    from lambda_extension.serving._lifespan import LifespanError as LifespanError
    from lambda_extension.serving._serve import serve as serve
