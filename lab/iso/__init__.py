"""Maker of ISOs that are laid out as ALT's are and boot as ALT's do, for tests."""

from lab.iso.make import IsoError, TestIso, make_iso

__all__ = ["IsoError", "TestIso", "make_iso"]
