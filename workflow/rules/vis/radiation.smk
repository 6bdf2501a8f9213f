# Catalogue -> particles of an exposure, beside the Sun's X-rays -> the month's radiation.


rule particles:
    input:
        catalogue=f"{EXPOSURE}.cat.parquet",
        quadrants=f"{EXPOSURE}_quadrants.parquet",
        days=lambda wildcards: PLAN.radiation.goes_days(
            wildcards.month, wildcards.exposure
        ),
    output:
        table=f"{EXPOSURE}_radiation.parquet",
        maps=f"{EXPOSURE}_radmaps.parquet",
        pictures=pictures_of("particles"),
    log:
        log_file("particles"),
    benchmark:
        benchmark_file("particles")
    wildcard_constraints:
        exposure=except_exposures(*FLATS, *NOT_CATALOGUED, *WITHOUT_RAW),
    priority: 4
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("particles"),
        prefix=stem,
        days=lambda wildcards, input: [f"--goes={day}" for day in input.days],
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
        hours=PLAN.settings.goes.hours,
        raw=fingerprint,
    shell:
        "visql radiation {input.catalogue:q} -o {output.table:q} --maps {output.maps:q}"
        " --quadrants {input.quadrants:q} --pictures {params.prefix:q} --record-failure"
        " --sheet {params.sheet:q} --hours {params.hours} {params.days:q} --config {params.config:q} >{log:q} 2>&1"


rule month_radiation:
    input:
        lambda wildcards: PLAN.radiation.tables(wildcards.month),
        angles=f"{MONTHS}/angles_{{month}}.parquet",
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
        thresholds=PLAN.threshold_file,
    output:
        table=f"{MONTHS}/radiation_{{month}}.parquet",
        leak=f"{MONTHS}/leak_{{month}}.parquet",
        pictures=[
            report(
                f"{MONTHS}/{name}_{{month}}.png",
                category="Radiation",
                labels={"picture": label, "of": "{month}"},
                caption=f"../../report/{name}.rst",
            )
            for name, label in (
                ("radiation", "particles and lit area"),
                ("leak", "angles of the light leak"),
            )
        ],
    log:
        log_file("month_radiation"),
    benchmark:
        benchmark_file("month_radiation")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("month_radiation"),
        folder=lambda wildcards, output: os.path.dirname(output.table),
    shell:
        "visql month-radiation {input.sheet:q} --angles {input.angles:q} -o {output.table:q}"
        " --leak {output.leak:q} --pictures {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


# Levels of all frames: bias and noise of each, dark, flat, injection where there are such frames.
rule detector:
    input:
        lambda wildcards: PLAN.quadrant_tables(wildcards.month),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
        thresholds=PLAN.threshold_file,
    output:
        table=f"{MONTHS}/detector_{{month}}.parquet",
        frames=f"{MONTHS}/detector_frames_{{month}}.parquet",
        hot=f"{MONTHS}/hot_pixels_{{month}}.parquet",
        pictures=[
            report(
                f"{MONTHS}/detector_{{month}}_{name}.png",
                category="Detectors",
                labels={"picture": label, "of": "{month}"},
                caption="../../report/detector.rst",
            )
            for name, label in (
                ("timeline", "timeline"),
                ("map", "maps"),
                ("hot", "hot pixels"),
            )
        ],
    log:
        log_file("detector"),
    benchmark:
        benchmark_file("detector")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("detector"),
        prefix=lambda wildcards, output: output.table.removesuffix(".parquet"),
    shell:
        "visql detector {input.sheet:q} -o {output.table:q} --frames {output.frames:q}"
        " --hot-pixels {output.hot:q} --pictures {params.prefix:q} --config {params.config:q} >{log:q} 2>&1"
