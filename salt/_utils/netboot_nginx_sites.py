"""
The sites in a configuration of nginx, as ``nginx -T`` prints it.
"""

from __future__ import annotations

import fnmatch
import os
import re
import socket
from typing import Any, NamedTuple

Site = dict[str, Any]

# The tokens of nginx's configuration (ngx_conf_read_token).
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    | "(?P<double>(?:\\.|[^"\\])*)"
    | '(?P<single>(?:\\.|[^'\\])*)'
    | (?P<sign>[{};])
    | (?P<word>(?:\\.|\$\{[^}]*\}|[^\s{};\\])+)""",
    re.DOTALL | re.VERBOSE,
)
_FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
# Code in another language, with signs of its own, and what is of interest in it.
_LUA_BLOCK = re.compile(r"^([^#\n]*_by_lua_block\b[^;{}\n]*\{)", re.MULTILINE)
_LUA = re.compile(
    r"""--\[(=*)\[.*?\]\1\] | --[^\n]* | \[(=*)\[.*?\]\2\]
    | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | [{}]""",
    re.DOTALL | re.VERBOSE,
)
#: Addresses that mean any.
ANY = {"*", "0.0.0.0", "0"}  # noqa: S104 (compared, not bound)


class Nginx(NamedTuple):
    """
    The configuration of a machine's nginx, without the netboot site.

    ``sites``
        Its sites, see ``sites``.
    ``included``
        Patterns of the files that it includes in its block ``http``.
    """

    sites: list[Site]
    included: list[str]


def sites(text: str) -> list[Site]:
    """
    List the sites in a configuration of nginx.

    text
        The configuration, as ``nginx -T`` prints it.

    Returns maps: ``file``, ``kind`` (``http``, ``stream`` or ``mail``), ``listen`` and ``names``
    (see ``server_name``; ``[""]`` without one). ``listen`` has maps: ``at`` (IPv4 address, ``*``
    for all, another notation as it is), ``port`` (0: none), ``default``, ``both`` for an IPv6
    socket that takes IPv4 too, and ``proxied`` (the option ``proxy_protocol``).
    """
    return read(text).sites


def read(text: str) -> Nginx:
    """
    Return sites and inclusions of a configuration of nginx.

    text
        The configuration, as ``nginx -T`` prints it.
    """
    parts = _FILE.split(text)
    files = dict(zip(["", *parts[1::2]], parts[::2]))
    main = parts[1] if len(parts) > 1 else ""
    found: list[Site] = []
    includes: list[tuple[str, list[str]]] = []
    seen: list[str] = []

    def enter(file: str, blocks: list[str], way: tuple[str, ...] = ()) -> None:
        seen.append(file)
        words: list[str] = []
        for token in _TOKEN.finditer(_without_lua(files[file])):
            if token.lastgroup == "comment":
                continue
            if token.lastgroup != "sign":
                words.append(token[token.lastgroup or 0])
                continue
            if token["sign"] == "{":
                if words == ["server"] and blocks in ([], ["http"], ["stream"], ["mail"]):
                    kind = blocks[0] if blocks else "http"
                    found.append({"file": file, "kind": kind, "listen": None, "names": []})
                blocks.append(" ".join(words))
            elif token["sign"] == ";" and len(words) > 1 and words[0] == "include":
                pattern = os.path.join(os.path.dirname(main), words[1])
                includes.append((pattern, blocks.copy()))
                # nginx -T prints a file once, wherever it is included.
                for one in files:
                    if matches(one, pattern) and one not in (*way, file):
                        enter(one, blocks.copy(), (*way, file))
            elif token["sign"] == ";" and words and blocks[-1:] == ["server"] and found:
                _directive(found[-1], words)
            elif token["sign"] == "}" and blocks and blocks.pop() == "server" and found:
                _complete(found[-1])
            words = []

    for file in ("", main, *files):
        if file not in seen:
            enter(file, [])
    for site in found:
        site["listen"] = site["listen"] or []  # of a block that never ends
    return Nginx(found, [one for one, inside in includes if inside == ["http"]])


def _without_lua(text: str) -> str:
    """Return a configuration whose blocks of Lua are empty."""
    kept, *parts = _LUA_BLOCK.split(text)
    for head, rest in zip(parts[::2], parts[1::2]):
        depth = 1
        for token in _LUA.finditer(rest):
            depth += {"{": 1, "}": -1}.get(token[0], 0)
            if not depth:
                rest = rest[token.start() :]
                break
        kept += head + rest
    return kept


def matches(path: str, pattern: str) -> bool:
    """
    Return whether nginx includes a file by a pattern: as glob(3), where ``*`` matches no slash.

    path, pattern
        Absolute path of the file, and the pattern.
    """
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def _complete(site: Site) -> None:
    if site["listen"] is None:
        site["listen"] = [_listen(["80"])] if site["kind"] == "http" else []
    if site["kind"] == "http":
        site["names"] = site["names"] or [""]


def _directive(site: Site, words: list[str]) -> None:
    if words[0] == "server_name":
        site["names"] += words[1:]
    elif words[0] == "listen" and len(words) > 1:
        site["listen"] = site["listen"] or []
        if {"udp", "quic"} & set(words):
            return
        first = _listen(words[1:])
        last = re.search(r"-(\d+)$", words[1])
        ports = range(first["port"], int(last[1]) + 1 if last else first["port"] + 1)
        site["listen"] += [{**first, "port": port} for port in ports]


def _listen(words: list[str]) -> dict[str, Any]:
    """Return what a ``listen`` means (nginx, ngx_parse_url), of a range the first port."""
    match = re.fullmatch(
        r"(?:(?P<six>\[[^\]]*\])|(?P<name>[^:]*[^:\d-][^:]*?))?"
        r"(?:(?:^|:)(?P<port>\d+)(?:-\d+)?)?",
        words[0],
    )
    if words[0].startswith("unix:") or not match:
        return {"at": words[0], "port": 0, "default": False, "both": False, "proxied": False}
    at = match["six"] or match["name"] or "*"
    mapped = re.fullmatch(r"\[::ffff:(\d+\.\d+\.\d+\.\d+)\]", at, re.IGNORECASE)
    if mapped:
        at = mapped[1]
    elif not match["six"]:
        at = "*" if at in ANY else _resolved(at)
    return {
        "at": at,
        "port": int(match["port"] or 80),
        "default": bool({"default_server", "default"} & set(words)),
        "both": at == "[::]" and "ipv6only=off" in words,
        "proxied": "proxy_protocol" in words,
    }


def _resolved(name: str) -> str:
    if re.fullmatch(r"[\d.]+", name):
        return name
    try:
        return socket.gethostbyname(name)
    except OSError:
        return name
