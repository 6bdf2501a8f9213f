# All masters, lights and stacks of a night -> its tables.
rule night_tables:
    input:
        lambda wildcards: PLAN.inputs("night_tables", wildcards.night),
        earlier=lambda wildcards: PLAN.earlier_flats(wildcards.night),
        sheet=SHEET,
    output:
        frames=f"{GROUP}/frames_{{night}}.parquet",
        masters=f"{GROUP}/masters_{{night}}.parquet",
        stacks=f"{GROUP}/stacks_{{night}}.parquet",
    log:
        log_file("night_tables"),
    benchmark:
        benchmark_file("night_tables")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("night_tables"),
        lacking=lambda wildcards: PLAN.lacking_options(wildcards.night),
        earlier=lambda wildcards: PLAN.earlier_options(wildcards.night),
    shell:
        "visql night-tables {input.sheet:q} --frames {output.frames:q} --masters {output.masters:q}"
        " --stacks {output.stacks:q} {params.lacking:q} {params.earlier:q} --config {params.config:q} >{log:q} 2>&1"
