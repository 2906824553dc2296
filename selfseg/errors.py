"""Mistakes a person can mend: one line that names what is wrong and the remedy."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from selfseg.redaction import redacted


class UserError(Exception):
    """Something outside the program is not as it should be; commands print it and exit 1."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the line without secrets: URLs and foreign messages may hold some."""
        return redacted(super().__str__())


class UsageError(UserError):
    """The command or its settings are wrong; commands print it and exit 2."""

    exit_code = 2


@contextmanager
def ends_in_a_line(program: str, *, interrupted: str | None = None) -> Iterator[None]:
    """End the program with a line on stderr and an exit status where the body is not to go on.

    Args:
        program: begins the line of a mistake.
        interrupted: the line after Ctrl-C; None: none.

    Raises:
        SystemExit: 130 after Ctrl-C, else that of the UserError.
    """
    try:
        yield
    except UserError as error:
        sys.stderr.write(f"{program}: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if interrupted:
            sys.stderr.write(f"{interrupted}\n")
        sys.exit(130)
