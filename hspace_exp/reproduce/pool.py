"""Tasks in worker processes: each in a log of its own, those that need another's files after it, none kept waiting."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

TERMINATE_SECONDS = 20
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Task:
    """Something to do.

    Attributes:
        name: told when it is done.
        call: a function that another process can import.
        arguments: of it, that can be sent there.
        log: file that gets all output.
        makes: what other tasks wait for, done or failed; "" for nothing.
        needs: what this one waits for.
    """

    name: str
    call: Callable[..., None]
    arguments: tuple[Any, ...]
    log: Path
    makes: str = ""
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Done:
    """How a task ended: ``error`` is "" where all went well."""

    task: Task
    seconds: float
    error: str


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    device: str = ""
    task: Task | None = None
    started: float = 0.0


def work(tasks: Sequence[Task], jobs: int = 1, max_seconds: float = 0, devices: Sequence[str] = ()) -> Iterator[Done]:
    """Do tasks in ``jobs`` processes, and tell of each when it ended.

    A worker takes one task after another, so that libraries are imported once. A task that fails, or takes its process
    with it, stops no other.

    Args:
        tasks: in order; one whose needs are not made yet lets others pass.
        jobs: processes side by side.
        max_seconds: after which running tasks are stopped and no more are started; 0 for never.
        devices: GPUs to spread the processes over, as ``CUDA_VISIBLE_DEVICES`` names them; none: all see all.
    """
    deadline = time.monotonic() + max_seconds if max_seconds else None
    waiting, workers = list(tasks), list[_Worker]()
    awaited = {task.makes for task in tasks if task.makes}
    try:
        while waiting or any(worker.task for worker in workers):
            for task in _ready(waiting, awaited, jobs - sum(worker.task is not None for worker in workers)):
                waiting.remove(task)
                _give(task, workers, devices)
            busy = {worker.connection: worker for worker in workers if worker.task is not None}
            ended = wait(list(busy), None if deadline is None else max(0.0, deadline - time.monotonic()))
            if not ended:
                return
            for connection in ended:
                done = _result(busy[connection], workers)  # type: ignore[index]
                awaited.discard(done.task.makes)
                yield done
    finally:
        _stop(workers)


def _ready(waiting: Sequence[Task], awaited: set[str], count: int) -> list[Task]:
    return [task for task in waiting if not task.needs & awaited][:count]


def _give(task: Task, workers: list[_Worker], devices: Sequence[str]) -> None:
    worker = next((w for w in workers if w.task is None), None)
    if worker is None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=False)
        device = min(devices, key=[other.device for other in workers].count, default="")
        with _seen(device):
            process.start()
        theirs.close()
        worker = _Worker(process, ours, device)
        workers.append(worker)
    worker.task, worker.started = task, time.monotonic()
    worker.connection.send(task)


@contextmanager
def _seen(device: str) -> Iterator[None]:
    """What is started meanwhile sees this GPU alone; "" for all."""
    before = os.environ.get(VISIBLE)
    if device:
        os.environ[VISIBLE] = device
    try:
        yield
    finally:
        if device:
            os.environ.pop(VISIBLE)
        if before is not None:
            os.environ[VISIBLE] = before


def _result(worker: _Worker, workers: list[_Worker]) -> Done:
    task, seconds = worker.task, time.monotonic() - worker.started
    if task is None:
        raise RuntimeError("expected a worker with a task")
    try:
        error = str(worker.connection.recv())
    except EOFError:
        worker.process.join()
        error = f"its process ended with exit code {worker.process.exitcode}"
        workers.remove(worker)
        worker.connection.close()
    worker.task = None
    return Done(task, seconds, error)


def _stop(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()  # an idle worker reads the end of its orders
        if worker.task is not None:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(TERMINATE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _serve(connection: Connection) -> None:
    """The life of a worker."""
    try:
        while True:
            task: Task = connection.recv()
            task.log.parent.mkdir(parents=True, exist_ok=True)
            with task.log.open("a", encoding="utf-8") as file:
                for stream in (1, 2):
                    os.dup2(file.fileno(), stream)
            logging.basicConfig(
                stream=sys.stderr, force=True, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
            )
            connection.send(_attempt(task))
    except (EOFError, KeyboardInterrupt):
        return


def _attempt(task: Task) -> str:
    try:
        task.call(*task.arguments)
    except Exception as error:  # whatever it is, it is told by name, and the other tasks go on
        logging.getLogger(__name__).exception("%s failed", task.name)
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""
