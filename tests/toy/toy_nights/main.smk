include: f"{SHARED}/common.smk"
include: f"{SHARED}/qc.smk"
include: f"{SHARED}/site.smk"


rule night:
    input:
        all_products,


rule toy_level:
    input:
        raw=ancient(raw_frame),
    output:
        f"{EXPOSURE}_level.parquet",
        f"{EXPOSURE}_histogram.png",
    params:
        **stage_params("toy_level"),
        raw=fingerprint,
        stem=stem,
    shell:
        "visql toy-level {input.raw:q} -o {params.stem:q} --config {params.config:q}"


rule toy_levels:
    input:
        lambda wildcards: PLAN.products("toy_level", wildcards.night, PLAN.exposures(wildcards.night)),
        sheet=ancient(SHEET),
    output:
        f"{GROUP}/levels.parquet",
    params:
        **stage_params("toy_levels"),
    shell:
        "visql toy-levels {input.sheet:q} -o {output:q} --config {params.config:q}"
