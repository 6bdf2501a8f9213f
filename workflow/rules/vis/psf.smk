# Catalogue -> stars -> moments.
#
# Priorities, here and below: an exposure is finished before the next one is begun, while its frame is still
# in memory. Otherwise all catalogues of a month would come first.


rule stars:
    input:
        f"{EXPOSURE}.cat.parquet",
    output:
        f"{EXPOSURE}_stars2.parquet",
    log:
        log_file("stars"),
    benchmark:
        benchmark_file("stars")
    wildcard_constraints:
        exposure=except_exposures(*WITHOUT_RAW),
    priority: 1
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("stars"),
    shell:
        "visql stars {input:q} -o {output:q} --record-failure --config {params.config:q} >{log:q} 2>&1"


rule moments:
    input:
        raw=ancient(raw_frame),
        stars=f"{EXPOSURE}_stars2.parquet",
    output:
        moments=f"{EXPOSURE}_stars2_mom.parquet",
        stamps=f"{EXPOSURE}_stars2_stamps.parquet",
    log:
        log_file("moments"),
    benchmark:
        benchmark_file("moments")
    wildcard_constraints:
        exposure=except_exposures(*WITHOUT_RAW),
    priority: 3
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("moments"),
    shell:
        "visql moments {input.raw:q} {input.stars:q} -o {output.moments:q} --stamps {output.stamps:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"
