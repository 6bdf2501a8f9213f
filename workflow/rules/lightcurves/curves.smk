# PSF, coefficients and stamps of all frames -> fluxes of the point sources -> light curves, pictures.


# Frozen, as the stars are.
rule lc_scene:
    input:
        tables=unless_changed(
            "lc_scene",
            f"{GROUP}/scene_{{set}}.fits",
            *(table(kind) for kind in ("frames", "transforms", "psf", "renorm")),
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
        **keyed_params("lc_scene"),
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
                *("frames", "transforms", "apertures", "stars", "medcoeff", "psf"),
                *("renorm", "target"),
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
        table=f"{TARGET}/{{target}}.parquet",
        rdb=f"{TARGET}/{{target}}.rdb",
        ecsv=f"{TARGET}/{{target}}.ecsv",
        decisions=f"{TARGET}/decisions.parquet",
        readme=f"{TARGET}/README.md",
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
        told=lambda wildcards: PLAN.told_of("lc_export", wildcards.target),
        target=lambda wildcards: PLAN.target_file(PLAN.sets_of(wildcards.target)[0]),
        sets=of_target("folders_of"),
    shell:
        "visql lc-export {params.sets:q} -o {output.table:q} --target {params.target:q}"
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
        own=below_set(""),
        folder=below_set("pictures"),
    shell:
        "visql lc-pictures set {params.own:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


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
        target=lambda wildcards: TARGET.format(target=wildcards.target),
        folder=lambda wildcards: f"{TARGET}/pictures".format(target=wildcards.target),
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
        folder=below_set("frames"),
    shell:
        "visql lc-pictures frame {input.night:q} -o {params.folder:q} --list {output:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_look:
    input:
        stamps=f"{EXPOSURE}_stamps.fits",
        psf=f"{EXPOSURE}_psf.fits",
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
        folder=below_set("frames"),
    shell:
        "visql lc-pictures frame {input.stamps:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"
