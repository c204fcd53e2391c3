"""Input that a person can mend: the one exception for it, and how a command line ends on it."""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Bad input: the message is one sentence that says what is wrong and what to do.

    The command line prints it and exits with code 2; the app shows it and stays usable.
    """


def run_command(commands: dict[str, Callable], prog: str) -> None:
    """Parses the command line and runs one command, made from its function's signature."""
    import tyro  # the app, which needs no command line, imports this module before its first paint

    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog=prog)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
