# Every quantity of a group's tables against its limits, for pages and alerts.
rule qc:
    input:
        lambda wildcards: PLAN.inputs("qc", group_of(wildcards)),
        sheet=SHEET,
        thresholds=PLAN.threshold_file,
    output:
        f"{RESULTS}/{PLAN.registry['qc'].outputs[0].path}",
    log:
        log_file("qc"),
    benchmark:
        benchmark_file("qc")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("qc"),
    shell:
        "visql qc {input.sheet:q} -o {output:q} --config {params.config:q} >{log:q} 2>&1"
