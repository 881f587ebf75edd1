"""An outage of the database heals by itself: what marches waits for it, and nobody is told of an incident that there is not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from protocols.errors import DatabaseUnavailable
from sites.trouble import passes

LONGEST_S = 600.0  # a database that is away for longer is an incident
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)

Done = TypeVar("Done")

log = logging.getLogger("insitu.worker")


def through_outages(work: Callable[[], Done], wait: Callable[[float], object] = time.sleep, longest_s: float = LONGEST_S) -> Done:
    """What `work` gives, begun again while the database is away; doing it twice must do no harm.

    Raises DatabaseUnavailable after having waited for `longest_s`, and at once where waiting does not help.
    """
    waited_s, tries = 0.0, 0
    while True:
        try:
            return work()
        except DatabaseUnavailable as error:
            if waited_s >= longest_s or not passes(error):
                raise
            pause_s = PAUSES_S[min(tries, len(PAUSES_S) - 1)]
            log.warning("%s The march goes on when it answers; it looks again in %.1f s.", error, pause_s)
            wait(pause_s)
            waited_s, tries = waited_s + pause_s, tries + 1
