# Reference stars -> match: astrometry and flux ratios of every exposure.


# A tile whose query failed is there, says why, and is asked for again at the next run; if it comes, the run
# after that uses it.
rule gaia_tile:
    output:
        f"{PLAN.tile_pattern}",
    log:
        f"{LOG}/gaia_tile/{{tile}}.log",
    benchmark:
        f"{BENCHMARK}/gaia_tile/{{tile}}.tsv"
    wildcard_constraints:
        tile=r"\d+",
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        version=STAGES["gaia_tile"],
        config=PLAN.standing_config("gaia_tile", "gaia", "results"),
    shell:
        "visql gaia-tile {wildcards.tile} -o {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule gaia_again:
    output:
        PLAN.tile_pattern.replace("{tile}.parquet", "again/{tile}.txt"),
    log:
        f"{LOG}/gaia_tile/{{tile}}.log",
    benchmark:
        f"{BENCHMARK}/gaia_tile/{{tile}}_again.tsv"
    wildcard_constraints:
        tile=r"\d+",
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        version=STAGES["gaia_tile"],
        config=PLAN.standing_config("gaia_tile", "gaia", "results"),
        table=PLAN.tile_pattern,
    shell:
        "visql gaia-tile {wildcards.tile} -o {params.table:q} --again {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule gaia_project:
    input:
        lambda wildcards: PLAN.tiles(wildcards.month, wildcards.exposure),
    output:
        f"{EXPOSURE}_stars2_gaia.parquet",
    log:
        f"{LOG}/gaia_project/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/gaia_project/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=all_but(*WITHOUT_RAW),
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        version=STAGES["gaia_project"],
        # Who is asked, and how patiently, changes nothing here.
        config=PLAN.standing_config("gaia_project", "gaia"),
        settings=PLAN.reference_settings,
        ra=sheet_value("ra"),
        dec=sheet_value("dec"),
        pa=sheet_value("pa"),
        date=sheet_value("date_obs"),
    shell:
        "visql gaia-project {input:q} -o {output:q} --exposure {wildcards.exposure:q}"
        " --ra={params.ra} --dec={params.dec} --pa={params.pa} --date={params.date:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"


rule gaia_match:
    input:
        moments=f"{EXPOSURE}_stars2_mom.parquet",
        gaia=f"{EXPOSURE}_stars2_gaia.parquet",
    output:
        frat=f"{EXPOSURE}_frat.parquet",
        solution=f"{EXPOSURE}_x_gaia_dxdy.txt",
        ccds=f"{EXPOSURE}_x_gaia_dxdy.parquet",
        colours=f"{EXPOSURE}_stars2_mom_col.parquet",
    log:
        f"{LOG}/gaia_match/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/gaia_match/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=all_but(*WITHOUT_RAW),
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        version=STAGES["gaia_match"],
        config=PLAN.config_of("astrometry", "ratios"),
        facts=PLAN.facts(
            "gain_models", "sky_distortion", "photometry", "exposure_classes"
        ),
    shell:
        "visql gaia-match {input.moments:q} {input.gaia:q} -o {output.frat:q}"
        " --solution {output.solution:q} --table {output.ccds:q} --colours {output.colours:q}"
        " --record-failure --config {params.config:q} >{log:q} 2>&1"


rule gaia_pictures:
    input:
        gaia=f"{EXPOSURE}_stars2_gaia.parquet",
        frat=f"{EXPOSURE}_frat.parquet",
        ccds=f"{EXPOSURE}_x_gaia_dxdy.parquet",
        colours=f"{EXPOSURE}_stars2_mom_col.parquet",
    output:
        expand(f"{EXPOSURE}_{{name}}.png", name=GAIA_PICTURES, allow_missing=True),
    log:
        f"{LOG}/gaia_pictures/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/gaia_pictures/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=all_but(*WITHOUT_RAW),
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        version=STAGES["gaia_pictures"],
        config=PLAN.config_of("pictures", "ratios"),
        facts=PLAN.facts("geometry"),
        prefix=lambda wildcards, output: output[0].removesuffix("_stars2_gaia.png"),
    shell:
        "visql pictures {input:q} -o {params.prefix:q} --config {params.config:q} >{log:q} 2>&1"
