"""Which proxy a URL goes through, by the variables that curl and the SDKs read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}
_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})


class ProxyError(Exception):
    """A variable names no proxy that can be used. The message names the variable, not what it holds."""


def proxy_for(url: SplitResult, variables: Mapping[str, str]) -> str | None:
    """Give the URL of the proxy for a URL; None when it is reached directly.

    `https_proxy`, or else `all_proxy`, is for https; `http_proxy`, or else `all_proxy`, for http; the same in capitals,
    where the small letters are not set. One without a scheme is an HTTP proxy. `no_proxy` lists, by commas or spaces,
    what is reached directly: names, which stand for their subdomains too, addresses, networks such as `10.0.0.0/8` or
    `fd00::/8`, each with or without a port; or `*` for everything.

    Raises:
        ProxyError: The variable is not a URL of http, https or socks5 with a host.
    """
    name, value = _first(variables, f"{url.scheme}_proxy", "all_proxy")
    if not value or _is_direct(url, _first(variables, "no_proxy")[1]):
        return None
    value = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:
        msg = f"{name} is not the URL of a proxy, such as http://proxy.example.com:3128"
        raise ProxyError(msg)
    return value


def _first(variables: Mapping[str, str], *names: str) -> tuple[str, str]:
    for name in names:
        for spelling in (name, name.upper()):
            value = variables.get(spelling, "").strip()
            if value:
                return spelling, value
    return "", ""


def _is_direct(url: SplitResult, listed: str) -> bool:
    host = (url.hostname or "").rstrip(".")
    port = url.port or _PORTS[url.scheme]
    return any(_matches(entry.lower(), host, port) for entry in listed.replace(",", " ").split())


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    entry, wanted = _without_port(entry)
    if wanted is not None and wanted != port:
        return False
    try:
        address = ip_address(host)
    except ValueError:
        name = entry.lstrip("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _without_port(entry: str) -> tuple[str, int | None]:
    """Take the port off `host:port` and `[::1]:port`; an IPv6 address without brackets has none."""
    if entry.startswith("["):
        entry, _, rest = entry[1:].partition("]")
        port = rest[1:]
        # A network may be written with its address in brackets.
        if rest.startswith("/"):
            return entry + rest, None
    elif entry.count(":") == 1:
        entry, _, port = entry.partition(":")
    else:
        return entry, None
    return entry, int(port) if port.isascii() and port.isdigit() else None
