# Our tables -> the original's text tables, for those who still read them.


rule legacy_month:
    input:
        f"{MONTHS}/psfmoments_{{month}}.parquet",
    output:
        expand(
            f"{MONTHS}/psfmoments_{{month}}{{ending}}",
            ending=QUALITY_TEXTS,
            allow_missing=True,
        ),
    log:
        f"{LOG}/legacy/{{month}}.log",
    benchmark:
        f"{BENCHMARK}/legacy/{{month}}.tsv"
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        version=STAGES["legacy"],
        config=PLAN.config_of(),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_list:
    input:
        f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        f"{MONTHS}/fitslist{{month}}.txt",
    log:
        f"{LOG}/legacy/fitslist{{month}}.log",
    benchmark:
        f"{BENCHMARK}/legacy/fitslist{{month}}.tsv"
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        version=STAGES["legacy"],
        config=PLAN.config_of(),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_catalogue:
    input:
        f"{EXPOSURE}.cat.parquet",
    output:
        f"{EXPOSURE}.cat.gz",
    log:
        f"{LOG}/legacy_catalogue/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/legacy_catalogue/{{month}}/{{exposure}}.tsv"
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        version=STAGES["legacy"],
        config=PLAN.config_of(),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_stars:
    input:
        f"{EXPOSURE}_{{table}}.parquet",
    output:
        f"{EXPOSURE}_{{table}}.cat",
    log:
        f"{LOG}/legacy_{{table}}/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/legacy_{{table}}/{{month}}/{{exposure}}.tsv"
    wildcard_constraints:
        table="stars2|stars2_mom|stars2_gaia|stars2_mom_col",
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        version=STAGES["legacy"],
        config=PLAN.config_of(),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql legacy {input:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"


rule legacy_frat:
    input:
        f"{EXPOSURE}_frat.parquet",
    output:
        f"{EXPOSURE}_frat.txt",
    log:
        f"{LOG}/legacy_frat/{{month}}/{{exposure}}.log",
    benchmark:
        f"{BENCHMARK}/legacy_frat/{{month}}/{{exposure}}.tsv"
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        version=STAGES["legacy"],
        config=PLAN.config_of(),
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
        f"{LOG}/legacy_ratios/{{month}}.log",
    benchmark:
        f"{BENCHMARK}/legacy_ratios/{{month}}.tsv"
    conda:
        "../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        version=STAGES["legacy"],
        config=PLAN.config_of(),
    shell:
        "visql legacy {input:q} -o {output:q} --config {params.config:q} >{log:q} 2>&1"
