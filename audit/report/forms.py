"""The forms of the sentences that stand in a ledger, in English, so that a report in another language can tell them.

The core writes its sentences in English and knows no language. Here stands what they look like: ``told`` takes a
sentence apart at its joints ("; "), finds the form of each piece, and puts the piece together again in the other
language with its values. What has no form here, such as a server's own words, is told as it is.
"""

import functools
import re
from collections.abc import Callable


def form(text: str) -> str:
    """Mark a text as a message to translate."""
    return text


_JOINT, _COMMA = form("; "), form(", ")
_LONGEST = 8
"""Joints that one form can hold, its own and those of its values: it bounds what a hostile message can cost."""
_NESTED, _FINDINGS = "why", "findings"
"""Placeholders that hold a recorded sentence, or a list of findings; any other holds a value, told as it is."""
_SHAPES = {"column": r"\w+", "count": "[0-9]+", "number": "[0-9]+", "place": r"(?:[^/]*/)?[^/ ]+/[^/ ]+"}
"""Of placeholders at or near the beginning of a form, so that it does not match what others, or other forms, say."""


FORMS: tuple[str, ...] = (
    # rules: the evidence
    form("default key (default_key_flag is 1)"),
    form("default key (alias %(alias)s; default_key_flag is not stated)"),
    form("imported key material (origin is external)"),
    form("asymmetric key (%(spec)s)"),
    form("HMAC key (%(spec)s)"),
    form("custom keystore (keystore_id is %(keystore)s)"),
    form("owned by another account (domain_id is %(domain)s)"),
    form("multi-region replica; only its primary can rotate"),
    form("key is disabled"),
    form("key is pending deletion"),
    form("key is pending import"),
    form("key is pending activation"),
    form("key is frozen"),
    form("not known to this version: %(what)s"),
    form("rotation is off"),
    form("rotates every %(days)s days, the policy allows %(limit)s"),
    # verdicts
    form("not stated: %(names)s"),
    form("already in order when read again"),
    form("its interval could not be read: %(why)s"),
    form("KMS does not have this key: %(why)s"),
    form("%(place)s could not be read: %(why)s"),
    # what became of a step
    form("the key could not be read, or its first step not confirmed, before this"),
    form("no answer on record"),
    form("no answer on record and no read-back that shows a change"),
    form("given up"),
    form("this request met %(why)s"),
    form("the last attempt met %(why)s"),
    form("it may have been sent"),
    form("already on when the request arrived, confirmed by read-back"),
    form("confirmed by read-back"),
    form("confirmed by read-back after a repeated request"),
    form("on when read back, and no request of this run can have done it"),
    form("KMS says it is already on"),
    form("KMS accepted"),
    form("KMS refused: %(why)s"),
    form("%(why)s, when a request that nobody answered for was sent again"),
    form("%(count)s attempts used up, the last met %(why)s"),
    form("the last read-back shows no change"),
    form("it was not read back"),
    form("the read-back failed: %(why)s"),
    form("the read-back does not show it"),
    # waivers
    form("waiver of line %(line)s, valid until %(day)s: %(text)s"),
    form("approved by %(approver)s"),
    form("approved by %(approver)s, ticket %(ticket)s"),
    form("waives %(findings)s"),
    form("what is not stated (%(names)s)"),
    form("the waiver of line %(line)s (approved by %(approver)s) expired on %(day)s"),
    form("the waiver of line %(line)s (approved by %(approver)s, ticket %(ticket)s) expired on %(day)s"),
    # what is undone
    form("already off when the request arrived, confirmed by read-back"),
    form("already as before when the request arrived, confirmed by read-back"),
    form("KMS says it is already off"),
    form("KMS says it is already as before"),
    form("off when read back, and no request of this run can have done it"),
    form("as before when read back, and no request of this run can have done it"),
    form("rotation was found off, as before that run"),
    form("the interval was found at %(days)s days, as before that run"),
    form("KMS does not have this key any more: %(why)s"),
    form("KMS does not state the interval, so it cannot be compared"),
    form("changed since that run: %(why)s"),
    form("it rotates every %(days)s days, that run left it at %(left)s"),
    form("it rotates every %(days)s days, that run left it at %(left)s or %(other)s"),
    form("not undone: %(why)s"),
    form("that rotation was off before is not on record"),
    form("the interval before is not on record"),
    form("the interval before, %(days)s days, is none that KMS takes"),
    form("KMS said “already” to a repeated request: that run or somebody else changed the key"),
    form("a request of that run may have changed the key, and neither an answer nor a read-back shows that it did"),
    form(
        "This run undoes %(run)s (last event %(head)s). Of its %(total)s records %(held)s had a request that may have "
        "changed the key; for the other %(rest)s there is nothing to undo."
    ),
    form("%(run)s is not finished: kms-rotation apply %(where)s settles what is not known of its keys."),
    # records that cannot be used
    form("key_id lowered from upper case"),
    form("key_id: duplicate of line %(line)s"),
    form("%(column)s is not stated"),
    form("state it, or give %(option)s"),
    form("%(column)s %(value)s is no key id: 8-4-4-4-12 digits and letters a to z"),
    form("%(column)s %(value)s is no region: lower-case words and numbers joined by hyphens, as in cn-north-4"),
    form("%(column)s %(value)s is no project id: 1 to 64 ASCII letters, digits, _ and -"),
    form("%(column)s %(value)s is no account: text without control characters"),
    form("%(column)s %(value)s is neither true nor false: true, false, 1 or 0"),
    form("%(column)s %(value)s is no number of days: 1 to 9 digits"),
    form("has %(found)s field, the header has %(width)s"),
    form("has %(found)s fields, the header has %(width)s"),
    form("a quote is never closed"),
    form("a quote is not closed before the next record"),
    form("a carriage return stands in the middle of the line"),
    form("text follows a closing quote; double a quote that belongs to the text"),
    form("more than %(characters)s characters or %(lines)s lines; is a quote never closed?"),
    form("%(file)s: read as GB18030, because line %(line)s is not UTF-8; if names look wrong, save it as UTF-8"),
    # answers
    form("no answer"),
    form("HTTP %(status)s a success that cannot be read: %(why)s"),
    form("HTTP %(status)s an answer that cannot be read: %(why)s"),
    form("more than %(limit)s bytes"),
    form("the body is no JSON object"),
    form("the body carries an error"),
    form("key_details is no list of objects"),
    form("a listed key has no key_id"),
    form("next_marker is too long"),
    form("key_info is not that of the key asked for"),
    form("key_rotation_enabled is missing or not understood"),
    # places
    form("list-keys: %(why)s"),
    form("list-keys: %(pages)s pages in a row without a new key, and more to come"),
    form("list-keys: page marker %(marker)s came twice"),
    form("the certificate of the endpoint cannot be verified: %(why)s"),
    form("the proxy refuses to connect: %(why)s"),
    form("before"),
    form("after"),
    # why a run ended
    form("interrupted"),
    form("interrupted by %(signal)s"),
    form("throttled, and asked to wait %(seconds)s s, more than %(minutes)s minutes: %(why)s"),
    form("no success for %(minutes)s minutes, the last answer: %(why)s"),
    form("KMS says that our request is malformed: %(why)s"),
    form("access key %(key)s was refused: %(why)s"),
    form("our clock says %(ours)s, the answer has no date to compare it with"),
    form("our clock says %(ours)s, the server's %(theirs)s, %(seconds)s s apart"),
    form(
        "our clock says %(ours)s, the server's %(theirs)s, %(seconds)s s apart: "
        "more than the 15 minutes that a signature allows"
    ),
    form("%(count)s keys in a row were refused (--max-failures), the last with %(why)s"),
    form("%(count)s keys in a row were refused for want of permission, the last with %(why)s"),
    form("the plan changes %(keys)s keys, --max-changes %(limit)s allows %(allowed)s of %(usable)s usable records"),
    form("the plan adds %(versions)s key versions a year, --max-new-versions allows %(limit)s"),
    form("the process ended without a word before this key's turn"),
    form("the operator did not approve going on"),
    form("%(folder)s/ledger.sqlite3 cannot be opened: %(why)s"),
    form("%(folder)s/ledger.sqlite3 cannot be closed: %(why)s"),
    form("%(folder)s/ledger.sqlite3 cannot be written: %(why)s"),
    form("%(folder)s/ledger.sqlite3 cannot be read: %(why)s"),
    form("%(folder)s/ledger.sqlite3 is not what was written: %(why)s"),
    form("unforeseen error: %(name)s"),
    # the ledger
    form("event %(number)s does not continue the event before it"),
    form("event %(number)s does not continue the event before it: %(why)s"),
    form("event %(number)s is gone"),
    form("events %(first)s to %(last)s are gone"),
    form("the event that is due stands at %(number)s"),
    form("the order was changed"),
    form("others were put in"),
    form("it is not the first that was written, or it was changed"),
    form("event %(number)s was changed after it was written"),
    form("event %(number)s was changed or put in, or event %(before)s was changed, or some between them are gone"),
    form("run, records, steps or unlisted keys differ from what was sealed with the plan"),
)
"""Every form."""
_FINDING = form("%(rule)s (%(why)s)")

_RULE_FOUND = re.compile(r"(?P<rule>[A-Z][0-9]{2}) \((?P<why>.*)\)", re.DOTALL)
_NEXT_FINDING = re.compile(r", (?=[A-Z][0-9]{2} \(|what is not stated \()")
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


@functools.lru_cache(maxsize=4096)  # thousands of records share a few reasons
def told(sentence: str, gettext: Callable[[str], str]) -> str:
    """A recorded sentence in the language of ``gettext``; a joint between a piece told and one not stays as it is."""
    pieces, text, known = sentence.split(_JOINT), "", None
    while pieces:
        found = next(
            (
                (size, piece)
                for size in range(1, min(len(pieces), _LONGEST) + 1)
                if (piece := _piece(_JOINT.join(pieces[:size]), gettext)) is not None
            ),
            None,
        )
        size, piece = found or (1, pieces[0])
        joint = "" if known is None else gettext(_JOINT) if known and found else _JOINT
        text, known, pieces = text + joint + piece, found is not None, pieces[size:]
    return text


def _piece(text: str, gettext: Callable[[str], str]) -> str | None:
    """A piece in the other language, None where no form matches it in full."""
    whole, begun, open_ended = _compiled()
    if text in whole:
        return gettext(text)
    for msgid, pattern in (*begun.get(_first_word(text), ()), *open_ended):
        if match := pattern.fullmatch(text):
            return gettext(msgid) % {name: _value(name, value, gettext) for name, value in match.groupdict().items()}
    return None


def _value(name: str, text: str, gettext: Callable[[str], str]) -> str:
    if name == _FINDINGS:
        return gettext(_COMMA).join(_finding(finding, gettext) for finding in _NEXT_FINDING.split(text))
    return told(text, gettext) if name == _NESTED else text


def _finding(text: str, gettext: Callable[[str], str]) -> str:
    if found := _RULE_FOUND.fullmatch(text):
        return gettext(_FINDING) % {"rule": found["rule"], "why": told(found["why"], gettext)}
    return told(text, gettext)


def _first_word(text: str) -> str:
    return text.partition(" ")[0]


_Patterns = list[tuple[str, re.Pattern[str]]]


@functools.cache  # when the first sentence is told: `--help` must not pay for it
def _compiled() -> tuple[frozenset[str], dict[str, _Patterns], _Patterns]:
    """Forms without a value; those with one by their first word, and those that begin with one; the longest first."""
    begun: dict[str, _Patterns] = {}
    open_ended: _Patterns = []
    for text in sorted(FORMS, key=len, reverse=True):
        literals = _PLACEHOLDER.split(text)
        if len(literals) > 1:
            parts = (
                f"(?P<{part}>{_SHAPES.get(part, '.*?')})" if n % 2 else re.escape(part)
                for n, part in enumerate(literals)
            )
            where = open_ended if text.startswith("%(") else begun.setdefault(_first_word(text), [])
            where.append((text, re.compile("".join(parts), re.DOTALL)))
    return frozenset(text for text in FORMS if "%(" not in text), begun, open_ended
