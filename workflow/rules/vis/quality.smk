# Moments of a month -> image quality, its pictures, and the processing status of every frame.


rule image_quality:
    input:
        lambda wildcards: PLAN.moments(wildcards.month),
        lambda wildcards: PLAN.imported(wildcards.month),
        PLAN.archive_names(),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
        thresholds=PLAN.threshold_file,
    output:
        f"{MONTHS}/psfmoments_{{month}}.parquet",
    log:
        log_file("image_quality"),
    benchmark:
        benchmark_file("image_quality")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("image_quality"),
    shell:
        "visql quality {input.sheet:q} -o {output:q} --config {params.config:q} >{log:q} 2>&1"


rule quality_pictures:
    input:
        f"{MONTHS}/psfmoments_{{month}}.parquet",
    output:
        diagrams=report(
            f"{MONTHS}/psfmoments_{{month}}.png",
            category="Image quality",
            labels={"picture": "sizes and shapes", "of": "{month}"},
            caption="../../report/psfmoments.rst",
        ),
        timeline=report(
            f"{MONTHS}/IQ_timeline_{{month}}.png",
            category="Image quality",
            labels={"picture": "timeline", "of": "{month}"},
            caption="../../report/timeline.rst",
        ),
    log:
        log_file("quality_pictures"),
    benchmark:
        benchmark_file("quality_pictures")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("quality_pictures"),
    shell:
        "visql quality-pictures {input:q} --diagrams {output.diagrams:q} --timeline {output.timeline:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule last_month:
    input:
        PLAN.newest_tables(configured=True),
    output:
        report(
            f"{RESULTS}/timeline/IQ_timeline_lastmonth.png",
            category="Image quality",
            labels={"picture": "timeline", "of": "last 31 days"},
            caption="../../report/lastmonth.rst",
        ),
    log:
        log_file("last_month"),
    benchmark:
        benchmark_file("last_month")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("last_month"),
        others=PLAN.newest_tables(configured=False),
    shell:
        "visql quality-pictures {input:q} {params.others:q} --last-days 31 --timeline {output:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule month_status:
    input:
        lambda wildcards: PLAN.summary_tables(wildcards.month),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        f"{MONTHS}/status.tsv",
    log:
        log_file("month_status"),
    benchmark:
        benchmark_file("month_status")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("month_status"),
    shell:
        "visql status {input.sheet:q} -o {output:q} --tolerate --config {params.config:q} >{log:q} 2>&1"


# Fails, naming the files, as long as a frame of the month failed, when everything else of the month is done.
rule month_complete:
    input:
        f"{MONTHS}/status.tsv",
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        f"{MONTHS}/complete.tsv",
    log:
        log_file("month_complete"),
    benchmark:
        benchmark_file("month_complete")
    retries: 0
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("month_complete"),
    shell:
        "visql status {input.sheet:q} -o {output:q} --config {params.config:q} >{log:q} 2>&1"
