# Reference stars -> match: astrometry and flux ratios of every exposure.


# A tile whose query failed has a table with the reason, and is queried again in the next run; if that succeeds,
# the run after that uses it.
rule gaia_tile:
    output:
        f"{PLAN.gaia.tile_pattern}",
    log:
        log_file("gaia_tile"),
    benchmark:
        benchmark_file("gaia_tile")
    wildcard_constraints:
        tile=r"\d+",
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **stage_params("gaia_tile"),
    shell:
        "visql gaia-tile {wildcards.tile} -o {output:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"


rule gaia_tile_retry:
    output:
        PLAN.gaia.tile_pattern.replace("{tile}.parquet", "again/{tile}.txt"),
    log:
        log_file("gaia_tile_retry"),
    benchmark:
        f"{BENCHMARK}/gaia_tile/{{tile}}_again.tsv"
    wildcard_constraints:
        tile=r"\d+",
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **stage_params("gaia_tile_retry"),
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
        pictures=pictures_of("gaia_match"),
    log:
        log_file("gaia_match"),
    benchmark:
        benchmark_file("gaia_match")
    wildcard_constraints:
        exposure=except_exposures(*WITHOUT_RAW),
    priority: 4
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("gaia_match"),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
        prefix=stem,
    shell:
        "visql gaia-match {input.moments:q} {input.tiles:q} --sheet {params.sheet:q} --project {output.gaia:q}"
        " -o {output.frat:q} --solution {output.solution:q} --table {output.ccds:q} --colours {output.colours:q}"
        " --pictures {params.prefix:q} --record-failure --config {params.config:q} >{log:q} 2>&1"
