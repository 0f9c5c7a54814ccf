"""
Control files of zsync: read without trust, written again with nothing of a stranger's in them but
the checksums of blocks. Pure.

A control file has lines ``Name: value``, an empty line, and for each block of the file the low
bytes of a rolling checksum and the first bytes of an MD4. Source: zsync 0.6.2, its manual and the
files that zsyncmake writes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# What zsync itself accepts of the third field is 3 to 16.
_LENGTHS = ((1, 2), (1, 4), (3, 16))
_BLOCKSIZES = tuple(1 << power for power in range(10, 17))
_LONGEST_HEAD = 4096
_MOST_LINES = 32
_NUMBER = re.compile(r"[0-9]{1,15}")
# zsyncmake's are 0.2 to 0.5 % of the file.
_SHARE = 100
# It is read into memory. An ISO of 25 GiB has as much at 0.5 %.
_MOST = 128 << 20


class Control(NamedTuple):
    """
    What counts of a control file.

    ``blocksize``, ``length``
        In bytes, of a block and of the file.
    ``lengths``
        Blocks in a row that have to match, bytes of each rolling checksum, of each MD4.
    ``sums``
        The checksums.
    """

    blocksize: int
    length: int
    lengths: tuple[int, int, int]
    sums: bytes


def most(length: int) -> int:
    """
    Return how many bytes a control file may have.

    length
        Bytes of the file that it is for.
    """
    return min(_LONGEST_HEAD + length // _SHARE, _MOST)


def parsed(content: bytes, length: int) -> Control:
    """
    Return what counts of a control file.

    content
        The file.

    length
        Bytes of the file that it must be for.

    Raises ValueError with what is wrong with it.
    """
    if len(content) > most(length):
        raise ValueError(f"it has more than {most(length)} bytes")
    head, empty, sums = content.partition(b"\n\n")
    if not empty or len(head) > _LONGEST_HEAD or not head.startswith(b"zsync: "):
        raise ValueError("it is not a control file of zsync")
    lines = head.decode("latin-1").split("\n")
    if len(lines) > _MOST_LINES:
        raise ValueError(f"it has more than {_MOST_LINES} lines")
    values: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name in ("Blocksize", "Length", "Hash-Lengths") and name in values:
            raise ValueError(f"it has {name} twice")
        values[name] = value
    blocksize, told = (_number(values, name) for name in ("Blocksize", "Length"))
    if told != length:
        raise ValueError(f"it is for a file of {told} bytes, not of {length}")
    if blocksize not in _BLOCKSIZES:
        raise ValueError(f"its Blocksize is {blocksize}")
    lengths = _lengths(values.get("Hash-Lengths", ""))
    blocks = -(-length // blocksize)
    wanted = blocks * (lengths[1] + lengths[2])
    if len(sums) != wanted:
        raise ValueError(f"it has {len(sums)} bytes of checksums, not {wanted}")
    return Control(blocksize, length, lengths, sums)


def _number(values: dict[str, str], name: str) -> int:
    value = values.get(name, "")
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"its {name} is not a number")
    return int(value)


def _lengths(value: str) -> tuple[int, int, int]:
    found = value.split(",")
    if len(found) == 3 and all(map(_NUMBER.fullmatch, found)):
        run, rolling, md4 = map(int, found)
        if all(
            least <= one <= largest for one, (least, largest) in zip((run, rolling, md4), _LENGTHS)
        ):
            return run, rolling, md4
    raise ValueError("its Hash-Lengths are not those of zsync")


def written(control: Control, url: str) -> bytes:
    """
    Return a control file.

    control
        What counts of it.

    url
        Where the file is: ASCII without spaces.
    """
    # It has no SHA-1: a better digest decides, and zsync would read the whole file once more.
    lines = (
        "zsync: 0.6.2",
        f"Blocksize: {control.blocksize}",
        f"Length: {control.length}",
        f"Hash-Lengths: {','.join(map(str, control.lengths))}",
        f"URL: {url}",
    )
    return "\n".join(lines).encode("ascii") + b"\n\n" + control.sums
