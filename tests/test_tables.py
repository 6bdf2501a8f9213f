"""Our tables on disk: what is written comes back, for us, astropy and pandas."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table as AstropyTable
from astropy.units import Unit
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.errors import TableError
from visql_lib.pipelines.vis.schemas.all import ALL
from visql_lib.tables import (
    CATALOGUE,
    PSFMOMENTS,
    STAMPS,
    STARS,
    atomic_path,
    read_facts,
    read_meta,
    read_table,
    write_table,
)
from visql_lib.tables.metadata import StarMetadata, described
from visql_lib.tables.schema import Column, TableSchema


def rows(schema, n=7, seed=1):
    rng = np.random.default_rng(seed)
    made = {}
    for column in schema.columns:
        shape = (n, 9) if column.size else n
        if column.dtype == "str":
            made[column.name] = np.array([f"{i % 3}-äö" * (i % 2) for i in range(n)])
        elif column.dtype == "time":
            made[column.name] = np.datetime64("2024-07-13T03:28:40.123456") + np.arange(n).astype("m8[s]")
        elif column.dtype == "bool":
            made[column.name] = rng.random(shape) < 0.5
        elif np.dtype(column.dtype).kind == "i":
            made[column.name] = rng.integers(0, 100, shape)
        else:
            made[column.name] = rng.normal(size=shape)
    return made


@pytest.mark.parametrize("n", [0, 1, 7])
@pytest.mark.parametrize("schema", ALL, ids=lambda s: s.product)
def test_what_is_written_comes_back(tmp_path, schema, n):
    path = tmp_path / "t.parquet"
    written = rows(schema, n)
    write_table(path, written, schema, stage="x", stage_version=3, meta={"deep": {"a": np.float64(1.5)}})
    table = read_table(path)
    assert tuple(table) == schema.names
    assert table.n_rows == n
    for name, values in schema.cast(written).items():
        assert table[name].dtype.kind == values.dtype.kind
        np.testing.assert_array_equal(table[name], values)
    assert table.meta["deep"] == {"a": 1.5}
    assert (table.meta["product"], table.meta["stage_version"]) == (schema.product, 3)
    assert read_meta(path) == table.meta


@pytest.mark.parametrize("schema", ALL, ids=lambda s: s.product)
def test_astropy_and_pandas_read_them(tmp_path, schema):
    path = tmp_path / "t.parquet"
    written = rows(schema)
    write_table(path, written, schema)
    theirs = AstropyTable.read(path)
    frame = pd.read_parquet(path)
    for column in schema.columns:
        assert str(theirs[column.name].unit or "") == column.unit
        assert theirs[column.name].description == column.doc
        assert len(frame[column.name]) == 7
    first = schema.columns[0].name
    assert list(theirs[first]) == list(frame[first]) == list(written[first])
    assert theirs.meta["product"] == schema.product


def test_units_are_ones_astropy_knows():
    from astropy import units as u

    for schema in ALL:
        for column in schema.columns:
            u.Unit(column.unit)


def test_only_the_wanted_columns_are_read(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, rows(CATALOGUE), CATALOGUE)
    assert tuple(read_table(path, ("FLUX_AUTO", "EXT"))) == ("FLUX_AUTO", "EXT")
    with pytest.raises(TableError, match="has no column R2"):
        read_table(path, ("R2",))


def test_wrong_columns_are_refused(tmp_path):
    good = rows(STAMPS)
    with pytest.raises(TableError, match="columns missing: STAMP"):
        write_table(tmp_path / "t", {k: v for k, v in good.items() if k != "STAMP"}, STAMPS)
    with pytest.raises(TableError, match="different lengths"):
        write_table(tmp_path / "t", good | {"XWORLD": np.zeros(3)}, STAMPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"text" * 100])
def test_a_broken_table_is_named(tmp_path, content):
    path = tmp_path / "broken.parquet"
    path.write_bytes(content)
    for read in (read_table, read_meta):
        with pytest.raises(TableError, match=r"broken\.parquet"):
            read(path)
        with pytest.raises(TableError, match="cannot be read"):
            read(tmp_path / "missing.parquet")


def test_a_cut_table_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, rows(PSFMOMENTS, 500), PSFMOMENTS)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(TableError, match=r"t\.parquet"):
        read_table(path)


def test_nothing_half_written_is_seen(tmp_path):
    path = tmp_path / "new" / "t.txt"

    def break_off():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            assert not path.exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert list(path.parent.iterdir()) == []
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_files_have_the_rights_the_user_gives_new_files(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "t") as temporary:
            temporary.write_text("")
    finally:
        os.umask(old)
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o640


@given(st.lists(st.floats(-180, 180), min_size=1, max_size=20), st.integers(-8, 8), st.integers(2, 30))
def test_rounding_is_as_declared(values, power, bits):
    step = 2.0**power
    columns = (Column("A", "float64", "deg", "", step=step), Column("B", "float64", "deg", "", bits=bits))
    cast = TableSchema("t", "", columns).cast({"A": values, "B": values})
    np.testing.assert_allclose(cast["A"], values, atol=0.5000001 * step)
    assert (cast["A"] % step == 0).all()
    np.testing.assert_allclose(cast["B"], values, rtol=2.0**-bits * 1.0000001, atol=1e-300)


def test_rounding_keeps_nan():
    columns = (Column("A", "float32", "", "", step=0.5), Column("B", "float32", "", "", bits=5))
    cast = TableSchema("t", "", columns).cast({n: [np.nan, 0.0, np.inf] for n in "AB"})
    for name in "AB":
        np.testing.assert_array_equal(cast[name], [np.nan, 0, np.inf])


def test_a_catalogue_packs_well(tmp_path):
    """A long exposure of a million rows stays below 20 MB; random numbers pack worse than real ones."""
    n = 20_000
    rng = np.random.default_rng(1)
    made = {name: rng.normal(size=n) for name in CATALOGUE.names}
    made |= {"X_IMAGE": rng.uniform(0, 2128, n), "Y_IMAGE": np.sort(rng.uniform(0, 2086, n))}
    made |= {"X_WORLD": rng.uniform(0.1, 0.15, n), "Y_WORLD": np.sort(rng.uniform(0.1, 0.15, n))}
    made |= {"FLUX_AUTO": 10 ** rng.uniform(2.5, 4, n), "FLUXERR_AUTO": rng.uniform(15, 60, n)}
    made |= {
        "FLUX_RADIUS": rng.uniform(0.4, 3, n),
        "A_IMAGE": rng.uniform(0.5, 3, n),
        "B_IMAGE": rng.uniform(0.4, 1, n),
    }
    made |= {
        "THETA_IMAGE": rng.uniform(-90, 90, n),
        "FLAGS": rng.integers(0, 4, n),
        "EXT": np.repeat("3-3.E", n),
    }
    made["FIELDRAD"] = np.hypot(made["X_WORLD"], made["Y_WORLD"])
    path = tmp_path / "c.parquet"
    write_table(path, made, CATALOGUE)
    assert path.stat().st_size / n < 20


def test_tables_do_not_import_pandas(tmp_path):
    """Importing it takes longer than many a step."""
    path = tmp_path / "t.parquet"
    write_table(path, rows(CATALOGUE), CATALOGUE)
    code = (
        "import sys; from pathlib import Path; from visql_lib.tables import *;"
        f"t = read_table(Path({str(path)!r})); write_table(Path({str(path)!r}), t, CATALOGUE);"
        "sys.exit('pandas' in sys.modules or 'astropy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- typed metadata ----------------------------------------------------------------------------------


def test_values_of_the_metadata_come_back_with_nan_for_what_is_not_known(tmp_path):
    path = tmp_path / "E_stars2.parquet"
    selection = {"kind": "chimney", "r_c": None, "r_median": 1.25, "n_region": 12, "flags": 2}
    meta = {"exposure": "E", "exptime": None, "selection": selection, "from a later version": [1]}
    write_table(path, STARS.empty(), STARS, meta=meta)
    found = read_facts(path, StarMetadata)
    assert (found.exposure, found.frame_type, found.failed) == ("E", "", "")
    assert np.isnan(found.exptime)
    known = {name: value for name, value in found.selection if value == value}  # not NaN
    assert known == {"kind": "chimney", "r_median": 1.25, "n_region": 12, "flags": 2}
    # Stored as it was given: other programs find the same keys.
    assert {name: read_meta(path)[name] for name in meta} == meta


def test_tables_without_the_values_can_be_read(tmp_path):
    write_table(tmp_path / "old.parquet", STARS.empty(), replace(STARS, metadata=None))
    assert read_facts(tmp_path / "old.parquet", StarMetadata).selection is None


@pytest.mark.parametrize(
    ("meta", "key"),
    [({"exptime": "long"}, "exptime"), ({"selection": {"r_c": [1.0]}}, "selection.r_c")],
)
def test_a_value_of_another_kind_is_neither_written_nor_read(meta, key, tmp_path):
    path = tmp_path / "E_stars2.parquet"
    with pytest.raises(TableError, match=rf"E_stars2.parquet: wrong '{key}' in its metadata"):
        write_table(path, STARS.empty(), STARS, meta=meta)
    assert not path.exists()
    write_table(path, STARS.empty(), replace(STARS, metadata=None), meta=meta)
    with pytest.raises(TableError, match=rf"wrong '{key}'"):
        read_facts(path, StarMetadata)


@pytest.mark.parametrize("schema", [s for s in ALL if s.metadata is not None], ids=lambda s: s.product)
def test_every_value_of_the_metadata_has_a_meaning_and_a_unit_astropy_knows(schema):
    for name, unit, doc in described(schema.metadata):
        assert doc, name
        Unit(unit)
    assert schema.metadata()  # each has a default


def test_what_a_row_does_not_say_is_not_known():
    columns = [("A", "float64"), ("N", "int32"), ("NAME", "str"), ("T", "time"), ("OK", "bool")]
    schema = TableSchema(
        "toy", "", (*(Column(n, kind, "", "") for n, kind in columns), Column("M", "float64", "", "", 2))
    )
    found = schema.of_rows([{"A": 1.0, "N": 2, "NAME": "x", "OK": True, "M": [3, 4]}, {"other": 5}])
    assert np.isnan(found["A"][1])
    assert np.isnat(found["T"]).all()
    assert (found["N"][1], found["NAME"][1], found["OK"][1]) == (0, "", False)
    assert found["M"].shape == (2, 2)
    assert np.isnan(found["M"][1]).all()
    assert schema.length(schema.of_rows([])) == 0
