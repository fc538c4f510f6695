"""`python -m archiver` and the command `stem-archiver`."""

import os
import signal
import sys
from types import FrameType

_WINDOWS = "stem-archiver does not run on Windows itself: use WSL 2, or the container image"
_LASTING = {"run", "worker"}
"""The commands that read their settings again on SIGHUP."""


class _Interrupt:
    """The answer to SIGINT until a command has its own: one line, and 130. Python's own would be a traceback."""

    def __init__(self) -> None:
        self.importing = True
        """While it holds the process ends at once: what is raised while modules are loaded may be lost."""

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        os.write(2, b"stem-archiver: interrupted\n")
        if self.importing:
            os._exit(128 + number)
        raise SystemExit(128 + number)


def _hold_the_numbers_of_streams() -> None:
    """Let /dev/null stand where a standard stream is closed, as by `2>&-`: else the next file opened had its number.

    What is meant for people would be written into that file. Standard input stays told as closed: sys.stdin is None.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  as long as we live
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115  as long as we live


def main() -> None:
    """Run the command line; signals are heeded from the first moment on."""
    if os.name == "nt":
        sys.exit(_WINDOWS)
    _hold_the_numbers_of_streams()
    interrupt = _Interrupt()
    signal.signal(signal.SIGINT, interrupt)
    if _LASTING & set(sys.argv[1:]):
        # Kept by the kernel until the daemon takes it (archiver.service.supervision): it would end the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    # httpx's own command line, without which it loads: pygments and click take 0.03 s and 5 MB.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # as the import system has it for what is not there
    from archiver.commands.app import main as command_line  # noqa: PLC0415

    interrupt.importing = False
    try:
        command_line()
    finally:
        interrupt.importing = True


if __name__ == "__main__":
    main()
