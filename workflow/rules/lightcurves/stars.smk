# Aperture photometry of a set -> comparison stars, coefficients, stack -> PSF of each frame, fluxes of the stars.


# Made where it is absent or thawed, or the settings of the stars changed; new frames do not change it.
rule lc_stars:
    input:
        tables=unless_changed(
            "lc_stars",
            table("stars"),
            *(table(kind) for kind in ("frames", "transforms", "apertures")),
        ),
        reference=REFERENCE,
    output:
        table("stars"),
    log:
        log_file("lc_stars"),
    benchmark:
        benchmark_file("lc_stars")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **keyed_params("lc_stars"),
    shell:
        "visql lc-stars {input.tables:q} -o {output:q} --reference {input.reference:q}"
        " --target {params.target:q} --set {wildcards.set:q} --config {params.config:q} >{log:q} 2>&1"


rule lc_medcoeff:
    input:
        tables=[table(kind) for kind in ("frames", "transforms", "apertures", "stars")],
        reference=REFERENCE,
    output:
        table("medcoeff"),
    log:
        log_file("lc_medcoeff"),
    benchmark:
        benchmark_file("lc_medcoeff")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("lc_medcoeff"),
    shell:
        "visql lc-medcoeff {input.tables:q} -o {output:q} --reference {input.reference:q}"
        " --set {wildcards.set:q} --config {params.config:q} >{log:q} 2>&1"


rule lc_stack:
    input:
        tables=[table(kind) for kind in ("frames", "transforms", "medcoeff", "stars")],
        reference=REFERENCE,
    output:
        fits=f"{GROUP}/stack_{{set}}.fits",
        chart=report(
            f"{GROUP}/chart_{{set}}.png",
            category="Light curves",
            labels={"target": "{target}", "set": "{set}", "picture": "chart"},
            caption="../../report/chart.rst",
        ),
    log:
        log_file("lc_stack"),
    benchmark:
        benchmark_file("lc_stack")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **set_params("lc_stack", camera=of_group("camera")),
    shell:
        "visql lc-stack {input.tables:q} -o {output.fits:q} --chart {output.chart:q}"
        " --reference {input.reference:q} --target {params.target:q} --set {wildcards.set:q}"
        " --config {params.config:q} >{log:q} 2>&1"


# Frozen, as the stars are.
rule lc_psf_model:
    input:
        tables=unless_changed(
            "lc_psf_model", table("psfmodel"), table("frames"), table("transforms")
        ),
        stars=table("stars"),
    output:
        table("psfmodel"),
    log:
        log_file("lc_psf_model"),
    benchmark:
        benchmark_file("lc_psf_model")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **keyed_params("lc_psf_model"),
    shell:
        "visql lc-psf-model {input.tables:q} {input.stars:q} -o {output:q} --target {params.target:q}"
        " --set {wildcards.set:q} --config {params.config:q} >{log:q} 2>&1"


rule lc_psf:
    input:
        night=f"{CHUNK}_measure.parquet",
        frames=unless_changed("lc_psf", f"{CHUNK}_psf.parquet", table("frames")),
        stars=table("stars"),
        model=table("psfmodel"),
    output:
        f"{CHUNK}_psf.parquet",
    log:
        night_log("lc_psf", "psf"),
    benchmark:
        night_benchmark("lc_psf", "psf")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=120,
    params:
        **keyed_params("lc_psf"),
        folder=below_set("frames"),
    shell:
        "visql lc-psf {input.night:q} -o {params.folder:q} --stars {input.stars:q} --model {input.model:q}"
        " --target {params.target:q} --set {wildcards.set:q} --table {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_psf_lost:
    input:
        stamps=f"{EXPOSURE}_stamps.fits",
        night=of_frame("chunk_with", "psf"),
        stars=table("stars"),
        model=table("psfmodel"),
    output:
        f"{EXPOSURE}_psf.fits",
    log:
        log_file("lc_psf_lost"),
    benchmark:
        benchmark_file("lc_psf_lost")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("lc_psf_lost"),
        target=of_group("target_file"),
        folder=below_set("frames"),
    shell:
        "visql lc-psf {input.stamps:q} -o {params.folder:q} --stars {input.stars:q} --model {input.model:q}"
        " --target {params.target:q} --set {wildcards.set:q} --config {params.config:q} >{log:q} 2>&1"


rule lc_renorm:
    input:
        nights=of_group_chunks("psf"),
        frames=table("frames"),
        stars=table("stars"),
        reference=REFERENCE,
    output:
        renorm=table("renorm"),
        psf=table("psf"),
        fluxes=table("starfluxes"),
    log:
        log_file("lc_renorm"),
    benchmark:
        benchmark_file("lc_renorm")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("lc_renorm"),
    shell:
        "visql lc-renorm {input.nights:q} -o {output.renorm:q} --psf {output.psf:q} --fluxes {output.fluxes:q}"
        " --frames {input.frames:q} --stars {input.stars:q} --reference {input.reference:q}"
        " --set {wildcards.set:q} --config {params.config:q} >{log:q} 2>&1"
