"""A time delay put into a simulated season comes back from the .rdb, by a simple dispersion method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from light_chain import light_curve, visql

from visql_lib.tables.rdb import read_rdb

DELAY = 10.3  # d: no multiple of the cadence
PLAN = f"""
instrument: generic
seed: 5
nights: 30
frames: 2
cadence: 3 d
camera: {{columns: 256, rows: 256}}
stars: {{bright: 10, faint: 10}}
target:
  name: J0001
  images:
    A: {{mag: 17.6, x: -0.8, y: 0.6}}
    B: {{mag: 18.0, x: 0.8, y: -0.6, delay: {DELAY}}}
  galaxy: {{mag: 20.0}}
  variability: 0.2
"""
Curve = tuple[np.ndarray, np.ndarray, np.ndarray]  # time, magnitude, error


def between(time: np.ndarray, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve and its variance at other times, by lines between its points."""
    t, m, e = curve
    after = np.clip(np.searchsorted(t, time), 1, len(t) - 1)
    share = (time - t[after - 1]) / (t[after] - t[after - 1])
    value = m[after - 1] * (1 - share) + m[after] * share
    return value, (e[after - 1] * (1 - share)) ** 2 + (e[after] * share) ** 2


def dispersion(delay: float, a: Curve, b: Curve) -> float:
    """Return how much the curves differ, b set back by a delay: chi^2 over the number, but for a constant."""
    back = (b[0] - delay, b[1], b[2])
    off, variance = [], []
    for one, other, sign in ((a, back, 1), (back, a, -1)):
        inside = (one[0] >= other[0][0]) & (one[0] <= other[0][-1])
        value, of_value = between(one[0][inside], other)
        off.append(sign * (one[1][inside] - value))
        variance.append(one[2][inside] ** 2 + of_value)
    d, v = np.concatenate(off), np.concatenate(variance)
    return float(((d - (d / v).sum() / (1 / v).sum()) ** 2 / v).sum() / (len(d) - 1))


def best_delay(a: Curve, b: Curve) -> float:
    """Return the delay of least dispersion: by steps of 0.5 d, then of 0.05 d."""
    found = 0.0
    for step, half in ((0.5, 25.0), (0.05, 1.0)):
        grid = found + np.arange(-half, half + step / 2, step)
        found = float(grid[np.argmin([dispersion(delay, a, b) for delay in grid])])
    return found


def measure_delay(a: Curve, b: Curve, seed: int = 1) -> tuple[float, float]:
    """Return the delay of b, and its error from curves made anew of both together with the noise of their errors."""
    delay = best_delay(a, b)
    rng = np.random.default_rng(seed)
    level = np.average(a[1] - between(a[0], (b[0] - delay, b[1], b[2]))[0])
    time = np.concatenate([a[0], b[0] - delay])
    order = np.argsort(time)
    both = (time[order], np.concatenate([a[1], b[1] + level])[order], np.concatenate([a[2], b[2]])[order])
    found = []
    for _ in range(25):
        again = [
            (t, between(t - shift, both)[0] + rng.normal(0, e), e)
            for (t, _, e), shift in ((a, 0), (b, delay))
        ]
        found.append(best_delay(*again))
    return delay, float(np.sqrt(np.mean((np.array(found) - delay) ** 2)))


def waves(time: np.ndarray, seed: int) -> np.ndarray:
    """Make the light of a quasar: waves whose height grows with their period, rms 0.2 mag."""
    rng = np.random.default_rng([seed, 7])
    period = np.geomspace(25, 400, 24)
    phase, height = rng.uniform(0, 2 * np.pi, 24), period * rng.rayleigh(1, 24)
    light = (height * np.sin(2 * np.pi * time[:, None] / period + phase)).sum(1)
    grid = (height * np.sin(2 * np.pi * np.linspace(0, 90, 200)[:, None] / period + phase)).sum(1)
    return 0.2 * (light - grid.mean()) / grid.std()


def test_the_method_finds_delays_with_their_errors() -> None:
    """Of ten pairs of curves with noise of 4 mmag: no delay is off by 4 of its errors, the pulls are about 1."""
    pulls, errors = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        time = 3.0 * np.arange(30) + rng.uniform(-0.1, 0.1, 30)
        e = np.full(30, 0.004)
        a = (time, waves(time, seed) + rng.normal(0, e), e)
        b = (time, waves(time - DELAY, seed) + 0.4 + rng.normal(0, e), e)
        delay, err = measure_delay(a, b)
        pulls.append((delay - DELAY) / err)
        errors.append(err)
    assert np.max(np.abs(pulls)) < 4
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.7
    assert np.median(errors) < 0.6


@pytest.mark.heavy
def test_a_delay_comes_back_from_the_rdb(tmp_path: Path) -> None:
    """60 frames of a lens whose image B is 10.3 d late, through all stages: the delay, within its error."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "config.yaml").write_text("pipeline: lightcurves\n")
    visql("simulate-season", tmp_path / "plan.yaml", "-o", tmp_path / "season")
    raws = sorted((tmp_path / "season" / "raw" / "R_sim").glob("*.fits"))
    target = tmp_path / "season" / "targets" / "J0001.yaml"
    rdb = light_curve(tmp_path / "J0001", raws, target, "R_sim", tmp_path / "config.yaml")
    found = read_rdb(rdb)
    assert len(found) == 30
    a, b = ((found.columns["mhjd"], found.magnitude(s), found.error(s)) for s in ("A", "B"))
    delay, err = measure_delay(a, b)
    assert err < 0.6
    assert abs(delay - DELAY) < 2 * err
    assert dispersion(delay, a, b) < 2  # the errors of the file are those of the curves
    assert dispersion(0.0, a, b) > 20
