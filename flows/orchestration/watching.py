"""What people see of a flow run in Prefect: plan, progress, summary, events.

Belongs here: keeping artifacts up to date, and emitting events. Does not belong here:
their words (`flows.orchestration.words`), and how a flow run goes and ends
(`flows.orchestration.runs`).

A server that can't be reached never stops a run: what could not be shown is told in the
log, and the audit has it anyway.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.orchestration.words import (
    artifact_key,
    plan_line,
    plan_markdown,
    report_line,
    summary_markdown,
)
from flows.runs.job import Screen
from flows.runs.report import Report

if TYPE_CHECKING:
    from flows.planning import Plan

# How often the progress that people see is brought up to date.
SECONDS_A_LOOK = 1.0


class Watch(Screen):
    """Shows a run's stages: a line each in the log, and one progress artifact."""

    def __init__(self, subject: str, beside: Screen | None = None) -> None:
        self._key = artifact_key("progress", subject)
        self._beside = beside or Screen()
        self._logger = get_run_logger()
        self._text, self._done, self._total = "beginning", 0, 0
        self._until: datetime | None = None
        self._is_over = threading.Event()
        self._has_ended = False

    def stage(self, text: str, total: int | None) -> None:
        """Say which stage begins."""
        self._text, self._done, self._total = text, 0, total or 0
        self._until = None
        self._logger.info("%s", text)
        self._beside.stage(text, total)

    def advance(self, done: int) -> None:
        """Say how far the stage is."""
        self._done = done
        self._beside.advance(done)

    def wait(self, until: datetime) -> None:
        """Say until when nothing can be done, in the log once for each hour."""
        if until != self._until:
            self._logger.info("resting until %s", f"{until:%H:%M:%S %Z}")
        self._until = until
        self._beside.wait(until)

    def end(self) -> None:
        """Say that the work is done; without it, it was left at its last stage."""
        self._has_ended = True

    def confirm(self, plan: Plan) -> bool:
        """Ask where the command was typed; nobody sits at a deployment."""
        return self._beside.confirm(plan)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the progress artifact up to date, whatever the event loop is busy with.

        From a thread of its own: a step that reads files holds the loop for minutes.
        """
        run_id = flow_run.id
        there = contextvars.copy_context()
        thread = threading.Thread(
            target=there.run, args=(self._follow, UUID(run_id)), daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join(timeout=10)

    def _follow(self, flow_run_id: UUID) -> None:
        try:
            with get_client(sync_client=True) as client:
                percent, told = self._progress()
                made = client.create_artifact(
                    ArtifactCreate(
                        key=self._key,
                        type="progress",
                        description=told,
                        data=percent,
                        flow_run_id=flow_run_id,
                    )
                )
                shown = (percent, told)
                while True:
                    is_over = self._is_over.wait(SECONDS_A_LOOK)
                    now = self._progress()
                    if now != shown:
                        update = ArtifactUpdate(description=now[1], data=now[0])
                        client.update_artifact(made.id, update)
                        shown = now
                    if is_over:
                        return
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self._logger.warning("progress is shown no more: %s", type(error).__name__)

    def _progress(self) -> tuple[float, str]:
        if self._has_ended:
            return 100.0, "ended"
        percent = round(100 * min(self._done / self._total, 1), 1) if self._total else 0
        told = self._text
        if self._total:
            told += f": {self._done:,} of {self._total:,}"
        if self._until is not None:
            told += f", resting until {self._until:%H:%M:%S %Z}"
        return float(percent), told


async def show_plan(plan: Plan) -> None:
    """Show a plan as an artifact of the flow run, and its sum as a line of the log."""
    await _show("plan", plan.definition.name, plan_markdown(plan))
    get_run_logger().info("plan: %s", plan_line(plan))


async def show_summary(subject: str, report: Report) -> None:
    """Show what a run did, with its books, as an artifact of the flow run."""
    await _show("summary", subject, summary_markdown(report))


async def _show(what: str, subject: str, markdown: str) -> None:
    try:
        await acreate_markdown_artifact(
            markdown, key=artifact_key(what, subject), description=f"{what}, {subject}"
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
        get_run_logger().warning("no %s is shown: %s", what, type(error).__name__)


def emit_outcome(subject: str, report: Report) -> None:
    """Emit what automations may act on: issued, unknown, books that don't balance."""
    counts = {
        "retrobadge.awards.issued": report.statuses.get("issued", 0),
        "retrobadge.awards.unknown": report.statuses.get("unknown", 0),
        "retrobadge.run.unbalanced": 0 if report.is_balanced else 1,
    }
    resource = {
        "prefect.resource.id": f"retrobadge.import.{artifact_key('', subject)}",
        "prefect.resource.name": subject,
        "retrobadge.run-id": str(report.run_id),
    }
    for name, count in counts.items():
        if count:
            payload = {"count": count, "summary": report_line(report)}
            emit_event(name, resource=resource, payload=payload)
