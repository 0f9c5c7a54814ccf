"""
Checks of URLs in the pillar. Pure.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

from netboot_checks import argument
from netboot_patterns import (
    Wrong,
    duplicate,
    each,
    like,
    list_of,
    others,
    refused,
    shown,
)

# A file name or label travels through URLs, iPXE scripts and altboot's `automatic=`, none of which
# can quote: iPXE splits words at spaces, altboot splits at commas.
_SAFE_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
# It has 255 bytes, some of which are needed for prefix and suffix.
_LONGEST_FILE = 200

# Only paths of files may have other characters than ASCII.
_ASCII = r"(?=[!-~]*$)"
_BOOT_URL = rf"{_ASCII}(https?|tftp|nfs|ftp)://[^\s/?#]+/\S*"
_SERVER_URL = rf"{_ASCII}http://[^\s/?#,]+/?"
_STAGE_URL = rf"{_ASCII}http://[^\s/?#,]+/[^\s?#,]+"
# Of files that are fetched: with spaces, which many copy from a browser, and with a query.
_FILE_URL = (
    r"(https?://[^\s/?#]+/[^\x00-\x1f\x7f#]*[^\x00-\x20\x7f#/]"
    r"|(ftp://[^\s/?#]+|file://)/[^\x00-\x1f\x7f?#]*[^\x00-\x20\x7f?#/])"
)
_DIRECTORY = r"((https?|ftp)://[^\s/?#]+|file://)(/[^\x00-\x1f\x7f?#]*)?"
# Of a URL of what is fetched: all that is printed, and spaces.
_PRINTED = r" -~\xa1-\U0010ffff"

_OF_FILE = "must be the http://, https://, ftp:// or file:/// URL of a file"
_OF_DIRECTORY = "must be the http://, https://, ftp:// or file:/// URL of a directory"
_FETCHED = ("http", "https", "ftp", "file")


def _masked(url: Any) -> str:
    """Return a URL without the password that it may have."""
    return re.sub(r"//.*@", "//***@", str(url))


def _wrong_url(
    value: Any, rule: str, schemes: tuple[str, ...], without: str, allowed: str = "!-~"
) -> Wrong:
    """Return what is wrong with a URL that must not have the signs ``without``, or None."""
    if not isinstance(value, str) or not value:
        return refused(value, rule)
    scheme, mark, rest = value.partition("://")
    if scheme not in schemes or not mark:
        return f"{rule}, not {_masked(value)[:60]!r}"
    if scheme == "file" and not rest.startswith("/"):
        return f"{rule}; there are three slashes after file:"
    if odd := others(value, allowed):
        return f"{rule}, not with {odd}: write such characters percent-encoded"
    signs = [sign for sign in without if sign in value]
    if signs:
        return f"{rule}, without {shown(signs)}"
    return _wrong_host(value, rule)


def _wrong_host(value: str, rule: str) -> Wrong:
    """Return what is wrong with host, port or path of a URL, or None."""
    try:
        # Settings of iPXE, such as ${mac:hexhyp}, may stand in its place.
        parts = urllib.parse.urlsplit(re.sub(r"\$\{[a-z0-9/:._-]+\}", "x", value))
        if parts.scheme != "file" and not parts.hostname:
            return "is not a valid URL: it lacks a host"
        if parts.port == 0:
            return "is not a valid URL: no server has port 0"
        if parts.scheme != "file" and not re.fullmatch("[!-~]+", parts.netloc):
            return "is not a valid URL: its host has other characters than ASCII, or spaces"
    except ValueError as err:
        # The cause quotes what may be a part of a password.
        hint = "; in passwords write / as %2F, @ as %40" if "@" in value else f": {err}"
        return f"is not a valid URL{hint}"
    return None if parts.path else f"{rule}; it lacks a path"


def _twice(urls: list[Any]) -> Wrong:
    wrong = duplicate(urls)
    return wrong and _masked(wrong)


@like(type="string", pattern=f"^{_BOOT_URL}$")
def boot_url(value: Any) -> Wrong:
    rule = "must be an http://, https://, tftp://, nfs:// or ftp:// URL"
    wrong = _wrong_url(value, rule, ("http", "https", "tftp", "nfs", "ftp"), "")
    return wrong or argument(value)


@like(anyOf=[{"type": "boolean"}, {"type": "string", "pattern": f"^{_SERVER_URL}$"}])
def arms(value: Any) -> Wrong:
    """Whether this server arms hosts, or the URL of the one that does."""
    rule = "must be true, false, or the http:// URL of the server that arms hosts"
    if isinstance(value, bool):
        return None
    return _server_url(value, rule)


@like(type="string", pattern=f"^{_SERVER_URL}$")
def server_url(value: Any) -> Wrong:
    return _server_url(value, "must be the http:// URL of a server")


def _server_url(value: Any, rule: str) -> Wrong:
    wrong = _wrong_url(value, rule, ("http",), ",?#")
    if wrong and "lacks a path" not in wrong:
        return wrong
    return None if re.fullmatch(_SERVER_URL, value) else f"{rule}, without a path"


@like(type="string", pattern=f"^{_STAGE_URL}$")
def stage_url(value: Any) -> Wrong:
    rule = "must be an http:// URL without commas"
    wrong = _wrong_url(value, rule, ("http",), ",?#")
    if not wrong and urllib.parse.urlsplit(value).path == "/":
        wrong = f"{rule}; it lacks a path"
    return wrong or argument(value)


@like(type="string", pattern=f"^{_FILE_URL}$")
def file_url(value: Any) -> Wrong:
    without = "?#" if str(value).startswith(("ftp:", "file:")) else "#"
    wrong = _wrong_url(value, _OF_FILE, _FETCHED, without, _PRINTED)
    if not wrong and value.endswith(("/", " ")):
        wrong = f"{_OF_FILE}; it ends in a {'slash' if value.endswith('/') else 'space'}"
    return wrong


@like(**list_of({"type": "string", "pattern": f"^{_FILE_URL}$"}, uniqueItems=True))
def file_urls(value: Any) -> Wrong:
    if not isinstance(value, list):
        return refused(value, "must be a list of URLs")
    return each(value, file_url, _masked) or _twice(value)


@like(type="string", pattern=rf"^{_SAFE_NAME}\.iso$", maxLength=_LONGEST_FILE)
def iso_name(value: Any) -> Wrong:
    rule = "a file name of letters, digits and . _ + - with the suffix .iso"
    if not isinstance(value, str) or not value.endswith(".iso"):
        return refused(value, f"must be {rule}")
    if not re.fullmatch(_SAFE_NAME, value):
        return refused(value, f"must be {rule}", "A-Za-z0-9._+-")
    if len(value) > _LONGEST_FILE:
        return f"must be a file name of at most {_LONGEST_FILE} characters, not {len(value)}"
    return None


def _directory_url(value: Any) -> Wrong:
    whole = f"{value}/" if isinstance(value, str) and "://" in value else value
    return _wrong_url(whole, _OF_DIRECTORY, _FETCHED, "?#", _PRINTED)


@like(**list_of({"type": "string", "pattern": rf"^{_DIRECTORY}$"}, uniqueItems=True))
def directory_urls(value: Any) -> Wrong:
    if not isinstance(value, list):
        return refused(value, "must be a list of URLs")
    return each(value, _directory_url, _masked) or _twice(value)
