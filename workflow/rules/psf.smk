# Catalogue -> stars -> moments.


rule stars:
    input:
        f"{EXPOSURE}.cat.parquet",
    output:
        f"{EXPOSURE}_stars2.parquet",
    log:
        f"{LOG}/stars/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/stars/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=all_but(*IMPORTED),
    resources:
        mem_mb=500,
        runtime=5,
    params:
        version=STAGES["stars"],
        settings=PLAN.section("stars"),
    shell:
        "visql stars {input:q} -o {output:q} --config {CONFIG:q} >{log:q} 2>&1"


rule moments:
    input:
        raw=ancient(raw_frame),
        stars=f"{EXPOSURE}_stars2.parquet",
    output:
        moments=f"{EXPOSURE}_stars2_mom.parquet",
        stamps=f"{EXPOSURE}_stars2_stamps.parquet",
    log:
        f"{LOG}/moments/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/moments/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=all_but(*IMPORTED),
    resources:
        mem_mb=500,
        runtime=5,
    params:
        version=STAGES["moments"],
        settings=PLAN.section("moments"),
    shell:
        "visql moments {input.raw:q} {input.stars:q} -o {output.moments:q} --stamps {output.stamps:q}"
        " --config {CONFIG:q} >{log:q} 2>&1"
