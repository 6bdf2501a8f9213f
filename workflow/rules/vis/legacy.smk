# Our tables -> the original's text tables, for those who still read them.


rule legacy_month:
    input:
        f"{MONTHS}/psfmoments_{{month}}.parquet",
    output:
        PLAN.paths("legacy_month", "{month}"),
    log:
        log_file("legacy_month"),
    benchmark:
        benchmark_file("legacy_month")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("legacy_month"),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_list:
    input:
        f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        f"{MONTHS}/fitslist{{month}}.txt",
    log:
        log_file("legacy_list"),
    benchmark:
        benchmark_file("legacy_list")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("legacy_list"),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_catalogue:
    input:
        f"{EXPOSURE}.cat.parquet",
    output:
        f"{EXPOSURE}.cat.gz",
    log:
        log_file("legacy_catalogue"),
    benchmark:
        benchmark_file("legacy_catalogue")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("legacy_catalogue"),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_stars:
    input:
        f"{EXPOSURE}_{{table}}.parquet",
    output:
        f"{EXPOSURE}_{{table}}.cat",
    log:
        log_file("legacy_stars"),
    benchmark:
        benchmark_file("legacy_stars")
    wildcard_constraints:
        table="stars2|stars2_mom|stars2_gaia|stars2_mom_col",
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("legacy_stars"),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_frat:
    input:
        f"{EXPOSURE}_frat.parquet",
    output:
        f"{EXPOSURE}_frat.txt",
    log:
        log_file("legacy_frat"),
    benchmark:
        benchmark_file("legacy_frat")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("legacy_frat"),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_ratios:
    input:
        f"{MONTHS}/ratios_{{month}}.parquet",
        f"{MONTHS}/ratios_ccd_{{month}}.parquet",
    output:
        directory(f"{MONTHS}/vis-over-gaia"),
    log:
        log_file("legacy_ratios"),
    benchmark:
        benchmark_file("legacy_ratios")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("legacy_ratios"),
    shell:
        "visql legacy {input:q} -o {output:q} --config {params.config:q} >{log:q} 2>&1"
