"""A listening socket of our own, which any server may take over."""

from __future__ import annotations

import socket


def listen_on(host: str, port: int = 0) -> socket.socket:
    """Bind and listen on a TCP socket of our own.

    A port in use fails here, before any task starts, and connections queue from now on.

    Args:
        host: IPv4 or IPv6 address to bind.
        port: Port to bind; 0 lets the kernel choose.

    Raises:
        OSError: The address cannot be bound; the message names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it: an acknowledgement must not wait for Nagle's timer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.bind((host, port))
            sock.listen(128)
        except OSError as error:
            msg = f"cannot listen on {host}:{port}: {error.strerror or error}"
            raise type(error)(error.errno, msg) from error
    except BaseException:  # whatever it was, the socket must not outlive it
        sock.close()
        raise
    return sock
