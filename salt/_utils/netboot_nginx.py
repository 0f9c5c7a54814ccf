"""
Existing sites of nginx: which of them conflict with the netboot site.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from typing import Any

from salt.exceptions import CommandExecutionError

import netboot_run
from netboot_shapes import Config

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
_FILE = "# configuration file "
# Names that mean any name, or none.
_NAMELESS = {"", "_", "localhost"}


def sites(text: str) -> list[Site]:
    """
    List the sites in a configuration of nginx.

    text
        The configuration, as ``nginx -T`` prints it.

    Returns maps: ``file``, ``listen`` (pairs of IPv4 address, ``*`` for all, and port) and
    ``names`` (see ``server_name``).
    """
    file = ""
    blocks: list[str] = []
    words: list[str] = []
    found: list[Site] = []
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "comment":
            if token[0].startswith(_FILE):
                file, blocks, words = token[0][len(_FILE) :].rstrip(":"), [], []
        elif token.lastgroup != "sign":
            words.append(token[token.lastgroup or 0])
        elif token["sign"] == "{":
            # Included files are printed separately.
            if words == ["server"] and blocks in ([], ["http"]):
                found.append({"file": file, "listen": [], "names": []})
            blocks.append(" ".join(words))
            words = []
        else:
            if token["sign"] == ";" and words and blocks[-1:] == ["server"] and found:
                _directive(found[-1], words)
            elif token["sign"] == "}" and blocks:
                if blocks.pop() == "server" and found and not found[-1]["listen"]:
                    found[-1]["listen"].append(["*", 80])
            words = []
    return found


def _directive(site: Site, words: list[str]) -> None:
    if words[0] == "server_name":
        site["names"] += words[1:]
    elif words[0] == "listen" and len(words) > 1:
        match = re.fullmatch(r"(?:(\*|\d+\.\d+\.\d+\.\d+)(?::|$))?(\d+)?", words[1])
        # No match: IPv6 and Unix sockets, which the netboot site does not use.
        address = (match[1] or "*") if match else words[1]
        address = "*" if address == "0.0.0.0" else address  # noqa: S104 (compared, not bound)
        site["listen"].append([address, int(match[2] or 80) if match else 0])


def clashes(found: list[Site], config: Config) -> list[str]:
    """
    Return the conflicts between the netboot site and other sites, one line each.

    nginx first selects the sites that listen on the requested address and port, and only among
    these the site with the name (nginx.org, "How nginx processes a request"); of two sites with the
    same name it ignores one.

    found
        The result of ``netboot_nginx.sites``, without the netboot site.

    config
        The configuration, as ``netboot.config`` resolves it.
    """
    http = config["http"]
    ours = http["listen"] or ["*"]
    names = {config["address"], *(one["address"] for one in config["interfaces"])}
    said: list[str] = []
    for site in found:
        start = f"The nginx site in {site['file']}"
        for address, port in site["listen"]:
            same = address in ours
            if http["certificate"] and port == http["https_port"]:
                if same or "*" in (address, *ours):
                    said.append(
                        f"{start} also listens on TCP port {port}, where nginx selects "
                        "certificates by name, not by address; set another "
                        "netboot:http:https_port."
                    )
            elif port != http["port"]:
                continue
            elif same and names & set(site["names"]):
                name = min(names & set(site["names"]))
                said.append(
                    f"{start} has the name {name} on TCP port {port}, as the netboot site does, so "
                    "nginx would ignore one of the two; remove it from server_name there, or "
                    "change netboot:http:port."
                )
            elif address in names and not same:
                said.append(
                    f"{start} listens on {address}:{port} and would get all requests there; add "
                    f"{address} to netboot:http:listen, or change netboot:http:port."
                )
            elif address == "*" and not same and set(site["names"]) - _NAMELESS:
                name = min(set(site["names"]) - _NAMELESS)
                said.append(
                    f"{start} would no longer get requests for {name} on {', '.join(ours)}; remove "
                    "netboot:http:listen, or change netboot:http:port."
                )
    return list(dict.fromkeys(said))


def others(directory: str, site: str) -> list[Site]:
    """
    List the sites of this machine's nginx except the netboot site; see ``netboot_nginx.sites``.

    directory
        Directory of ``nginx.conf``.

    site
        Path of the netboot site below it.

    Raises CommandExecutionError when nginx rejects its configuration.
    """
    with tempfile.TemporaryDirectory() as work:
        copy = os.path.join(work, "nginx")
        shutil.copytree(directory, copy, symlinks=True)
        if os.path.lexists(os.path.join(copy, site)):
            os.unlink(os.path.join(copy, site))
        main = os.path.join(copy, "nginx.conf")
        with open(main, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        with open(main, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text.replace(f"{directory}/", f"{copy}/"))
        said = netboot_run.tried("nginx", "-T", "-q", "-c", main)
    if said.returncode:
        raise CommandExecutionError(
            "nginx rejects its existing configuration (without ours); fix it first: "
            + said.stderr.replace(copy, directory)
        )
    return sites(said.stdout.replace(f"{copy}/", f"{directory}/"))
