# Raw frame -> catalogue, levels, previews: one pass over the pixels.


rule catalog:
    input:
        raw=ancient(raw_frame),
    output:
        catalogue=f"{EXPOSURE}.cat.parquet",
        quadrants=f"{EXPOSURE}_quadrants.parquet",
        pictures=pictures_of("catalog"),
    log:
        log_file("catalog"),
    benchmark:
        benchmark_file("catalog")
    wildcard_constraints:
        exposure=except_exposures(*NOT_CATALOGUED, *WITHOUT_RAW),
    conda:
        "../../../envs/visql.yaml"
    threads: 1
    resources:
        runtime=3,
    params:
        **stage_params("catalog", config=settings_of_frame),
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
        pictures=pictures_of("preview"),
    log:
        log_file("preview"),
    benchmark:
        benchmark_file("preview")
    wildcard_constraints:
        exposure=only_exposures(*NOT_CATALOGUED),
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=2,
    params:
        **stage_params("preview"),
        raw=fingerprint,
        prefix=stem,
    shell:
        "visql preview {input.raw:q} -o {params.prefix:q} --quadrants {output.quadrants:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"
