"""Runs a module as the main program, and ends it when the process that started it has ended, however that ended.

`python -m flows.lifeline FD MODULE ARGUMENT…`: FD is the reading end of a pipe whose writing end the starter alone holds. The kernel
closes it at the starter's end, a `kill -9` included. (Linux's PR_SET_PDEATHSIG would fire at the end of the *thread* that started us.)
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

GRACE_S = 8  # between being asked to end and being ended


def command(fd: int, module: str, arguments: Sequence[str]) -> list[str]:
    """The command line of a module on the lifeline `fd`."""
    return [sys.executable, "-P", "-m", "flows.lifeline", str(fd), module, *arguments]  # -P: nothing from the folder it is started in


@contextmanager
def lifeline() -> Iterator[tuple[int, int]]:
    """A pipe's two ends: the reading one for the child, closed here at the block's end, and the writing one, to be kept open."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)


def main() -> None:
    """Run the module named on the command line, watching the pipe beside it."""
    fd, module = int(sys.argv[1]), sys.argv[2]
    threading.Thread(target=_end_with, args=(fd,), name="lifeline", daemon=True).start()
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with(fd: int) -> None:
    while os.read(fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with whatever it started
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
