# The pages, which only show existing results, and the alerts.


# Finds changes by itself, each time it is requested; no benchmark, see fetch.smk.
rule site:
    input:
        all_products,
        of_groups(PLAN.site_products),
    log:
        log_file("site"),
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        **stage_params(
            "site",
            config=PLAN.stable_config(
                "site", *(s for s in PLAN.sections if s != "alerts")
            ),
        ),
    shell:
        "visql site --config {params.config:q} >{log:q} 2>&1"


# Sends notifications: once, again while an alert lasts, and at its end.
rule alerts:
    input:
        all_products,
    log:
        log_file("alerts"),
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        **stage_params("alerts", config=PLAN.stable_config("alerts", *PLAN.sections)),
    shell:
        "visql alerts --send --config {params.config:q} >{log:q} 2>&1"
