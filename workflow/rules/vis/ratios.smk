# Matched stars of a month -> geometry, the matrix of flux ratios, pictures; of all months -> the trend.

TREND_LABELS = {
    f"{name}_{cls}.png": f"{label}, {cls}"
    for cls in PLAN.instrument.exposure_classes
    for name, label in (
        ("loss", "flux loss"),
        ("loss_map", "flux loss over the focal plane"),
        ("iceplot", "ratio at three colours"),
        ("iceplot_diag", "ratio along the diagonal"),
    )
}


rule geometry:
    input:
        lambda wildcards: PLAN.gaia.matched_tables(wildcards.month),
        lambda wildcards: PLAN.existing_without_raw(
            wildcards.month, "_stars2_gaia.parquet"
        ),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        geometry=f"{MONTHS}/geometry_{{month}}.parquet",
        astrometry=f"{MONTHS}/astrometry_{{month}}.parquet",
    log:
        log_file("geometry"),
    benchmark:
        benchmark_file("geometry")
    priority: 5  # the month's longest chain
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("geometry"),
    shell:
        "visql geometry {input.sheet:q} -o {output.geometry:q} --astrometry {output.astrometry:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule ratios:
    input:
        lambda wildcards: PLAN.gaia.geometry(wildcards.month),
        lambda wildcards: PLAN.gaia.imported_ratios(wildcards.month),
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        ratios=f"{MONTHS}/ratios_{{month}}.parquet",
        by_ccd=f"{MONTHS}/ratios_ccd_{{month}}.parquet",
    log:
        log_file("ratios"),
    benchmark:
        benchmark_file("ratios")
    priority: 5  # the month's longest chain
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("ratios"),
    shell:
        "visql ratios {input.sheet:q} -o {output.ratios:q} --by-ccd {output.by_ccd:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule ratio_pictures:
    input:
        f"{MONTHS}/ratios_{{month}}.parquet",
    output:
        pictures=[
            report(
                path,
                category="Photometry and ice",
                labels={"picture": f"maps, {cls}", "of": "{month}"},
                caption="../../report/ratios.rst",
            )
            for path, cls in zip(
                PLAN.paths("ratio_pictures", "{month}"),
                PLAN.instrument.exposure_classes,
                strict=True,
            )
        ],
        days=directory(f"{MONTHS}/iceplots"),
    log:
        log_file("ratio_pictures"),
    benchmark:
        benchmark_file("ratio_pictures")
    priority: 5  # the month's longest chain
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("ratio_pictures"),
        folder=lambda wildcards, output: os.path.dirname(output.pictures[0]),
    shell:
        "visql ratio-pictures {input:q} -o {params.folder:q} --days {output.days:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule ratio_sheets:
    input:
        by_ccd=f"{MONTHS}/ratios_ccd_{{month}}.parquet",
        sheet=f"{RESULTS}/exposures/{{month}}.tsv",
    output:
        [
            report(
                path,
                category="Photometry and ice",
                labels={"picture": f"ratio against colour, {cls}", "of": "{month}"},
                caption="../../report/ratios.rst",
            )
            for path, cls in zip(
                PLAN.paths("ratio_sheets", "{month}"),
                PLAN.instrument.exposure_classes,
                strict=True,
            )
        ],
    log:
        log_file("ratio_sheets"),
    benchmark:
        benchmark_file("ratio_sheets")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("ratio_sheets"),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "visql ratio-sheets {input.by_ccd:q} {input.sheet:q} -o {params.folder:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule trend:
    input:
        PLAN.gaia.ratio_tables(configured=True),
    output:
        trend=f"{TIMELINE}/trend.parquet",
        pictures=[
            (
                report(
                    path,
                    category="Photometry and ice",
                    labels={
                        "picture": TREND_LABELS[os.path.basename(path)],
                        "of": "all months",
                    },
                    caption="../../report/trend.rst",
                )
                if os.path.basename(path) in TREND_LABELS
                else path
            )
            for path in PLAN.paths("trend")[1:]
        ],
    log:
        log_file("trend"),
    benchmark:
        benchmark_file("trend")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=20,
    params:
        **stage_params("trend"),
        others=PLAN.gaia.ratio_tables(configured=False),
        folder=lambda wildcards, output: os.path.dirname(output.trend),
    shell:
        "visql trend {input:q} {params.others:q} -o {output.trend:q} --pictures {params.folder:q}"
        " --config {params.config:q} >{log:q} 2>&1"


rule month_trend:
    input:
        f"{TIMELINE}/trend.parquet",
    output:
        table=f"{MONTHS}/trend_{{month}}.parquet",
        text=f"{MONTHS}/trend_{{month}}.txt",
    log:
        log_file("month_trend"),
    benchmark:
        benchmark_file("month_trend")
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=5,
    params:
        **stage_params("month_trend"),
    shell:
        "visql month-trend {input:q} --month {wildcards.month} -o {output.table:q} --text {output.text:q}"
        " --config {params.config:q} >{log:q} 2>&1"
