# The site: tiles of each frame for its viewer, and the pages, which only show existing results.


rule pyramid:
    input:
        raw=ancient(raw_frame),
        # Read for comparison only: the frame is still in memory if it was just catalogued.
        quadrants=ancient(f"{EXPOSURE}_quadrants.parquet"),
    output:
        f"{RESULTS}/site/tiles/{{month}}/{{exposure}}/tiles.js",
    log:
        log_file("pyramid"),
    benchmark:
        benchmark_file("pyramid")
    wildcard_constraints:
        exposure=except_exposures(),
    priority: 2
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("pyramid"),
        raw=fingerprint,
        folder=lambda wildcards, output: os.path.dirname(output[0]),
        full=lambda wildcards: (
            "--full"
            if wildcards.exposure in PLAN.settings.site.full_resolution
            else ""
        ),
    shell:
        "visql pyramid {input.raw:q} -o {params.folder:q} {params.full} --quadrants {input.quadrants:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


# Finds changes by itself, each time it is requested; no benchmark, see fetch.smk.
rule site:
    input:
        all_products,
        of_months(PLAN.tiles),
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
