"""
The frame of a state: its result, changes, comment, behaviour under ``test=True``, and errors.

A state reads the current situation, plans its changes, stops there under ``test=True``, and acts.
Errors that an admin can act on become the state's comment. ``changes`` then contains only what was
really done: planned changes are dropped, changes noted as done stay.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

Ret = dict[str, Any]


class State:
    """
    A running state, for a ``with`` block; afterwards ``ret`` is the state's return value.

    name
        The state's name.

    comment
        Its comment when there is nothing to do.

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
        """The verb for comments: "would be" under ``test=True``, otherwise "was"."""
        return "would be" if self.test else "was"

    def counted(self, number: int, what: str, done: str) -> str:
        """
        Return a sentence for the comment: "2 menus were written.", also under ``test=True``.

        number
            How many.

        what, done
            The noun, in the singular, and the participle.
        """
        one = number == 1
        were = "would be" if self.test else "was" if one else "were"
        return f"{number} {what}{'' if one else 's'} {were} {done}."

    def plan(self, changes: dict[str, Any]) -> bool:
        """
        Plan changes. Returns whether to act now.

        changes
            For the state's ``changes``; empty: there is nothing to do.
        """
        self._planned = changes
        return bool(changes) and not self.test

    def done(self, what: str, how: Any) -> None:
        """
        Note a single change as done; under ``test=True``, as foretold.

        what, how
            Key and value in ``changes``.
        """
        self.changes[what] = how

    def warn(self, *warnings: str) -> None:
        """
        Add warnings to the result.

        warnings
            The sentences.
        """
        self._warnings += warnings

    def fail(self, comment: str) -> None:
        """
        Make the state fail.

        comment
            The reason.
        """
        self._failed = True
        self.comment = comment

    def adopt(self, ret: Ret) -> None:
        """
        Take over the return value of one of Salt's own states.

        ret
            Its return value.
        """
        self.changes.update(ret["changes"])
        self.comment = ret["comment"]
        self._adopted = ret

    @property
    def ret(self) -> Ret:
        """The return value for Salt's state system."""
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
