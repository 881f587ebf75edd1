"""What the kinds of messages are called where people choose among them, and why some are always sent."""

from __future__ import annotations

from insitu.entrance.language import N_

# In the order of the page. Each kind of `sites.preferences.ORDINARY` stands here once.
ORDINARY = {
    "opened": N_("A step waits for your answers or your signature"),
    "reminder": N_("Reminders more than three days before a deadline"),
    "question": N_("Someone asks a question about a step"),
    "answer": N_("Your question is answered"),
    "closed": N_("An experiment is closed"),
    "notify": N_("News that a protocol sends"),
}
# What is always sent, and why.
DUTIES = (
    (N_("Anything about a deadline set by law, and reminders in the last three days of any other"), N_("after it, it is too late to act")),
    (N_("A step is late, or brought to you because it is late"), N_("others wait, and the delay is recorded")),
    (N_("A gate sends a step back, or is reopened"), N_("what you did has to be done again")),
    (N_("A checkpoint is declined"), N_("the step goes no further without you")),
    (N_("A site or an experiment is stopped"), N_("nothing more may be done there with people")),
    (N_("An incident, or an emergency look at what is not open"), N_("whoever manages an experiment answers for it")),
)
