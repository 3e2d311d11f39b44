"""Cures that several commands and calls name, in the same words."""

from collections.abc import Iterable

from shared.tasks import is_task_name


def resume_queue(name: str) -> str:
    """For a queue that is paused."""
    return f"POST /api/queues/{name}/resume resumes it"


def serve_queue(name: str, others: Iterable[str] = ()) -> str:
    """For a queue without a worker; *others* are the queues that a worker serves already."""
    if not is_task_name(name):  # it must not be copied into a shell
        return "Runfleet has no queue with such a name: find out what writes to this Redis"
    return f"start a worker that serves it: RUNFLEET_QUEUES={','.join(sorted({*others, name}))}"


def stop_run(ref: str) -> str:
    """For a run that another one waits for, written ``task#number``."""
    return f"POST /api/runs/{ref.replace('#', '%23')}/stop stops it"
