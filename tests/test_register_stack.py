"""`visql register` and `visql stack` on simulated nights, against their truth; frames that do not fit."""

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from reduced_night import night, reduce_lights

from visql_lib.cli import cli
from visql_lib.images.image import read_image
from visql_lib.photometry.transparency import flux_ratio
from visql_lib.pipelines.reduction.schemas import FRAMES, REGISTRATION
from visql_lib.tables import read_table, write_table

N = 4


def visql(*args, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in args])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def registered(table):
    columns = read_table(table, REGISTRATION.names)
    return [{n: columns[n][i] for n in REGISTRATION.names} for i in range(columns.n_rows)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four lights, registered and stacked."""
    folder = tmp_path_factory.mktemp("night")
    simulated = night(N, seed=2)
    lights = reduce_lights(simulated, folder)
    names = [light.path for light in lights]
    visql("register", *names, "-o", folder / "registration.parquet")
    visql(
        *("stack", *names, "-o", folder / "stack.fits", "--registration", folder / "registration.parquet"),
        *("--picture", folder / "stack.png"),
    )
    rows = registered(folder / "registration.parquet")
    return folder, simulated, lights, rows, read_image(folder / "stack.fits")


def reference_of(lights, rows):
    return next(light.frame for light, row in zip(lights, rows, strict=True) if row["REFERENCE"])


def test_registration_is_that_of_the_truth(made):
    _, _, lights, rows, _ = made
    reference = reference_of(lights, rows)
    for light, row in zip(lights, rows, strict=True):
        there, here = reference.pointing, light.frame.pointing
        turned = there.matrix @ np.linalg.inv(here.matrix)
        shift = np.array(there.shift) - turned @ np.array(here.shift)
        off = np.hypot(row["SHIFT_X"] - shift[0], row["SHIFT_Y"] - shift[1])
        assert off < 0.05
        assert off <= 4 * np.sqrt(2) * row["SHIFT_ERR"] + 1e-9
        assert row["TURN"] == pytest.approx(there.turn - here.turn, abs=4 * row["TURN_ERR"] + 1e-9)
        assert row["SCALE"] == pytest.approx(1, abs=1e-3)
        ratio = light.frame.transparency / reference.transparency
        assert row["TRANSPARENCY"] == pytest.approx(ratio, rel=0.01)
        assert row["TRANSPARENCY"] == pytest.approx(ratio, abs=4 * row["TRANSPARENCY_ERR"] + 1e-9)
        assert row["STATUS"] == "ok"


def lonely(simulated, reference, shape):
    """Stars of the reference far from others and from the edge: x, y, true flux [ADU], sum of all other light."""
    field, chip = simulated.fields[reference.target], simulated.chip
    x, y = reference.pointing.pixels(field.x, field.y)
    good = ~(chip.dead | chip.column)
    flux = (
        field.flux["R"]
        * reference.transparency
        * reference.exptime
        * (chip.response["R"] / chip.gain)[good].mean()
    )
    away = np.hypot(x[:, None] - x, y[:, None] - y) + np.eye(len(x)) * 1e9
    inside = (x > 25) & (x < shape[1] - 25) & (y > 25) & (y < shape[0] - 25)
    return x, y, flux, inside & (away.min(axis=1) > 20)


def test_fluxes_of_stars_are_kept(made):
    _, simulated, lights, rows, stack = made
    x, y, flux, alone = lonely(simulated, reference_of(lights, rows), stack.data.shape)
    rr, cc = np.mgrid[: stack.data.shape[0], : stack.data.shape[1]]
    ratios = []
    for star in np.flatnonzero(alone & (flux > 8_000) & (flux < 400_000)):
        distance = np.hypot(cc - x[star], rr - y[star])
        inside, ring = distance < 7.5, (distance > 9) & (distance < 16)
        if np.isfinite(stack.data[inside]).all():
            ratios.append((stack.data[inside] - np.nanmedian(stack.data[ring])).sum() / flux[star])
    assert len(ratios) > 8
    assert np.median(ratios) == pytest.approx(1, abs=0.005)


def sky_of(made):
    """Pixels far from stars: which, and the sky there (means of blocks, without the ramp of the frame)."""
    _, simulated, lights, rows, stack = made
    x, y, flux, _ = lonely(simulated, reference_of(lights, rows), stack.data.shape)
    rr, cc = np.mgrid[: stack.data.shape[0], : stack.data.shape[1]].astype(float)
    far = np.isfinite(stack.data)
    for x0, y0, f in zip(x, y, flux, strict=True):
        far &= np.hypot(cc - x0, rr - y0) > (8 if f < 3e4 else 11)
    terms = np.stack([np.ones_like(rr), rr, cc, rr * cc, rr**2, cc**2], axis=-1) / 400.0
    solved = np.linalg.lstsq(terms[far], stack.data[far].astype(float), rcond=None)[0]
    return far, terms @ solved


def test_errors_are_those_of_the_sky(made):
    stack = made[4]
    far, sky = sky_of(made)
    pulls = (stack.data - sky) / stack.err
    assert far.sum() > 50_000
    assert np.mean(pulls[far]) == pytest.approx(0, abs=0.05)
    assert np.std(pulls[far]) == pytest.approx(1, abs=0.05)


def test_sums_of_pixels_have_the_error_that_the_header_says(made):
    stack = made[4]
    far, sky = sky_of(made)
    side = 6
    rows, columns = (n // side * side for n in stack.data.shape)

    def cells(values):
        return values[:rows, :columns].reshape(rows // side, side, columns // side, side).sum(axis=(1, 3))

    whole = cells(far.astype(int)) == side**2
    total = cells(np.where(far, stack.data - sky, 0))[whole]
    err = np.sqrt(cells(np.where(far, stack.err**2, 0))[whole])
    assert whole.sum() > 500
    assert np.std(total / err) > 1.05  # neighbours are correlated ...
    assert np.std(total / err / stack.header["CORRFAC"]) == pytest.approx(1, abs=0.05)  # ... as told


def test_no_cosmic_ray_is_left(made):
    _, _, lights, rows, stack = made
    far, sky = sky_of(made)
    pulls, hits = (stack.data - sky) / stack.err, 0
    for light, row in zip(lights, rows, strict=True):
        y, x = np.nonzero(light.cosmics > 50)
        m = row["MATRIX"]
        px, py = (
            np.rint(m[0] * x + m[1] * y + m[2]).astype(int),
            np.rint(m[3] * x + m[4] * y + m[5]).astype(int),
        )
        inside = (px >= 0) & (py >= 0) & (px < 512) & (py < 384)
        at = far[py[inside], px[inside]]
        hits += at.sum()
        assert pulls[py[inside], px[inside]][at].max(initial=0) < 5
    assert hits > 50


def test_a_stack_says_how_deep_it_is(made):
    header = made[4].header
    assert (header["N_FRAMES"], header["N_USED"], header["STATUS"]) == (N, N, "ok")
    assert header["FWHM"] == pytest.approx(3.08, rel=0.05)
    assert header["N_STARS"] > 150
    assert header["COVERAGE"] > 0.99
    one = read_image(made[2][0].path)
    assert header["NOISE"] == pytest.approx(np.median(one.err) / np.sqrt(N), rel=0.15)
    # 5 sigma within 1 FWHM, correlated: N = pi FWHM^2 pixels; 0.9375 of the light is in them.
    expected = 5 * header["NOISE"] * header["CORRFAC"] * np.sqrt(np.pi) * header["FWHM"] / 0.9375
    assert header["DEPTH"] == pytest.approx(expected, rel=1e-3)


def test_frames_that_do_not_fit_have_a_reason(made, tmp_path):
    names = [light.path for light in made[2]]
    other = reduce_lights(night(1, seed=77, target="Elsewhere"), tmp_path)[0].path
    header = fits.getheader(names[0])
    empty, broken, border = (tmp_path / f"{n}.fits" for n in ("empty", "broken", "border"))
    fits.writeto(empty, np.random.default_rng(1).normal(100, 5, (384, 512)).astype(np.float32), header)
    broken.write_bytes(names[0].read_bytes()[:50_000])
    image = read_image(names[1])
    image.data[:, :90] = np.nan
    image.data[300:] = np.nan
    fits.writeto(border, image.data, image.header)
    visql("register", *names, other, empty, broken, border, "-o", tmp_path / "r.parquet")
    rows = {row["EXPOSURE"]: row for row in registered(tmp_path / "r.parquet")}
    status = {name: str(rows[name]["STATUS"]) for name in (other.stem, "empty", "broken", "border")}
    assert status == {
        other.stem: "not_registered",
        "empty": "not_registered",
        "broken": "failed",
        "border": "ok",
    }
    assert "another field" in rows[other.stem]["REASON"]
    assert "0 stars" in rows["empty"]["REASON"]
    whole = rows[names[1].stem]
    for axis in ("SHIFT_X", "SHIFT_Y"):
        assert rows["border"][axis] == pytest.approx(whole[axis], abs=0.05)
    result = visql(
        *("stack", *names, other, empty, "-o", tmp_path / "s.fits", "--registration", tmp_path / "r.parquet"),
    )
    header = fits.getheader(tmp_path / "s.fits")
    assert (header["N_FRAMES"], header["N_USED"]) == (N + 2, N)
    assert other.name in header["REASON"]
    assert f"{other.name}: left out of the stack" in result.output


def test_hot_pixels_that_nobody_masked_register_nothing(tmp_path):
    """Two fields with the same hot pixels: these would fit each other without any shift."""
    names = []
    for i, target in enumerate(("A", "B")):
        (tmp_path / target).mkdir()
        simulated = night(1, seed=5 + i, target=target)
        path = reduce_lights(simulated, tmp_path / target)[0].path
        image, header = fits.getdata(path), fits.getheader(path)
        rng = np.random.default_rng(9)
        y, x = rng.integers(0, 384, 400), rng.integers(0, 512, 400)
        image[y, x] += 10 ** rng.uniform(2.5, 4.5, 400)
        fits.writeto(path, image, header, overwrite=True)
        names.append(path)
    visql("register", *names, "-o", tmp_path / "r.parquet")
    status = sorted(str(row["STATUS"]) for row in registered(tmp_path / "r.parquet"))
    assert status == ["not_registered", "ok"]


def test_a_pier_flip_is_registered(tmp_path):
    simulated = night(4, seed=3, flip=True)
    names = [light.path for light in reduce_lights(simulated, tmp_path)]
    visql("register", *names, "-o", tmp_path / "r.parquet", "--reference", names[0])
    rows = registered(tmp_path / "r.parquet")
    assert [str(row["STATUS"]) for row in rows] == ["ok"] * 4
    assert [round(abs(float(row["TURN"])) / 180) for row in rows] == [0, 0, 1, 1]
    visql("stack", *names, "-o", tmp_path / "s.fits", "--registration", tmp_path / "r.parquet")
    assert fits.getheader(tmp_path / "s.fits")["FWHM"] == pytest.approx(3.08, rel=0.06)


def test_a_table_of_frames_stands_for_those_that_are_ok(made, tmp_path):
    _, _, lights, _, _ = made
    columns = FRAMES.empty()
    rows = {name: [] for name in columns}
    for i, light in enumerate(lights):
        (tmp_path / light.path.name).symlink_to(light.path)
        for column in FRAMES.columns:
            empty = {"str": "", "time": np.datetime64("NaT", "us")}.get(column.dtype, 0)
            value = {"EXPOSURE": light.path.stem, "STATUS": "ok" if i != 1 else "uncalibrated"}
            rows[column.name].append(value.get(column.name, empty))
    write_table(tmp_path / "frames.parquet", rows, FRAMES)
    visql("register", tmp_path / "frames.parquet", "-o", tmp_path / "r.parquet")
    names = [row["EXPOSURE"] for row in registered(tmp_path / "r.parquet")]
    assert names == [light.path.stem for i, light in enumerate(lights) if i != 1]


def test_without_a_registered_frame_there_is_no_stack(made, tmp_path):
    folder, _, lights, _, _ = made
    stranger = tmp_path / "stranger.fits"
    stranger.write_bytes(lights[0].path.read_bytes())
    words = ("stack", stranger, "-o", tmp_path / "s.fits", "--registration", folder / "registration.parquet")
    result = CliRunner().invoke(cli, [str(w) for w in words])
    assert "none of 1 frames is registered" in str(result.exception)
    visql(*words, "--picture", tmp_path / "s.png", "--record-failure")
    header = fits.getheader(tmp_path / "s.fits")
    assert header["STATUS"] == "failed"
    assert "not in the table" in header["REASON"]
    assert (tmp_path / "s.png").stat().st_size > 5000


def test_the_picture_names_target_filter_and_frames(made, monkeypatch, tmp_path):
    from visql_lib.pictures import stack as pictures

    folder, _, lights, _, _ = made
    seen, drawn = [], pictures.stack_picture
    monkeypatch.setattr(pictures, "stack_picture", lambda *args: seen.append(args[3:]) or drawn(*args))
    words = ("stack", *(light.path for light in lights), "-o", tmp_path / "s.fits")
    visql(*words, "--registration", folder / "registration.parquet", "--picture", tmp_path / "s.png")
    title, line, unit = seen[0]
    assert (title, unit) == ("M67, R, 4 frames", "adu")
    assert "5-sigma star" in line


def test_frames_of_another_binning_are_refused(made, tmp_path):
    first = made[2][0].path
    other = tmp_path / "other.fits"
    header = fits.getheader(first)
    header["XBINNING"] = 2
    fits.writeto(other, fits.getdata(first), header)
    result = CliRunner().invoke(cli, ["register", str(first), str(other), "-o", str(tmp_path / "r.parquet")])
    assert first.name in str(result.exception)
    assert "XBINNING" in str(result.exception)


def test_ratios_of_fluxes_leave_variables_out():
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(200):
        true = 10 ** rng.uniform(3, 5, 60)
        err = np.sqrt(true) + 10
        one, other = 0.8 * true + rng.normal(0, err), true + rng.normal(0, err)
        one[:5] *= 1.3
        ratio, ratio_err = flux_ratio(one, err, other, err)
        pulls.append((ratio - 0.8) / ratio_err)
    assert np.mean(pulls) == pytest.approx(0, abs=0.3)
    assert np.std(pulls) == pytest.approx(1, abs=0.2)
    assert np.isnan(flux_ratio(*np.empty((4, 0)))).all()
