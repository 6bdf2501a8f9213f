# Lights -> reduced frames, registration, stacks.


# A job reduces a chunk of lights, and skips those that stand.
rule reduce:
    input:
        frames=ancient(of_set("chunk", "frames")),
        masters=of_set("chunk", "masters"),
    output:
        f"{FRAMES}/{{chunk}}.parquet",
    log:
        set_log("reduce", "chunk"),
    benchmark:
        set_benchmark("reduce", "chunk")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        **stage_params("reduce", **set_sources("chunk", "master_options")),
        folder=lambda wildcards: FRAMES.format(night=wildcards.night),
    shell:
        "visql reduce {input.frames:q} -o {params.folder:q} --table {output:q} {params.masters:q}"
        " --config {params.config:q} >{log:q} 2>&1"


# A reduced frame that was lost since its chunk was done.
rule reduce_lost:
    input:
        raw=ancient(raw_frame),
        chunk=lambda wildcards: PLAN.chunk_table(wildcards.night, wildcards.exposure),
    output:
        f"{EXPOSURE}.fits",
    log:
        log_file("reduce_lost"),
    benchmark:
        benchmark_file("reduce_lost")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("reduce_lost"),
        raw=fingerprint,
        masters=lambda wildcards: PLAN.light_options(
            wildcards.night, wildcards.exposure
        ),
        folder=lambda wildcards: FRAMES.format(night=wildcards.night),
    shell:
        "visql reduce {input.raw:q} -o {params.folder:q} {params.masters:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule register:
    input:
        of_set("stack", "chunk_tables"),
    output:
        f"{STACKS}/{{stack}}_registration.parquet",
    log:
        set_log("register", "stack"),
    benchmark:
        set_benchmark("register", "stack")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("register"),
    shell:
        "visql register {input:q} -o {output:q} --record-failure --config {params.config:q}"
        " >{log:q} 2>&1"


rule stack:
    input:
        chunks=of_set("stack", "chunk_tables"),
        registration=f"{STACKS}/{{stack}}_registration.parquet",
    output:
        fits=f"{STACKS}/{{stack}}.fits",
        picture=report(
            f"{STACKS}/{{stack}}.png",
            category="Stacks",
            labels={"stack": "{stack}", "night": "{night}"},
            caption="../../report/stack.rst",
        ),
    log:
        set_log("stack", "stack"),
    benchmark:
        set_benchmark("stack", "stack")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("stack"),
    shell:
        "visql stack {input.chunks:q} -o {output.fits:q} --registration {input.registration:q}"
        " --picture {output.picture:q} --record-failure --config {params.config:q} >{log:q} 2>&1"
