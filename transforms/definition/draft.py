"""Drafts a definition from a file's columns: guesses, marked as guesses.

Belongs here: what a column's name and values suggest, and the text of the draft. Does
not belong here: reading the file's head (`flows.commands.drafting`).

A draft is never complete: what nobody can see in a file (the zone, the badge, the
rule's bound) stands there as CHANGE ME, which `check` refuses. What was guessed says
from what, and what to look at; where two readings fit, none is chosen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from transforms.activity.accepted import RESERVED

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGE = "CHANGE ME"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_CORE = ("customer_id", "activity_id", "occurred_at", "amount")
# Words in a column's name that speak for a meaning, the surest first.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "customer_id": (
        *("customerid", "custid", "customer", "userid", "memberid", "member"),
        *("householdid", "household", "user", "cust", "client"),
    ),
    "activity_id": (
        *("activityid", "billnumber", "billid", "basketid", "basket", "bill"),
        *("invoice", "receipt", "orderid", "order", "transactionid", "txn"),
        *("transaction", "ticket", "visitid", "eventid", "id"),
    ),
    "occurred_at": (
        *("occurredat", "purchasedat", "billdate", "orderdate", "datetime"),
        *("timestamp", "eventdate", "purchasedate", "date", "createdat", "at"),
        *("time", "day", "when", "ts"),
    ),
    "amount": (
        *("amount", "billamount", "salesvalue", "total", "netamount", "sales"),
        *("value", "price", "paid", "gross", "net", "spend"),
    ),
}
# Never these, whatever else is in the name.
_NOT = {
    "amount": ("count", "quantity", "qty", "disc", "tax"),
    "activity_id": ("store",),
}
_TIME_FORMATS = (
    *("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y"),
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%Y%m%d", "%Y%m%d%H%M%S"),
    *("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%d-%b-%Y", "%d %b %Y"),
)
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_CLOCK = r"^\d{1,2}:\d{2}(:\d{2})?$"


@dataclass(frozen=True, kw_only=True)
class FileHead:
    """What was seen of a file: its columns with the first values, as text.

    `rows`: every column String, null where blank. `form` is how the file is written:
    keys of `[activity.format]` that differ from the defaults.
    """

    path: str
    rows: pl.DataFrame
    form: Mapping[str, str | bool]
    is_guessed_form: bool = False


@dataclass(frozen=True)
class Guess:
    """What stands for one of our columns, and what a person has to check."""

    theirs: tuple[str, ...]
    comment: str


def drafted_definition(heads: Sequence[FileHead], *, name: str) -> str:
    """Return the text of a definition for files that have the first one's columns."""
    head = heads[0]
    guesses = _guesses(head)
    lines = [
        "# A draft, made from a file's columns. Look at all that says GUESS.",
        f'# "{CHANGE}" is what no file tells: `retrobadge check` refuses it.',
        "",
        f"name = {_text(name)}",
        'description = ""  # what these badges are for; shown in plan and report',
        "",
        "# The zone of the shops' clocks, such as Europe/Berlin. Days, weeks, months",
        "# and earn dates are days of this zone.",
        f'timezone = "{CHANGE}"',
        "",
        "[activity]",
        f"files = [{', '.join(_text(one.path) for one in heads)}]",
        *_other_columns(heads),
        *_time_lines(head, guesses),
        *_form_lines(head),
        "",
        "# Ours = theirs. Columns that no condition speaks of may be left out.",
        "[activity.columns]",
        *_column_lines(head, guesses),
        *_type_lines(head, guesses),
        "",
        *_badge_lines(guesses),
    ]
    return "\n".join(lines) + "\n"


# -- what the columns suggest --------------------------------------------------------


def _guesses(head: FileHead) -> dict[str, Guess]:
    """Return our columns that could be found, each with what to check."""
    rows, found = head.rows, {}
    taken: set[str] = set()
    fitting: Mapping[str, Callable[[pl.Series], bool]] = {
        "customer_id": lambda values: _all(values, r"^\d{1,19}$"),
        "occurred_at": lambda values: bool(_styles(values)),
        "activity_id": lambda values: values.len() > 0,
        "amount": lambda values: _all(values, r"^-?\d+([.,]\d+)?$"),
    }
    for ours, fits in fitting.items():
        names = [n for n in rows.columns if n not in taken]
        best = _best(ours, [n for n in names if fits(rows[n].drop_nulls())])
        if best is not None:
            found[ours] = Guess((best,), _comment(ours, rows[best], head))
            taken.add(best)
        elif ours == "occurred_at" and (times := _times(rows, names)):
            told = f"GUESS, by its values; such as {_seen(rows[times[0]])}"
            found[ours] = Guess((times[0],), told)
            taken.add(times[0])
    _with_clock(found, rows, taken)
    return found


def _all(values: pl.Series, pattern: str) -> bool:
    return values.len() > 0 and bool(values.str.contains(pattern).all())


def _best(ours: str, names: Sequence[str]) -> str | None:
    """Return the name that speaks most for a meaning; None if none does."""
    scores = {name: _score(ours, name) for name in names}
    known = {name: score for name, score in scores.items() if score is not None}
    return min(known, key=lambda name: known[name]) if known else None


def _score(ours: str, name: str) -> int | None:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if any(word in plain for word in _NOT.get(ours, ())):
        return None
    for place, word in enumerate(_WORDS[ours]):
        if plain == word:
            return place
        if len(word) > 3 and word in plain:
            return place + 100
        if len(word) <= 3 and re.search(rf"(?:^|_){word}(?:$|_)", name.lower()):
            return place + 100
    return None


def _times(rows: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the only column whose values can be nothing but days or times."""
    found = [
        name
        for name in names
        if _styles(rows[name].drop_nulls())
        and not _all(rows[name].drop_nulls(), r"^\d+(\.\d+)?$")
    ]
    return found if len(found) == 1 else []


def _seen(values: pl.Series) -> str:
    """Return two values as a comment may hold them."""
    some = values.drop_nulls().unique(maintain_order=True).head(2)
    return ", ".join(_inert(value) for value in some)


def _inert(text: str) -> str:
    return re.sub(r"[^ -~\u00a0-\uffff]", " ", text)[:40]


def _comment(ours: str, values: pl.Series, head: FileHead) -> str:
    first = f"GUESS, by its name; such as {_seen(values)}"
    there = values.drop_nulls()
    if ours == "activity_id" and there.n_unique() < there.len():
        return (
            f"{first}. It REPEATS in the first {head.rows.height:,} rows: a row "
            "whose id was seen is a duplicate. Join columns, or leave it out"
        )
    if ours == "activity_id":
        return f"{first}. Is it unique over all files, stores and years?"
    if ours == "customer_id":
        return f"{first}. Is it Capillary's numeric id, not the shop's own?"
    if ours == "amount":
        return f"{first}. In currency units, with returns negative?"
    return first


def _with_clock(found: dict[str, Guess], rows: pl.DataFrame, taken: set[str]) -> None:
    """Join a day with the column that has its time, if there is one."""
    day = found.get("occurred_at")
    if day is None or _has_time(rows[day.theirs[0]]):
        return
    for name in rows.columns:
        if name not in taken and _all(rows[name].drop_nulls(), _CLOCK):
            taken.add(name)
            comment = f"{day.comment}; joined with the time in {name}"
            found["occurred_at"] = Guess((*day.theirs, name), comment)
            return


def _has_time(values: pl.Series) -> bool:
    there = values.drop_nulls()
    return bool(there.str.contains(r"\d:\d\d|^\d{9,13}$|^\d{14}$").any())


def _styles(values: pl.Series) -> list[str]:
    """Return every way in which all of these values can be read as times."""
    if values.is_empty():
        return []
    if _all(values, _ISO):
        return ["iso"]
    for pattern, style in (
        (r"^1[0-9]{9}(\.\d+)?$", "epoch_seconds"),
        (r"^1[0-9]{12}$", "epoch_milliseconds"),
    ):
        if _all(values, pattern):
            return [style]
    return [style for style in _TIME_FORMATS if _reads(values, style)]


def _reads(values: pl.Series, style: str) -> bool:
    has_time = "%H" in style
    read = (
        values.str.to_datetime(style, strict=False, exact=True)
        if has_time
        else values.str.to_date(style, strict=False, exact=True)
    )
    if read.null_count():
        return False
    years = read.dt.year()
    return bool(((years >= 1900) & (years <= 2100)).all())


# -- the text ------------------------------------------------------------------------


def _text(value: str) -> str:
    """Return a TOML string."""
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _other_columns(heads: Sequence[FileHead]) -> Iterator[str]:
    first = set(heads[0].rows.columns)
    for other in heads[1:]:
        if first - set(other.rows.columns):
            missing = ", ".join(map(_inert, sorted(first - set(other.rows.columns))))
            yield (
                f"# {_inert(other.path)} lacks {missing}: give it an [[activity]] of "
                "its own if one of them is used."
            )


def _time_lines(head: FileHead, guesses: Mapping[str, Guess]) -> Iterator[str]:
    guess = guesses.get("occurred_at")
    if guess is None:
        return
    joined = _joined(head.rows, guess.theirs)
    styles = _styles(joined)
    if styles == ["iso"]:
        if not joined.str.contains(r"(Z|[+-]\d{2}:?\d{2})$").all():
            yield "# Its times have no offset: they are read in the timezone above."
        return
    if len(styles) == 1:
        yield f"occurred_at_format = {_text(styles[0])}  # GUESS, from its values"
        return
    both = " or ".join(styles) or "a strptime format"
    yield f"# Its times can be read in several ways: choose {both}."
    yield f'occurred_at_format = "{CHANGE}"'


def _joined(rows: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    return (
        rows.select(pl.concat_str([pl.col(name) for name in names], separator=" "))
        .to_series()
        .drop_nulls()
    )


def _form_lines(head: FileHead) -> Iterator[str]:
    if head.form:
        told = ", ".join(
            f"{key} = {str(value).lower() if isinstance(value, bool) else _text(value)}"
            for key, value in head.form.items()
        )
        mark = "  # GUESS, from the first lines" if head.is_guessed_form else ""
        yield f"format = {{ {told} }}{mark}"


def _column_lines(head: FileHead, guesses: Mapping[str, Guess]) -> Iterator[str]:
    for ours in _CORE:
        guess = guesses.get(ours)
        if guess is not None:
            yield f"# {guess.comment}{'' if guess.comment.endswith('?') else '.'}"
            yield f"{ours} = {_theirs(guess.theirs)}"
        elif ours in {"customer_id", "occurred_at"}:
            yield f"# Required, and no column looks like it: {_named(head.rows)}."
            yield f'{ours} = "{CHANGE}"'
    used = {name for guess in guesses.values() for name in guess.theirs}
    rest = [name for name in head.rows.columns if name not in used]
    if rest:
        yield "# Further columns, to be used in `where` and `of`:"
    for name in rest:
        given = _ours(name)
        yield f"{'' if given else '# '}{_key(given or name)} = {_text(name)}"


def _ours(name: str) -> str | None:
    """Return a name that a definition may give to a column; None if there is none."""
    ours = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")
    if ours in RESERVED or ours in _CORE:
        ours = f"file_{ours}"
    return ours if re.fullmatch(r"[a-z][a-z0-9_]*", ours) else None


def _theirs(names: Sequence[str]) -> str:
    if len(names) == 1:
        return _text(names[0])
    return f"[{', '.join(map(_text, names))}]"


def _named(rows: pl.DataFrame) -> str:
    return f"there is {', '.join(map(_inert, rows.columns))[:200]}"


def _type_lines(head: FileHead, guesses: Mapping[str, Guess]) -> Iterator[str]:
    """Suggest types of further columns, which are text unless it is said otherwise."""
    used = {name for guess in guesses.values() for name in guess.theirs}
    lines = []
    for name in head.rows.columns:
        values = head.rows[name].drop_nulls()
        if name in used or (ours := _ours(name)) is None:
            continue
        for kind, pattern in (
            ("integer", r"^-?\d{1,18}$"),
            ("decimal", r"^-?\d+[.,]\d+$|^-?\d+$"),
            ("boolean", r"^(?i:true|false)$"),
            ("date", r"^\d{4}-\d{2}-\d{2}$"),
        ):
            if _all(values, pattern):
                lines.append(f'# {ours} = "{kind}"')
                break
    if lines:
        yield ""
        yield "# Further columns are text. GUESSED types, by the first values:"
        yield "# [activity.types]"
        yield from lines


def _badge_lines(guesses: Mapping[str, Guess]) -> Iterator[str]:
    yield "# One table per badge; `retrobadge badges` lists ids and claims."
    yield "[badges.first-badge]"
    yield f'badge_meta_id = "{CHANGE}"'
    yield f'reference_id = "{CHANGE}"  # the same as in the badge\'s claim'
    if "amount" in guesses:
        yield 'where = "amount > 0"  # GUESS: no returns, nothing for free'
    yield "# The 10th activity: a rule to begin with, not one that was found."
    yield 'rule = { kind = "activity_count", at_least = 10 }'
    yield ""
    yield "# [guards]"
    yield "# max_awards = 10_000     # a plan above that is refused"
    yield "# approve_above = 1_000   # above that somebody must approve it"
