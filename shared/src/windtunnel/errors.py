"""The one error tree of Windtunnel.

    WindtunnelError
    ├── UserError                 the user can fix it; never retried
    │   ├── InvalidInput          a file, figure or field is not what it must be
    │   │   └── InvalidPlan       the same, in a plan: knows line and column
    │   ├── Unsupported           well formed, but Windtunnel cannot do it
    │   ├── NotFound              what was named does not exist
    │   ├── Conflict              the name is taken by something else
    │   └── JobFailed             native code crashed, or ran out of time or memory, on this input
    ├── OutsideError              something that Windtunnel talks to failed; `retryable` says whether to try again
    │   ├── Unavailable           a store, the bus or another service does not answer
    │   └── FarmError             a device farm failed
    └── InternalError             our bug

Every error says what is wrong, which value, and (in `hint`) what to do. `code` is stable and is what
`.failed` events and gRPC error details carry.
"""

from __future__ import annotations

from typing import Any


class WindtunnelError(Exception):
    """Base of all errors that Windtunnel raises on purpose.

    Args:
        message: what happened, and which value.
        hint: what to do.
        code: stable, for programs; None: that of the class.
    """

    code: str = "internal"
    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process boundaries; keyword-only fields need the state form of pickling.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(kind: type[WindtunnelError], args: tuple[Any, ...], state: dict[str, Any]) -> WindtunnelError:
    error = kind.__new__(kind, *args)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class UserError(WindtunnelError):
    """The user can fix it."""

    code = "invalid_argument"


class InvalidInput(UserError):
    """A file, figure or field is not what it must be."""

    code = "invalid_input"


class InvalidPlan(InvalidInput):
    """A plan cannot be read. `line` and `column` count from 1 and are None if the plan is not a text.

    Args:
        message: what is wrong.
        path: of the field, such as `gates.latency_ms`.
        line: from 1; None: the plan is not a text.
        column: from 1.
        hint: what to do.
    """

    code = "invalid_plan"

    def __init__(
        self,
        message: str,
        *,
        path: str = "",
        line: int | None = None,
        column: int | None = None,
        hint: str = "",
    ) -> None:
        where = f"line {line}, column {column}: " if line is not None else ""
        super().__init__(f"{where}{path + ': ' if path else ''}{message}", hint=hint)
        self.path = path
        self.line = line
        self.column = column


class Unsupported(UserError):
    """Well formed, but Windtunnel cannot do it."""

    code = "unsupported"


class NotFound(UserError):
    """What was named does not exist."""

    code = "not_found"


class Conflict(UserError):
    """The name is taken by something else."""

    code = "conflict"


class JobFailed(UserError):
    """Native code crashed, or ran out of its time or memory, on this input.

    `how` is one of "signal", "exit", "timeout", "memory"; `stderr` holds the last lines the child wrote.

    Args:
        message: what happened.
        how: exit, signal, timeout or memory.
        stderr: the last lines that the job printed.
        hint: what to do.
    """

    code = "job_failed"

    def __init__(self, message: str, *, how: str, stderr: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.how = how
        self.stderr = stderr


class OutsideError(WindtunnelError):
    """Something that Windtunnel talks to failed.

    Args:
        message: what happened.
        retryable: whether another try may succeed.
        hint: what to do.
        code: stable, for programs; None: that of the class.
    """

    code = "outside"

    def __init__(self, message: str, *, retryable: bool = True, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retryable = retryable


class Unavailable(OutsideError):
    """A store, the bus or another service does not answer."""

    code = "unavailable"


class FarmError(OutsideError):
    """A device farm failed; `retryable` distinguishes a busy device from a refused request.

    Args:
        message: what happened.
        retryable: whether another try may succeed.
        hint: what to do.
        kind: a value of `windtunnel.farms.failure_kinds.FailureKind`; empty: infrastructure if it is retryable.
    """

    code = "farm"

    def __init__(self, message: str, *, retryable: bool = True, hint: str = "", kind: str = "") -> None:
        super().__init__(message, retryable=retryable, hint=hint)
        self.kind = kind or ("infrastructure" if retryable else "other")


class InternalError(WindtunnelError):
    """Our bug: a state that cannot be."""

    code = "internal"
