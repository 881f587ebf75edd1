"""The ledger: every write of an experiment. One command, one transaction: facts, snapshot, timers and messages together or not at all."""

from sites.ledger.machine import MachinesReports
from sites.ledger.people import PeoplesCommands


class Ledger(PeoplesCommands, MachinesReports):
    """Writes to the experiments of one database, at the times its clock gives. Safe to use from several threads and processes."""


__all__ = ["Ledger"]
