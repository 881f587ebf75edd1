"""Evidence: the stored files and the people that an answer, an action or a record names. One rule for every door, looked at where it is
written.

A file is there and is what its field accepts, by its content. It is named by whoever handed it in, under the name they gave it, or where
it stands among the answers of that very checkpoint: knowing a file's hash gives nobody a way to it. A stored file never changes or goes.
A person is named who holds the role that the field asks for there, or stands among those answers: an id is no way to a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from protocols.errors import InvalidAnswers, InvalidInput, UnknownThing
from protocols.facts import Fact, FactKind
from protocols.forms import answers_of_type, files_among, without_files
from protocols.model import FieldType, FormField
from protocols.phrase import Phrase
from protocols.state import StepKey
from sites.database import inserted_once, table
from sites.files import check
from sites.holding import by_place, held_at, holdings
from sites.snapshot import Loaded
from sites.tables import Document, PastRound, Upload

_DOCUMENT, _UPLOAD, _PAST = table(Document), table(Upload), table(PastRound)
_CONTENT = select(_DOCUMENT.c.content).where(_DOCUMENT.c.hash == bindparam("hash"))
_IS_STORED = select(_DOCUMENT.c.hash).where(_DOCUMENT.c.hash == bindparam("hash"))
_HANDED_IN = select(_UPLOAD.c.name).where(_UPLOAD.c.hash == bindparam("hash"), _UPLOAD.c.person == bindparam("person"))
_EARLIER = select(_PAST.c.snapshot).where(
    _PAST.c.experiment_id == bindparam("experiment"), _PAST.c.site == bindparam("site"), _PAST.c.step == bindparam("step")
)

# What may be kept with a delegation or a training.
OF_RECORD = FormField(id="evidence", type=FieldType.FILE, label="evidence", accept=("pdf", "png", "jpg", "jpeg", "docx", "odt"), max_mb=10)

Named = Callable[[Mapping[str, Any]], bool]  # whether a file may be named here


def hand_in(connection: Connection, key: str, name: str, person: str, now: datetime) -> None:
    """Note that a person handed in a stored file under a name."""
    row = {"hash": key, "person": person, "name": name, "at": now}
    connection.execute(inserted_once(connection.dialect.name, _UPLOAD).values(row))


def require(connection: Connection, loaded: Loaded, facts: Iterable[Fact]) -> None:
    """Let facts be written that name files which are there, may be named and fit; `loaded` is the experiment before them.

    Raises InvalidAnswers, field by field, and UnknownThing for what an action says that it made.
    """
    for fact in facts:
        if fact.kind is FactKind.CHECKPOINT_COMPLETED:
            form, key = _form(loaded, fact.step), StepKey(fact.step, fact.site)
            _require_people(connection, loaded, key, form, fact)
            _require_answers(connection, fact.step, form, fact.data["answers"], may_name(connection, loaded, key, fact.by))
        elif fact.kind is FactKind.EXPERIMENT_LAUNCHED:
            launch = loaded.plan.protocol
            _require_answers(connection, f"launch of {launch.id}", launch.launch, fact.data["launch"], _own(connection, fact.by))
        elif fact.kind is FactKind.ACTION_DONE:
            _require_made(connection, fact)


def may_name(connection: Connection, loaded: Loaded, key: StepKey, person: str) -> Named:
    """Which files a person may name in answers to a checkpoint: their own, and those that its answers of any round name."""
    own, form = _own(connection, person), _form(loaded, key.step)
    standing: list[set[tuple[str, str]]] = []

    def named(file: Mapping[str, Any]) -> bool:
        if own(file):
            return True
        if not standing:
            rounds = _answers_before(connection, loaded, key)
            standing.append({(one["hash"], one["name"]) for answers in rounds for _, _, one in files_among(form, answers)})
        return (file["hash"], file["name"]) in standing[0]

    return named


def _answers_before(connection: Connection, loaded: Loaded, key: StepKey) -> list[Mapping[str, Any]]:
    """The answers of a checkpoint as they stand, and those of its earlier rounds."""
    earlier = connection.execute(_EARLIER, {"experiment": loaded.id, **key._asdict()})
    return [answers for answers in (loaded.state.step(key).answers, *(row.snapshot["answers"] for row in earlier)) if answers]


def draft_of(connection: Connection, loaded: Loaded, key: StepKey, person: str, answers: Mapping[str, Any]) -> dict[str, Any]:
    """A draft without the files that its person may not name: it would show them."""
    return without_files(_form(loaded, key.step), answers, may_name(connection, loaded, key, person))


def require_of_record(connection: Connection, key: str, person: str) -> None:
    """Let a person keep a stored file with a record. Raises UnknownThing for one they did not hand in, InvalidInput for one that does not
    fit."""
    names = list(connection.execute(_HANDED_IN.order_by(_UPLOAD.c.at), {"hash": key, "person": person}).scalars())
    content = connection.execute(_CONTENT, {"hash": key}).scalar() if names else None
    if content is None:
        raise UnknownThing(
            Phrase("The evidence {evidence!r} is not a stored document that you handed in. Send the file first.", evidence=key)
        )
    if not any(_fits(OF_RECORD, name, content) for name in names):
        check(OF_RECORD, names[-1], content)


def _own(connection: Connection, person: str) -> Named:
    """Whether a person handed in a file under that name."""
    return lambda file: file["name"] in connection.execute(_HANDED_IN, {"hash": file["hash"], "person": person}).scalars().all()


def _form(loaded: Loaded, step: str) -> tuple[FormField, ...]:
    checkpoint = loaded.plan.steps[step].step.checkpoint
    return checkpoint.form if checkpoint else ()


def _require_answers(connection: Connection, of: str, form: tuple[FormField, ...], answers: Mapping[str, Any], named: Named) -> None:
    looked = {path: _complaint(connection, field, file, named) for path, field, file in files_among(form, answers)}
    if errors := {path: said for path, said in looked.items() if said}:
        raise InvalidAnswers(of, errors)


def _require_people(connection: Connection, loaded: Loaded, key: StepKey, form: tuple[FormField, ...], fact: Fact) -> None:
    named = list(answers_of_type(FieldType.PERSON, form, fact.data["answers"]))
    if not named:
        return
    roles = {field.role or fact.role for _, field, _ in named}
    places = by_place(holdings(connection, loaded.row, roles, [key.site] if key.site else [], fact.at))
    holders = {role: {one.person for one in held_at(places, role, key.site)} for role in roles}
    rounds = _answers_before(connection, loaded, key)
    standing = {one for answers in rounds for _, _, one in answers_of_type(FieldType.PERSON, form, answers)}
    strangers = [path for path, field, one in named if one not in holders[field.role or fact.role] | standing]
    if strangers:
        raise InvalidAnswers(key.step, dict.fromkeys(strangers, Phrase("choose someone from the list")))


def _complaint(connection: Connection, field: FormField, file: Mapping[str, Any], named: Named) -> str:
    """What is wrong with a file that an answer names; the same for one that is not there and one that is not theirs to name."""
    content = connection.execute(_CONTENT, {"hash": file["hash"]}).scalar() if named(file) else None
    if content is None:
        return Phrase("There is no such file that you may name here. Choose the file again and send it.")
    if file.get("size", len(content)) != len(content):
        return Phrase("The file “{name}” has {size} bytes, not {said}.", name=file["name"], size=len(content), said=file["size"])
    try:
        check(field, file["name"], content)
    except InvalidInput as refused:
        said: str = refused.args[0]
        return said
    return ""


def _fits(field: FormField, name: str, content: bytes) -> bool:
    try:
        check(field, name, content)
    except InvalidInput:
        return False
    return True


def _require_made(connection: Connection, fact: Fact) -> None:
    made = fact.data["result"].get("documents", ())
    for one in made if isinstance(made, (list, tuple)) else ():
        key = str(one.get("hash", "")) if isinstance(one, Mapping) else ""
        if connection.execute(_IS_STORED, {"hash": key}).first() is None:
            told = {"index": fact.data["index"], "step": fact.step}
            raise UnknownThing(Phrase("Action {index} of {step!r} names a document that is not stored. Store it first.", **told))
