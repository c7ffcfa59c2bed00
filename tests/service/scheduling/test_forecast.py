import pytest

from service.scheduling.forecast import Figure, Forecast, Span, total
from tests.service.scheduling.entries import LARGE, SMALL


def test_spans_add_up_and_are_rarely_longer_than_their_mean_and_some_deviations():
    whole = total([Span(1.0, 0.01), Span(2.0, 0.02), Span(2.0, 0.02)])
    assert (whole.mean, whole.variance) == pytest.approx((5.0, 0.05))
    assert Span(5.0, 0.04).at_most == pytest.approx(5.466)


def test_spans_of_one_figure_share_the_error_of_its_mean():
    assert Span(2.0, 0.15).times(5).mean == 10.0
    assert Span(2.0, 0.15).times(5).variance == pytest.approx(5 * 0.15 + 25 * 0.15 / 15)


def test_a_figure_follows_what_is_measured():
    figure = Figure()
    for turn in range(60):
        figure.measure(0.2 if turn % 2 else 0.4, now=turn * 0.3)
    assert figure.span.mean == pytest.approx(0.3, rel=0.05)
    assert figure.span.variance == pytest.approx(0.01, rel=0.1)


def test_the_first_measurement_replaces_the_guess():
    figure = Figure()
    figure.guess(8.0)
    figure.measure(1.0, now=0.0)
    assert figure.span == Span(1.0, 0.0625)


def test_one_hiccup_counts_for_four_times_the_mean():
    figure = Figure()
    figure.measure(1.0, now=0.0)
    figure.measure(100.0, now=1.0)
    assert figure.span.mean == 1.0 + 3.0 / 8


@pytest.mark.parametrize(("seconds", "fresh_at", "stale_at"), [(0.01, 1.0, 1.1), (2.0, 20.0, 20.1)])
def test_a_figure_is_stale_after_a_second_or_ten_times_itself(seconds, fresh_at, stale_at):
    figure = Figure()
    assert figure.is_stale(0.0)
    figure.measure(seconds, now=0.0)
    assert not figure.is_stale(fresh_at)
    assert figure.is_stale(stale_at)


def test_a_stale_figure_is_replaced_by_the_next_measurement():
    figure = Figure()
    figure.measure(5.0, now=0.0)
    figure.measure(0.1, now=51.0)
    assert figure.span.mean == 0.1


def test_a_hiccup_after_a_rest_counts_like_any_other():
    figure = Figure()
    figure.measure(1.0, now=0.0)
    figure.measure(100.0, now=51.0)
    assert figure.span.mean == 1.0 + 3.0 / 8


def test_what_the_warm_up_measured_is_expected_but_refuses_nobody():
    forecast = Forecast()
    forecast.warmed(SMALL, 1, 3.0)
    assert forecast.run(SMALL, 1, now=0.0).mean == 3.0
    assert forecast.trusted_run(SMALL, 1, now=0.0) == Span()
    forecast.ran(SMALL, 1, 2.0, now=0.0)
    assert forecast.trusted_run(SMALL, 1, now=0.0).mean == 2.0
    assert forecast.trusted_run(SMALL, 2, now=0.0).mean == 2.0


def test_a_stale_batch_is_expected_to_take_no_longer_than_its_images_one_by_one():
    forecast = Forecast()
    forecast.warmed(SMALL, 4, 9.0)
    forecast.ran(SMALL, 1, 0.1, now=0.0)
    assert forecast.run(SMALL, 4, now=0.0).mean == pytest.approx(0.4)
    forecast.ran(SMALL, 4, 0.5, now=0.0)
    assert forecast.run(SMALL, 4, now=0.0).mean == 0.5


def test_a_batch_that_was_never_measured_takes_as_long_as_its_images():
    forecast = Forecast()
    assert forecast.run(LARGE, 2, now=0.0) == Span()
    forecast.ran(LARGE, 1, 0.2, now=0.0)
    assert forecast.run(LARGE, 2, now=0.0).mean == 0.4


def test_decoding_is_forgotten_when_stale():
    forecast = Forecast()
    forecast.decoded(0.5, ahead=0, now=0.0)
    assert forecast.trusted_decoding(ahead=0, now=4.0).mean == 0.5
    assert forecast.trusted_decoding(ahead=0, now=6.0) == Span()


def test_decoding_takes_as_long_as_there_are_images_ahead():
    forecast = Forecast()
    forecast.decoded(2.0, ahead=3, now=0.0)
    assert forecast.trusted_decoding(ahead=0, now=0.0).mean == 0.5
    assert forecast.trusted_decoding(ahead=7, now=0.0).mean == 4.0
