from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

import pytest

from loadtest.protocols import detect
from loadtest.protocols.detect import BodyKind
from loadtest.protocols.post import Post
from loadtest.protocols.protocol import Picture
from loadtest.traffic import cores
from loadtest.traffic.client import open_client
from loadtest.traffic.run import Counting, Runner, since, title_of
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load, Trial
from tests.loadtest.answering import read_request, server
from tests.loadtest.http_server import http_server
from tests.loadtest.traffic.virtual import in_virtual_time

PICTURES = [Picture(b"one", "1.jpg", (1, 1)), Picture(b"two", "2.jpg", (1, 1))]


class Seen:
    """A `Watch` that keeps what it was told."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.sent_count = 0
        self.samples: list[Sample] = []

    def begin(self, title: str, load: Load) -> None:
        self.titles.append(title)

    def sent(self) -> None:
        self.sent_count += 1

    def tell(self, sample: Sample) -> None:
        self.samples.append(sample)


def run(load: Load, watch: Seen | None = None) -> Trial:
    with http_server() as url:
        return asyncio.run(Runner(Post([url]), PICTURES, watch).run(load))


def test_warm_up_is_cut_and_time_begins_after_it() -> None:
    seen = Seen()
    trial = run(Load(100.0, process="constant", seconds=0.4, warm_up_s=0.3), seen)
    assert seen.titles == ["100 requests/s (constant)"]
    assert seen.sent_count == len(seen.samples) == 70
    assert len(trial.samples) == 40
    starts = [sample.intended for sample in trial.samples]
    assert starts == pytest.approx([n / 100 for n in range(40)])
    assert trial.load.seconds == pytest.approx(0.4)
    assert trial.client_cores > 0


def test_time_in_which_the_last_answer_is_waited_for_does_not_hide_the_clients_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> Trial:
        now = asyncio.get_running_loop().time
        # 0.9 of a core for 2 s of warm-up and 10 s that count, then nothing.
        monkeypatch.setattr(cores.time, "process_time", lambda: 0.9 * min(now(), 12.0))
        async with open_client(60.0) as client:
            monkeypatch.setattr(client, "now", now)
            counting = Counting(client, Load(callers=1, seconds=10.0, warm_up_s=2.0))
            await asyncio.sleep(70.0)
            return counting.trial([], None)

    assert in_virtual_time(main, monkeypatch).client_cores == pytest.approx(0.9)


def test_bodies_of_all_kinds_are_made_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    begun: list[int] = []

    class Begun(Seen):
        def begin(self, title: str, load: Load) -> None:
            begun.append(len(made))

    def body_of(kind: BodyKind, picture: Picture) -> detect.Body:
        made.append((kind, picture.name))
        return detect.Body(picture.data, "text/plain")

    monkeypatch.setattr(detect, "body_of", body_of)
    protocol = detect.Detect(["http://a"], {"raw": 8.0, "multipart": 1.0, "json": 1.0})
    runner = Runner(protocol, PICTURES, Begun())
    runner.stop()
    asyncio.run(runner.run(Load(1.0)))
    kinds = ("raw", "multipart", "json")
    assert sorted(made) == sorted((kind, name) for kind in kinds for name in ("1.jpg", "2.jpg"))
    assert begun == [6]


def test_closed_loop_has_a_warm_up_too() -> None:
    seen = Seen()
    trial = run(Load(callers=2, seconds=0.2, warm_up_s=0.2), seen)
    assert 0 < len(trial.samples) < len(seen.samples)
    assert all(sample.intended >= 0 for sample in trial.samples)
    assert {sample.outcome for sample in trial.samples} == {Outcome.OK}


def test_answers_to_the_warm_up_are_carried_over() -> None:
    async def main() -> Trial:
        release, came = asyncio.Event(), count(1)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            if next(came) == 25:  # the warm-up's 20 have waited for it
                release.set()
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        async with server(serve) as url:
            load = Load(100.0, process="constant", seconds=0.5, warm_up_s=0.2)
            return await Runner(Post([url]), PICTURES).run(load)

    trial = asyncio.run(main())
    assert trial.carried == 20
    assert len(trial.samples) == 50


def test_run_ends_early_once_it_is_enough() -> None:
    looked: list[int] = []

    def enough(ended: Sequence[Sample]) -> bool:
        looked.append(len(ended))
        return True

    async def main(url: str) -> Trial:
        load = Load(100.0, seconds=60.0, warm_up_s=0.0)
        return await Runner(Post([url]), PICTURES).run(load, enough=enough)

    with http_server() as url:
        trial = asyncio.run(main(url))
    assert len(looked) == 1
    assert looked[0] <= len(trial.samples)
    assert trial.load.seconds < 30.0
    assert all(sample.intended <= trial.load.seconds for sample in trial.samples)


def test_stopped_runner_waits_for_what_is_under_way_and_begins_nothing_more() -> None:
    async def main(url: str) -> tuple[Trial, Trial]:
        seen = Seen()
        runner = Runner(Post([url]), PICTURES, seen)
        asyncio.get_running_loop().call_later(0.2, runner.stop)
        trial = await runner.run(Load(100.0, seconds=60.0, warm_up_s=0.0))
        assert seen.sent_count == len(seen.samples) == len(trial.samples)
        assert runner.stopped
        return trial, await runner.run(Load(100.0, seconds=60.0, warm_up_s=0.0))

    with http_server() as url:
        trial, after = asyncio.run(main(url))
    assert trial.load.seconds < 30.0
    assert after.samples == []
    assert after.load.seconds == 0.0


def test_samples_are_in_the_order_of_their_starts() -> None:
    samples = [Sample(7.0, 7.1, 7.2, Outcome.OK), Sample(6.0, 6.0, 9.0, Outcome.OK)]
    first, second = since(5.0, samples)
    assert (first.intended, first.sent, first.ended) == (1.0, 1.0, 4.0)
    assert (second.intended, second.sent, second.ended) == pytest.approx((2.0, 2.1, 2.2))


def test_title_says_what_load_it_is() -> None:
    assert title_of(Load(12.34567), None) == "12.35 requests/s (poisson)"
    assert title_of(Load(callers=8), 480) == "8 callers, each after its answer, scale 480"
