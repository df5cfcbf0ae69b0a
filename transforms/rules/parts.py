"""Takes a badge's rule apart into rules that are met by themselves.

Belongs here: `all_of` and `any_of`, what their parts inherit, and what has no meaning.
Does not belong here: what a part counts (`rules`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transforms.activity.accepted import CUSTOMER
from transforms.errors import DefinitionRefused, Fault

if TYPE_CHECKING:
    from transforms.definition.definition import Badge, Rule

COMBINED = ("all_of", "any_of")
_NEEDED = {
    "activity_count": ("at_least",),
    "total_amount": ("at_least",),
    "distinct_count": ("of", "at_least"),
    "streak": ("periods", "period"),
    "elapsed": ("since", "after"),
    "all_of": ("rules",),
    "any_of": ("rules",),
}


@dataclass(frozen=True)
class Part:
    """A rule that is met by itself, and all that must hold for what it counts.

    `place` is its key in the definition; `wheres` are conditions by their keys.
    """

    rule: Rule
    place: str
    wheres: dict[str, str]
    sources: tuple[str, ...]


def rule_parts(badge: Badge) -> list[Part]:
    """Return the rule itself, or the parts of an `all_of` or `any_of`.

    What the badge and the whole rule demand of activity holds for every part.
    """
    whole = f"badges.{badge.name}.rule"
    if badge.rule.kind in COMBINED:
        rules = {f"{whole}.rules.{i}": part for i, part in enumerate(badge.rule.rules)}
    else:
        rules = {whole: badge.rule}
    parts = []
    for place, rule in rules.items():
        wheres = {
            f"badges.{badge.name}.where": badge.where,
            f"{whole}.where": badge.rule.where,
            f"{place}.where": rule.where,
        }
        sources = (badge.rule.source, rule.source)
        parts.append(
            Part(
                rule=rule,
                place=place,
                wheres={key: text for key, text in wheres.items() if text is not None},
                sources=tuple(source for source in sources if source is not None),
            )
        )
    return parts


def refuse_meaningless(badge: Badge) -> None:
    """Refuse what would otherwise be passed over in silence.

    A parsed definition has none of this; a rule made in code might.
    """
    whole = Part(badge.rule, f"badges.{badge.name}.rule", {}, ())
    parts = rule_parts(badge)
    is_combined = badge.rule.kind in COMBINED
    wrong = [f"badges.{badge.name}.repeat"] if is_combined and badge.repeat else []
    wrong += [key for part in (whole, *parts) for key in _meaningless_keys(part)]
    wrong += [f"{p.place}.kind" for p in parts if p.rule.kind in COMBINED]
    if wrong:
        message = f"missing, or without meaning in a {badge.rule.kind} rule: change it"
        raise DefinitionRefused(
            *(
                Fault(code="wrong_value", message=message, column=key)
                for key in dict.fromkeys(wrong)
            )
        )


def _meaningless_keys(part: Part) -> list[str]:
    """Return the keys that a rule lacks, or that say nothing in a rule of its kind."""
    rule = part.rule
    counts_nothing = rule.kind in {*COMBINED, "elapsed"}
    wrong = {
        "within": rule.within is not None and counts_nothing,
        "per": rule.per is not None and (counts_nothing or rule.within is not None),
        "since": rule.since not in {None, "first_activity"}
        and not str(rule.since).startswith(CUSTOMER),
    }
    missing = [key for key in _NEEDED[rule.kind] if not getattr(rule, key)]
    wrong |= dict.fromkeys(missing, True)
    return [f"{part.place}.{key}" for key, is_wrong in wrong.items() if is_wrong]
