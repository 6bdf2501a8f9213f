# Tables -> pictures of one exposure.


rule pictures:
    input:
        catalogue=f"{EXPOSURE}.cat.parquet",
        stars=f"{EXPOSURE}_stars2.parquet",
        moments=f"{EXPOSURE}_stars2_mom.parquet",
        stamps=f"{EXPOSURE}_stars2_stamps.parquet",
        cutout=f"{EXPOSURE}_lr.png",
    output:
        pictures_of("pictures"),
    log:
        log_file("pictures"),
    benchmark:
        benchmark_file("pictures")
    wildcard_constraints:
        exposure=except_exposures(*FLATS, *WITHOUT_RAW),
    priority: 4
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("pictures"),
        prefix=stem,
    shell:
        "visql pictures {input.catalogue:q} {input.stars:q} {input.moments:q} -o {params.prefix:q}"
        " --stamps {input.stamps:q} --cutout {input.cutout:q} --config {params.config:q} >{log:q} 2>&1"


rule pictures_flat:
    input:
        catalogue=f"{EXPOSURE}.cat.parquet",
        stars=f"{EXPOSURE}_stars2.parquet",
    output:
        f"{EXPOSURE}_chimney2.png",
    log:
        log_file("pictures_flat"),
    benchmark:
        benchmark_file("pictures_flat")
    wildcard_constraints:
        exposure=only_exposures(*FLATS),
    priority: 4
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("pictures_flat"),
        prefix=stem,
    shell:
        "visql pictures {input.catalogue:q} {input.stars:q} --only chimney2 -o {params.prefix:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule pictures_without_raw:
    input:
        f"{EXPOSURE}_stars2_mom.parquet",
    output:
        pictures_of("pictures_without_raw"),
    log:
        log_file("pictures_without_raw"),
    benchmark:
        benchmark_file("pictures_without_raw")
    wildcard_constraints:
        exposure=only_exposures(*WITHOUT_RAW),
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("pictures_without_raw"),
        prefix=stem,
    shell:
        "visql pictures {input:q} -o {params.prefix:q} --config {params.config:q} >{log:q} 2>&1"
