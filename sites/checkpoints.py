"""The name of a checkpoint: experiment, step, site and round, as people and programs write it."""

from __future__ import annotations

from typing import NamedTuple

from protocols.errors import UnknownThing
from protocols.phrase import Phrase
from protocols.state import StepKey


class CheckpointId(NamedTuple):
    """One round of one step, written `CODE:step:SITE:round`; the site is empty for a step of the experiment itself."""

    experiment: str
    step: str
    site: str
    round: int

    def __str__(self) -> str:
        return f"{self.experiment}:{self.step}:{self.site}:{self.round}"

    @property
    def key(self) -> StepKey:
        return StepKey(self.step, self.site)

    @classmethod
    def parse(cls, text: str) -> CheckpointId:
        """Read a checkpoint's name. Raises UnknownThing when it is not one."""
        parts = text.split(":")
        if len(parts) != 4 or not parts[3].isdecimal() or len(parts[3]) > 6 or not parts[0] or not parts[1]:
            raise UnknownThing(
                Phrase("{text!r} is not a checkpoint; one is written EXPERIMENT:step:SITE:round, as `insitu inbox` lists them.", text=text)
            )
        return cls(parts[0], parts[1], parts[2], int(parts[3]))
