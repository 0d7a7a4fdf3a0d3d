"""An ASGI app on a socket: the seam between what we serve and who serves it."""
