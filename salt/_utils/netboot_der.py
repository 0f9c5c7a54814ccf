"""
Read DER (ITU-T X.690), in which certificates and signatures are written. Pure.

What is read was made by strangers: every length is checked, nothing is read twice, and whatever is
wrong raises ``Unreadable``.
"""

from __future__ import annotations

from typing import NamedTuple

INTEGER, OCTETS, OID, SEQUENCE, SET = 0x02, 0x04, 0x06, 0x30, 0x31
BITS = 0x03

# Far more elements than any element of a certificate or signature has.
_MOST_PARTS = 4096
# By tag; other strings are read as UTF-8, of which their character sets are parts.
_UTF16 = 0x1E  # BMPString


class Unreadable(Exception):
    """What should be read is none of its kind, or is damaged; the text says what is wrong."""


class Element(NamedTuple):
    """An element: its tag, its content, and all of it."""

    tag: int
    content: bytes
    whole: bytes


def element(data: bytes, tag: int | None = None) -> Element:
    """
    Return the element with which bytes begin; what follows it is ignored.

    data
        The bytes.

    tag : None
        The tag that it must have.

    Raises Unreadable when it is cut off, or has another tag.
    """
    found, _end = _read(data, 0)
    if tag is not None and found.tag != tag:
        raise Unreadable(f"its DER has tag {found.tag:#x} in place of {tag:#x}")
    return found


def parts(data: bytes) -> list[Element]:
    """
    Return the elements of which the content of another consists.

    data
        The content.

    Raises Unreadable when one is cut off, or when there are too many.
    """
    found: list[Element] = []
    place = 0
    while place < len(data):
        if len(found) == _MOST_PARTS:
            raise Unreadable("its DER has too many elements")
        one, place = _read(data, place)
        found.append(one)
    return found


def oid(content: bytes) -> str:
    """
    Return an object identifier with dots.

    content
        The content of its element.
    """
    numbers, value = [], 0
    # 64 bytes are more than any identifier in use has.
    for byte in content[:64]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise Unreadable("its DER has an empty object identifier")
    # X.690, 8.19.4: the first two numbers are written as one.
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def text(one: Element) -> str:
    """
    Return a string, with ``?`` in place of what cannot be shown, at most 100 characters.

    one
        Its element.
    """
    coding = "utf-16-be" if one.tag == _UTF16 else "utf-8"
    said = one.content[:400].decode(coding, "replace")
    return "".join(char if char.isprintable() else "?" for char in said)[:100]


def _read(data: bytes, place: int) -> tuple[Element, int]:
    """Return the element at a place, and where the next begins."""
    header = data[place : place + 2]
    # X.690, 8.1.2.4: tags of several bytes do not occur in certificates.
    if len(header) < 2 or header[0] & 0x1F == 0x1F:
        raise Unreadable("its DER is damaged")
    start, length = place + 2, header[1]
    if length & 0x80:
        # 8.1.3.6: without a length (0x80) is BER, not DER.
        size = length & 0x7F
        if not 1 <= size <= 4 or start + size > len(data):
            raise Unreadable("its DER is damaged")
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    end = start + length
    if end > len(data):
        raise Unreadable("its DER is cut off")
    return Element(header[0], data[start:end], data[place:end]), end
