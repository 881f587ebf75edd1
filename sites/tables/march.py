"""The tables of protocols, places, people and the march of experiments."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Column, Field, SQLModel

from sites.tables.kinds import document, instant

_LIVE = "status IN ('open', 'working', 'incident')"
# All that a list of experiments reads of a live step, so that it never opens the step's row with its answers.
_SEEN_IN_LISTS = ("experiment_id", "site", "step", "since", "due_at", "status", "awaits", "awaits_role", "round")


class Release(SQLModel, table=True):
    """A released protocol: `content` is the canonical form that `hash` is of; `source` the text as added."""

    __tablename__ = "protocol"
    __table_args__ = (UniqueConstraint("id", "version"),)
    hash: str = Field(primary_key=True, max_length=64)
    id: str
    version: str
    content: str
    source: str
    added_at: datetime = Field(sa_column=instant())


class Site(SQLModel, table=True):
    """A care setting."""

    __tablename__ = "site"
    code: str = Field(primary_key=True, max_length=32)
    name: str
    kind: str
    territory: str
    timezone: str


class Person(SQLModel, table=True):
    """Someone who acts or is told. `channels` are Apprise addresses, tried in order; without any, `email` is used."""

    __tablename__ = "person"
    id: str = Field(primary_key=True, max_length=64)
    name: str
    email: str
    locale: str = "fr"
    channels: list[str] = Field(default_factory=list, sa_column=document())


class Assignment(SQLModel, table=True):
    """A person holds a role: everywhere, or at one site, or in one experiment; from and until are local dates, inclusive."""

    __tablename__ = "assignment"
    __table_args__ = (
        UniqueConstraint("person", "role", "site", "experiment"),
        Index("assignment_by_role", "role", "site"),
    )
    id: int | None = Field(default=None, primary_key=True)
    person: str = Field(foreign_key="person.id")
    role: str
    site: str = ""
    experiment: str = ""
    from_date: date | None = None
    until_date: date | None = None


class Experiment(SQLModel, table=True):
    """A run of a protocol. `title` is what its launcher called it, "" for the protocol's own title.

    `seq` and `head` are the last fact's number and hash; `projected_seq` the last number Prefect has been shown.
    """

    __tablename__ = "experiment"
    __table_args__ = (
        Index("experiment_unprojected", "id", sqlite_where=text("projected_seq < seq"), postgresql_where=text("projected_seq < seq")),
    )
    id: int | None = Field(default=None, primary_key=True)
    code: str = Field(unique=True, max_length=64)
    protocol: str = Field(foreign_key="protocol.hash", max_length=64)
    protocol_id: str = Field(index=True)
    version: str
    title: str
    state: str
    launch: dict[str, Any] = Field(sa_column=document())
    territory: str
    timezone: str
    active: int
    stopped: int = 0
    pending: int
    held_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    suspensions: list[list[str]] = Field(default_factory=list, sa_column=document())
    launched_by: str
    launched_at: datetime = Field(sa_column=instant())
    changed_at: datetime = Field(sa_column=instant())
    seq: int = 0
    head: str = ""
    projected_seq: int = 0


class RegisterRow(SQLModel, table=True):
    """The register of experiments: append-only, hash-chained as the journals are (`sites.register`)."""

    __tablename__ = "register"
    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    code: str = Field(max_length=64)
    by: str = ""
    at: datetime = Field(sa_column=instant())
    previous: str
    hash: str


class ExperimentSite(SQLModel, table=True):
    """A site's part in an experiment, with the site as it was at launch."""

    __tablename__ = "experiment_site"
    __table_args__ = (Index("experiment_site_of", "site", "experiment_id"),)
    experiment_id: int = Field(primary_key=True, foreign_key="experiment.id")
    site: str = Field(primary_key=True)
    name: str
    kind: str
    territory: str
    timezone: str
    state: str
    held_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    suspensions: list[list[str]] = Field(default_factory=list, sa_column=document())


class Step(SQLModel, table=True):
    """A step in its current round: the snapshot that lists and inboxes read. A step not yet reached has no row.

    `awaits` says what it needs now: `answers`, `signature`, `actions`, `condition` or nothing; `awaits_role` of whom.
    """

    __tablename__ = "step"
    __table_args__ = (
        ForeignKeyConstraint(["experiment_id"], ["experiment.id"]),
        Index(
            "step_inbox",
            "awaits_role",
            "site",
            sqlite_where=text("awaits_role <> ''"),
            postgresql_where=text("awaits_role <> ''"),
        ),
        Index("step_live", *_SEEN_IN_LISTS, sqlite_where=text(_LIVE), postgresql_where=text(_LIVE)),
        {"sqlite_with_rowid": False},
    )
    experiment_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    site: str = Field(primary_key=True)
    step: str = Field(primary_key=True)
    round: int = 1
    status: str
    opened_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    since: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    due_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    overdue: bool = False
    awaits: str = ""
    awaits_role: str = ""
    actions_done: int = 0
    results: list[dict[str, Any]] = Field(default_factory=list, sa_column=document())
    leads_to: str = ""
    answers: dict[str, Any] | None = Field(default=None, sa_column=document(nullable=True))
    completed_by: str = ""
    completed_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    signatures: list[dict[str, Any]] = Field(default_factory=list, sa_column=document())
    why: str = ""
    version: int = 0


class PastRound(SQLModel, table=True):
    """A step's earlier round, kept readable: `snapshot` holds the columns of its `step` row as they were."""

    __tablename__ = "past_round"
    experiment_id: int = Field(primary_key=True, foreign_key="experiment.id")
    site: str = Field(primary_key=True)
    step: str = Field(primary_key=True)
    round: int = Field(primary_key=True)
    status: str
    snapshot: dict[str, Any] = Field(sa_column=document())


class Tally(SQLModel, table=True):
    """At how many active sites a site step is through: what joins count, kept so that a join never reads every site."""

    __tablename__ = "tally"
    __table_args__ = ({"sqlite_with_rowid": False},)
    experiment_id: int = Field(primary_key=True, foreign_key="experiment.id")
    step: str = Field(primary_key=True)
    through: int = 0


class FactRow(SQLModel, table=True):
    """The journal: append-only, each row carrying the hash of the one before (`sites.journal`)."""

    __tablename__ = "fact"
    # The manifest of signatures, the holds and the journal's filters read few kinds of many facts.
    __table_args__ = (Index("fact_of_kind", "experiment_id", "kind", "seq"), {"sqlite_with_rowid": False})
    experiment_id: int = Field(primary_key=True, foreign_key="experiment.id")
    seq: int = Field(primary_key=True)
    kind: str
    at: datetime = Field(sa_column=instant())
    by: str = ""
    role: str = ""
    step: str = ""
    site: str = ""
    round: int = 0
    data: str
    protocol: str
    previous: str
    hash: str


class Command(SQLModel, table=True):
    """A command that was carried out: the same id again gets the first result."""

    __tablename__ = "command"
    __table_args__ = ({"sqlite_with_rowid": False},)
    id: str = Field(primary_key=True, max_length=128)
    digest: str
    result: str
    at: datetime = Field(sa_column=instant())


class Timer(SQLModel, table=True):
    """The ledger's own alarm: when `fire_at` has come, what happens is decided again on the state of that moment."""

    __tablename__ = "timer"
    id: int | None = Field(default=None, primary_key=True)
    experiment_id: int = Field(foreign_key="experiment.id")
    site: str = ""
    step: str
    round: int
    kind: str
    occasion: int = 0
    fire_at: datetime = Field(sa_column=instant(index=True))


class Notice(SQLModel, table=True):
    """The outbox: one message owed to the holders of `roles` (at `site`) or to `persons`, once for its `key`."""

    __tablename__ = "notice"
    __table_args__ = (
        Index("notice_owed", "next_at", sqlite_where=text("state = 'owed'"), postgresql_where=text("state = 'owed'")),
        Index("notice_of", "experiment_id"),
    )
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    kind: str
    experiment_id: int = Field(foreign_key="experiment.id")
    step: str = ""
    site: str = ""
    round: int = 0
    roles: list[str] = Field(default_factory=list, sa_column=document())
    persons: list[str] = Field(default_factory=list, sa_column=document())
    details: dict[str, Any] = Field(default_factory=dict, sa_column=document())
    created_at: datetime = Field(sa_column=instant())
    state: str = "owed"
    next_at: datetime = Field(sa_column=instant())
    attempts: int = 0
    leased_by: str = ""
    leased_until: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Delivery(SQLModel, table=True):
    """What was sent to whom, when, and the result.

    `sending`, `sent`, `failed` (will be tried again), `refused` (for good), `postponed` (waits for the person's hours), `digested` (goes
    into the letter whose key `letter` is), `muted` (as the person asked), `dropped` (overtaken while it waited).
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("notice_id", "person"),
        Index("delivery_to", "person", "at"),
        Index("delivery_in_letter", "letter", sqlite_where=text("letter <> ''"), postgresql_where=text("letter <> ''")),
    )
    id: int | None = Field(default=None, primary_key=True)
    notice_id: int = Field(foreign_key="notice.id")
    person: str
    channel: str = ""
    subject: str = ""
    state: str = "sending"
    attempts: int = 0
    error: str = ""
    at: datetime = Field(sa_column=instant())
    letter: str = Field(default="", sa_column_kwargs={"server_default": ""})


class Incident(SQLModel, table=True):
    """Something that needs a person's eye: a failed action, an undeliverable message, an act in Prefect's own pages."""

    __tablename__ = "incident"
    __table_args__ = (UniqueConstraint("experiment_id", "key"),)
    id: int | None = Field(default=None, primary_key=True)
    experiment_id: int = Field(foreign_key="experiment.id")
    key: str
    kind: str
    message: str
    step: str = ""
    site: str = ""
    at: datetime = Field(sa_column=instant())
    resolved_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Draft(SQLModel, table=True):
    """Answers typed and not yet completed, so that nothing typed is lost."""

    __tablename__ = "draft"
    experiment_id: int = Field(primary_key=True, foreign_key="experiment.id")
    site: str = Field(primary_key=True)
    step: str = Field(primary_key=True)
    round: int = Field(primary_key=True)
    person: str = Field(primary_key=True)
    answers: dict[str, Any] = Field(sa_column=document())
    origin: str = "person"
    saved_at: datetime = Field(sa_column=instant())


class Document(SQLModel, table=True):
    """A rendered document or an uploaded file, kept once under the SHA-256 of its content."""

    __tablename__ = "document"
    hash: str = Field(primary_key=True, max_length=64)
    media_type: str
    name: str
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    stored_at: datetime = Field(sa_column=instant())


class Upload(SQLModel, table=True):
    """A person handed in a file, under this name: they may name it in an answer or on a record. Its content is the document's."""

    __tablename__ = "upload"
    hash: str = Field(primary_key=True, foreign_key="document.hash", max_length=64)
    person: str = Field(primary_key=True, max_length=64)
    name: str = Field(primary_key=True)
    at: datetime = Field(sa_column=instant())


class Track(SQLModel, table=True):
    """An experiment's (site "") or a site's flow run in Prefect, and the last picture sent there."""

    __tablename__ = "track"
    experiment_id: int = Field(primary_key=True, foreign_key="experiment.id")
    site: str = Field(primary_key=True)
    flow_run_id: str = ""
    picture: dict[str, Any] = Field(default_factory=dict, sa_column=document())
    sent_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
