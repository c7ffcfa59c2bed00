from service.telemetry.stages import StageClock


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


def test_stages_follow_each_other_without_gaps():
    clock = Clock()
    stages = StageClock(clock)
    clock.now = 11.0
    stages.enter("decode")
    clock.now = 13.0
    stages.enter("queue")
    clock.now = 17.0
    stages.enter("inference", at=14.0)
    assert stages.stop() == 7.0
    assert stages.seconds == {"read": 1.0, "decode": 2.0, "queue": 1.0, "inference": 3.0}


def test_a_fork_goes_its_own_way_and_can_be_adopted():
    clock = Clock()
    stages = StageClock(clock)
    clock.now = 11.0
    fork = stages.fork()
    fork.enter("decode")
    clock.now = 12.0
    fork.enter("queue")
    assert stages.seconds == {}
    stages.adopt(fork)
    assert stages.stop() == 2.0
    assert stages.seconds == {"read": 1.0, "decode": 1.0, "queue": 0.0}


def test_timings_are_milliseconds_of_the_stages_that_are_over():
    clock = Clock()
    stages = StageClock(clock)
    stages.enter("decode")
    clock.now += 0.0123456
    stages.enter("encode")
    assert stages.timings_ms() == {
        "decode": 12.346,
        "queue": 0.0,
        "inference": 0.0,
        "postprocess": 0.0,
    }
