"""From an error to an exit code and a sentence: the one place for both programs."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Callable

from faba_bench.console.output import tell
from faba_bench.errors import BenchError
from faba_bench.files.oserrors import sentence

USER_ERROR, INTERRUPTED, PIPE_CLOSED = 2, 130, 141  # the last two as a shell has them


def run(
    name: str,
    command: Callable[[], int],
    *,
    errors: tuple[type[Exception], ...] = (),
    pipe_closed: int = PIPE_CLOSED,
    undisplayable: str = "backslashreplace",
    install: Callable[[str], str | None] = {"numpy": "pip install numpy", "rouge_score": "pip install rouge-score"}.get,
) -> int:
    """The exit code of `command`; what a user can fix is told on standard error as ``name: sentence``, with code 2.

    That is `BenchError`, `errors`, and OSError (a full disk, a missing folder). Anything else is a bug and keeps its
    traceback. An interruption gives 130, a reader that closed the pipe `pipe_closed`.
    `install`: the command that brings a module (its first name) which is not installed; None for one that is no
    package of somebody else's.
    `undisplayable`: how characters are shown that the terminal has not (an error handler of `str.encode`).
    """
    mendable: tuple[type[Exception], ...] = (BenchError, *errors)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=undisplayable)
    try:
        code = int(command())
        sys.stdout.flush()  # a full disk behind '>' is told here, not after the end
        return code
    except BrokenPipeError as error:
        if _reader_is_there():  # then it is another pipe that broke, such as one to a process of ours
            tell(f"{name}: {sentence(error)}")
            return USER_ERROR
        _discard_output()  # '| head' has read enough
        return pipe_closed
    except KeyboardInterrupt:
        tell(f"{name}: interrupted")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        module = str(error.name).partition(".")[0]
        remedy = install(module)
        if remedy is None:
            raise
        tell(f"{name}: needs {module}, which is not installed: {remedy}")
    except mendable as error:
        tell(f"{name}: {error}")
    except OSError as error:
        tell(f"{name}: {sentence(error)}")
        _discard_if_full()
    except RuntimeError as error:  # what Path.resolve makes of a circle of links before Python 3.13
        name_of_loop = str(error).removeprefix("Symlink loop from ")
        if name_of_loop == str(error):
            raise
        tell(f"{name}: {sentence(OSError(errno.ELOOP, os.strerror(errno.ELOOP), name_of_loop.strip(chr(39))))}")
    return USER_ERROR


def _reader_is_there() -> bool:
    """Whether somebody still reads standard output; of one that is no file, such as a test's, nothing is known."""
    try:
        watch = select.poll()
        watch.register(sys.stdout.fileno(), select.POLLOUT)
        return not any(event & (select.POLLERR | select.POLLNVAL) for _, event in watch.poll(0))
    except (OSError, ValueError):
        return False


def _discard_output() -> None:
    """What is left in the buffer must not raise once more when the interpreter ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file (captured, or closed)
        return


def _discard_if_full() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
