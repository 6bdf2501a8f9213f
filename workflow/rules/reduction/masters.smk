# Calibration sets -> master biases, darks and flats, maps of bad pixels.


rule master_bias:
    input:
        frames=ancient(of_set("bias", "frames")),
    output:
        fits=f"{MASTERS}/{{bias}}.fits",
        table=f"{MASTERS}/{{bias}}.parquet",
        picture=report(
            f"{MASTERS}/{{bias}}.png",
            category="Masters",
            labels={"master": "{bias}", "night": "{night}"},
            caption="../../report/master.rst",
        ),
    log:
        set_log("master_bias", "bias"),
    benchmark:
        set_benchmark("master_bias", "bias")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("master_bias", **set_sources("bias", "master_options")),
    shell:
        "visql master-bias {input.frames:q} -o {output.fits:q} --table {output.table:q}"
        " --picture {output.picture:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"


rule master_dark:
    input:
        frames=ancient(of_set("dark", "frames")),
        masters=of_set("dark", "masters"),
    output:
        fits=f"{MASTERS}/{{dark}}.fits",
        table=f"{MASTERS}/{{dark}}.parquet",
        picture=report(
            f"{MASTERS}/{{dark}}.png",
            category="Masters",
            labels={"master": "{dark}", "night": "{night}"},
            caption="../../report/master.rst",
        ),
    log:
        set_log("master_dark", "dark"),
    benchmark:
        set_benchmark("master_dark", "dark")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("master_dark", **set_sources("dark", "master_options")),
    shell:
        "visql master-dark {input.frames:q} -o {output.fits:q} --table {output.table:q}"
        " --picture {output.picture:q} {params.masters:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"


rule master_flat:
    input:
        frames=ancient(of_set("flat", "frames")),
        masters=of_set("flat", "masters"),
    output:
        fits=f"{MASTERS}/{{flat}}.fits",
        table=f"{MASTERS}/{{flat}}.parquet",
        picture=report(
            f"{MASTERS}/{{flat}}.png",
            category="Masters",
            labels={"master": "{flat}", "night": "{night}"},
            caption="../../report/master.rst",
        ),
    log:
        set_log("master_flat", "flat"),
    benchmark:
        set_benchmark("master_flat", "flat")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("master_flat", **set_sources("flat", "master_options")),
    shell:
        "visql master-flat {input.frames:q} -o {output.fits:q} --table {output.table:q}"
        " --picture {output.picture:q} {params.masters:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"


rule bad_pixels:
    input:
        of_set("pixels", "pixel_masters"),
    output:
        fits=f"{MASTERS}/{{pixels}}.fits",
        picture=report(
            f"{MASTERS}/{{pixels}}.png",
            category="Masters",
            labels={"master": "{pixels}", "night": "{night}"},
            caption="../../report/bad_pixels.rst",
        ),
    log:
        set_log("bad_pixels", "pixels"),
    benchmark:
        set_benchmark("bad_pixels", "pixels")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("bad_pixels", masters=of_set("pixels", "pixel_options")),
    shell:
        "visql bad-pixels {params.masters:q} -o {output.fits:q} --picture {output.picture:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"
