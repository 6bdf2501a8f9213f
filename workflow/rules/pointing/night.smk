# Tables of hours -> tables, picture and movie of the night -> those of all nights.
TIMELINE = f"{RESULTS}/timeline"


# By the headers alone.
rule night_index:
    input:
        SHEET,
    output:
        f"{GROUP}/index_{{night}}.fits",
    log:
        log_file("night_index"),
    benchmark:
        benchmark_file("night_index")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("night_index"),
    shell:
        "visql pointing-index {input:q} -o {output:q} --config {params.config:q} >{log:q} 2>&1"


rule night_table:
    input:
        lambda wildcards: PLAN.inputs("night_table", wildcards.night),
        sheet=SHEET,
    output:
        night=f"{GROUP}/night_{{night}}.parquet",
        streaks=f"{GROUP}/streaks_{{night}}.parquet",
    log:
        log_file("night_table"),
    benchmark:
        benchmark_file("night_table")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("night_table"),
        hours=lambda wildcards: PLAN.hour_tables(wildcards.night),
    shell:
        "visql pointing-table {input.sheet:q} {params.hours:q} -o {output.night:q} --streaks {output.streaks:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule night_picture:
    input:
        f"{GROUP}/night_{{night}}.parquet",
    output:
        report(
            f"{GROUP}/night_{{night}}.png",
            category="Nights",
            labels={"night": "{night}"},
            caption="../../report/night.rst",
        ),
    log:
        log_file("night_picture"),
    benchmark:
        benchmark_file("night_picture")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("night_picture"),
    shell:
        "visql pointing-picture {input:q} -o {output:q} --config {params.config:q} >{log:q} 2>&1"


rule night_movie:
    input:
        f"{GROUP}/night_{{night}}.parquet",
    output:
        f"{GROUP}/movie_{{night}}.mp4",
    log:
        log_file("night_movie"),
    benchmark:
        benchmark_file("night_movie")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=30,
    params:
        **stage_params("night_movie"),
    shell:
        "visql pointing-movie {input:q} -o {output:q} --config {params.config:q} >{log:q} 2>&1"


rule interval_movie:
    input:
        lambda wildcards: PLAN.interval_tables(wildcards.interval),
        intervals=PLAN.interval_file,
    output:
        f"{TIMELINE}/movies/{{interval}}.mp4",
    log:
        log_file("interval_movie").replace("{output}", "{interval}"),
    benchmark:
        benchmark_file("interval_movie").replace("{output}", "{interval}")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **stage_params("interval_movie"),
        nights=lambda wildcards: PLAN.interval_tables(wildcards.interval),
    shell:
        "visql pointing-movie {params.nights:q} --interval {wildcards.interval:q} --intervals {input.intervals:q}"
        " -o {output:q} --config {params.config:q} >{log:q} 2>&1"


rule season:
    input:
        lambda wildcards: PLAN.season_tables(),
    output:
        table=f"{TIMELINE}/season.parquet",
        picture=report(
            f"{TIMELINE}/season.png",
            category="Nights",
            labels={"night": "all"},
            caption="../../report/season.rst",
        ),
    log:
        log_file("season"),
    benchmark:
        benchmark_file("season")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=10,
    params:
        **stage_params("season"),
    shell:
        "visql pointing-season {input:q} -o {output.table:q} --picture {output.picture:q}"
        " --config {params.config:q} >{log:q} 2>&1"
