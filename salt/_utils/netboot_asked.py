"""
Ask this machine's web server what clients ask it: with and without ``Host:``.
"""

from __future__ import annotations

import os
import socket
import time

from netboot_names import SUMS
from netboot_nginx import OLD
from netboot_paths import in_url
from netboot_records import Records
from netboot_shapes import Config, Finding

_TIMEOUT_S = 10
# To connect to an address of this machine; to one that it has lost, nothing answers.
_CONNECT_S = 2
_SILENT = "no answer in time"
# How much of a file is compared.
_BYTES = 65536
# After a reload the old workers may still take a request.
_TRIES = 4
_PAUSE_S = 0.5


def findings(records: Records, kernel: bool = True) -> list[Finding]:
    """
    Return what is wrong with the answers for a menu and a kernel, by the addresses of clients.

    records
        The records of this machine.

    kernel : True
        False: images are not ready yet, only the menu is requested.

    Returns triples of key, severity (``error``, ``warning``) and text.
    """
    found: list[Finding] = []
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
        found = _asked(records.config(), _files(records, kernel))
        if not found or any(_SILENT in text for _key, _severity, text in found):
            break
    return found


def _asked(config: Config, files: list[str]) -> list[Finding]:
    found: list[Finding] = []
    for at, name in _addresses(config):
        for path in files:
            with_host = _wrong(at, config, path, name)
            without = "" if with_host else _wrong(at, config, path, None)
            asked = f"http://{name}{_port(config)}{in_url(config, path)}"
            if with_host:
                found.append(("http.answer", "error", f"{asked}: {with_host}."))
                if with_host == _SILENT:
                    break
            elif without:
                text = f"{asked} without Host: {without}; {OLD}."
                found.append(("http.no_host", "warning", text))
    return found


def _files(records: Records, kernel: bool) -> list[str]:
    """List a menu and a kernel that are on the disk, as far as there are any."""
    config = records.config()
    if config["mirror"] == "only":
        return list(filter(os.path.isfile, [f"{config['paths']['dist']}/{SUMS}"]))
    tftp = config["paths"]["tftp"]
    menus = sorted(name for name in records.owned("menus", []) if _is_menu(name))
    kernels = [
        os.path.join(image["tree"], image["facts"]["kernel"])
        for image in records.ready()
        if kernel and image.get("tree")
    ]
    paths = [os.path.join(tftp, name) for name in menus]
    parts = (paths, kernels)
    return [path for part in parts for path in list(filter(os.path.isfile, part))[:1]]


def _is_menu(name: str) -> bool:
    return name.startswith("config-") and name.count("-") == 1


def _addresses(config: Config) -> list[tuple[str, str]]:
    """List the addresses to connect to, each with the name that its clients use."""
    own = [one["address"] for one in config["interfaces"]]
    listen = config["http"]["listen"]
    pairs = {one: one for one in own if not listen or one in listen}
    if config["address"] not in own and pairs:
        # Of a NAT or load balancer in front of this machine.
        first = next(iter(pairs))
        pairs[first] = config["address"]
    return list(pairs.items())


def _port(config: Config) -> str:
    return "" if config["http"]["port"] == 80 else f":{config['http']['port']}"


def _wrong(at: str, config: Config, path: str, host: str | None) -> str:
    """Return what is wrong with an answer, or an empty string."""
    try:
        return _compared(at, config, path, host)
    except OSError as err:
        return f"no answer ({err})"


def _compared(at: str, config: Config, path: str, host: str | None) -> str:
    lines = [f"GET {in_url(config, path)} HTTP/1.0"]
    if host is not None:
        lines.append(f"Host: {host}{_port(config)}")
    answer = b""
    until = time.monotonic() + _TIMEOUT_S
    try:
        connected = socket.create_connection((at, config["http"]["port"]), _CONNECT_S)
    except (TimeoutError, socket.timeout):  # two classes before Python 3.10
        return _SILENT
    with connected as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        while len(answer) < 2 * _BYTES and (got := sock.recv(_BYTES)):
            answer += got
            if time.monotonic() > until:
                raise TimeoutError("it came too slowly")
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    status = words[1].decode("ascii", "replace") if len(words) > 1 else "nothing"
    if status == "403":
        return (
            "403, the web server may not read it; look at the modes of "
            f"{path} and of the directories above"
        )
    if status != "200":
        return f"{status}, so another site or program answers there"
    with open(path, "rb") as file:
        there = file.read(_BYTES)
    if body[: len(there)] != there:
        return "another file is sent, so another site or program answers there"
    return ""
