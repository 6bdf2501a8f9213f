# Movies, and when each product was made.


rule movie:
    input:
        f"{MONTHS}/radiation_{{month}}.parquet",
        series=lambda wildcards: PLAN.radiation.month_days(wildcards.month),
        angles=f"{MONTHS}/angles_{{month}}.parquet",
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        f"{MONTHS}/{{name}}{{month}}.mp4",
    log:
        f"{LOG}/movies/{{name}}{{month}}.log",
    benchmark:
        f"{BENCHMARK}/movies/{{name}}{{month}}.tsv"
    wildcard_constraints:
        name="|".join(MOVIES),
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **stage_params("movie"),
        kind=lambda wildcards: MOVIES[wildcards.name],
        cache=f"{RESULTS}/movies",
        goes=lambda wildcards, input: [f"--goes={day}" for day in input.series],
    shell:
        "visql movie {input.sheet:q} --kind {params.kind} -o {output:q} {params.goes:q}"
        " --angles {input.angles:q} --cache {params.cache:q} --config {params.config:q} >{log:q} 2>&1"


rule last_movie:
    input:
        [
            PLAN.radiation.movies(month)[:1]
            for month in PLAN.newest_months
            if month in PLAN.groups()
        ],
    output:
        f"{TIMELINE}/XCOSMIX_LASTMONTH.mp4",
    log:
        log_file("last_movie"),
    benchmark:
        benchmark_file("last_movie")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **stage_params("last_movie"),
        sheets=[
            f"{RESULTS}/exposures/{month}.tsv"
            for month in PLAN.newest_months
            if month in PLAN.groups()
            or os.path.isfile(f"{RESULTS}/exposures/{month}.tsv")
        ],
        goes=[
            f"--goes={day}"
            for month in PLAN.newest_months
            for day in PLAN.radiation.month_days(month)
        ],
        angles=[
            f"--angles={RESULTS}/months/{month}/angles_{month}.parquet"
            for month in PLAN.newest_months
            if month in PLAN.groups()
            or os.path.isfile(f"{RESULTS}/months/{month}/angles_{month}.parquet")
        ],
        cache=f"{RESULTS}/movies",
    shell:
        "visql movie {params.sheets:q} --kind xcosmix --last-days -o {output:q} {params.goes:q}"
        " {params.angles:q} --cache {params.cache:q} --config {params.config:q} >{log:q} 2>&1"


rule performance:
    input:
        lambda wildcards: PLAN.tables_of_exposures(wildcards.month),
        lambda wildcards: PLAN.pictures(wildcards.month),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        table=f"{MONTHS}/performance_{{month}}.parquet",
        pictures=directory(f"{MONTHS}/pipelineperf"),
    log:
        log_file("performance"),
    benchmark:
        benchmark_file("performance")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=15,
    params:
        **stage_params("performance"),
    shell:
        "visql performance {input.sheet:q} -o {output.table:q} --pictures {output.pictures:q}"
        " --config {params.config:q} >{log:q} 2>&1"
