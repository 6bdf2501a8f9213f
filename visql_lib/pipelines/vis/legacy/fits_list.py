"""The month's list of frames as text, as the original kept one of their headers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from visql_lib.atomic import atomic_path
from visql_lib.sheets.sheet import SheetRow

_HEAD = (
    *("exposure", "DATE-OBS", "type", "IMG_T1", "IMG_T2", "EXPTIME[s]", "RA[deg]", "DEC[deg]", "PA[deg]"),
    *("SAA[deg]", "ALPHA[deg]", "OBS_ID", "CALBLKID", "CALBLKVR", "DITHOBS", "status"),
)


def write_fits_list(path: Path, rows: Iterable[SheetRow]) -> None:
    """Write ``fitslistYYYYMM.txt``: a line per frame of the sheet, in fixed width; ``-`` where not known."""
    lines = [_HEAD, *(_words(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(_HEAD))]
    text = [
        "  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("# " + "  ".join(text), encoding="utf-8")


def _words(row: SheetRow) -> tuple[str, ...]:
    numbers = (
        *(f"{row.exptime:.2f}", f"{row.ra:.6f}", f"{row.dec:.6f}", f"{row.pa:.5f}"),
        *(f"{row.saa:.3f}", f"{row.alpha:.3f}"),
    )
    texts = (row.exposure, row.date_obs, row.frame_type, row.img_t1, row.img_t2)
    words = (*texts, *numbers, row.obs_id, row.calblkid, row.calblkvr, row.dithobs, row.status)
    return tuple("-" if w in ("", "nan") else "_".join(w.split()) for w in words)
