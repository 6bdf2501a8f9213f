# Tiles of each frame for the viewer of the site.


rule pyramid:
    input:
        raw=ancient(raw_frame),
        # Read for comparison only: the frame is still in memory if it was just catalogued.
        quadrants=ancient(f"{EXPOSURE}_quadrants.parquet"),
    output:
        f"{RESULTS}/site/tiles/{{month}}/{{exposure}}/tiles.js",
    log:
        log_file("pyramid"),
    benchmark:
        benchmark_file("pyramid")
    wildcard_constraints:
        exposure=except_exposures(),
    priority: 2
    conda:
        "../../../envs/visql.yaml"
    resources:
        runtime=1,
    params:
        **stage_params("pyramid"),
        raw=fingerprint,
        folder=lambda wildcards, output: os.path.dirname(output[0]),
        full=lambda wildcards: (
            "--full"
            if wildcards.exposure in PLAN.settings.site.full_resolution
            else ""
        ),
    shell:
        "visql pyramid {input.raw:q} -o {params.folder:q} {params.full} --quadrants {input.quadrants:q} --record-failure"
        " --config {params.config:q} >{log:q} 2>&1"
