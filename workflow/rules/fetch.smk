# New raw frames from the archive: a target by itself, made each time it is asked for.
# No benchmark: Snakemake would take its file for the result, and never run it again.


rule fetch:
    log:
        f"{LOG}/fetch.log",
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=720,
    params:
        version=STAGES["fetch"],
        config=PLAN.config_of(
            "fetch", "network", "raw", "results", "known_bad", "index"
        ),
    shell:
        "visql fetch --config {params.config:q} 2>&1 | tee {log:q}"
