"""How many requests were answered, how, and in which time: for the metrics, counted in this process since it began."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

BOUNDS_S = (0.01, 0.05, 0.15, 0.5, 2.0)


@dataclass
class Served:
    """`by_status` counts by class (`2xx`), `within` by the bounds of time in seconds, each including the shorter ones."""

    by_status: Counter[str] = field(default_factory=Counter)
    within: Counter[float] = field(default_factory=Counter)
    seconds: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def count(self, status: int, seconds: float) -> None:
        """Count one answer."""
        with self._lock:
            self.by_status[f"{status // 100}xx"] += 1
            self.seconds += seconds
            for bound in BOUNDS_S:
                self.within[bound] += seconds <= bound

    @property
    def total(self) -> int:
        return sum(self.by_status.values())
