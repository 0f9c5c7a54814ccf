"""
Checks of URLs in the pillar. Pure.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

from netboot_checks import argument
from netboot_names import iso_file
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
_STAGE_URL = rf"{_ASCII}http://[^\s/?#,]+/[^\s?#,]+"
_ADDRESS = rf"({_ASCII}(https?|ftp)://[^\s/?#]+|file://)/[^\s?#]*"
_DIRECTORY = rf"({_ASCII}(https?|ftp)://[^\s/?#]+|file://)(/[^\s?#]*)?"
_ISO = rf"{_DIRECTORY}/{_SAFE_NAME}\.iso"

_OF_FILE = "must be the http://, https://, ftp:// or file:/// URL of a file"
_OF_DIRECTORY = "must be the http://, https://, ftp:// or file:/// URL of a directory"
_FETCHED = ("http", "https", "ftp", "file")


def _masked(url: Any) -> str:
    """Return a URL without the password that it may have."""
    return re.sub(r"//.*@", "//***@", str(url))


def _wrong_url(value: Any, rule: str, schemes: tuple[str, ...], without: str) -> Wrong:
    """Return what is wrong with a URL that must not have the signs ``without``, or None."""
    if not isinstance(value, str) or not value:
        return refused(value, rule)
    scheme, mark, rest = value.partition("://")
    if scheme not in schemes or not mark:
        return f"{rule}, not {_masked(value)[:60]!r}"
    if scheme == "file" and not rest.startswith("/"):
        return f"{rule}; there are three slashes after file:"
    odd = shown(re.findall(r"\s", value)) if scheme == "file" else others(value, "!-~")
    if odd:
        return f"{rule}, not with {odd}: write such characters percent-encoded"
    signs = [sign for sign in without if sign in value]
    if signs:
        return f"{rule}, without {shown(signs)}"
    try:
        parts = urllib.parse.urlsplit(value)
        named = scheme == "file" or parts.hostname
        parts.port  # noqa: B018 (raises for an invalid port)
    except ValueError as err:
        return f"is not a valid URL: {err}"
    return None if named and parts.path else f"{rule}; it lacks a {'path' if named else 'host'}"


def _twice(urls: list[Any]) -> Wrong:
    wrong = duplicate(urls)
    return wrong and _masked(wrong)


@like(type="string", pattern=f"^{_BOOT_URL}$")
def boot_url(value: Any) -> Wrong:
    rule = "must be an http://, https://, tftp://, nfs:// or ftp:// URL"
    wrong = _wrong_url(value, rule, ("http", "https", "tftp", "nfs", "ftp"), "")
    return wrong or argument(value)


@like(type="string", pattern=f"^{_STAGE_URL}$")
def stage_url(value: Any) -> Wrong:
    rule = "must be an http:// URL without commas"
    wrong = _wrong_url(value, rule, ("http",), ",?#")
    if not wrong and urllib.parse.urlsplit(value).path == "/":
        wrong = f"{rule}; it lacks a path"
    return wrong or argument(value)


@like(type="string", pattern=f"^{_ISO}$")
def iso_url(value: Any) -> Wrong:
    if wrong := _wrong_url(value, _OF_FILE, _FETCHED, "?#"):
        return wrong
    name = iso_file(value)
    rule = "must end in a file name of letters, digits and . _ + - with the suffix .iso"
    if not name.endswith(".iso"):
        return f"{rule}, not {name!r}"
    if not re.fullmatch(_SAFE_NAME, name):
        return refused(name, rule, "A-Za-z0-9._+-")
    if len(name) > _LONGEST_FILE:
        return f"must end in a file name of at most {_LONGEST_FILE} characters, not {len(name)}"
    return None


@like(**list_of({"type": "string", "pattern": f"^{_ISO}$"}, uniqueItems=True))
def iso_urls(value: Any) -> Wrong:
    if not isinstance(value, list):
        return refused(value, "must be a list of URLs")
    return each(value, iso_url, _masked) or _twice(value)


def _directory_url(value: Any) -> Wrong:
    whole = f"{value}/" if isinstance(value, str) and "://" in value else value
    return _wrong_url(whole, _OF_DIRECTORY, _FETCHED, "?#")


@like(**list_of({"type": "string", "pattern": rf"^{_DIRECTORY}$"}, uniqueItems=True))
def directory_urls(value: Any) -> Wrong:
    if not isinstance(value, list):
        return refused(value, "must be a list of URLs")
    return each(value, _directory_url, _masked) or _twice(value)


@like(type="string", pattern=rf"^{_ADDRESS}[^\s?#/]$")
def binary_url(value: Any) -> Wrong:
    wrong = _wrong_url(value, _OF_FILE, _FETCHED, "?#")
    return wrong or (f"{_OF_FILE}; it ends in a slash" if value.endswith("/") else None)
