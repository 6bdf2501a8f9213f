# New raw frames from the archive: a target by itself, made each time it is asked for.
# No benchmark: Snakemake would take its file for the result, and never run it again.


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
