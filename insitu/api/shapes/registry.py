"""Sites, people and what they may do, as the API shows and takes them."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from insitu.api.shapes.common import Body, Day, Moment, Name, Proof, Shown, Text

HELD: dict[str, JsonValue] = {
    "person": "a.martin",
    "role": "site_coordinator",
    "site": "CAEN",
    "experiment": None,
    "from": None,
    "until": None,
}


class Site(Shown):
    """A care setting. A sponsor reads its code alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"code": "CAEN", "name": "CHU Caen Normandie", "kind": "public_hospital", "territory": "FR", "timezone": "Europe/Paris"}
            ]
        }
    )

    code: str
    name: str
    kind: str
    territory: str = Field(description="ISO 3166 code with an optional subdivision, such as FR-57.")
    timezone: str


class Assignment(Shown):
    """A role held: everywhere, at a site or in an experiment (null for every one), between local dates, both included."""

    person: str
    role: str
    site: str | None
    experiment: str | None


class Person(Shown):
    """Someone the caller works with. `email` and `channels` are for project managers; of a channel only its kind is shown."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "a.martin", "name": "Alice Martin", "locale": "fr", "assignments": [HELD]}]}
    )

    id: str
    name: str
    locale: str
    email: str | None = None
    channels: list[str] | None = None
    assignments: list[Assignment]


class HeldRole(Shown):
    """A role of the caller's own, or of somebody they deputise (`of`)."""

    role: str
    site: str | None
    experiment: str | None
    of: str


class Me(Shown):
    """Whoever asks, and how they came in."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "a.martin",
                    "name": "Alice Martin",
                    "locale": "fr",
                    "method": "token",
                    "may_write": True,
                    "roles": [{"role": "site_coordinator", "site": "CAEN", "experiment": None, "of": ""}],
                }
            ]
        }
    )

    id: str
    name: str
    locale: str
    method: str = Field(description="`token`, or how their session began.")
    may_write: bool
    roles: list[HeldRole] = Field(description="What they hold today.")


class Recorded(Shown):
    """What every record of a delegation or a training holds. It counts from its first day once it is signed."""

    id: int
    person: str
    name: str
    site: str
    state: Literal["unsigned", "to_come", "in_force", "over"] = Field(description="Today, at the site.")
    from_: Day = Field(alias="from", description="The first local day.")
    until: Day | None
    evidence: str
    recorded_by: str
    recorded_at: Moment
    signed_by: str
    signed_role: str
    signed_at: Moment | None
    meaning: str = Field(description="What the signature means, as the signer was shown it.")
    means: str = Field(description="What signing it would mean, in the caller's language; empty once it is signed or ended.")
    ended_on: Day | None
    ended_by: str
    ended_why: str


RECORD: dict[str, JsonValue] = {
    "id": 12,
    "person": "a.martin",
    "name": "Alice Martin",
    "site": "CAEN",
    "state": "in_force",
    "from": "2026-03-02",
    "until": None,
    "evidence": "",
    "recorded_by": "b.petit",
    "recorded_at": "2026-03-01T10:00:00Z",
    "signed_by": "c.durand",
    "signed_role": "principal_investigator",
    "signed_at": "2026-03-01T11:00:00Z",
    "meaning": "I delegate to Alice Martin the tasks of the role “Coordinator” at site CAEN · CHU Caen in experiment TELEREHAB-HIP-1, from "
    "Monday 2 March 2026 on.",
    "means": "",
    "ended_on": None,
    "ended_by": "",
    "ended_why": "",
}


class Delegation(Recorded):
    """An entry of the delegation log: a person may act in a role at a site of an experiment."""

    model_config = ConfigDict(json_schema_extra={"examples": [RECORD | {"role": "site_coordinator", "experiment": "TELEREHAB-HIP-1"}]})

    role: str
    experiment: str


class Training(Recorded):
    """A training record: a person was trained on a version of a protocol at a site."""

    model_config = ConfigDict(json_schema_extra={"examples": [RECORD | {"protocol": "telerehab-hip", "version": "1.1.0"}]})

    protocol: str
    version: str


class NewDelegation(Body):
    """A delegation to record; it counts once it is signed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "person": "a.martin",
                    "role": "site_coordinator",
                    "site": "CAEN",
                    "experiment": "TELEREHAB-HIP-1",
                    "from": "2026-03-02",
                }
            ]
        }
    )

    person: Name
    role: Name
    site: Name | None = Field(default=None, description="Null for a role of the experiment itself.")
    experiment: Name
    from_: Day = Field(alias="from", description="The first local day.")
    until: Day | None = Field(default=None, description="The last local day.")
    evidence: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="The hash of a stored file.")


class NewTraining(Body):
    """A training to record once it has taken place; it counts once it is signed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"person": "a.martin", "protocol": "telerehab-hip", "version": "1.1.0", "site": "CAEN", "on": "2026-03-02"}]
        }
    )

    person: Name
    protocol: Name
    version: Name
    site: Name | None = None
    on: Day = Field(description="The local day of the training.")
    until: Day | None = Field(default=None, description="The last local day it counts.")
    evidence: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="The hash of a stored file.")


class RecordSigning(Proof):
    """A signature on a record, with the proof of who signs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "the words that only I know"}]})

    meaning: Text | None = Field(
        default=None,
        description="What the record `means`, as the signer was shown it, in any of its languages; any other text is refused (422). It "
        "need not be sent.",
    )


class Ending(Body):
    """When a record ends to count, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"on": "2026-06-30", "why": "She leaves the ward."}]})

    on: Day = Field(description="The first local day on which it does not count any more.")
    why: Text
