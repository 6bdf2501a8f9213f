# Raw frames, a night of a set at a time -> sky, sources, seeing -> reference -> places, apertures, stamps.


# A job measures the frames of a night, and skips those that stand.
rule lc_frame:
    input:
        frames=ancient(of_night("frames")),
    output:
        f"{CHUNK}_frame.parquet",
    log:
        night_log("lc_frame", "frame"),
    benchmark:
        night_benchmark("lc_frame", "frame")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **set_params(
            "lc_frame", raw=of_night("fingerprints"), camera=of_group("camera")
        ),
        folder=below_set("frames"),
    shell:
        "visql lc-frame {input.frames:q} -o {params.folder:q} --target {params.target:q}"
        " --set {wildcards.set:q} --table {output:q} --record-failure --config {params.config:q} >{log:q} 2>&1"


# What of a frame was lost since its night was done.
rule lc_frame_lost:
    input:
        raw=ancient(raw_frame),
        night=of_frame("chunk_with", "frame"),
    output:
        f"{EXPOSURE}_cat.parquet",
        f"{EXPOSURE}_sky.fits",
    log:
        log_file("lc_frame_lost"),
    benchmark:
        benchmark_file("lc_frame_lost")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("lc_frame_lost"),
        raw=fingerprint,
        camera=of_group("camera"),
        target=of_group("target_file"),
        folder=below_set("frames"),
    shell:
        "visql lc-frame {input.raw:q} -o {params.folder:q} --target {params.target:q}"
        " --set {wildcards.set:q} --config {params.config:q} >{log:q} 2>&1"


rule lc_frames:
    input:
        of_group_chunks("frame"),
    output:
        table("frames"),
    log:
        log_file("lc_frames"),
    benchmark:
        benchmark_file("lc_frames")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **set_params("lc_frames", kicked=of_group("kicked")),
    shell:
        "visql lc-frames {input:q} -o {output:q} --target {params.target:q} --set {wildcards.set:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_defringe:
    input:
        night=f"{CHUNK}_frame.parquet",
    output:
        f"{GROUP}/fringes/{{night}}.fits",
    log:
        night_log("lc_defringe", "fringes"),
    benchmark:
        night_benchmark("lc_defringe", "fringes")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **set_params(
            "lc_defringe", camera=of_group("camera"), kicked=of_night("kicked")
        ),
        folder=below_set("frames"),
    shell:
        "visql lc-defringe {input.night:q} -o {output:q} --frames {params.folder:q}"
        " --target {params.target:q} --set {wildcards.set:q} --config {params.config:q} >{log:q} 2>&1"


# Made where it is absent or thawed. What the target's file says anew of the point sources is
# entered into the table that stands, whose frame is kept.
rule lc_reference:
    input:
        unless_target_changed("lc_reference", REFERENCE, "tables_of", "frames"),
    output:
        update(REFERENCE),
    log:
        target_log("lc_reference"),
    benchmark:
        target_benchmark("lc_reference")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **keyed_params("lc_reference"),
    shell:
        "visql lc-reference {input:q} -o {output:q} --target {params.target:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_measure:
    input:
        night=f"{CHUNK}_frame.parquet",
        frames=unless_changed("lc_measure", f"{CHUNK}_measure.parquet", table("frames")),
        reference=REFERENCE,
        fringes=of_night("fringes"),
    output:
        f"{CHUNK}_measure.parquet",
    log:
        night_log("lc_measure", "measure"),
    benchmark:
        night_benchmark("lc_measure", "measure")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **keyed_params("lc_measure"),
        fringes=of_night("fringe_options"),
        folder=below_set("frames"),
    shell:
        "visql lc-measure {input.night:q} -o {params.folder:q} --reference {input.reference:q}"
        " --target {params.target:q} --set {wildcards.set:q} --frames {input.frames:q} {params.fringes:q}"
        " --table {output:q} --record-failure --config {params.config:q} >{log:q} 2>&1"


rule lc_measure_lost:
    input:
        raw=ancient(raw_frame),
        night=of_frame("chunk_with", "measure"),
        reference=REFERENCE,
        fringes=of_frame("fringes_with"),
        catalogue=f"{EXPOSURE}_cat.parquet",
        sky=f"{EXPOSURE}_sky.fits",
    output:
        f"{EXPOSURE}_apertures.parquet",
        f"{EXPOSURE}_stamps.fits",
    log:
        log_file("lc_measure_lost"),
    benchmark:
        benchmark_file("lc_measure_lost")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("lc_measure_lost"),
        raw=fingerprint,
        camera=of_group("camera"),
        target=of_group("target_file"),
        fringes=of_frame("fringe_options_with"),
        folder=below_set("frames"),
    shell:
        "visql lc-measure {input.raw:q} -o {params.folder:q} --reference {input.reference:q}"
        " --target {params.target:q} --set {wildcards.set:q} {params.fringes:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule lc_apertures:
    input:
        nights=of_group_chunks("measure"),
        frames=table("frames"),
    output:
        apertures=table("apertures"),
        transforms=table("transforms"),
    log:
        log_file("lc_apertures"),
    benchmark:
        benchmark_file("lc_apertures")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("lc_apertures"),
    shell:
        "visql lc-apertures {input.nights:q} -o {output.apertures:q} --transforms {output.transforms:q}"
        " --frames {input.frames:q} --config {params.config:q} >{log:q} 2>&1"
