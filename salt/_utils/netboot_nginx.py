"""
Existing sites of nginx: which of them conflict with the netboot site, or answer in its place.

nginx first selects the sites that listen on the requested address and port, and only among these
the site with the name; without such a site, the default server (nginx.org, "How nginx processes a
request"). A request without ``Host:`` has the empty name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from salt.exceptions import CommandExecutionError

import netboot_files
import netboot_run
from netboot_nginx_sites import Nginx, Site, matches, read
from netboot_shapes import Config, Finding

_INCLUDE = re.compile(r"""((?:^|[\s;{}])include\s+["']?)([^\s;"']+)""")
# Of a file that may include others, in bytes.
_LARGEST = 1 << 20
# Names that mean any name, or none.
_NAMELESS = {"", "_", "localhost"}
#: What becomes of first stages that send no Host.
OLD = "images of p10 and older may not boot"


def clashes(found: list[Site], config: Config) -> list[str]:
    """
    Return the conflicts between the netboot site and other sites, one line each.

    Of two sites with the same name nginx ignores one.

    found
        The result of ``netboot_nginx.sites``, without the netboot site.

    config
        The configuration, as ``netboot.config`` resolves it.
    """
    said: list[str] = []
    for site in found:
        for listen in site["listen"]:
            clash = _clash(site, listen, config)
            if clash:
                said.append(f"The nginx site in {site['file']} {clash}")
    return list(dict.fromkeys(said))


def _clash(site: Site, listen: dict[str, Any], config: Config) -> str | None:
    http = config["http"]
    address, port = listen["at"], listen["port"]
    ours = http["listen"] or ["*"]
    names = {config["address"], *(one["address"] for one in config["interfaces"])}
    same = address in ours
    https = http["certificate"] and port == http["https_port"]
    key = "netboot:http:https_port" if https else "netboot:http:port"
    if not https and port != http["port"]:
        return None
    if listen["both"]:
        return (
            f"listens on all IPv4 and IPv6 addresses in one socket (listen {address}:{port} "
            "ipv6only=off), so nginx could not open the netboot site's; write "
            f"`listen {port}; listen {address}:{port};` there, or change {key}."
        )
    if site["kind"] != "http":
        if same or "*" in (address, *ours):
            return f"has TCP port {port} in its block {site['kind']}; change that, or {key}."
        return None
    if https:
        if same or "*" in (address, *ours):
            return (
                f"also listens on TCP port {port}, where nginx selects certificates by name, not "
                f"by address; set another {key}."
            )
        return None
    if same and listen["proxied"]:
        return (
            f"has the option proxy_protocol on TCP port {port}, which counts for all sites there, "
            f"so clients would get no answer; remove it, or change {key}."
        )
    if same and names & set(site["names"]):
        return (
            f"has the name {min(names & set(site['names']))} on TCP port {port}, as the netboot "
            "site does, so nginx would ignore one of the two; remove it from server_name there, or "
            f"change {key}."
        )
    if address in names and not same:
        return (
            f"listens on {address}:{port} and would get all requests there; add {address} to "
            f"netboot:http:listen, or change {key}."
        )
    if address == "*" and not same and set(site["names"]) - _NAMELESS:
        return (
            f"would no longer get requests for {min(set(site['names']) - _NAMELESS)} on "
            f"{', '.join(ours)}; remove netboot:http:listen, or change {key}."
        )
    return None


def shares_port(site: Site, config: Config) -> bool:
    """
    Return whether a site has an address and port of the netboot site.

    site
        One of ``sites``.

    config
        The configuration.
    """
    return bool(_shared(site, config))


def _shared(site: Site, config: Config) -> list[dict[str, Any]]:
    http = config["http"]
    ours = http["listen"] or ["*"]
    if site["kind"] != "http":
        return []
    return [one for one in site["listen"] if one["port"] == http["port"] and one["at"] in ours]


def defaults(found: list[Site], config: Config) -> list[Site]:
    """
    List the sites that are meant to answer requests for unknown names where the netboot site is.

    These are explicit default servers, and sites for any name. Beside these the netboot site is not
    the default server.

    found, config
        See ``clashes``.
    """
    return [
        site
        for site in found
        for shared in [_shared(site, config)]
        if shared and (any(one["default"] for one in shared) or set(site["names"]) <= _NAMELESS)
    ]


def nameless(found: list[Site], config: Config) -> list[Site]:
    """
    List the sites that have the empty name, so that nginx sends them requests without ``Host:``.

    found, config
        See ``clashes``.
    """
    return [site for site in found if shares_port(site, config) and "" in site["names"]]


def findings(nginx: Nginx, config: Config) -> list[Finding]:
    """
    Return what is wrong, or could be, with the sites beside the netboot site.

    nginx
        The result of ``others``.

    config
        The configuration, as ``netboot.config`` resolves it.

    Returns triples of key, severity (``error``, ``warning``, ``info``) and text.
    """
    found: list[Finding] = [("nginx.clash", "error", text) for text in clashes(nginx.sites, config)]
    platform = config["platform"]["nginx"]
    site = os.path.join(platform["directory"], platform["site"])
    if not any(matches(site, pattern) for pattern in nginx.included):
        there = [one for one in nginx.included if "*" in one]
        found.append(
            (
                "nginx.not_included",
                "error",
                f"{platform['directory']}/nginx.conf does not include {site} in its block http; "
                "set netboot:platform:nginx:site to a file that it includes"
                + (f" ({', '.join(there)})." if there else ", or add an include line."),
            )
        )
    port = config["http"]["port"]
    claimed = nameless(nginx.sites, config)
    for one in claimed:
        found.append(
            (
                "nginx.no_host",
                "warning",
                f"{OLD[0].upper()}{OLD[1:]}: their requests have no Host, and the nginx site in "
                f"{one['file']} gets such requests on TCP port {port}; give it a server_name.",
            )
        )
    for one in defaults(nginx.sites, config):
        if one not in claimed:
            found.append(
                (
                    "nginx.default_server",
                    "info",
                    f"The nginx site in {one['file']} stays the default server on TCP port {port}. "
                    "Requests without Host, as p10 and older send them, go to the netboot site.",
                )
            )
    return found


# -- on this machine -------------------------------------------------------------------------------


@contextlib.contextmanager
def _copied(directory: str, site: str, text: str | None, without: list[str]) -> Iterator[str]:
    """Yield the path of a copy of nginx's directory, with this text as the netboot site."""
    with tempfile.TemporaryDirectory() as work:
        copy = os.path.join(work, "nginx")
        shutil.copytree(directory, copy, symlinks=True)
        _cut_off(copy, directory, site)
        path = os.path.join(copy, site)
        # What a killed apply of an earlier version left is no site.
        for one in [path, *netboot_files.left_behind(path)]:
            if os.path.lexists(one):
                os.unlink(one)
        for one in without:
            os.unlink(os.path.join(copy, os.path.relpath(one, directory)))
        if text is not None:
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
        yield copy


def _cut_off(copy: str, directory: str, site: str) -> None:
    """Let neither links nor inclusions lead from a copy of nginx's directory back to it."""
    real = os.path.realpath(directory)

    def moved(path: str) -> str:
        path = os.path.normpath(os.path.join(directory, path))
        below = [path[len(one) :] for one in (directory, real) if path.startswith(f"{one}/")]
        return copy + below[0] if below else path

    for part in reversed([*pathlib.PurePath(site).parents][:-1]):
        if os.path.islink(os.path.join(copy, part)):
            # What is written to the copy of the site must not arrive behind the link.
            os.unlink(os.path.join(copy, part))
            shutil.copytree(os.path.join(directory, part), os.path.join(copy, part), symlinks=True)
    for folder, folders, files in os.walk(copy):
        for path in (os.path.join(folder, name) for name in folders + files):
            if os.path.islink(path):
                there = os.path.realpath(os.path.join(directory, os.path.relpath(path, copy)))
                os.unlink(path)
                os.symlink(moved(there), path)
            elif os.path.isfile(path) and os.path.getsize(path) < _LARGEST:
                with open(
                    path, "r+", encoding="utf-8", errors="surrogateescape", newline=""
                ) as file:
                    old = file.read()
                    new = _INCLUDE.sub(lambda match: match[1] + moved(match[2]), old)
                    if new != old:
                        file.seek(0)
                        file.truncate()
                        file.write(new)


def others(directory: str, site: str) -> Nginx:
    """
    Return the configuration of this machine's nginx without the netboot site.

    directory
        Directory of ``nginx.conf``.

    site
        Path of the netboot site below it.

    Raises CommandExecutionError when nginx rejects its configuration.
    """
    with _copied(directory, site, None, []) as copy:
        said = netboot_run.tried("nginx", "-T", "-q", "-c", os.path.join(copy, "nginx.conf"))
        if said.returncode:
            raise CommandExecutionError(
                "nginx rejects its existing configuration (without ours); fix it first: "
                + said.stderr.replace(copy, directory)
            )
        return read(said.stdout.replace(f"{copy}/", f"{directory}/"))


def check(directory: str, site: str, text: str, without: list[str]) -> None:
    """
    Check the netboot site in a copy of the whole configuration: nginx cannot test a single site.

    directory, site
        See ``others``.

    text
        The site.

    without
        Paths of sites that are about to be removed.

    Raises CommandExecutionError when nginx rejects it.
    """
    with _copied(directory, site, text, without) as copy:
        said = netboot_run.tried("nginx", "-t", "-q", "-c", os.path.join(copy, "nginx.conf"))
        if said.returncode:
            raise CommandExecutionError(
                f"nginx rejects the netboot site: {said.stderr.replace(copy, directory)}"
            )


def untouched(path: str) -> bool:
    """
    Return whether a site is as its Debian package brought it.

    path
        Absolute path of the site, or of a link to it.
    """
    if not netboot_run.has("dpkg-query"):
        return False
    real = os.path.realpath(path)
    said = netboot_run.tried("dpkg-query", "-W", "-f=${Conffiles}\n", "nginx*").stdout
    known = dict(line.split()[:2] for line in said.splitlines() if len(line.split()) > 1)
    try:
        with open(real, "rb") as file:
            # dpkg's own digest, which protects nothing here
            return known.get(real) == hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
    except OSError:
        return False


def giving_way(found: list[Site], config: Config) -> list[str]:
    """
    List the sites that a package enabled, nobody changed, and the netboot site replaces.

    found, config
        See ``clashes``.
    """
    platform = config["platform"]["nginx"]
    directory = os.path.dirname(os.path.join(platform["directory"], platform["site"]))
    paths = dict.fromkeys(site["file"] for site in found if shares_port(site, config))
    return [
        path
        for path in paths
        if os.path.dirname(path) == directory and os.path.islink(path) and untouched(path)
    ]


def beside(config: Config) -> tuple[Nginx, list[str]]:
    """
    Return what is configured beside the netboot site, and the files of sites that give way to it.

    config
        The configuration, as ``netboot.config`` resolves it.

    Raises CommandExecutionError when nginx rejects what is there.
    """
    platform = config["platform"]["nginx"]
    there = others(platform["directory"], platform["site"])
    gone = giving_way(there.sites, config)
    return there._replace(sites=[one for one in there.sites if one["file"] not in gone]), gone
