"""
One worker process: a spawner, a Dramatiq worker with its threads, a heartbeat and a log shipper.

``run`` starts them, waits for a reason to stop, drains, and stops them in the right order: consumers first, then the
runs, then the heartbeat.
"""

import contextlib
import os
import secrets
import shutil
import socket
import threading
import time
from typing import Final

from shared import __version__, queue
from shared.errors import Misconfigured, StoreUnavailable
from shared.lineage.emitter import FLUSH_S, open_emitter
from shared.settings import Settings
from shared.signals import ignore_signals, on_shutdown
from shared.store import open_store, preflight
from shared.store.fleet import About
from shared.telemetry import get_logger
from worker import temp_folder as temporary
from worker.drain import DrainState
from worker.execution.context import WorkerContext
from worker.execution.environment import Inherited
from worker.execution.processor import Processor
from worker.execution.secrets import KnownSecrets
from worker.fitness import Fitness
from worker.heartbeat import Heartbeat
from worker.logs.shipper import LogShipper
from worker.parent_watch import say_alive
from worker.processes.callables import InterpreterPool
from worker.processes.commands import Spawner
from worker.replay import EndReplay

log = get_logger("worker")

HANGING: Final = "the progress"
CHECK_S: Final = 0.5

STUCK_S: Final = 90.0
"""A busy processor without a sign of life for so long, beyond what Redis may take to answer, hangs."""

MISCOUNTED_S: Final = 10.0
"""When more threads count as busy than are for so long, the count is wrong."""


def serve(settings: Settings) -> int:
    """Run one worker process; its exit code. Raises Misconfigured when Redis is unfit for use."""
    process = WorkerProcess(settings)
    on_shutdown(process.drain)
    code = process.run()
    ignore_signals()
    return code


class WorkerProcess:
    """One worker process. ``drain`` may be called from a signal handler or any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._draining = DrainState()
        self._processors: dict[int, Processor] = {}
        folder = temporary.make()
        self._spawner = Spawner.start(folder)  # before there are threads, and while this process is small
        self._store = open_store(settings)
        self._threads = queue.FreeThreads(settings.worker_threads)
        self._broker = queue.WakeupBroker(self._store, self._threads)
        self._worker = queue.worker(self._broker, settings.queues, settings.worker_threads, self._on_wakeup)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        about = About(
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            queues=settings.queues,
            slots=settings.worker_threads,
            started_us=time.time_ns() // 1000,
            broker=self._broker.broker_id,
        )
        environ = dict(os.environ)  # it doesn't change; `os.environ` decodes every name at every look
        self._miscounted_since_s: float | None = None
        end_replay = EndReplay(self._store)
        heartbeat = Heartbeat(self._store, self.name, about, on_drain=self.drain, on_loss=end_replay.replay)
        fitness = Fitness(
            self._spawner,
            self._store,
            settings.keys,
            folder,
            settings.worker_threads,
            self._on_fitness,
        )
        self._context = WorkerContext(
            settings=settings,
            store=self._store,
            spawner=self._spawner,
            interpreters=InterpreterPool(self._spawner),
            heartbeat=heartbeat,
            end_replay=end_replay,
            log_shipper=LogShipper(self._store),
            known_secrets=KnownSecrets(self._store, environ),
            inherited=Inherited(environ, settings.inherit_env),
            draining=self._draining,
            fitness=fitness,
            folder=folder,
            keys=settings.keys,
            emitter=open_emitter(),
        )

    def drain(self, *, now: bool = False) -> None:
        """
        Claim nothing more and let runs finish within the grace period. Another call later, or with ``now``: stop them.

        Requests within a second are one.
        """
        self._draining.begin(self._settings.shutdown_grace_s, now=now)
        self._stopping.set()

    def run(self) -> int:
        """
        Serve until drained, or until something essential is gone; the exit code.

        Raises Misconfigured when Redis is unfit for use.
        """
        try:
            self._wait_for_store()
        except Misconfigured:
            self._close()
            raise
        if self._draining.begun:
            self._close()
            return 0
        self._context.fitness.start()  # before the first claim
        self._context.heartbeat.start()
        self._context.log_shipper.start()
        self._worker.start()
        log.info(
            "worker.started",
            worker=self.name,
            queues=",".join(self._settings.queues),
            threads=self._settings.worker_threads,
        )
        code = 0
        while not self._stopping.wait(CHECK_S):
            say_alive()
            self._recount()
            missing = self._missing()
            if missing:
                log.error("worker.broken", worker=self.name, missing=missing)
                # A processor that hangs does not delay the others: their runs may end by themselves.
                self.drain(now=not missing.startswith(HANGING))
                code = 1
        self._shut_down()
        return code

    def _close(self) -> None:
        """Stop everything that was started before any thread."""
        self._spawner.close()
        self._store.close()
        shutil.rmtree(self._context.folder, ignore_errors=True)

    def _wait_for_store(self) -> None:
        """Wait until Redis answers. Raises Misconfigured when it is unfit for use."""
        while not self._stopping.is_set():
            say_alive()
            try:
                policy = self._store.run(preflight.check())
            except StoreUnavailable:
                self._stopping.wait(1.0)
            else:
                if policy:
                    log.warning("store.evicts", policy=policy)
                return

    def _on_fitness(self, why: str) -> None:
        """Report that this worker has become unfit, or fit again."""
        self._context.heartbeat.report_unfit(why)
        self._threads.rest(bool(why))
        if not why:
            self._wake_others(self._settings.worker_threads)

    def _recount(self) -> None:
        """Correct the count of free threads: each missed one would reduce concurrency by one for good."""
        busy = len(self._busy()) + self._worker.work_queue.qsize()
        if self._threads.taken <= busy:
            self._miscounted_since_s = None
        elif self._miscounted_since_s is None:
            self._miscounted_since_s = time.monotonic()
        elif time.monotonic() - self._miscounted_since_s > MISCOUNTED_S:
            log.error("worker.miscounted", taken=self._threads.taken, busy=busy)
            self._threads.lose(self._threads.taken - busy)
            self._miscounted_since_s = None

    def _on_wakeup(self) -> None:
        """Run waiting runs, in a woken thread."""
        thread = threading.get_ident()
        processor = self._processors.get(thread)
        if processor is None:
            processor = Processor(self._context, self.name, f"{thread:x}", self._settings.queues)
            self._processors[thread] = processor
        processor.run_until_empty(self._wake_others)

    def _wake_others(self, waiting: int) -> None:
        """Wake other free threads of this process when more runs wait than one thread can take."""
        free = min(self._threads.wait(0), waiting)
        for _ in range(free):
            self._threads.take()
            self._worker.work_queue.put(queue.local_wakeup(self._settings.queues[0]))

    def _missing(self) -> str:
        if not self._spawner.is_alive():
            return "the spawner"
        if not self._context.heartbeat.is_alive():
            return "the heartbeat"
        if not self._context.log_shipper.is_alive():
            return "the log shipper"
        if not self._context.fitness.is_alive():
            return "the fitness check"
        if not all(consumer.is_alive() for consumer in self._worker.consumers.values()):
            return "a consumer thread"
        if not all(thread.is_alive() for thread in self._worker.workers):
            return "a worker thread"
        stuck_s = time.monotonic() - STUCK_S - 2 * self._settings.redis_timeout_s
        if any(processor.busy and processor.alive_s < stuck_s for processor in self._processors.values()):
            return f"{HANGING} of a processor"
        return ""

    def _shut_down(self) -> None:
        log.info("worker.drain", worker=self.name, grace_s=self._settings.shutdown_grace_s)
        self._threads.close()
        for consumer in self._worker.consumers.values():
            consumer.stop()
        for thread in self._worker.workers:
            thread.stop()
        while self._busy():
            say_alive()
            if self._draining.is_over:
                log.error("worker.abandoned", worker=self.name, runs=len(self._busy()))
                break
            for processor in self._busy():
                execution = processor.execution
                if execution is not None:
                    execution.wake()
            time.sleep(0.05)
        self._context.fitness.stop()
        self._context.log_shipper.stop()
        self._context.interpreters.close()
        self._spawner.close()
        if self._context.emitter is not None:
            left_s = (self._draining.until_s or 0.0) + 2.0 - time.monotonic()
            self._context.emitter.close(min(FLUSH_S, max(0.5, left_s)))
        self._context.heartbeat.stop()
        self._context.end_replay.stop()
        self._store.close()
        shutil.rmtree(self._context.folder, ignore_errors=True)
        with contextlib.suppress(ValueError):
            log.info("worker.stopped", worker=self.name)

    def _busy(self) -> list[Processor]:
        return [processor for processor in self._processors.values() if processor.busy]
