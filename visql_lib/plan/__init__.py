"""Plan a run: months, exposures and their products, as the workflow needs them."""

from visql_lib.plan.core import Plan, month_list

__all__ = ["Plan", "month_list"]
