"""
The frame of a state: its result, what changes, what it says under ``test=True``, and its errors.

A state reads what is there, names what it is about to change, stops there under ``test=True``, and
acts. Errors that an admin can act on become the state's comment. ``changes`` then has only what was
really done: what a state had planned is dropped, what it noted as done stays.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

Ret = dict[str, Any]


class State:
    """
    A state that runs, for a ``with`` block; then ``ret`` is what Salt wants.

    name
        The state's name.

    comment
        What it says when there is nothing to do.

    test
        Whether it runs under ``test=True``.
    """

    def __init__(self, name: str, comment: str, test: bool) -> None:
        self.test = test
        self.changes: dict[str, Any] = {}
        self._planned: dict[str, Any] = {}
        self._warnings: list[str] = []
        self._failed = False
        self._adopted: Ret | None = None
        self._name, self.comment = name, comment

    def __enter__(self) -> State:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, (CommandExecutionError, SaltInvocationError, OSError)):
            self._planned = {}
            self.fail(str(error))
            return True
        return False

    @property
    def would_be(self) -> str:
        """The verb of a sentence that is foretold, or of one that is true."""
        return "would be" if self.test else "was"

    def plan(self, changes: dict[str, Any]) -> bool:
        """
        Name what is about to change. Returns whether to act now.

        changes
            For the state's ``changes``; empty: there is nothing to do.
        """
        self._planned = changes
        return bool(changes) and not self.test

    def done(self, what: str, how: Any) -> None:
        """
        Note a single change as done; under ``test=True``, as one that would be.

        what, how
            Key and value in ``changes``.
        """
        self.changes[what] = how

    def warn(self, *warnings: str) -> None:
        """
        Show sentences beside the result.

        warnings
            The sentences.
        """
        self._warnings += warnings

    def fail(self, comment: str) -> None:
        """
        Make the state fail.

        comment
            Why.
        """
        self._failed = True
        self.comment = comment

    def adopt(self, ret: Ret) -> None:
        """
        Take over what a state of Salt's own returned.

        ret
            Its return.
        """
        self.changes.update(ret["changes"])
        self.comment = ret["comment"]
        self._adopted = ret

    @property
    def ret(self) -> Ret:
        """What Salt's state system wants of a state."""
        changes = {**self._planned, **self.changes}
        result: bool | None = not self._failed
        if result and self._adopted:
            result = self._adopted["result"]
        elif result and self.test and changes:
            result = None
        ret: Ret = {
            "name": self._name,
            "result": result,
            "changes": changes,
            "comment": self.comment,
        }
        if self._warnings:
            ret["warnings"] = self._warnings
        return ret
