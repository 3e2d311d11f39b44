"""The OpenLineage events of a run: its start and its end."""

from uuid import UUID

import attr
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.generated.base import JobFacet, RunFacet
from openlineage.client.generated.documentation_job import DocumentationJobFacet
from openlineage.client.generated.error_message_run import ErrorMessageRunFacet
from openlineage.client.generated.job_type_job import JobTypeJobFacet
from openlineage.client.generated.nominal_time_run import NominalTimeRunFacet
from openlineage.client.generated.processing_engine_run import ProcessingEngineRunFacet

from shared import __version__
from shared.clock import rfc3339
from shared.lineage import EVENT_TYPES, PRODUCER, RUNFLEET_SCHEMA, details
from shared.runs import Reason, Record, to_run
from shared.tasks import Task


@attr.define
class RunfleetRunFacet(RunFacet):
    """Runfleet's own run facet, with the fields of ``details``."""

    executionId: str = ""  # noqa: N815  # names of a facet are in camel case
    number: int = 0
    attempt: int = 0
    replicaIndex: int = 0  # noqa: N815
    replicaCount: int = 1  # noqa: N815
    triggeredBy: str = ""  # noqa: N815
    queue: str = ""
    retryOf: str | None = None  # noqa: N815
    worker: str | None = None
    endReason: str | None = None  # noqa: N815
    exitCode: int | None = None  # noqa: N815
    message: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return RUNFLEET_SCHEMA


def event(namespace: str, run_id: UUID, record: Record, task: Task | None) -> RunEvent:
    """
    The event for the state of a run: START if it is running; COMPLETE, FAIL or ABORT if it has ended.

    Its time is the run's start or end. Without a *task* it has no details of the job but its name.
    """
    facets: dict[str, RunFacet] = {
        "processing_engine": ProcessingEngineRunFacet(version=__version__, name="runfleet", producer=PRODUCER),
        "runfleet": RunfleetRunFacet(producer=PRODUCER, **details(to_run(run_id, record))),
    }
    if record.tick_us:
        facets["nominalTime"] = NominalTimeRunFacet(nominalStartTime=rfc3339(record.tick_us), producer=PRODUCER)
    kind, at_us = moment(record)
    if kind == "FAIL":
        why = reason_why(record)
        facets["errorMessage"] = ErrorMessageRunFacet(message=why, programmingLanguage="unknown", producer=PRODUCER)
    about: dict[str, JobFacet] = {
        "jobType": JobTypeJobFacet(processingType="BATCH", integration="RUNFLEET", jobType="TASK", producer=PRODUCER)
    }
    if task is not None and task.description:
        about["documentation"] = DocumentationJobFacet(description=task.description, producer=PRODUCER)
    return RunEvent(
        eventType=RunState[kind],
        eventTime=rfc3339(at_us),
        run=Run(runId=str(run_id), facets=facets),
        job=Job(namespace=namespace, name=record.task, facets=about),
        producer=PRODUCER,
    )


def moment(record: Record) -> tuple[str, int]:
    """The type of the event for the state of a run, and its stored time."""
    return (EVENT_TYPES[Reason(record.reason)], record.end_us) if record.reason else ("START", record.start_us)


def reason_why(record: Record) -> str:
    """Why a run failed, in a few words."""
    return record.message or record.reason
