"""Secure Boot in the lab: signed files of Debian, and own keys."""

from .iso.debian import debian_kernel
from .iso.signed import signed_file
from .roots import CACHE


def debian(what, arch="x86_64"):
    """The path of a file that Debian has signed, or for the shim Microsoft; fetched once and kept.

    what: "kernel", or a key of lab.iso.signed.FILES: "shim", "grub", "grub-2.06".
    """
    if what == "kernel":
        return debian_kernel(CACHE, arch).vmlinuz
    return signed_file(CACHE, what, arch)
