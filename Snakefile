# VISQL: raw frames -> catalogue -> stars -> moments -> the month.
# The way of the data: docs/architecture.md. Targets: month (default), quality,
# gaia, radiation, movies, timeline, site, alerts, legacy, fetch.


configfile: f"{workflow.basedir}/config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/frames.smk"
include: "workflow/rules/psf.smk"
include: "workflow/rules/pictures.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/gaia.smk"
include: "workflow/rules/ratios.smk"
include: "workflow/rules/sun.smk"
include: "workflow/rules/radiation.smk"
include: "workflow/rules/movies.smk"
include: "workflow/rules/legacy.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/site.smk"


onsuccess:
    if PLAN.news():
        logger.warning(PLAN.news())


onerror:
    logger.error(PLAN.complaint())


localrules:
    month,
    quality,
    gaia,
    radiation,
    movies,
    timeline,
    legacy,


rule month:
    default_target: True
    input:
        [PLAN.levels(month) for month in PLAN.months],
        [PLAN.pictures(month) for month in PLAN.months],
        [PLAN.quality(month) for month in PLAN.months],
        expand(f"{MONTHS}/complete.tsv", month=PLAN.months),
        PLAN.last_month(),
        PLAN.asking if PLAN.makes("gaia") else [],
        PLAN.radiation.asking if PLAN.makes("radiation") else [],
        [PLAN.gaia(month) for month in PLAN.months if PLAN.makes("gaia")],
        PLAN.trend() if PLAN.makes("gaia") else [],
        [
            PLAN.radiation.month(month)
            for month in PLAN.months
            if PLAN.makes("radiation")
        ],
        [PLAN.radiation.movies(month) for month in PLAN.months if PLAN.makes("movies")],
        PLAN.radiation.last_movie() if PLAN.makes("movies") else [],
        [
            PLAN.radiation.performance(month)
            for month in PLAN.months
            if PLAN.makes("performance")
        ],


rule quality:
    input:
        [PLAN.quality(month) for month in PLAN.months],


rule gaia:
    input:
        PLAN.asking,
        [PLAN.gaia(month) for month in PLAN.months],


rule radiation:
    input:
        PLAN.radiation.asking,
        [PLAN.radiation.month(month) for month in PLAN.months],


rule movies:
    input:
        [PLAN.radiation.movies(month) for month in PLAN.months],
        PLAN.radiation.last_movie(),


rule timeline:
    input:
        PLAN.last_month(),
        PLAN.trend(),


rule legacy:
    input:
        [PLAN.legacy(month) for month in PLAN.months],
