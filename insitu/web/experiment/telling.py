"""Facts in words: one sentence for each kind of fact, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from insitu.entrance.language import N_, Language
from protocols.facts import FactKind

SENTENCES: dict[FactKind, str] = {
    FactKind.EXPERIMENT_LAUNCHED: N_("{who} launched the experiment."),
    FactKind.STEP_OPENED: N_("“{step}” opened."),
    FactKind.ACTION_DONE: N_("The automated action “{do}” of “{step}” is done."),
    FactKind.ACTION_FAILED: N_("The automated action “{do}” of “{step}” failed: {error}"),
    FactKind.ACTION_RETRIED: N_("{who} asked for the failed action of “{step}” again."),
    FactKind.CHECKPOINT_ASKED: N_("“{step}” can be answered."),
    FactKind.CHECKPOINT_COMPLETED: N_("{who} completed “{step}”."),
    FactKind.ANSWERS_SIGNED: N_("{who} signed the answers of “{step}”: {meaning}"),
    FactKind.GATE_PASSED: N_("“{step}” passed."),
    FactKind.GATE_RETURNED: N_("“{step}” sent the work back to “{to}”."),
    FactKind.GATE_STOPPED: N_("“{step}” ended it: the answer is no."),
    FactKind.GATE_REOPENED: N_("{who} reopened “{step}”: {reason}"),
    FactKind.STEP_SKIPPED: N_("“{step}” does not apply."),
    FactKind.ROUND_OPENED: N_("Round {round} of “{step}” began."),
    FactKind.STEP_RETURNED: N_("The round of “{step}” ended, as an earlier step starts again."),
    FactKind.STEP_STOPPED: N_("“{step}” was stopped."),
    FactKind.SITE_STOPPED: N_("The site’s part has ended early. {reason}"),
    FactKind.EXPERIMENT_STOPPED: N_("The experiment has ended early. {reason}"),
    FactKind.EXPERIMENT_CLOSED: N_("The experiment is closed: every step is through."),
    FactKind.HELD: N_("{who} put it on hold: {reason}"),
    FactKind.RELEASED: N_("{who} let it go on: {reason}"),
    FactKind.DEADLINE_MOVED: N_("“{step}” is now due by {due}."),
    FactKind.DEADLINE_MISSED: N_("“{step}” is late: it was due by {due}."),
    FactKind.REMINDER_DUE: N_("A reminder for “{step}” is due."),
    FactKind.ESCALATED: N_("“{step}” is late, and told to: {to_role}."),
    FactKind.INCIDENT_REPORTED: N_("An incident was reported: {message}"),
    FactKind.CHECKPOINT_DECLINED: N_("{who} declined “{step}”: {reason}"),
    FactKind.QUESTION_ASKED: N_("{who} asked about “{step}”: {text}"),
    FactKind.QUESTION_ANSWERED: N_("{who} answered a question about “{step}”: {text}"),
    FactKind.GLASS_BROKEN: N_("{who} looked in an emergency: {reason}"),
}
# Kinds as the filter lists them.
KINDS: dict[FactKind, str] = {
    FactKind.EXPERIMENT_LAUNCHED: N_("Launch"),
    FactKind.STEP_OPENED: N_("Step opened"),
    FactKind.ACTION_DONE: N_("Automated action done"),
    FactKind.ACTION_FAILED: N_("Automated action failed"),
    FactKind.ACTION_RETRIED: N_("Automated action asked again"),
    FactKind.CHECKPOINT_ASKED: N_("Answers asked"),
    FactKind.CHECKPOINT_COMPLETED: N_("Checkpoint completed"),
    FactKind.ANSWERS_SIGNED: N_("Answers signed"),
    FactKind.GATE_PASSED: N_("Gate passed"),
    FactKind.GATE_RETURNED: N_("Sent back"),
    FactKind.GATE_STOPPED: N_("Gate said no"),
    FactKind.GATE_REOPENED: N_("Gate reopened"),
    FactKind.STEP_SKIPPED: N_("Step not applicable"),
    FactKind.ROUND_OPENED: N_("New round"),
    FactKind.STEP_RETURNED: N_("Round ended"),
    FactKind.STEP_STOPPED: N_("Step stopped"),
    FactKind.SITE_STOPPED: N_("Site stopped"),
    FactKind.EXPERIMENT_STOPPED: N_("Experiment stopped"),
    FactKind.EXPERIMENT_CLOSED: N_("Experiment closed"),
    FactKind.HELD: N_("Put on hold"),
    FactKind.RELEASED: N_("Released"),
    FactKind.DEADLINE_MOVED: N_("Deadline moved"),
    FactKind.DEADLINE_MISSED: N_("Deadline missed"),
    FactKind.REMINDER_DUE: N_("Reminder"),
    FactKind.ESCALATED: N_("Escalation"),
    FactKind.INCIDENT_REPORTED: N_("Incident"),
    FactKind.CHECKPOINT_DECLINED: N_("Checkpoint declined"),
    FactKind.QUESTION_ASKED: N_("Question asked"),
    FactKind.QUESTION_ANSWERED: N_("Question answered"),
    FactKind.GLASS_BROKEN: N_("Emergency look"),
}
SOMEONE = N_("Someone")
SOMEONE_AS = N_("Someone, as: {role}")
NOT_SHOWN = N_("(not shown to you)")


def tell(tongue: Language, fact: Mapping[str, Any], *, who: str, step: Callable[[str], str], role: Callable[[str], str]) -> str:
    """What happened, as a sentence; of a kind that has none yet, its name. `step` and `role` say titles; what is withheld is said to be."""
    data, sentence = fact["data"], SENTENCES.get(fact["kind"])
    if sentence is None:
        return str(fact["kind"])
    known = {
        "who": who or (tongue(SOMEONE_AS, role=role(fact["role"])) if fact["role"] else tongue(SOMEONE)),
        "step": step(fact["step"]),
        "round": fact["round"],
        "to": step(str(data.get("to", ""))),
        "to_role": role(str(data.get("to", ""))),
        "due": tongue.day(data.get("due_at"), short=True),
    }
    withheld = {name: tongue(NOT_SHOWN) for name in fact.get("withheld", ())}
    said = {name: str(data.get(name, "")) for name in ("do", "error", "meaning", "reason", "message", "text")}
    return tongue(sentence, **{**said, **withheld, **known}).strip()
