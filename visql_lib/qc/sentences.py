"""QC results in words, as pages and messages show them: made when they are shown, read by nobody."""

from __future__ import annotations

from collections.abc import Iterable

from visql_lib.qc.evaluate import NOT_JUDGED, QCResult
from visql_lib.qc.limits import Limits
from visql_lib.qc.quantity import Quantities


def called(result: QCResult, quantities: Quantities) -> str:
    """Return what a result is about, such as ``humidity`` or ``humidity at noon, long exposures``."""
    quantity = quantities.get(result.quantity)
    label = quantity.label if quantity is not None else result.quantity
    if result.frame:
        return label
    where = f" at {result.part}" if result.part else ""
    return f"{label}{where}" + (f", {result.cls} exposures" if result.cls else "")


def sentence(result: QCResult, quantities: Quantities) -> str:
    """Return a result in words, such as ``humidity 83 % above 80``."""
    name, quantity = called(result, quantities), quantities.get(result.quantity)
    if result.status == NOT_JUDGED:
        return f"{name} not judged: {result.reason}" if result.reason else f"{name} not judged"
    unit = f" {quantity.unit}" if quantity is not None and quantity.unit else ""
    beyond = f" {result.side} {result.limit:g}" if result.side else ""
    return f"{name} {result.value:.6g}{unit}{beyond}"


def why_not_judged(results: Iterable[QCResult]) -> str:
    """Say in words why none of some results was judged."""
    reasons = list(dict.fromkeys(r.reason for r in results if r.reason))
    return f"not judged: {', '.join(reasons)}" if reasons else "not judged"


def limits_text(limits: Limits | None) -> str:
    """Return limits in words; "" where there are none."""
    found = []
    for status, word in (("warn", "warning"), ("error", "error")):
        for side, sign in (("below", "<"), ("above", ">")):
            limit = getattr(limits, f"{status}_{side}", None)
            if limit is not None:
                found.append(f"{word} {sign} {limit:g}")
    return ", ".join(found)
