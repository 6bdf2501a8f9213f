# The Sun: GOES, plate solutions, angles.


# A day that could not be had, or is not final, is there, says so, and is asked for again at a later run: then
# its table changes only if there is something new, and the run after that uses it.
rule goes_day:
    output:
        f"{PLAN.radiation.goes_pattern}",
    log:
        f"{LOG}/goes/{{day}}.log",
    benchmark:
        f"{BENCHMARK}/goes/{{day}}.tsv"
    wildcard_constraints:
        day=r"\d{8}",
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        version=STAGES["goes"],
        config=PLAN.standing_config("goes", "goes", "network", "results"),
    shell:
        "visql goes-day {wildcards.day} -o {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule goes_again:
    output:
        f"{RESULTS}/goes/again/goes_{{day}}.txt",
    log:
        f"{LOG}/goes/{{day}}.log",
    benchmark:
        f"{BENCHMARK}/goes/{{day}}_again.tsv"
    wildcard_constraints:
        day=r"\d{8}",
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        version=STAGES["goes"],
        config=PLAN.standing_config("goes", "goes", "network", "results"),
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
        f"{LOG}/plate/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/plate/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=all_but(*WITHOUT_RAW),
    priority: 4
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=2,
    params:
        version=STAGES["plate"],
        # Of gaia only the store counts, beside which indexes are kept; the stars themselves are in the tiles.
        config=PLAN.standing_config("plate", "plate", "preview", "gaia", "results"),
        settings=PLAN.config_of("plate", "preview"),
        facts=PLAN.facts("geometry", "sky_distortion"),
        ra=sheet_value("ra"),
        dec=sheet_value("dec"),
        # "Not installed" is tried again once it is.
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
        f"{LOG}/angles/{{month}}.log",
    benchmark:
        f"{BENCHMARK}/angles/{{month}}.tsv"
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=15,
    params:
        version=STAGES["angles"],
        # Who is asked for GOES, and how often, changes nothing here.
        config=PLAN.standing_config("angles", "sun", "goes", "network"),
        settings=[str(PLAN.settings.sun), PLAN.settings.goes.final_after],
        facts=PLAN.facts("detector"),
    shell:
        "visql angles {input.sheet:q} {input.series:q} -o {output.table:q} --text {output.text:q}"
        " --config {params.config:q} >{log:q} 2>&1"
