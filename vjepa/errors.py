"""Input that a person can mend: the one exception for it; how commands and their workers end."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from multiprocessing import parent_process
from pathlib import Path

LONG_WORD = re.compile(r"(\S{120})\S{80,}(\S{60})")


class InputError(ValueError):
    """Bad input: the message is one sentence that says what is wrong and what to do.

    The command line prints it and exits with code 2; the app shows it and stays usable. A word
    that is longer than any name (a path of 5,000 letters, say) is shortened in it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(LONG_WORD.sub(r"\1...\2", message))


class StoppedError(KeyboardInterrupt):
    """A run that was asked to end, by Ctrl-C or a signal, and has saved what it did.

    Args:
        message: says so, and how to go on.
        code: that the process exits with.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


READ_OF_MODELS = re.compile(
    r"(config|card|model_index|scheduler_config|.*\.index)\.json|.*\.(safetensors|pt|pth|tar|ckpt|bin)"
)
"""Files in the folder of a model or decoder, by name, that opening it reads."""


def require_unread(out: Path, inputs: Iterable[str | Path | None]) -> None:
    """Checks that a command writes over nothing that it reads.

    Args:
        out: the file that it will write.
        inputs: files, and folders of models, that it reads; what is no path is passed over.

    Raises:
        InputError: `out` is one of them, by whatever name, or in one of the folders.
    """
    if not _is_there(out):  # what is not there yet cannot be lost
        return
    for path in (Path(given) for given in inputs if given is not None):
        if not _is_there(path):
            continue
        within = path.resolve() in out.resolve().parents and READ_OF_MODELS.fullmatch(out.name)
        if within or out.samefile(path):
            raise InputError(f"{out} is read by this command, and would be lost: name another out.")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no disk can hold
        return False


def run_command(commands: dict[str, Callable], prog: str) -> None:
    """Parses the command line and runs one command, made from its function's signature.

    A function's attribute `expand`, where it has one, writes out what one option stands for.
    """
    import tyro  # the app, which needs no command line, imports this module before its first paint

    try:
        name, *words = sys.argv[1:] or [""]
        expand = getattr(commands.get(name), "expand", list)
        args = [name, *expand(words)] if name else []
        tyro.extras.subcommand_cli_from_dict(commands, prog=prog, args=args)
    except InputError as error:
        _say(f"error: {error}")
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        _say(str(stop) or "stopped")
        raise SystemExit(getattr(stop, "code", 130)) from None


def end_with_parent() -> None:
    """Has this process end with the one that started it, however that ends: the first thing to do.

    Killed, a process says goodbye to nobody, and a pool's own pipes do not tell, as its workers
    hold both ends of them: they would wait for work for ever.
    """
    threading.Thread(target=_wait_for_parent, name="end with the parent", daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _say(sentence: str) -> None:
    """One line on stderr, by the first of the processes that share the work."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, file=sys.stderr)
