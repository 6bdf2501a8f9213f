# Frames of targets over years -> aligned, measured -> comparison stars, PSF -> light curves, pages.
# Targets: lightcurve (default), lightcurve_test (only the frames of the test lists), lightcurve_looks (pictures
# of every frame), site, alerts.


include: "../shared/common.smk"
include: "common.smk"
include: "frames.smk"
include: "stars.smk"
include: "curves.smk"
include: "../shared/qc.smk"
include: "../shared/site.smk"


localrules:
    lightcurve,
    lightcurve_test,
    lightcurve_looks,
    alerts,


rule lightcurve:
    input:
        all_products,


# The plan of a run of this target has the frames of the test lists alone, as targets of their own: NAME.test.
rule lightcurve_test:
    input:
        products_of(),


rule lightcurve_looks:
    input:
        products_of("lightcurve_looks"),
