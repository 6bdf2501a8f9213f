"""Quality control: quantities, dated limits, QC results as rows of a table, and the sentences made of them.

Nothing here knows a quantity by name, a frame, or an instrument: a pipeline brings its own table of
quantities (`Quantities`), and everything else follows from it.
"""

from visql_lib.qc.evaluate import (
    BAD_STATUSES,
    ERROR,
    NOT_JUDGED,
    OK,
    WARN,
    Evaluation,
    QCResult,
    check,
    evaluate,
    worst_status,
)
from visql_lib.qc.limits import Epoch, LimitFile, Limits, Thresholds, load_thresholds
from visql_lib.qc.quantity import Quantities, Quantity

__all__ = [
    "BAD_STATUSES",
    "ERROR",
    "NOT_JUDGED",
    "OK",
    "WARN",
    "Epoch",
    "Evaluation",
    "LimitFile",
    "Limits",
    "QCResult",
    "Quantities",
    "Quantity",
    "Thresholds",
    "check",
    "evaluate",
    "load_thresholds",
    "worst_status",
]
