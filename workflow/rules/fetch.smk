# New raw frames from the archive: a target by itself, made each time it is asked for.


rule fetch:
    log:
        f"{LOG}/fetch.log",
    benchmark:
        f"{BENCHMARK}/fetch.tsv"
    conda:
        "../../envs/visql.yaml"
    resources:
        mem_mb=500,
        runtime=720,
    params:
        version=STAGES["fetch"],
        config=PLAN.config_of("fetch", "raw", "results", "known_bad", "index"),
    shell:
        "visql fetch --config {params.config:q} 2>&1 | tee {log:q}"
