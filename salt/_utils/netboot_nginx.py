"""
Sites that nginx serves already: which of them are in the way of ours.
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

# The words of nginx's configuration (ngx_conf_read_token).
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    | "(?P<double>(?:\\.|[^"\\])*)"
    | '(?P<single>(?:\\.|[^'\\])*)'
    | (?P<sign>[{};])
    | (?P<word>(?:\\.|\$\{[^}]*\}|[^\s{};\\])+)""",
    re.DOTALL | re.VERBOSE,
)
_FILE = "# configuration file "
# What stands for any name, or for none.
_NAMELESS = {"", "_", "localhost"}


def sites(text: str) -> list[Site]:
    """
    List the sites in a configuration of nginx.

    text
        The configuration, as ``nginx -T`` prints it.

    Returns maps: ``file``, ``listen`` (pairs of IPv4 address, ``*`` for all, and port) and
    ``names`` (as of ``server_name``).
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
            # A file that another one includes is printed by itself.
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
        # Of another kind are IPv6 and Unix sockets, which ours does not have.
        address = (match[1] or "*") if match else words[1]
        address = "*" if address == "0.0.0.0" else address  # noqa: S104 (compared, not bound)
        site["listen"].append([address, int(match[2] or 80) if match else 0])


def clashes(found: list[Site], config: Config) -> list[str]:
    """
    Say which sites ours would get in the way of, or they in its, one line each.

    nginx looks first which sites listen on the address and port that were asked, and only among
    these for the name (nginx.org, "How nginx processes a request"); of two with the same name it
    ignores one.

    found
        What ``netboot_nginx.sites`` returned, without our site.

    config
        The configuration, as ``netboot.config`` resolves it.
    """
    http = config["http"]
    ours = http["listen"] or ["*"]
    names = {config["address"], *(one["address"] for one in config["interfaces"])}
    said: list[str] = []
    for site in found:
        start = f"The site of nginx in {site['file']}"
        for address, port in site["listen"]:
            same = address in ours
            if http["certificate"] and port == http["https_port"]:
                if same or "*" in (address, *ours):
                    said.append(
                        f"{start} listens on TCP port {port} too, where nginx tells certificates "
                        "apart by names, which addresses are not; give another "
                        "netboot:http:https_port."
                    )
            elif port != http["port"]:
                continue
            elif same and names & set(site["names"]):
                name = min(names & set(site["names"]))
                said.append(
                    f"{start} has the name {name} on TCP port {port}, which ours needs, and nginx "
                    "would ignore one of the two; take it out of server_name there, or change "
                    "netboot:http:port."
                )
            elif address in names and not same:
                said.append(
                    f"{start} listens on {address}:{port} and would get all requests there; give "
                    f"netboot:http:listen with {address}, or change netboot:http:port."
                )
            elif address == "*" and not same and set(site["names"]) - _NAMELESS:
                name = min(set(site["names"]) - _NAMELESS)
                said.append(
                    f"{start} would no longer be asked for {name} on {', '.join(ours)}; leave "
                    "netboot:http:listen out, or change netboot:http:port."
                )
    return list(dict.fromkeys(said))


def others(folder: str, site: str) -> list[Site]:
    """
    List the sites of this machine's nginx but ours; see ``netboot_nginx.sites``.

    folder
        Folder of ``nginx.conf``.

    site
        Path of our site below it.

    Raises CommandExecutionError when nginx does not accept its configuration.
    """
    with tempfile.TemporaryDirectory() as work:
        copy = os.path.join(work, "nginx")
        shutil.copytree(folder, copy, symlinks=True)
        if os.path.lexists(os.path.join(copy, site)):
            os.unlink(os.path.join(copy, site))
        main = os.path.join(copy, "nginx.conf")
        with open(main, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        with open(main, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text.replace(f"{folder}/", f"{copy}/"))
        said = netboot_run.tried("nginx", "-T", "-q", "-c", main)
    if said.returncode:
        raise CommandExecutionError(
            "nginx does not accept the configuration that it has without ours; mend it: "
            + said.stderr.replace(copy, folder)
        )
    return sites(said.stdout.replace(f"{copy}/", f"{folder}/"))
