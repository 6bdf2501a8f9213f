# Tables -> pictures of one exposure.


ruleorder: pictures > pictures_flat > pictures_imported


rule pictures:
    input:
        raw=ancient(raw_frame("SCIENCE")),  # not read: only SCIENCE frames have all these pictures
        catalogue=f"{EXPOSURE}.cat.parquet",
        stars=f"{EXPOSURE}_stars2.parquet",
        moments=f"{EXPOSURE}_stars2_mom.parquet",
        stamps=f"{EXPOSURE}_stars2_stamps.parquet",
        cutout=f"{EXPOSURE}_lr.png",
    output:
        expand(f"{EXPOSURE}_{{name}}.png", name=SCIENCE_PICTURES, allow_missing=True),
    params:
        version=STAGES["pictures"],
        settings=[PLAN.section("pictures"), PLAN.section("stars")],
        prefix=EXPOSURE,
    resources:
        mem_mb=800,
        runtime=5,
    log:
        f"{LOG}/pictures/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/pictures/{{month}}/{{exposure}}.tsv"
    shell:
        "visql pictures {input.catalogue:q} {input.stars:q} {input.moments:q} -o {params.prefix:q}"
        " --stamps {input.stamps:q} --cutout {input.cutout:q} --config {CONFIG:q} >{log:q} 2>&1"
