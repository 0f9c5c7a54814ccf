"""
Where a fetch gets its bytes from: the sources of an ISO, one after the other.
"""

from __future__ import annotations

from collections.abc import Collection

from netboot_shapes import IsoRecord


class Choice:
    """
    The sources of one fetch, in order.

    sources
        URLs.

    mirrors : ()
        Which of them are mirrors.
    """

    def __init__(self, sources: list[str], mirrors: Collection[str] = ()) -> None:
        self._remaining = list(sources)
        self._mirrors = mirrors

    def next(self) -> str | None:
        """Return the next source, or None if there is none left. It may wait for one."""
        return self._remaining.pop(0) if self._remaining else None

    def others(self) -> bool:
        """Return whether there are more, so that it is not worth waiting for this one."""
        return bool(self._remaining)

    def is_mirror(self, url: str) -> bool:
        """
        Return whether a source is a mirror, which may have control files for deltas.

        url
            The source.
        """
        return url in self._mirrors

    def ended(self, record: IsoRecord | None) -> None:
        """
        End the fetch.

        record
            What is known of the file that was published, or None.
        """
