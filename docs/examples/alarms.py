# ruff: noqa: INP001 - a script, and no part of a package
"""Makes Prefect tell a webhook when a person should look: run it once per server.

    PREFECT_API_URL=… python docs/examples/alarms.py https://hooks.example.com/…

The webhook gets a JSON object with `subject` and `body`. Run it again to change the
address. It also marks runs whose process died without a word as crashed; nothing waits
for that mark, for the next run settles what such a run left.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from prefect.automations import Automation
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.states import StateType

OURS = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.retrobadge"}
# Flow runs say that they live every three minutes.
SILENCE = timedelta(minutes=10)
TOLD = {
    "retrobadge: awards are unknown": (
        {"retrobadge.awards.unknown"},
        "{{ event.resource.name }}: {{ event.payload.summary }}; the next run settles",
    ),
    "retrobadge: the books don't balance": (
        {"retrobadge.run.unbalanced"},
        "{{ event.resource.name }}: {{ event.payload.summary }}; look before more runs",
    ),
    "retrobadge: a run failed": (
        {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
        "{{ flow.name }} / {{ flow_run.name }}: {{ flow_run.state.message }}",
    ),
    "retrobadge: a plan wants an approval": (
        {"prefect.flow-run.Suspended"},
        "{{ flow.name }} / {{ flow_run.name }} waits 24 hours: {{ flow_run|ui_url }}",
    ),
}


def main(address: str) -> None:
    """Make the block and the automations, in place of those that were there."""
    block = CustomWebhookNotificationBlock(
        name="retrobadge",
        url=address,
        json_data={"subject": "{{subject}}", "body": "{{body}}"},
    )
    block_id = block.save("retrobadge", overwrite=True)
    for name, (events, body) in TOLD.items():
        is_run = any(event.startswith("prefect.") for event in events)
        _put(
            Automation(
                name=name,
                trigger=EventTrigger(
                    expect=events, match_related=OURS if is_run else {}, threshold=1
                ),
                actions=[
                    SendNotification(
                        block_document_id=block_id, subject=name, body=body
                    )
                ],
            )
        )
    _put(
        Automation(
            name="retrobadge: mark dead runs",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                after={"prefect.flow-run.heartbeat"},
                expect={
                    "prefect.flow-run.heartbeat",
                    "prefect.flow-run.Completed",
                    "prefect.flow-run.Failed",
                    "prefect.flow-run.Crashed",
                    "prefect.flow-run.Cancelled",
                    "prefect.flow-run.Suspended",
                },
                match_related=OURS,
                for_each={"prefect.resource.id"},
                within=SILENCE,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"no sign of life for {SILENCE.seconds // 60} minutes",
                )
            ],
        )
    )


def _put(automation: Automation) -> None:
    """Make an automation, or bring the one of that name up to date."""
    try:
        automation.id = Automation.read(name=automation.name).id
    except ValueError:
        automation.create()
    else:
        automation.update()


if __name__ == "__main__":
    main(sys.argv[1])
