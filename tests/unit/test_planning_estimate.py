"""Prices, ranges and the arithmetic of a plan."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dvcp.errors import ConfigError
from dvcp.planning.calibration import STAGES, Calibration, Cost, Fixed, Point, read_calibration, spread, with_device, write_calibration
from dvcp.planning.estimate import Crew, Sample, estimate
from dvcp.planning.headers import Header
from dvcp.planning.ranges import Range, bootstrap_ratio
from dvcp.planning.rates import Rates, read_rates
from dvcp.planning.stretches import Stretch, draw


def film(name: str = "a", frames: int = 24_000, width: int = 1000, height: int = 1000) -> Header:
    return Header(name, width, height, 8, frames, True, Fraction(24), 10_000_000)


def calibration(seconds: float = 0.01, **fixed: float) -> Calibration:
    stages = dict.fromkeys(STAGES, Cost(seconds, seconds))
    costs = {"start": 10.0, "film": 2.0, "segment": 0.1, "hash_byte": 0.0, "put_byte": 0.0} | fixed
    return Calibration("a machine", "measured never", 4, "", "copy", "master", 8, (Point(1.0, 17, stages, 1.1),), Fixed(**costs))


def sample(cuts: int = 2, count: int = 10) -> Sample:
    return Sample(tuple(Stretch("a", 1.0, 240, cuts, 1.0, 1.0) for _ in range(count)), tuple((5e5, 1.0) for _ in range(count)), 1)


def test_a_range_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(4), 0
    for trial in range(200):
        amounts = rng.poisson(2.0, 24)
        found = bootstrap_ratio(amounts.tolist(), [240.0] * 24, trial, prior=0.5)
        held += found.low <= 2.0 / 240 <= found.high
    assert 0.65 < held / 200 < 0.92


def test_a_bigger_sample_gives_a_narrower_range_and_the_seed_decides_it() -> None:
    amounts = [0, 1, 2, 5, 1, 0, 3, 2]
    wide, narrow = (bootstrap_ratio(amounts * n, [240.0] * 8 * n, 1) for n in (1, 20))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2
    assert wide == bootstrap_ratio(amounts, [240.0] * 8, 1) != bootstrap_ratio(amounts, [240.0] * 8, 2)


def test_no_cut_in_the_sample_is_not_taken_for_none_in_the_film() -> None:
    found = bootstrap_ratio([0.0] * 5, [225.0] * 5, 1, prior=0.5)
    assert found.low > 0 and found.high < 0.01
    with pytest.raises(ValueError, match="nothing"):
        bootstrap_ratio([], [], 1)


def test_ranges_add_end_to_end() -> None:
    assert Range(1, 2, 4) + Range(1, 1, 1) * 2 == Range(3, 4, 6)
    with pytest.raises(ValueError, match="order"):
        Range(2, 1, 3)


def test_longer_stretches_of_film_are_drawn_more_often_and_the_seed_decides() -> None:
    films = [film("long", 90_000), film("short", 10_000), film("tiny", 20)]
    places = draw(films, 1000, 3)
    assert places == draw(films, 1000, 3)
    counts = [sum(one.url == name for one, _ in places) for name in ("long", "short")]
    assert 850 < counts[0] < 950 and 50 < counts[1] < 150
    assert all(0 <= start < one.duration for one, start in places)


def test_rates_are_read_from_toml_and_csv(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('currency = "EUR"\ngpu_hour = 2.5\ngb_month = 0.01\n')
    (tmp_path / "r.csv").write_text("name,price\ncurrency,EUR\ngpu_hour,2.5\ngb_month,0.01\n")
    toml, table = (read_rates(str(tmp_path / name)) for name in ("r.toml", "r.csv"))
    assert replace(toml, of="") == replace(table, of="") == Rates("EUR", 2.5, 0, 0.01, 0, 0, "")
    assert "placeholder" in Rates().of


@pytest.mark.parametrize(
    ("text", "why"), [("gpu_hour = 'much'", "much"), ("gpu_hours = 3", "gpu_hours"), ("gpu_hour = -1", "-1"), ("gpu_hour", "no rate table")]
)
def test_a_wrong_rate_table_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        read_rates(str(path))
    with pytest.raises(ConfigError, match="no such"):
        read_rates(str(tmp_path / "none.toml"))


def test_the_cost_is_the_sum_of_its_parts_at_the_given_prices() -> None:
    rates = Rates(gpu_hour=2.0, cpu_hour=1.0, gb_month=0.5, gb_egress=0.25, million_requests=4.0)
    plan = estimate([film()], sample(), calibration(), Crew(cores=4, films=1), rates)
    assert plan.cost["cpu"].middle == pytest.approx(plan.hours.middle * 4 * 1.0)
    assert plan.cost["storage a month"].middle == pytest.approx(2 * plan.bytes_out.middle / 1e9 * 0.5)
    assert plan.cost["egress"].middle == pytest.approx(plan.bytes_read.middle / 1e9 * 0.25)
    assert plan.cost["requests"].middle == pytest.approx(plan.requests.middle / 1e6 * 4)
    assert plan.cost["all"].middle == pytest.approx(sum(part.middle for name, part in plan.cost.items() if name != "all"))
    gpu = estimate([film()], sample(), calibration(), Crew(gpus=3, cores=12), rates)
    assert gpu.cost["gpu"].middle == pytest.approx(gpu.hours.middle * 3 * 2.0) and "cpu" not in gpu.cost


def test_frames_bytes_and_shots_add_up_over_films() -> None:
    plan = estimate([film("a"), film("b", 12_000)], sample(), calibration(), Crew(cores=4), Rates())
    assert (plan.films, plan.frames, plan.duration) == (2, 36_000, Fraction(1500))
    assert plan.bytes_out.middle == pytest.approx(36_000 * 5e5 * 1.1)
    assert plan.shots.middle == pytest.approx(2 + 36_000 * 20.5 / 2250) and plan.shots.low <= plan.shots.high
    assert plan.sampled_frames == 2400


def test_one_film_takes_its_stages_one_after_the_other() -> None:
    plan = estimate([film(frames=1000)], sample(), calibration(start=0, segment=0, film=0), Crew(cores=100, films=1), Rates())
    # a survey and a decoding; decoding and encoding by the writer, the slowest in its lane; joining; a proof and a decoding
    lanes = 100 // 4
    assert plan.hours.middle * 3600 == pytest.approx(1000 * 0.01 * (2 + 2 / lanes + 1 + 2))


def test_no_crew_beats_its_capacity() -> None:
    films = [film(str(k)) for k in range(40)]
    for crew in (Crew(cores=2, films=8), Crew(gpus=1, cores=64, films=40), Crew(gpus=64, cores=64, films=40)):
        plan = estimate(films, sample(), calibration(), crew, Rates())
        assert plan.core_hours.middle <= plan.hours.middle * crew.cores * (1 + 1e-9)
        assert plan.device_hours.middle <= plan.hours.middle * max(crew.gpus, 0) * (1 + 1e-9)
    assert plan.nights[0] <= plan.nights[1] <= plan.nights[2]


def test_stage_times_follow_the_size_of_the_picture() -> None:
    one = calibration()
    assert one.cost("encode", 2.0).wall == pytest.approx(0.02)
    fitted = replace(one, points=(one.points[0], Point(3.0, 17, dict.fromkeys(STAGES, Cost(0.02, 0.02)), 1.1)))
    assert fitted.cost("encode", 2.0).wall == pytest.approx(0.015)
    assert fitted.cost("encode", 0.01).wall > 0


def test_a_calibration_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "c.json")
    write_calibration(calibration(), path)
    assert read_calibration(path) == calibration()
    (tmp_path / "c.json").write_text('{"machine": 1}')
    with pytest.raises(ConfigError, match="no calibration"):
        read_calibration(path)


def test_an_imagined_device_replaces_networks_alone_and_says_so() -> None:
    made = with_device(calibration(), "computed", "H200", 1.3, 1.0)
    assert made.origin == "computed" and made.cost("encode", 1.0) == calibration().cost("encode", 1.0)
    assert made.cost("match", 1.0).wall + made.cost("propagate", 1.0).wall == pytest.approx(0.0013)


def test_the_most_common_sizes_are_measured_first() -> None:
    items = [(0.4, 10), (2.0, 500), (2.0, 500), (0.4, 10), (8.0, 1)]
    assert spread(items, 3) == [1, 0, 4] and spread(items, 9) == [1, 0, 4, 2, 3]
