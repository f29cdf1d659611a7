"""Tie a command to its parent's life, then become that command.

Run as a file, ``python -I -S leash.py <parent pid> <signal number> <command> [argument ...]``, and
never imported by the stack: between fork and exec no Python of ours runs in the supervisor's image,
so starting children stays safe beside threads.

1. Ask Linux to send this process the signal when its parent dies (PR_SET_PDEATHSIG). The wish
   outlives exec but not a change of user, so the leash is put on last, after unshare or setpriv.
2. If the parent died before the wish was heard, leave: nobody would ever stop us.
3. Become the command. Other systems than Linux have no such wish; there the command just runs.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
EXIT_PARENT_GONE = 75
EXIT_NOT_STARTED = 127


def main(argv: list[str]) -> int:
    parent, death_signal, command = int(argv[1]), int(argv[2]), argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        return EXIT_PARENT_GONE
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is the whole point
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
        return EXIT_NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv))
