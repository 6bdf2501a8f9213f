"""Products of a simulated night against its truth, by code of its own: numpy, astropy, photutils."""

from __future__ import annotations

import numpy as np
from astropy.table import Table
from night_truth import Truth, filter_of, mapped, product
from numpy.typing import NDArray
from photutils.aperture import CircularAperture
from scipy.ndimage import maximum_filter

from visql_lib.simulate.night_frames import NightFrame
from visql_lib.simulate.night_sky import trails

HOT, DEAD, COLUMN = 4, 8, 16  # bits of MASK, as docs/flags.md has them
_RADIUS = 4.5  # px of an aperture: 1.5 FWHM
_BRIGHT = 100.0  # signal to noise of the stars that are compared
_FAINT = 0.02  # of the sky: light of stars in a pixel of the background
_CORNER = 64  # px

Figures = dict[str, float]


def pulls(name: str, offsets: NDArray, errors: NDArray, where: NDArray) -> Figures:
    """Return mean and standard deviation of offset / error, and by median and MAD."""
    z = (offsets / errors)[where & np.isfinite(offsets) & (errors > 0)]
    if not z.size:
        return {}
    median = float(np.median(z))
    robust = 1.4826 * float(np.median(np.abs(z - median)))
    return {
        f"{name}: mean pull": float(z.mean()),
        f"{name}: sigma": float(z.std()),
        f"{name}: median pull": median,
        f"{name}: sigma by MAD": robust,
    }


def bias_and_dark(truth: Truth) -> Figures:
    """Compare master bias and master dark, at times they were not taken at as well."""
    found: Figures = {}
    chip = truth.chip
    level = np.zeros_like(chip.bias)
    for amplifier in chip.amplifiers if truth.options.has_overscan else ():
        level[amplifier.part.rows, amplifier.part.columns] = amplifier.level
    for bias in truth.masters("MASTER BIAS"):
        found |= pulls("bias", bias.data - (chip.bias - level), bias.err, np.ones(level.shape, bool))
    for dark in truth.masters("MASTER DARK"):
        m = dark.more
        for t in (1.0, 60.0, 300.0):
            off = m["OFFSET"] + m["RATE"] * t - (chip.offset + chip.rate * t)
            err = np.sqrt(m["VAROFF"] + t**2 * m["VARRATE"] + 2 * t * m["COVAR"])
            found |= pulls(f"dark at {t:.0f} s", off, err, ~chip.hot & ~chip.nonlinear)
            found |= pulls(f"hot pixels at {t:.0f} s", off, err, chip.hot & ~chip.nonlinear)
    return found


def flats(truth: Truth) -> list[Figures]:
    """Compare the master flats: errors, noise against all photons, trails."""
    found = []
    for flat in truth.masters("MASTER FLAT"):
        name = filter_of(flat)
        frames = [f for f in truth.frames.values() if f.type == "FLAT" and f.filter == name]
        shape = truth.chip.bias.shape
        streaks, information = np.zeros(shape), np.zeros(shape)
        for frame in frames:
            rng = np.random.default_rng([truth.options.seed, 35, frame.number])
            streaks = np.maximum(streaks, trails(shape, truth.options.frames.trails, rng))
            electrons = frame.level * truth.options.camera.gain * truth.chip.response[name]
            information += electrons**2 / (electrons + truth.options.camera.read_noise**2)
        scale = truth.flat_scale[name]
        relative = flat.data / (truth.chip.flats[name] * scale) - 1
        quiet = truth.good & (streaks < 1e-3) & (flat.mask == 0)
        on = truth.good & (streaks > 0.5) & (flat.mask == 0)
        figures = pulls("flat", relative * truth.chip.flats[name], flat.err, quiet)
        figures["flat: mean over that of good pixels [%]"] = 100 * (scale - 1)
        figures["flat: noise / photon limit"] = float((relative * np.sqrt(information))[quiet].std())
        figures["flat: trails left [%]"] = 100 * float(relative[on].mean() - relative[quiet].mean())
        figures["flat: corner to centre [%]"] = _corner(relative, np.ones(shape), quiet)
        found.append(figures)
    return found


def _corner(offset: NDArray, level: NDArray, where: NDArray) -> float:
    """Return how much larger corners are than the centre, in percent of the level."""
    ny, nx = offset.shape
    n = min(_CORNER, ny // 4, nx // 4)
    corners, centre = np.zeros(offset.shape, bool), np.zeros(offset.shape, bool)
    for y in (slice(0, n), slice(-n, None)):
        for x in (slice(0, n), slice(-n, None)):
            corners[y, x] = True
    centre[ny // 2 - n : ny // 2 + n, nx // 2 - n : nx // 2 + n] = True
    usable = where & np.isfinite(offset)
    parts = [float(offset[usable & p].mean() / level[usable & p].mean()) for p in (corners, centre)]
    return 100 * (parts[0] - parts[1])


def lights(truth: Truth) -> list[Figures]:
    """Compare the reduced lights: background, star pixels, flatness of the sky, fluxes of stars."""
    found = []
    for name, frame in truth.frames.items():
        path = truth.night / "frames" / f"{name}.fits"
        if frame.type != "SCIENCE" or not path.is_file():
            continue
        light, stars, sky = product(path), truth.stars(frame), truth.sky(frame)
        hit = np.zeros(stars.shape, bool)
        hit[tuple(truth.cosmics[name].T)] = True
        where = (light.mask == 0) & truth.good & ~hit
        background, on = where & (stars < _FAINT * sky), where & (stars > 2 * sky)
        off = light.data - sky - stars
        figures = pulls("light, background", off, light.err, background)
        figures |= pulls("light, star pixels", off, light.err, on)
        figures["light: sky, corner to centre [%]"] = _corner(off, sky, background)
        figures |= star_fluxes("light", truth, frame, off, light.err, where)
        found.append(figures)
    return found


def star_fluxes(
    name: str, truth: Truth, frame: NightFrame, off: NDArray, err: NDArray, usable: NDArray
) -> Figures:
    """Compare the light in apertures on bright stars: ratio to the truth, and pull.

    `off` is the image less all true light, so that neighbours do not count; of stars with an unusable pixel
    in the aperture nothing is said.
    """
    field = truth.made.fields[frame.target]
    assert frame.pointing is not None
    x, y = frame.pointing.pixels(field.x, field.y)
    ny, nx = off.shape
    inside = (x > 10) & (x < nx - 11) & (y > 10) & (y < ny - 11)
    apertures = CircularAperture(np.column_stack([x, y])[inside], _RADIUS)
    lost = apertures.do_photometry((~(usable & np.isfinite(off))).astype(float))[0] > 0
    sums, errors = apertures.do_photometry(np.nan_to_num(off), error=np.nan_to_num(err))
    flux = truth.fluxes(frame)[inside]
    bright = ~lost & (flux > _BRIGHT * errors)
    if bright.sum() < 5:
        return {}
    relative, z = (sums / flux)[bright], (sums / errors)[bright]
    return {
        f"{name}: flux of stars, median [%]": 100 * float(np.median(relative)),
        f"{name}: flux of stars, scatter / error": 1.4826 * float(np.median(np.abs(z - np.median(z)))),
        f"{name}: stars compared": float(bright.sum()),
    }


def registrations(truth: Truth) -> list[Figures]:
    """Compare shifts and turns with the true pointings, over the frame."""
    found = []
    ny, nx = truth.chip.bias.shape
    y, x = (a.ravel() for a in np.mgrid[0 : ny - 1 : 9j, 0 : nx - 1 : 9j])
    for path in sorted((truth.night / "stacks").glob("*_registration.parquet")):
        table = Table.read(path)
        reference = next(truth.frames[str(row["EXPOSURE"])] for row in table if row["REFERENCE"])
        for row in table:
            if row["STATUS"] != "ok":
                found.append({"registration: frames left out": 1.0})
                continue
            frame, m = truth.frames[str(row["EXPOSURE"])], np.asarray(row["MATRIX"])
            u, v = mapped(frame, reference, x, y)
            du, dv = m[0] * x + m[1] * y + m[2] - u, m[3] * x + m[4] * y + m[5] - v
            rms = float(np.sqrt(np.mean(du**2 + dv**2) / 2))
            figures = {
                "registration: frames left out": 0.0,
                "registration: frames off by 0.5 px": float(rms > 0.5),
            }
            if not row["REFERENCE"]:
                figures["registration: rms per axis [px]"] = rms
                true = frame.transparency / reference.transparency
                figures["registration: transparency [%]"] = 100 * (float(row["TRANSPARENCY"]) / true - 1)
                middle = len(x) // 2
                figures["registration: shift / error"] = float(du[middle] / row["SHIFT_ERR"])
            found.append(figures)
    return found


def stacks(truth: Truth) -> list[Figures]:
    """Compare the stacks: pixels, sums of neighbours, sky, fluxes, what is left of cosmic rays."""
    found = []
    for path in sorted((truth.night / "stacks").glob("*.fits")):
        stack = product(path)
        table = Table.read(path.with_name(f"{path.stem}_registration.parquet"))
        table = table[table["STATUS"] == "ok"]
        names = [str(name) for name in table["EXPOSURE"]]
        reference = truth.frames[names[int(np.argmax(table["REFERENCE"]))]]
        expected, stars = _expected(truth, [truth.frames[n] for n in names], reference, table)
        sky = truth.sky(reference)
        off = stack.data - expected
        where = np.isfinite(stack.data) & (stack.more["N"] == len(names))
        background, on = where & (stars < _FAINT * sky), where & (stars > 2 * sky)
        figures = pulls("stack, background", off, stack.err, background)
        figures |= _sums(off, stack.err, background, float(stack.header["CORRFAC"]))
        figures |= pulls("stack, star pixels", off, stack.err, on)
        figures["stack: sky, corner to centre [%]"] = _corner(off, sky, background)
        errors = stack.err * float(stack.header["CORRFAC"])
        figures |= star_fluxes("stack", truth, reference, off, errors, np.isfinite(stack.data))
        figures |= _cosmics_left(truth, names, reference, off / stack.err, stars / sky)
        found.append(figures)
    return found


def _expected(
    truth: Truth, frames: list[NightFrame], reference: NightFrame, table: Table
) -> tuple[NDArray, NDArray]:
    """Return the stack without noise, and the stars' light in it.

    Each frame's true light on the reference's pixels, scaled by the true transparency to the reference's, its
    sky at the reference's level; weights are the inverse variances that the registration measured.
    """
    total, stars, weights = 0.0, 0.0, 0.0
    for frame, noise in zip(frames, table["NOISE"], strict=True):
        clear = reference.transparency / frame.transparency
        weight = 1 / (noise * clear) ** 2
        light = truth.stars(frame, onto=reference) * clear
        sky = truth.sky(frame, onto=reference)
        level = frame.sky * frame.exptime * truth.scale(frame.filter)
        total = total + weight * (light + (sky - level) * clear)
        stars, weights = stars + weight * light, weights + weight
    level = reference.sky * reference.exptime * truth.scale(reference.filter)
    return np.asarray(total / weights + level), np.asarray(stars / weights)


def _sums(off: NDArray, err: NDArray, where: NDArray, factor: float, side: int = 8) -> Figures:
    """Compare sums over squares, whose errors hold the factor of the correlation."""
    ny, nx = (n // side for n in off.shape)

    def cells(a: NDArray) -> NDArray:
        return a[: ny * side, : nx * side].reshape(ny, side, nx, side).swapaxes(1, 2).reshape(ny, nx, -1)

    whole = np.asarray(cells(where).all(axis=2))
    errors = factor * np.sqrt(cells(err**2).sum(axis=2))
    return pulls("stack, sums of 8 x 8 px", cells(off).sum(axis=2), errors, whole)


def _cosmics_left(
    truth: Truth, names: list[str], reference: NightFrame, pull: NDArray, stars: NDArray
) -> Figures:
    """Count pixels above 5 sigma that all frames see: near cosmic rays (3 px), near stars, elsewhere."""
    ny, nx = pull.shape
    y, x = np.mgrid[:ny, :nx].astype(float)
    seen, near, rays = np.ones(pull.shape, bool), np.zeros(pull.shape, bool), 0
    for name in names:
        frame, places = truth.frames[name], truth.cosmics[name]
        u, v = mapped(reference, frame, x, y)
        seen &= (u >= 2) & (u <= nx - 3) & (v >= 2) & (v <= ny - 3)
        hits = np.rint(mapped(frame, reference, *places.T[::-1].astype(float))).astype(int)
        inside = (hits[0] >= 0) & (hits[0] < nx) & (hits[1] >= 0) & (hits[1] < ny)
        near[hits[1][inside], hits[0][inside]] = True
        rays += int(inside.sum())
    near = maximum_filter(near, 7)
    bright = maximum_filter(stars, 13) > 20
    high = seen & (pull > 5)
    counts = {
        "by cosmic rays": high & near & ~bright,
        "by cosmic rays on stars": high & near & bright,
        "by stars": high & ~near & bright,
        "elsewhere": high & ~near & ~bright,
    }
    return {"stack: pixels hit in its frames": float(rays)} | {
        f"stack: pixels above 5 sigma, {where}": float(pixels.sum()) for where, pixels in counts.items()
    }


def odd_frames(truth: Truth) -> Figures:
    """Count odd darks that were not found, and good calibration frames that were left out."""
    status: dict[str, str] = {}
    for path in (truth.night / "masters").glob("*.parquet"):
        table = Table.read(path)
        status |= {str(row["EXPOSURE"]): str(row["STATUS"]) for row in table}
    odd = [status.get(name) == "odd" for name, frame in truth.frames.items() if frame.odd]
    calibrations = [name for name, frame in truth.frames.items() if frame.type != "SCIENCE" and not frame.odd]
    return {
        "odd dark missed": float(len(odd) - sum(odd)),
        "good frames left out": float(sum(status.get(name) != "ok" for name in calibrations)),
    }


def bad_pixels(truth: Truth) -> list[Figures]:
    """Count bad pixels that were missed, and good ones taken for bad."""
    chip, found = truth.chip, []
    for master in truth.masters("BAD PIXELS"):
        bits = master.data.astype(int)
        kinds = {
            "hot": chip.hot & (bits & HOT == 0),
            "dead": chip.dead & (bits & DEAD == 0),
            "nonlinear": chip.nonlinear & (bits & DEAD == 0),
            "column": chip.column & (bits & COLUMN == 0),
        }
        figures = {f"bad pixels: {kind} missed": float(lost.sum()) for kind, lost in kinds.items()}
        truly = {"hot": chip.hot, "dead": chip.dead, "nonlinear": chip.nonlinear, "column": chip.column}
        figures |= {f"bad pixels: {kind}, all": float(pixels.sum()) for kind, pixels in truly.items()}
        figures["bad pixels: good ones masked"] = float((truth.good & (bits != 0)).sum())
        found.append(figures)
    return found


def compare(truth: Truth) -> list[Figures]:
    """Compare all products of a night that are there."""
    return [
        bias_and_dark(truth),
        odd_frames(truth),
        *flats(truth),
        *bad_pixels(truth),
        *lights(truth),
        *registrations(truth),
        *stacks(truth),
    ]
