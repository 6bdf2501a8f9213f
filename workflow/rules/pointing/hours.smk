# Raw frames of an hour -> summaries, streaks, pictures of each, and the tables of the hour.


# A start of Snakemake costs more than a frame: a job is an hour, and skips frames that stand.
rule hour:
    input:
        frames=ancient(lambda wildcards: PLAN.frames(wildcards.night, wildcards.hour)),
        masters=PLAN.masters,
        sheet=ancient(SHEET),
    output:
        table=f"{GROUP}/hours/{{hour}}.parquet",
        streaks=f"{GROUP}/streaks/{{hour}}.parquet",
    log:
        log_file("hour").replace("{output}", "{hour}"),
    benchmark:
        benchmark_file("hour").replace("{output}", "{hour}")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=60,
    params:
        **stage_params("hour"),
        raw=lambda wildcards: PLAN.fingerprints(wildcards.night, wildcards.hour),
        masters=PLAN.masters_state,
        vetoes=PLAN.veto_option,
    shell:
        "visql pointing-hour {input.sheet:q} {wildcards.hour:q} -o {output.table:q} --streaks {output.streaks:q}"
        " {params.vetoes:q} --config {params.config:q} >{log:q} 2>&1"


# A frame of which something was lost since its hour was done.
rule frame_lost:
    input:
        raw=ancient(raw_frame),
        hour=lambda wildcards: PLAN.hour_table(wildcards.night, wildcards.exposure),
    output:
        f"{EXPOSURE}-summary.fits",
        f"{EXPOSURE}-streaks.fits",
        f"{EXPOSURE}-thumbnail.fits",
        f"{EXPOSURE}-zp.png",
    log:
        log_file("frame_lost"),
    benchmark:
        benchmark_file("frame_lost")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("frame_lost"),
        raw=fingerprint,
        masters=PLAN.masters_state,
        folder=lambda wildcards: PLAN.folder(wildcards.night, wildcards.exposure),
    shell:
        "visql pointing {input.raw:q} -o {params.folder:q} --config {params.config:q} >{log:q} 2>&1"
