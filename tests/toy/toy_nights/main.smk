include: f"{SHARED}/common.smk"
include: f"{SHARED}/qc.smk"
include: f"{SHARED}/site.smk"


rule night:
    input:
        all_products,


rule level:
    input:
        raw=ancient(raw_frame),
    output:
        f"{EXPOSURE}_level.parquet",
        f"{EXPOSURE}_histogram.png",
    params:
        **stage_params("level"),
        raw=fingerprint,
        stem=stem,
    shell:
        "visql toy-level {input.raw:q} -o {params.stem:q} --config {params.config:q}"


rule levels:
    input:
        lambda wildcards: PLAN.products("level", wildcards.night, PLAN.exposures(wildcards.night)),
        sheet=ancient(SHEET),
    output:
        f"{GROUP}/levels.parquet",
    params:
        **stage_params("levels"),
    shell:
        "visql toy-levels {input.sheet:q} -o {output:q} --config {params.config:q}"
