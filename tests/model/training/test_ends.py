"""Signals are noted, obeyed at once the second time, and given back."""

from __future__ import annotations

import signal
import threading

import pytest

from model.training.ends import Interrupted, noted_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_is_noted_and_nothing_else(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with noted_signals() as noted:
        assert noted.anywhere() == 0
        signal.raise_signal(number)
        assert noted.anywhere() == number
    assert signal.getsignal(number) is before


def test_second_interrupt_is_obeyed_at_once() -> None:
    # A shell starts background jobs, and so perhaps this test, with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with noted_signals():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_change_no_handler() -> None:
    handlers = []

    def work() -> None:
        with noted_signals():
            handlers.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]


def test_end_names_signal_and_step() -> None:
    assert str(Interrupted(signal.SIGTERM, 7)) == "stopped by SIGTERM after step 7"
