# Nights of a guide camera: raw frames, an hour at a time -> tables of the night -> pictures, movies, pages.
# Targets: night (default), telemetry, movies, index, site, alerts.


include: "../shared/common.smk"
include: "hours.smk"
include: "night.smk"
include: "../shared/qc.smk"
include: "../shared/site.smk"


localrules:
    night,
    telemetry,
    movies,
    index,
    alerts,


rule night:
    input:
        all_products,


rule telemetry:
    input:
        products_of("telemetry"),


rule movies:
    input:
        products_of("movies"),


rule index:
    input:
        products_of("index"),
