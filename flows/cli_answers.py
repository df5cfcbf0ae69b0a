"""The commands `explain` and others that answer questions and send nothing.

Belongs here: their options and exit statuses. Does not belong here: the work itself
(`flows.explaining`, `flows.comparing`), and how it looks (`flows.answers`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command import (
    AsJson,
    AsOf,
    DefinitionPath,
    awaited,
    chosen_home,
    chosen_settings,
    instant,
    reported,
)
from transforms.errors import NotBuilt, RetrobadgeError

_IDENTIFIERS = ("mobile", "email", "external_id", "card_number")


def explain(
    definition: DefinitionPath,
    *,
    badge: Annotated[
        str, typer.Option("--badge", metavar="NAME", help="A badge of the definition.")
    ],
    customer: Annotated[
        str, typer.Option("--customer", metavar="ID", help="Capillary's numeric id.")
    ],
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the platform what there is now.")
    ] = False,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Say why a customer has a badge, when, or how far it is from that."""
    from flows import answers, screens  # noqa: PLC0415
    from flows.explaining import as_json as told_as_json  # noqa: PLC0415
    from flows.explaining import explain as explained  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.runs import Job  # noqa: PLC0415

    job = Job(definition=definition, as_of=instant(as_of, "--as-of"))
    try:
        customer_id = _customer_id(customer)
        settings = chosen_settings(needs_platform=online)
        with screens.Live(is_quiet=True) as live:
            work = Work(job, settings, chosen_home(settings), live)
            answer = awaited(explained(work, badge, customer_id, is_online=online))
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        screens.print_json(told_as_json(answer))
    else:
        answers.show_explanation(answer)


def _customer_id(text: str) -> int:
    kind, colon, _ = text.partition(":")
    if colon and kind in _IDENTIFIERS:
        raise NotBuilt.of(
            "customers_not_built",
            f"customers by {kind} are not built in this version: give the platform's "
            "numeric customer id",
        )
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) < 2**63:
        raise typer.BadParameter(f"--customer {text!r} is no customer id: a number")
    return int(text)
