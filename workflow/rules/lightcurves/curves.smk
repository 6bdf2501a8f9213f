# PSF, coefficients and stamps of all frames -> fluxes of the point sources -> light curves, pictures.


# Frozen, as the stars are.
rule lc_scene:
    input:
        tables=ancient(
            [table(kind) for kind in ("frames", "transforms", "psf", "renorm")]
        ),
        reference=REFERENCE,
    output:
        f"{GROUP}/scene_{{set}}.fits",
    log:
        log_file("lc_scene"),
    benchmark:
        benchmark_file("lc_scene")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=120,
    params:
        **frozen_params("lc_scene", set_params("lc_scene")),
    shell:
        "visql lc-scene {input.tables:q} {input.reference:q} -o {output:q}"
        " --target {params.target:q} --set {wildcards.set:q} --config {params.config:q} >{log:q} 2>&1"


rule lc_target:
    input:
        tables=[table(kind) for kind in ("frames", "transforms", "psf", "renorm")],
        scene=f"{GROUP}/scene_{{set}}.fits",
        reference=REFERENCE,
    output:
        table=table("target"),
        image=f"{GROUP}/target_{{set}}.fits",
    log:
        log_file("lc_target"),
    benchmark:
        benchmark_file("lc_target")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=240,
    params:
        **set_params("lc_target"),
    shell:
        "visql lc-target {input.tables:q} {input.reference:q} --scene {input.scene:q} -o {output.table:q}"
        " --image {output.image:q} --target {params.target:q} --set {wildcards.set:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_nights:
    input:
        [
            table(kind)
            for kind in (
                *("frames", "transforms", "apertures", "stars", "medcoeff", "renorm"),
                "target",
            )
        ],
    output:
        fluxes=table("fluxes"),
        nights=table("nights"),
    log:
        log_file("lc_nights"),
    benchmark:
        benchmark_file("lc_nights")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("lc_nights"),
    shell:
        "visql lc-nights {input:q} -o {output.fluxes:q} --nights {output.nights:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_export:
    input:
        tables=of_target(
            "tables_of",
            *("frames", "transforms", "stars", "renorm", "fluxes", "nights"),
        ),
        reference=REFERENCE,
    output:
        f"{TARGET}/{{target}}.parquet",
        f"{TARGET}/{{target}}.rdb",
        f"{TARGET}/{{target}}.ecsv",
        f"{TARGET}/decisions.parquet",
        f"{TARGET}/README.md",
    log:
        target_log("lc_export"),
    benchmark:
        target_benchmark("lc_export")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("lc_export"),
        target=lambda wildcards: PLAN.target_file(PLAN.sets_of(wildcards.target)[0]),
        sets=of_target("folders_of"),
    shell:
        "visql lc-export {params.sets:q} -o {output[0]:q} --target {params.target:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_pictures:
    input:
        [
            table(kind)
            for kind in (
                *("frames", "transforms", "stars", "medcoeff", "psf", "starfluxes"),
                *("renorm", "target", "fluxes"),
            )
        ],
        f"{GROUP}/target_{{set}}.fits",
    output:
        report(
            multiext(
                f"{GROUP}/pictures/",
                *(
                    Path(product.path).name
                    for product in PLAN.registry["lc_pictures"].outputs
                ),
            ),
            category="Light curves",
            labels={"target": "{target}", "set": "{set}"},
            caption="../../report/light_set.rst",
        ),
    log:
        log_file("lc_pictures"),
    benchmark:
        benchmark_file("lc_pictures")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("lc_pictures"),
        set=GROUP,
        folder=f"{GROUP}/pictures",
    shell:
        "visql lc-pictures set {params.set:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule lc_target_pictures:
    input:
        of_target("tables_of", "fluxes", "nights"),
    output:
        report(
            [
                f"{RESULTS}/{product.path}"
                for product in PLAN.registry["lc_target_pictures"].outputs
            ],
            category="Light curves",
            labels={"target": "{target}"},
            caption="../../report/light_target.rst",
        ),
    log:
        target_log("lc_target_pictures"),
    benchmark:
        target_benchmark("lc_target_pictures")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("lc_target_pictures"),
        target=TARGET,
        folder=f"{TARGET}/pictures",
    shell:
        "visql lc-pictures target {params.target:q} -o {params.folder:q} --config {params.config:q}"
        " >{log:q} 2>&1"


# Pictures of all frames of a night: target lightcurve_looks.
rule lc_looks:
    input:
        night=f"{CHUNK}_psf.parquet",
        target=table("target"),
    output:
        f"{CHUNK}_looks.tsv",
    log:
        night_log("lc_looks", "looks"),
    benchmark:
        night_benchmark("lc_looks", "looks")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        **stage_params("lc_looks"),
        folder=FRAMES_OF,
    shell:
        "visql lc-pictures frame {input.night:q} -o {params.folder:q} --list {output:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_look:
    input:
        f"{EXPOSURE}_stamps.fits",
        f"{EXPOSURE}_psf.fits",
    output:
        pictures_of("lc_look"),
    log:
        log_file("lc_look"),
    benchmark:
        benchmark_file("lc_look")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("lc_look"),
        folder=FRAMES_OF,
    shell:
        "visql lc-pictures frame {input[0]:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"
