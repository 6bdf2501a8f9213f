# Reference stars -> match: astrometry and flux ratios of every exposure.


# A tile whose query failed is there, says why, and is asked for again at the next run; if it comes, the run
# after that uses it.
rule gaia_tile:
    output:
        f"{PLAN.gaia.tile_pattern}",
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
        config=PLAN.standing_config("gaia_tile", "gaia", "network", "results"),
    shell:
        "visql gaia-tile {wildcards.tile} -o {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule gaia_again:
    output:
        PLAN.gaia.tile_pattern.replace("{tile}.parquet", "again/{tile}.txt"),
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
        config=PLAN.standing_config("gaia_tile", "gaia", "network", "results"),
        table=PLAN.gaia.tile_pattern,
    shell:
        "visql gaia-tile {wildcards.tile} -o {params.table:q} --again {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


# Projection, match and their pictures: one job, as each alone is shorter than its start.
rule gaia_match:
    input:
        moments=f"{EXPOSURE}_stars2_mom.parquet",
        tiles=lambda wildcards: PLAN.gaia.tiles(wildcards.month, wildcards.exposure),
    output:
        gaia=f"{EXPOSURE}_stars2_gaia.parquet",
        frat=f"{EXPOSURE}_frat.parquet",
        solution=f"{EXPOSURE}_x_gaia_dxdy.txt",
        ccds=f"{EXPOSURE}_x_gaia_dxdy.parquet",
        colours=f"{EXPOSURE}_stars2_mom_col.parquet",
        pictures=expand(
            f"{EXPOSURE}_{{name}}.png", name=GAIA_PICTURES, allow_missing=True
        ),
    log:
        f"{LOG}/gaia_match/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/gaia_match/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        exposure=all_but(*WITHOUT_RAW),
    priority: 4
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        version=[
            STAGES[name] for name in ("gaia_project", "gaia_match", "gaia_pictures")
        ],
        # Who is asked for stars, and how patiently, changes nothing here.
        config=PLAN.standing_config(
            "gaia_match", "gaia", "astrometry", "ratios", "pictures"
        ),
        settings=PLAN.gaia.match_settings,
        facts=PLAN.facts(
            "gain_models",
            "sky_distortion",
            "photometry",
            "exposure_classes",
            "geometry",
        ),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
        prefix=stem,
    shell:
        "visql gaia-match {input.moments:q} {input.tiles:q} --sheet {params.sheet:q} --project {output.gaia:q}"
        " -o {output.frat:q} --solution {output.solution:q} --table {output.ccds:q} --colours {output.colours:q}"
        " --pictures {params.prefix:q} --record-failure --config {params.config:q} >{log:q} 2>&1"
