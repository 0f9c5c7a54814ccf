"""
The proxy of the pillar: for the programs that install packages, and for fetches.

Without one in the pillar all of them use that of the environment.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

_LOCAL = ("localhost", "127.0.0.1", "::1")
# Programs that know no networks in no_proxy, such as apt, get the addresses of small ones.
_MOST_ADDRESSES = 256

# For all fetches of this process: a machine has one configuration at a time. A minion's daemon may
# live through several.
_used: dict[str, Any] = {}


def use(config: Any) -> None:
    """
    Make all fetches of this process use the proxy of a configuration.

    config
        The configuration.
    """
    global _used
    _used = config.get("proxy") or {}


def of(url: str) -> str | None:
    """
    Return the proxy for a URL, or None: that of the pillar, else that of the environment.

    url
        The URL.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if bypassed(host):
        return None
    if is_set():
        return str(_used["url"]) if parts.scheme in ("http", "https", "ftp") else None
    return urllib.request.getproxies().get(parts.scheme)


def bypassed(host: str) -> bool:
    """
    Return whether a host is asked without the proxy.

    host
        Its name or address, with a port or without.
    """
    if not is_set():
        return bool(urllib.request.proxy_bypass(host))
    host = urllib.parse.urlsplit(f"//{host}").hostname or ""
    if host in _LOCAL:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or any(
        address in ipaddress.ip_network(network) for network in _used["direct"]
    )


def is_set() -> bool:
    """Return whether the proxy is that of the pillar."""
    return bool(_used.get("url"))


def urls() -> dict[str, str]:
    """Return the proxies that fetches use, by scheme."""
    if is_set():
        return dict.fromkeys(("http", "https", "ftp"), str(_used["url"]))
    return urllib.request.getproxies()


def variables(config: Any) -> dict[str, str]:
    """
    Return what programs find the proxy of a configuration by; empty: it has none.

    config
        The configuration.
    """
    proxy = config.get("proxy") or {}
    if not proxy.get("url"):
        return {}
    direct = [*_LOCAL, *proxy["direct"]]
    for network in map(ipaddress.IPv4Network, proxy["direct"]):
        if network.num_addresses <= _MOST_ADDRESSES:
            direct += map(str, network)
    names = ("http_proxy", "https_proxy", "ftp_proxy", "HTTPS_PROXY", "FTP_PROXY")
    without = ",".join(direct)
    return {**dict.fromkeys(names, proxy["url"]), "no_proxy": without, "NO_PROXY": without}


@contextlib.contextmanager
def for_programs(config: Any) -> Iterator[None]:
    """
    Let programs that are started meanwhile, such as apt-get and dnf, use that proxy.

    config
        The configuration.
    """
    given = variables(config)
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
