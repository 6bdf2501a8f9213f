# A night of CCD frames: raw frames -> masters -> reduced lights -> stacks -> pages.
# Targets: night (default), masters, lights, stacks, report, site, alerts.


include: "../shared/common.smk"
include: "common.smk"
include: "masters.smk"
include: "lights.smk"
include: "night.smk"
include: "../shared/qc.smk"
include: "../shared/site.smk"


localrules:
    night,
    masters,
    lights,
    stacks,
    report,
    alerts,


rule night:
    input:
        all_products,


rule masters:
    input:
        products_of("masters"),


rule lights:
    input:
        products_of("lights"),


rule stacks:
    input:
        products_of("stacks"),


rule report:
    input:
        products_of("report"),
