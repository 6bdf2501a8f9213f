# New raw frames from the archive: a separate target, made each time it is requested.
# No benchmark: Snakemake would take its file for the result, and never rerun it.


rule fetch:
    log:
        log_file("fetch"),
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=720,
    params:
        **stage_params("fetch"),
    shell:
        "visql fetch --config {params.config:q} 2>&1 | tee {log:q}"
