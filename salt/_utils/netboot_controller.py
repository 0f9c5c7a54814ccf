"""
ISOs that the host of salt-ssh sends to this machine, through a port that ssh forwards.
"""

from __future__ import annotations

import socket
import urllib.parse
from typing import Any

from salt.exceptions import CommandExecutionError

from netboot_shapes import Image


def sources(image: Image, url: str | None, others: bool) -> list[str]:
    """
    Return an image's URLs; that of the host of salt-ssh first, if it sends this one.

    image
        The image of the configuration.

    url
        Of the forwarded port, or None.

    others
        Whether other servers are asked for the ISO.

    Raises CommandExecutionError if the ISO can only come from that host, and it does not send any.
    """
    if image.get("controller") and url:
        return [f"{url}/{image['file']}", *image["sources"]]
    if image.get("controller") and not image["sources"] and not others:
        raise CommandExecutionError(
            "by netboot:fetch:from it comes only from the host of salt-ssh: apply with ./netboot "
            "ssh there"
        )
    return image["sources"]


def left_out(fetches: list[dict[str, Any]], url: str | None, timeout_s: float) -> str | None:
    """
    Take the host of salt-ssh out of the sources of fetches if ssh does not forward its port.

    fetches
        Maps with ``sources``.

    url
        Of the forwarded port, or None.

    timeout_s
        Seconds to connect to it.

    Returns why, or None if it can be reached. Raises CommandExecutionError if one has no other
    source.
    """
    from_it = [one for one in fetches if url and one["sources"][:1] and _is_of(one, url)]
    if not from_it:
        return None
    parts: Any = urllib.parse.urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout_s).close()
        return None
    except OSError as err:
        why = (
            f"The host of salt-ssh cannot send ISOs: sshd of this machine does not forward port "
            f"{parts.port} ({err.strerror or err}). Set AllowTcpForwarding to yes or remote in its "
            "sshd_config, or remove controller from netboot:fetch:from."
        )
        if any(len(one["sources"]) == 1 for one in from_it):
            raise CommandExecutionError(why) from err
    for one in from_it:
        one["sources"] = one["sources"][1:]
    return why


def _is_of(one: dict[str, Any], url: str) -> bool:
    first: str = one["sources"][0]
    return first.startswith(f"{url}/")
