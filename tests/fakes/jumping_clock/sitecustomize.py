"""A clock that jumps; Python imports it by its name at its start, when its folder is in the path.

The wall clock of the process follows CLOCK_JUMP_FILE, which says by how many seconds it is wrong.
Monotonic time goes on as it does when a machine's clock is set.
"""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

FILE = Path(os.environ["CLOCK_JUMP_FILE"])
LOOK_S = 0.05


def follow(clock: time_machine.Traveller) -> None:
    wrong_s = 0
    while True:
        wanted_s = int(FILE.read_text() or "0")
        if wanted_s != wrong_s:
            clock.shift(timedelta(seconds=wanted_s - wrong_s))
            wrong_s = wanted_s
        time.sleep(LOOK_S)


traveller = time_machine.travel(datetime.now(UTC), tick=True)
threading.Thread(target=follow, args=(traveller.start(),), daemon=True).start()
