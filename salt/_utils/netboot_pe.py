"""
Read PE files, the form of all EFI programs: sections, signatures, the digest that is signed. Pure.

The layout is that of Microsoft's "PE Format" and of "Windows Authenticode Portable Executable
Signature Format". Files come out of strangers' ISOs: every number in them is checked, and whatever
is wrong raises ``netboot_der.Unreadable``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Callable, NamedTuple

from netboot_der import Unreadable

#: A function that returns the bytes of a file from an offset on, of a length.
Read = Callable[[int, int], bytes]

#: ALT's names of the machines that a PE file may be for.
MACHINES = {
    0x8664: "x86_64",
    0x014C: "i586",
    0xAA64: "aarch64",
    0x5064: "riscv64",
    0x6264: "loongarch64",
}
# Far above any boot loader or kernel.
_MOST_BYTES = 128 << 20
_MOST_SECTIONS = 96
_MOST_HEADERS = 1 << 20
_MOST_CERTIFICATES = 1 << 20
_MOST_ENTRIES = 16
_MOST_NAME = 64
_CHUNK = 1 << 20
_PKCS7 = 2  # WIN_CERT_TYPE_PKCS_SIGNED_DATA


class Section(NamedTuple):
    name: str
    offset: int  # in the file
    size: int  # in the file
    content: int  # without the padding


class Pe:
    """A PE file whose headers were read. Raises Unreadable when it is none, or damaged."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self._size = read, size
        if size > _MOST_BYTES:
            raise Unreadable("it is too large for an EFI program")
        if self._exactly(0, min(size, 2)) != b"MZ":
            raise Unreadable("it is not an EFI program")
        dos = self._exactly(0, 64)
        start = _number(dos, 60, 4)
        header = self._exactly(start, 24)
        if header[:4] != b"PE\0\0":
            raise Unreadable("it is not an EFI program")
        self.machine = _number(header, 4, 2)
        optional = self._exactly(start + 24, _number(header, 20, 2))
        # PE32 or PE32+: what lies before the directories has another size.
        before = {0x10B: 92, 0x20B: 108}.get(_number(optional, 0, 2))
        if before is None or len(optional) < before + 4:
            raise Unreadable("it is not an EFI program")
        self._checksum = start + 24 + 64
        self._headers = _number(optional, 60, 4)
        self._directory: int | None = None
        self._table = (0, 0)
        # The certificate table is the fifth directory.
        if _number(optional, before, 4) > 4 and len(optional) >= before + 44:
            self._directory = start + 24 + before + 4 + 4 * 8
            self._table = (_number(optional, before + 36, 4), _number(optional, before + 40, 4))
        if sum(self._table) > size:
            raise Unreadable("its signatures are cut off")
        symbols, count = _number(header, 12, 4), _number(header, 16, 4)
        names = symbols + 18 * count if symbols else size
        self.sections = self._read_sections(
            start + 24 + len(optional), _number(header, 6, 2), names
        )

    @property
    def arch(self) -> str:
        """ALT's name of the machine that it is for, or the number of an unknown machine."""
        return MACHINES.get(self.machine, f"{self.machine:#06x}")

    def section(self, name: str, most: int) -> bytes:
        """
        Return the content of a section; empty if there is no such section.

        name
            Its name.

        most
            The most bytes that it may have.
        """
        for one in self.sections:
            if one.name == name:
                if one.content > most:
                    raise Unreadable(f"its section {name} is too large")
                return self._exactly(one.offset, one.content)
        return b""

    def signatures(self) -> list[bytes]:
        """Return the PKCS #7 signatures of its certificate table, as DER."""
        offset, left = self._table
        if left > _MOST_CERTIFICATES:
            raise Unreadable("its signatures are too large")
        found: list[bytes] = []
        data = self._exactly(offset, left) if left else b""
        place = 0
        # What is too short for an entry is padding.
        while place + 8 <= len(data):
            length = _number(data, place, 4)
            if not 8 <= length <= len(data) - place or len(found) == _MOST_ENTRIES:
                raise Unreadable("its table of signatures is damaged")
            if _number(data, place + 6, 2) == _PKCS7:
                found.append(data[place + 8 : place + length])
            place += -(-length // 8) * 8
        return found

    def digest(self, algorithm: str) -> str:
        """
        Return the digest that a signature signs: of all but the check sum and the signatures.

        algorithm
            Its name, of hashlib.
        """
        digest = hashlib.new(algorithm)
        for start, end in self._signed():
            for place in range(start, end, _CHUNK):
                digest.update(self._exactly(place, min(_CHUNK, end - place)))
        return digest.hexdigest()

    def _signed(self) -> Iterator[tuple[int, int]]:
        """Yield which parts of the file are signed: start and end."""
        headers = self._headers
        after = self._directory + 8 if self._directory else self._checksum + 4
        if not after <= headers <= min(self._size, _MOST_HEADERS):
            raise Unreadable("its headers are damaged")
        yield 0, self._checksum
        if self._directory:
            yield self._checksum + 4, self._directory
        yield after, headers
        covered = headers
        # Sections by their place in the file, and then what follows them, but not the signatures.
        for one in sorted(self.sections, key=lambda one: one.offset):
            if one.size:
                covered += one.size
                if covered > self._size:
                    raise Unreadable("its sections overlap")
                yield one.offset, one.offset + one.size
        end = self._size - self._table[1]
        if covered < end:
            yield covered, end

    def _read_sections(self, start: int, count: int, names: int) -> list[Section]:
        if count > _MOST_SECTIONS:
            raise Unreadable("it has too many sections")
        table = self._exactly(start, 40 * count)
        found = []
        for place in range(0, len(table), 40):
            size, offset = _number(table, place + 16, 4), _number(table, place + 20, 4)
            if size and offset + size > self._size:
                raise Unreadable("it is cut off")
            name = self._name(table[place : place + 8].rstrip(b"\0"), names)
            # The virtual size has no padding; objcopy leaves it out where there is none.
            content = min(size, _number(table, place + 8, 4) or size)
            found.append(Section(name, offset, size, content))
        return found

    def _name(self, name: bytes, names: int) -> str:
        """Return a section's name; a long one lies behind the table of symbols."""
        if name[:1] == b"/" and name[1:].isdigit():
            place = names + int(name[1:])
            if place < self._size:
                name = self._exactly(place, min(_MOST_NAME, self._size - place)).split(b"\0")[0]
        return name.decode("ascii", "replace")

    def _exactly(self, offset: int, length: int) -> bytes:
        if offset + length > self._size:
            raise Unreadable("it is cut off")
        data = self._read(offset, length)
        if len(data) != length:
            raise Unreadable("it is cut off")
        return data


def _number(data: bytes, offset: int, length: int) -> int:
    return int.from_bytes(data[offset : offset + length], "little")
