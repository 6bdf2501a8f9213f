# VISQL: from raw frames to calibrated images, quality numbers, pictures and trends.
# The setting `pipeline` selects the rules: workflow/rules/PIPELINE/main.smk, or main.smk of its package.
# Data flow: docs/architecture.md.

from snakemake.exceptions import WorkflowError

from visql_lib.errors import VisqlError
from visql_lib.pipelines import default_config, pipeline_of, rules_of

try:
    DEFAULTS = default_config(config, workflow.basedir)
except VisqlError as error:
    raise WorkflowError(str(error)) from None
if DEFAULTS:

    configfile: DEFAULTS


PIPELINE = pipeline_of(config)
SHARED = f"{workflow.basedir}/workflow/rules/shared"


include: rules_of(PIPELINE, workflow.basedir)


# Snakemake forgets which target an included file calls its default.
workflow.default_target = PLAN.registry.default_target
