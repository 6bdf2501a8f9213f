# Euclid VIS: raw frames -> catalogue -> stars -> moments -> the month.
# Targets: month (default), quality, gaia, radiation, movies, timeline, site, alerts, legacy, fetch.


include: "../shared/common.smk"
include: "common.smk"
include: "frames.smk"
include: "psf.smk"
include: "pictures.smk"
include: "quality.smk"
include: "gaia.smk"
include: "ratios.smk"
include: "sun.smk"
include: "radiation.smk"
include: "movies.smk"
include: "legacy.smk"
include: "tiles.smk"
include: "../shared/fetch.smk"
include: "../shared/qc.smk"
include: "../shared/site.smk"


localrules:
    month,
    quality,
    gaia,
    radiation,
    movies,
    timeline,
    legacy,


# Run by Snakemake itself, also on clusters: rules that need the Internet, which compute nodes often lack, and short ones.
localrules:
    fetch,
    gaia_tile,
    gaia_tile_retry,
    goes_day,
    goes_day_retry,
    alerts,
    month_status,
    month_complete,


rule month:
    input:
        all_products,
        expand(f"{MONTHS}/complete.tsv", month=PLAN.groups()),
        queries_of("gaia"),
        queries_of("radiation"),


rule quality:
    input:
        products_of("quality"),


rule gaia:
    input:
        lambda _: PLAN.gaia.pending_queries,
        products_of("gaia"),


rule radiation:
    input:
        lambda _: PLAN.radiation.pending_queries,
        products_of("radiation"),


rule movies:
    input:
        products_of("movies"),


rule timeline:
    input:
        products_of("timeline"),


rule legacy:
    input:
        of_groups(PLAN.legacy),
        missing_of("legacy"),
