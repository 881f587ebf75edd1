"""Ways to break the library's protocols: in which one, what to put in place of what, and the problem it should earn.

The problem is expected on the line where the replaced text begins, or where `at` stands in the broken text when the harm shows elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources.abc import Traversable

HIP, CONSENT = "telerehab-hip", "pre-admission-econsent"


@dataclass(frozen=True)
class Broken:
    name: str
    protocol: str
    old: str
    new: str
    code: str
    says: str
    at: str = ""

    def texts(self, library: Traversable) -> tuple[str, int]:
        """The broken text, and the line where its problem is expected."""
        sound = library.joinpath(f"{self.protocol}.yaml").read_text("utf-8")
        assert self.old in sound, self.name
        text = sound.replace(self.old, self.new, 1)
        place = text.index(self.at) if self.at else sound.index(self.old)
        return text, text[:place].count("\n") + 1


SHAPES = (
    Broken("a misspelt key", HIP, "title: {fr: Évaluation", "titel: {fr: Évaluation", "unknown_key", "`title`"),
    Broken("a misspelt top-level key", HIP, "pathway:", "patway:", "unknown_key", "`pathway`"),
    Broken("a calendar that does not exist", HIP, "calendar: legal}", "calendar: leagal}", "unknown_word", "`legal`"),
    Broken("a field type that does not exist", HIP, "type: choice", "type: chioce", "unknown_word", "`choice`"),
    Broken("a phase that does not exist", HIP, "phase: before", "phase: befor", "unknown_word", "`before`"),
    Broken("a device class that does not exist", HIP, "class: IIa", "class: IIc", "unknown_word", "IIb"),
    Broken("a list without brackets", HIP, "after: [ethics]", "after: ethics", "bad_value", "square brackets"),
    Broken("a deadline of no day", HIP, "days: 45, calendar: legal", "days: 0, calendar: legal", "bad_value", "at least 1"),
    Broken("a duration in words", HIP, "before: 15d}, {before: 3d", "before: 15 days}, {before: 3d", "bad_value", "7d or 12h"),
    Broken("a version of two numbers", HIP, "version: 1.1.0", "version: 1.1", "bad_value", "1.0.0"),
    Broken("a format of the future", HIP, "insitu: 1", "insitu: 2", "unknown_word", "should be 1"),
    Broken("a language that is not spoken", HIP, "title: {fr: Convention, en:", "title: {fr: Convention, de:", "unknown_key", "en, fr"),
    Broken("a step without a phase", CONSENT, "    phase: during\n", "", "missing_key", "`phase`", at="id: admission_check"),
    Broken("a return without a condition", HIP, ", if: answers.opinion == 'changes_requested'", "", "missing_key", "`if`"),
    Broken("an id with a capital", HIP, "- id: ethics", "- id: Ethics", "bad_value", "small letters"),
    Broken("an empty gate", HIP, "gate: {pass: answers.insurance_checked}", "gate:", "bad_value", "empty"),
    Broken("a bound that is a list", HIP, "min: 1, label", "min: [1], label", "bad_value", "a number"),
    Broken("a key given twice", HIP, "  name: ReHip\n", "  name: ReHip\n  name: ReHop\n", "duplicate_key", "twice", at="  name: ReHop"),
    Broken("a tab", HIP, "  holder: ReHip SAS", "\tholder: ReHip SAS", "not_yaml", "spaces"),
    Broken(
        "an open bracket",
        HIP,
        "anchors: [admission, surgery, discharge]",
        "anchors: [admission",
        "not_yaml",
        "expected ',' or ']'",
        at="  phases:",
    ),
    Broken("an alias", HIP, "title: {fr: Convention", "title: &words {fr: Convention", "not_yaml", "anchors and aliases"),
    Broken("a tag", HIP, "name: ReHip\n", "name: !secret ReHip\n", "foreign_tag", "!secret"),
)

SENSES = (
    Broken("two steps of one name", HIP, "- id: stay", "- id: baseline", "duplicate_step", "first on line"),
    Broken("two fields of one name", HIP, "{id: screened", "{id: included", "duplicate_field", "`included`", at="Patients inclus,"),
    Broken("two options of one name", HIP, "[low, medium, high]", "[low, low, high]", "duplicate_option", "`low`"),
    Broken("two launch fields of one name", HIP, "{id: grant_eur", "{id: planned_start", "duplicate_field", "`planned_start`"),
    Broken("an unknown predecessor", HIP, "after: [ethics]", "after: [etihcs]", "unknown_step", "`ethics`"),
    Broken(
        "a circle",
        HIP,
        "phase: preparation\n    checkpoint:\n      role: methodologist",
        "after: [ethics]\n    phase: preparation\n    checkpoint:\n      role: methodologist",
        "circle",
        "→",
    ),
    Broken("an unknown role on a checkpoint", HIP, "role: ethics_officer\n", "role: ethic_officer\n", "unknown_role", "`ethics_officer`"),
    Broken(
        "an unknown role that signs",
        HIP,
        "role: principal_investigator, meaning: {fr: J'au",
        "role: investigator, meaning: {fr: J'au",
        "unknown_role",
        "`principal_investigator`",
    ),
    Broken(
        "an unknown role to escalate to", HIP, "{after: 5d, to: project_manager}", "{after: 5d, to: manager}", "unknown_role", "manager"
    ),
    Broken("an unknown role to notify", HIP, "[sponsor, site", "[sponsors, site", "unknown_role", "`sponsor`"),
    Broken(
        "a site's role on an experiment's step",
        HIP,
        "role: methodologist\n      form:\n        - {id: conclusion",
        "role: site_coordinator\n      form:\n        - {id: conclusion",
        "role_scope",
        "nobody could",
    ),
    Broken(
        "a role nobody has a use for",
        HIP,
        "  methodologist:",
        "  nurse: {scope: site, title: N}\n  methodologist:",
        "unused_role",
        "`nurse`",
    ),
    Broken(
        "a gate on answers that nobody gives",
        HIP,
        "    due: {days: 15, calendar: working}\n    remind: [{before: 3d}]\n",
        "  - {id: quiet, title: Q, phase: during, gate: {pass: answers.ok}}\n",
        "no_checkpoint",
        "nobody",
    ),
    Broken(
        "an unknown field",
        HIP,
        "pass: answers.insurance_checked",
        "pass: answers.insurance_chequed",
        "unknown_field",
        "`insurance_checked`",
    ),
    Broken("an unknown name", HIP, "pass: answers.insurance_checked", "pass: answer.insurance_checked", "unknown_name", "`answers`"),
    Broken(
        "an unknown step in a condition",
        HIP,
        "steps.data_protection.answers",
        "steps.data_protecton.answers",
        "unknown_step",
        "`data_protection`",
    ),
    Broken(
        "an option the form does not offer",
        HIP,
        "pass: answers.opinion == 'favourable'",
        "pass: answers.opinion == 'favorable'",
        "unknown_option",
        "`favourable`",
    ),
    Broken(
        "an option the form does not offer, in a list",
        CONSENT,
        "answers.advice == 'favourable'",
        "\"answers.advice in ['favourable', 'reservd']\"",
        "unknown_option",
        "`reserved`",
    ),
    Broken(
        "an option of another step", HIP, "reference_methodology == 'none'", "reference_methodology == 'nine'", "unknown_option", "`none`"
    ),
    Broken("a text against a number", HIP, "answers.trained_staff >= 2", "answers.trained_staff >= '2'", "unlike_types", "whole number"),
    Broken(
        "a yes-or-no against a text",
        HIP,
        "pass: answers.insurance_checked",
        "pass: answers.insurance_checked == 'yes'",
        "unlike_types",
        "true or false",
    ),
    Broken(
        "a date against a text",
        HIP,
        "pass: answers.insurance_checked",
        "pass: answers.signed_on > '2026-01-01'",
        "unlike_types",
        "timestamp(",
    ),
    Broken(
        "an order between options",
        HIP,
        "pass: answers.residual_risk != 'high'",
        "pass: answers.residual_risk < 'high'",
        "unordered",
        "no order",
    ),
    Broken(
        "a number for a condition",
        CONSENT,
        "pass: answers.completed_online >= 1",
        "pass: answers.completed_online",
        "not_boolean",
        "true or false",
    ),
    Broken(
        "a number where yes or no is meant",
        CONSENT,
        "pass: answers.completed_online >= 1",
        "pass: answers.completed_online && answers.invited > 0",
        "not_boolean",
        "`&&`",
    ),
    Broken("an unknown function", CONSENT, "double(answers.blocked)", "doubel(answers.blocked)", "unknown_function", "`double`"),
    Broken(
        "a fraction dropped",
        CONSENT,
        "double(answers.blocked) / double(answers.invited) > 0.05",
        "answers.blocked / answers.invited > 0.05",
        "integer_division",
        "fraction",
    ),
    Broken(
        "a condition that stops short",
        HIP,
        "pass: answers.insurance_checked",
        "pass: answers.insurance_checked &&",
        "not_cel",
        "not a condition",
    ),
    Broken(
        "a later step's answers",
        HIP,
        "pass: answers.sample_size_justified",
        "pass: steps.ethics.answers.opinion == 'favourable'",
        "not_yet_known",
        "`after`",
    ),
    Broken(
        "a site's answers read from the experiment",
        HIP,
        "    due: {days: 45, calendar: working}",
        "    gate: {pass: steps.follow_up.answers.completed_d90 > 1}",
        "wrong_scope",
        "sites_of.follow_up",
    ),
    Broken(
        "a site's name where there is no site",
        HIP,
        "pass: answers.sample_size_justified",
        "pass: site.code == 'CAEN'",
        "wrong_scope",
        "scope: site",
    ),
    Broken(
        "answers before they are given",
        CONSENT,
        "when: launch.involves_vulnerable_adults",
        "when: answers.advice == 'reserved'",
        "no_answers_yet",
        "before anyone",
    ),
    Broken(
        "a field that hides itself", HIP, "show_if: answers.opinion ==", "show_if: answers.requests ==", "shows_itself", "another field"
    ),
    Broken(
        "a gate that cannot pass",
        HIP,
        "pass: answers.insurance_checked",
        "pass: answers.insurance_checked && !answers.insurance_checked",
        "never_passes",
        "no answer",
    ),
    Broken("a gate that is false", HIP, "pass: answers.insurance_checked", "pass: false", "never_passes", "no answer"),
    Broken(
        "a gate that always stops",
        CONSENT,
        "stop: answers.signature_mismatch > 0\n",
        "stop: true\n",
        "never_passes",
        "stop is true first",
        at="pass: answers.signature_mismatch",
    ),
    Broken(
        "a step behind one that cannot pass",
        HIP,
        "pass: answers.insurance_checked",
        "pass: false",
        "unreachable_step",
        "`site_agreement`",
        at="- id: onboarding",
    ),
    Broken("a step that never opens", CONSENT, "when: launch.involves_vulnerable_adults", "when: false", "never_opens", "skipped"),
    Broken("a return that is never taken", HIP, "if: answers.residual_risk == 'high'", "if: false", "never_returns", "take it out"),
    Broken(
        "a return to an unknown step",
        HIP,
        "return: {to: protocol_review, if: answers.opinion",
        "return: {to: protocol_reviev, if: answers.opinion",
        "unknown_step",
        "`protocol_review`",
    ),
    Broken(
        "a return to itself",
        HIP,
        "return: {to: protocol_review, if: answers.opinion",
        "return: {to: ethics, if: answers.opinion",
        "return_to_itself",
        "stays open",
    ),
    Broken(
        "a return that goes forward",
        HIP,
        "return: {to: protocol_review, if: answers.opinion",
        "return: {to: closure, if: answers.opinion",
        "return_not_back",
        "protocol_review",
    ),
    Broken(
        "a join over no site", HIP, "after: [evaluation]", "after: [{step: evaluation, sites: any}]", "meaningless_join", "experiment step"
    ),
    Broken("a join within a site", HIP, "after: [stay]", "after: [{step: stay, sites: all}]", "meaningless_join", "own site"),
    Broken(
        "a reminder before the opening",
        HIP,
        "remind: [{before: 15d}, {before: 3d}]",
        "remind: [{before: 46d}]",
        "early_reminder",
        "45 days",
    ),
    Broken(
        "a reminder of nothing",
        CONSENT,
        "    due: {days: 10, calendar: working}\n",
        "",
        "no_deadline",
        "`due`",
        at="    remind: [{before: 2d}]",
    ),
    Broken("an escalation of nothing", CONSENT, "due: {days: 15, calendar: working}\n    escalate", "escalate", "no_deadline", "escalate"),
    Broken("a deadline of ten years", HIP, "due: {days: 120}", "due: {days: 3650}", "long_deadline", "three years"),
    Broken("an unknown action", HIP, "- {do: evaluate}", "- {do: evalute}", "unknown_action", "`evaluate`"),
    Broken("a letter without a template", HIP, "with: {template: ethics-dossier}", "with: {}", "missing_argument", "template"),
    Broken("a range that holds nothing", HIP, "min: 0, max: 300000", "min: 5, max: 3", "empty_range", "above"),
    Broken("a bound that is no date", HIP, "max: today, label: {fr: Date", "max: tomorrow, label: {fr: Date", "bad_bound", "today"),
    Broken("a bound that is no number", CONSENT, "min: 0, max: 10,", "min: 0, max: ten,", "bad_bound", "a number"),
    Broken(
        "a bound on a text",
        HIP,
        "{id: synopsis_version, type: text",
        "{id: synopsis_version, type: text, max: 10",
        "misplaced_key",
        "`max`",
    ),
    Broken("a unit on a date", HIP, "{id: visit_date, type: date", "{id: visit_date, type: date, unit: days", "misplaced_key", "`unit`"),
    Broken("a size on a text", HIP, "{id: reference, type: text", "{id: reference, type: text, max_mb: 3", "misplaced_key", "file"),
    Broken("a media type for an ending", HIP, "accept: [pdf], max_mb", "accept: [application/pdf], max_mb", "bad_accept", "Write `pdf`"),
    Broken("a choice of nothing", HIP, "options: [low, medium, high], ", "", "missing_options", "`options`"),
    Broken(
        "options on a text", HIP, "{id: reference, type: text", "{id: reference, type: text, options: [a, b]", "misplaced_key", "`options`"
    ),
    Broken(
        "a table of nothing",
        HIP,
        "columns: [{id: participant, type: text, required: true}, {id: score, type: number, min: 0, max: 100, required: true}]",
        "required: true",
        "missing_columns",
        "`columns`",
    ),
    Broken(
        "a table in a table",
        HIP,
        "{id: participant, type: text",
        "{id: participant, columns: [{id: a, type: text}], type: table",
        "nested_table",
        "table in a table",
    ),
    Broken(
        "two columns of one name", HIP, "{id: score, type: number", "{id: participant, type: number", "duplicate_field", "`participant`"
    ),
    Broken(
        "a person of an unknown role",
        HIP,
        "{id: reference, type: text",
        "{id: reference, type: person, role: sponser",
        "unknown_role",
        "`sponsor`",
    ),
    Broken("a phase bound to no event", HIP, "during: {from: admission", "during: {from: admision", "unknown_anchor", "`admission`"),
    Broken(
        "a translation left out",
        HIP,
        "title: {fr: Convention, en: Site agreement}",
        "title: {fr: Convention}",
        "missing_translation",
        "`en`",
    ),
)
