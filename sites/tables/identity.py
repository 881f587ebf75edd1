"""The tables of who may come in, as whom, on which evidence: accounts, sessions, tokens, links, delegations and their like."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from sites.tables.kinds import document, instant


class Account(SQLModel, table=True):
    """How a person proves who they are. `password` is an Argon2id hash, "" when only an OpenID provider vouches for them.

    `totp` is the second factor's secret, encrypted with the installation's key, "" without one; `totp_step` the last time step used, so
    that a code works once. `recovery` holds hashes of unused recovery codes. `subject` is `issuer|sub` of OpenID Connect; `unlinked_at`
    when it was last taken away by someone: no e-mail links the account again by itself, until someone links it.
    """

    __tablename__ = "account"
    person: str = Field(primary_key=True, foreign_key="person.id", max_length=64)
    password: str = ""
    totp: str = ""
    totp_step: int = 0
    recovery: list[str] = Field(default_factory=list, sa_column=document())
    subject: str | None = Field(default=None, unique=True)
    unlinked_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    failures: int = 0
    locked_until: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    created_at: datetime = Field(sa_column=instant())
    password_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    seen_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    disabled_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Session(SQLModel, table=True):
    """A browser that has signed in. `id` is the SHA-256 of its cookie; `proven_at` when the person last proved who they are.

    `leaving` is what the OpenID provider wants to hear at the sign-out, sealed with the installation's key; "" for nothing.
    """

    __tablename__ = "session"
    id: str = Field(primary_key=True, max_length=64)
    person: str = Field(foreign_key="person.id", index=True, max_length=64)
    method: str
    created_at: datetime = Field(sa_column=instant())
    seen_at: datetime = Field(sa_column=instant())
    proven_at: datetime = Field(sa_column=instant())
    address: str = ""
    agent: str = ""
    leaving: str = ""
    ended_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Token(SQLModel, table=True):
    """A personal token for the REST API. `id` is the SHA-256 of the token, which is shown once; `scope` is `read` or `write`."""

    __tablename__ = "token"
    id: str = Field(primary_key=True, max_length=64)
    person: str = Field(foreign_key="person.id", index=True, max_length=64)
    name: str
    scope: str
    created_at: datetime = Field(sa_column=instant())
    expires_at: datetime = Field(sa_column=instant())
    used_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    revoked_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Link(SQLModel, table=True):
    """An address that stands for one purpose of one person: `invitation`, `recovery`, `checkpoint` (target: its name), `calendar`.

    `id` is the nonce that the signed link carries. `expires_at` is None for a calendar, which is revoked instead.
    """

    __tablename__ = "link"
    id: str = Field(primary_key=True, max_length=64)
    purpose: str
    person: str = Field(foreign_key="person.id", index=True, max_length=64)
    target: str = ""
    created_by: str = ""
    created_at: datetime = Field(sa_column=instant())
    expires_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    used_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    revoked_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class AccessRow(SQLModel, table=True):
    """The access journal of the installation: append-only, hash-chained as an experiment's (ICH E6(R3) §4: accounts, roles, access)."""

    __tablename__ = "access"
    __table_args__ = (
        Index("access_of_person", "person", "seq"),
        Index("access_by_person", "by", "seq"),
        Index("access_of_kind", "kind", "seq"),
    )
    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str
    at: datetime = Field(sa_column=instant())
    person: str = ""
    by: str = ""
    address: str = ""
    data: str
    previous: str
    hash: str


class Delegation(SQLModel, table=True):
    """The delegation log: a person may act in a role at a site of an experiment, between local dates, both included.

    In force once signed. `evidence` is the hash of a stored document, "" without one. `signed_role` is the signer's.
    """

    __tablename__ = "delegation"
    __table_args__ = (Index("delegation_of", "person", "experiment", "site"),)
    id: int | None = Field(default=None, primary_key=True)
    person: str = Field(foreign_key="person.id", max_length=64)
    role: str
    site: str
    experiment: str
    from_date: date
    until_date: date | None = None
    evidence: str = ""
    recorded_by: str
    recorded_at: datetime = Field(sa_column=instant())
    signed_by: str = ""
    signed_role: str = ""
    signed_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    meaning: str = ""
    ended_on: date | None = None
    ended_by: str = ""
    ended_why: str = ""


class Training(SQLModel, table=True):
    """A training record: a person was trained on a version of a protocol at a site. It counts from `on_date`, once signed."""

    __tablename__ = "training"
    __table_args__ = (Index("training_of", "person", "protocol", "version"),)
    id: int | None = Field(default=None, primary_key=True)
    person: str = Field(foreign_key="person.id", max_length=64)
    protocol: str
    version: str
    site: str
    on_date: date
    until_date: date | None = None
    evidence: str = ""
    recorded_by: str
    recorded_at: datetime = Field(sa_column=instant())
    signed_by: str = ""
    signed_role: str = ""
    signed_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    meaning: str = ""
    ended_on: date | None = None
    ended_by: str = ""
    ended_why: str = ""


class Deputy(SQLModel, table=True):
    """`deputy` may act in every role of `person` between local dates, both included, until someone ends it."""

    __tablename__ = "deputy"
    __table_args__ = (Index("deputy_of", "deputy"), Index("deputised_by", "person"))
    id: int | None = Field(default=None, primary_key=True)
    person: str = Field(foreign_key="person.id", max_length=64)
    deputy: str = Field(foreign_key="person.id", max_length=64)
    from_date: date
    until_date: date
    recorded_by: str
    recorded_at: datetime = Field(sa_column=instant())
    ended_by: str = ""
    ended_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Conflict(SQLModel, table=True):
    """A declared conflict of interest: while it is not withdrawn the person does nothing in that experiment ("" for every one)."""

    __tablename__ = "conflict"
    __table_args__ = (Index("conflict_of", "person", "experiment"),)
    id: int | None = Field(default=None, primary_key=True)
    person: str = Field(foreign_key="person.id", max_length=64)
    experiment: str = ""
    reason: str
    declared_by: str
    declared_at: datetime = Field(sa_column=instant())
    withdrawn_by: str = ""
    withdrawn_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class BrokenGlass(SQLModel, table=True):
    """An emergency look: a person sees an experiment (a site of it, "" for all) until a time, for a reason that is journaled and told."""

    __tablename__ = "broken_glass"
    __table_args__ = (Index("broken_glass_of", "person", "until"),)
    id: int | None = Field(default=None, primary_key=True)
    person: str = Field(foreign_key="person.id", max_length=64)
    experiment: str
    site: str = ""
    reason: str
    at: datetime = Field(sa_column=instant())
    until: datetime = Field(sa_column=instant())


class Remark(SQLModel, table=True):
    """What someone said about a checkpoint without answering it: a `question` to the project manager, or a `decline` with its reason."""

    __tablename__ = "remark"
    __table_args__ = (Index("remark_about", "experiment_id", "step", "site"),)
    id: int | None = Field(default=None, primary_key=True)
    experiment_id: int = Field(foreign_key="experiment.id")
    step: str
    site: str = ""
    round: int
    kind: str
    by: str
    at: datetime = Field(sa_column=instant())
    text: str
    answer: str = ""
    answered_by: str = ""
    answered_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Preference(SQLModel, table=True):
    """How a person wants to be told. Hours are local (`timezone`), `HH:MM`; equal ends mean no quiet hours; `muted` lists notice kinds.

    `digest` gathers what is not urgent into one message at `digest_at`. What the law or a deadline commands is sent whatever is muted.
    """

    __tablename__ = "preference"
    person: str = Field(primary_key=True, foreign_key="person.id", max_length=64)
    timezone: str = "Europe/Paris"
    quiet_from: str = ""
    quiet_until: str = ""
    working_days: bool = False
    digest: bool = False
    digest_at: str = "08:00"
    muted: list[str] = Field(default_factory=list, sa_column=document())
    changed_at: datetime = Field(sa_column=instant())


class Letter(SQLModel, table=True):
    """A mail that belongs to no experiment (invitation, recovery, channel test, digest), owed once for its `key`, sent by the dispatcher.

    `link` is the nonce of a `Link`; the address is signed at the moment of sending, so that no working link lies in the database.
    """

    __tablename__ = "letter"
    __table_args__ = (Index("letter_owed", "state", "next_at"),)
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    kind: str
    person: str = Field(foreign_key="person.id", max_length=64)
    link: str = ""
    details: dict[str, Any] = Field(default_factory=dict, sa_column=document())
    created_at: datetime = Field(sa_column=instant())
    state: str = "owed"
    next_at: datetime = Field(sa_column=instant())
    attempts: int = 0
    error: str = ""
    leased_by: str = ""
    leased_until: datetime | None = Field(default=None, sa_column=instant(nullable=True))
