# Raw frame -> catalogue, levels, previews: one pass over the pixels.


rule catalog:
    input:
        raw=ancient(raw_frame),
    output:
        catalogue=f"{EXPOSURE}.cat.parquet",
        quadrants=f"{EXPOSURE}_quadrants.parquet",
        thumbnail=f"{EXPOSURE}.png",
        zooms=expand(f"{EXPOSURE}_{{zoom}}.png", zoom=ZOOMS, allow_missing=True),
    log:
        f"{LOG}/catalog/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/catalog/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=all_but(*NOT_CATALOGUED, *WITHOUT_RAW),
    conda:
        "../../envs/visql.yaml"
    threads: 1
    resources:
        runtime=3,
    params:
        version=[STAGES["catalog"], STAGES["preview"]],
        config=settings_of_frame,
        facts=PLAN.facts("geometry", "detector"),
        raw=fingerprint,
        prefix=stem,
    shell:
        "visql catalog {input.raw:q} -o {output.catalogue:q} --quadrants {output.quadrants:q}"
        " --previews {params.prefix:q} --record-failure --threads {threads}"
        " --config {params.config:q} >{log:q} 2>&1"


rule preview:
    input:
        raw=ancient(raw_frame),
    output:
        quadrants=f"{EXPOSURE}_quadrants.parquet",
        thumbnail=f"{EXPOSURE}.png",
        zooms=expand(f"{EXPOSURE}_{{zoom}}.png", zoom=ZOOMS, allow_missing=True),
    log:
        f"{LOG}/preview/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/preview/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=only(*NOT_CATALOGUED),
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=2,
    params:
        version=STAGES["preview"],
        config=PLAN.config_of("preview", "calibration"),
        facts=PLAN.facts("geometry", "detector"),
        raw=fingerprint,
        prefix=stem,
    shell:
        "visql preview {input.raw:q} -o {params.prefix:q} --quadrants {output.quadrants:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"
