"""A process of an offline run: makes the results of one part after the other."""

from __future__ import annotations

import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from export.engines.session import DeviceFault, OutOfMemory, SessionError
from model.errors import InputError
from service.cli.finder import LocalFinder, Prepared
from service.errors import EngineOutOfMemory, InferenceFailed, Problem
from service.offline.plan import Plan, read_plan
from service.offline.results import counted, is_done, results_file, write_results
from service.offline.rule import Rule, identity_of
from service.offline.sources import Load, loads

logger = logging.getLogger(__name__)

ENGINE_LOST = 70
"""The exit status of a process whose engine is lost, as the server has it."""

AHEAD = 2
"""Pictures that wait for the engine, for each thread that decodes them."""

TRIES = 4
"""How often a part is begun whose worker was lost each time: some picture may be the reason."""

T = TypeVar("T")


class Worker:
    """Makes the results of parts; what it needs is opened with the first one, and kept."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._opened: tuple[Plan, LocalFinder] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """`images` and `problems` of the part with the number row["part"], which is then done.

        `refused` is a sentence where no part can be done here: an error of another process would
        come with its traceback.
        """
        try:
            images, problems = self._do(int(row["part"]))
        except (OSError, pa.ArrowException) as error:
            return _refused(f"a worker can't go on: {error}; do all machines see the same folders?")
        except InputError as error:
            return _refused(str(error))
        return {"images": images, "problems": problems, "refused": ""}

    def _do(self, number: int) -> tuple[int, int]:
        plan, finder = self._opened = self._opened or self._open()
        part, folder = plan.parts[number], self._rule.folder
        path = results_file(folder, number)
        if is_done(folder, number, part.num_rows):  # by a worker that was lost before it could say
            return counted(pq.read_table(path, columns=["problem"]).to_pylist())
        with _counting_tries(path, f"{part['file'][0]} to {part['file'][-1]}"):
            rows = list(self._rows(part, finder))
            write_results(path, rows, plan.facts | {"engine": finder.engine})
        return counted(rows)

    def _rows(self, part: pa.RecordBatch, finder: LocalFinder) -> Iterator[dict[str, Any]]:
        prepare = partial(_prepared, finder)
        names = zip(part["image_id"].to_pylist(), part["file"].to_pylist(), strict=True)
        with ThreadPoolExecutor(self._rule.threads) as pool:
            ahead = in_threads(pool, prepare, loads(part), AHEAD * self._rule.threads)
            for (image_id, file), prepared in zip(names, ahead, strict=True):
                yield {"image_id": image_id, "file": file, **_answer(finder, prepared)}

    def _open(self) -> tuple[Plan, LocalFinder]:
        rule = self._rule
        plan = read_plan(rule.folder)
        if identity_of(rule.bundle) != rule.bundle_sha256:
            raise InputError(f"{rule.bundle}: a worker found another bundle there")
        # What Pillow has to say about odd metadata is of no use to whoever asked for boxes.
        warnings.filterwarnings("ignore", module="PIL")
        # As the command line does; a worker on another machine has not come through there.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        finder = LocalFinder(
            rule.bundle,
            rule.query,
            engine=rule.engine,
            device=rule.device,
            threads=rule.threads,
        )
        return plan, finder


def _refused(sentence: str) -> dict[str, Any]:
    return {"images": 0, "problems": 0, "refused": sentence}


@contextmanager
def _counting_tries(path: Path, pictures: str) -> Iterator[None]:
    """InputError if the block was begun `TRIES` times before without an end.

    Ray would begin it anew for ever.
    """
    begun = path.with_name(f".part-tries-{path.name}")
    with begun.open("ab") as file:
        file.write(b".")
    if begun.stat().st_size > TRIES:
        raise InputError(
            f"{path}: its worker was lost {TRIES} times; the reason may be one of its pictures, "
            f"{pictures}. The same command tries them again"
        )
    yield
    begun.unlink(missing_ok=True)


def in_threads(
    pool: ThreadPoolExecutor, work: Callable[[T], Any], given: Iterator[T], most: int
) -> Iterator[Future[Any]]:
    """What becomes of each that is given, in order; at most so many are begun before their turn."""
    begun: deque[Future[Any]] = deque()
    for one in given:
        begun.append(pool.submit(work, one))
        if len(begun) > most:
            yield begun.popleft()
    yield from begun


def _prepared(finder: LocalFinder, load: Load) -> Prepared:
    return finder.prepare(load())


def _answer(finder: LocalFinder, prepared: Future[Prepared]) -> dict[str, Any]:
    """What was found, or the problem; ends the process where nothing can be found in it again."""
    try:
        return finder.find(prepared.result())
    except Problem as error:
        problem = error
    except DeviceFault as error:
        # Ray starts another worker then, which the device may work for again.
        logger.critical("the engine is lost: %s", error)
        os._exit(ENGINE_LOST)
    except OutOfMemory:
        problem = EngineOutOfMemory(retry_after_s=1)
    except SessionError:
        problem = InferenceFailed()
    return {"problem": {"code": problem.code, "detail": problem.detail}}
