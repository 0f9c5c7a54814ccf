"""iPXE scripts in tests: run on files of a test, and what is wrong with one whatever the client."""

import re

import netboot_ipxe
from netboot_ipxe import ScriptError, Waits

__all__ = ["Client", "ScriptError", "Waits", "module", "problems"]


def module(mib):
    """The SMBIOS structure of a memory module (DSP0134, 7.18); None: of unknown size."""
    size = (0xFFFF if mib is None else min(mib, 0x7FFF)).to_bytes(2, "little")
    return bytes(12) + size + bytes(14) + (mib or 0).to_bytes(4, "little")


class Client(netboot_ipxe.Client):
    """
    A machine that runs scripts; `files`: texts of those that the server has, by URL; `turns`: what
    the server answers to who asks for a turn, one after another, then with a turn.
    """

    def __init__(self, files, settings=None, turns=(), **others):
        self.files = files
        self.turns = list(turns)
        # What is there may only come when it is asked for.
        super().__init__(
            lambda url: self.files[url] if url in self.files else None, settings, **others
        )

    def _turn(self, url):
        answer = self.turns.pop(0) if self.turns else "#!ipxe\nset nb-turn 1\n"
        own, self.files = self.files, {url: answer}
        taken = self.run(url)
        self.files = own
        return taken

    def _do_sleep(self, _rest, _positional):
        return "sleep" not in self.refused

    def _do_cpuid(self, rest, positional):
        return "cpuid" not in self.refused and super()._do_cpuid(rest, positional)

    def _do_imgfetch(self, rest, positional):
        fetched = super()._do_imgfetch(rest, positional)
        return fetched and not ("/private/" in positional[-1] and "password" in self.refused)

    def _do_sha256sum(self, rest, positional):
        assert self.sums is None or rest[0] == "--set"
        assert rest[2] in [url.rpartition("/")[2] for url in self.fetched]
        return super()._do_sha256sum(rest, positional)


def problems(script):
    """What is wrong with a script whatever the client: labels that are twice or nowhere, length."""
    lines = script.splitlines()
    found = [] if lines[0] == "#!ipxe" else ["it does not begin with #!ipxe"]
    labels = [line[1:] for line in lines if line.startswith(":")]
    found += [f"label {one} stands twice" for one in set(labels) if labels.count(one) > 1]
    for line in lines:
        if line.startswith("#"):
            continue
        if "{{" in line or "{%" in line or not line.isprintable():
            found.append(f"not iPXE: {line!r}")
        for target in re.findall(r"\bgoto (\S+)", line):
            if "${" not in target and target not in labels:
                found.append(f"goto {target} leads nowhere")
    return found
