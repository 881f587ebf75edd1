"""Who may see and do what: every door asks here.

To *act* in a role a person holds it that day at that place (or deputises someone who does), has declared no conflict of interest in the
experiment and, where the protocol's role says so, has a signed delegation and a signed training on the protocol's version. Whoever's
account is closed holds nothing.
To *see* they hold any role there: `Access` says how much. Nobody learns of what is not theirs that it exists.
"""

from protocols.needs import MANAGER
from sites.policy.acting import (
    Qualified,
    Standing,
    deputies_of,
    holders,
    holds,
    in_force,
    is_closed,
    require,
    require_manager,
    require_manager_themselves,
    standing,
)
from sites.policy.seeing import (
    EVERYTHING,
    INVESTIGATOR,
    SPONSOR,
    Access,
    Everything,
    Held,
    Reader,
    View,
    access,
    access_to,
    asked_roles,
    find_seen,
    reader,
    seen_experiments,
    seen_rows,
)

__all__ = [
    "EVERYTHING",
    "INVESTIGATOR",
    "MANAGER",
    "SPONSOR",
    "Access",
    "Everything",
    "Held",
    "Qualified",
    "Reader",
    "Standing",
    "View",
    "access",
    "access_to",
    "asked_roles",
    "deputies_of",
    "find_seen",
    "holders",
    "holds",
    "in_force",
    "is_closed",
    "reader",
    "require",
    "require_manager",
    "require_manager_themselves",
    "seen_experiments",
    "seen_rows",
    "standing",
]
