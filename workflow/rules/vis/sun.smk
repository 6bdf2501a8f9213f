# The Sun: GOES, plate solutions, angles.


# A day whose download failed, or that is not final, has a table that says so, and is queried again in a later run:
# its table changes only if there are new data, and the run after that uses them.
rule goes_day:
    output:
        f"{PLAN.radiation.goes_pattern}",
    log:
        log_file("goes_day"),
    benchmark:
        benchmark_file("goes_day")
    wildcard_constraints:
        day=r"\d{8}",
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        **stage_params("goes_day"),
    shell:
        "visql goes-day {wildcards.day} -o {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule goes_day_retry:
    output:
        f"{RESULTS}/goes/again/goes_{{day}}.txt",
    log:
        log_file("goes_day_retry"),
    benchmark:
        f"{BENCHMARK}/goes/{{day}}_again.tsv"
    wildcard_constraints:
        day=r"\d{8}",
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        **stage_params("goes_day_retry"),
        table=PLAN.radiation.goes_pattern,
    shell:
        "visql goes-day {wildcards.day} -o {params.table:q} --again {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule plate:
    input:
        stars=f"{EXPOSURE}_stars2.parquet",
        quadrants=f"{EXPOSURE}_quadrants.parquet",
        tiles=lambda wildcards: PLAN.gaia.tiles(wildcards.month, wildcards.exposure),
    output:
        f"{EXPOSURE}.wcs",
    log:
        log_file("plate"),
    benchmark:
        benchmark_file("plate")
    wildcard_constraints:
        exposure=except_exposures(*WITHOUT_RAW),
    priority: 4
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=2,
    params:
        **stage_params("plate"),
        ra=sheet_value("ra"),
        dec=sheet_value("dec"),
        # A failure "not installed" is retried after installation.
        installed=PLAN.radiation.installed,
        tiles=lambda wildcards, input: (
            [f"--tiles={tile}" for tile in input.tiles] if input.tiles else []
        ),
    shell:
        "visql plate-solve {input.stars:q} {params.tiles:q} -o {output:q}"
        " --ra={params.ra} --dec={params.dec} --quadrants {input.quadrants:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule angles:
    input:
        series=lambda wildcards: PLAN.radiation.month_days(wildcards.month),
        plates=lambda wildcards: PLAN.radiation.plates(wildcards.month),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        table=f"{MONTHS}/angles_{{month}}.parquet",
        text=f"{MONTHS}/All_Angles_and_GOES_{{month}}.txt",
    log:
        log_file("angles"),
    benchmark:
        benchmark_file("angles")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=15,
    params:
        **stage_params("angles"),
    shell:
        "visql angles {input.sheet:q} {input.series:q} -o {output.table:q} --text {output.text:q}"
        " --config {params.config:q} >{log:q} 2>&1"
