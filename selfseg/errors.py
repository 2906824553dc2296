"""Mistakes a person can mend: one line that names what is wrong and the remedy."""


class UserError(Exception):
    """Something outside the program is not as it should be; commands print it and exit 1."""

    exit_code = 1


class UsageError(UserError):
    """The command or its settings are wrong; commands print it and exit 2."""

    exit_code = 2
