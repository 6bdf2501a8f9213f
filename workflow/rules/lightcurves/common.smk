# What only the rules of the light curves share.
TARGET = f"{RESULTS}/targets/{{target}}"
REFERENCE = f"{TARGET}/reference.parquet"
CHUNK = f"{GROUP}/chunks/{{night}}"


def table(kind):
    """Compose the path of a table of a set, with its wildcards."""
    return f"{GROUP}/{kind}_{{set}}.parquet"


def night_log(stage, kind):
    """Compose the log of a job of a night."""
    return log_file(stage).replace("{output}", f"{{night}}_{kind}")


def night_benchmark(stage, kind):
    """Compose the benchmark file of a job of a night."""
    return benchmark_file(stage).replace("{output}", f"{{night}}_{kind}")


def target_log(stage):
    """Compose the log of a job of a target."""
    return log_file(stage).replace("{parts[1]}", "{target}")


def target_benchmark(stage):
    """Compose the benchmark file of a job of a target."""
    return benchmark_file(stage).replace("{parts[1]}", "{target}")


def below_set(name):
    """Make a params function: a folder of a set."""
    return lambda wildcards: f"{GROUP}/{name}".format(
        **{field: getattr(wildcards, field) for field in GROUPING.names}
    )


def of_group(method, *given):
    """Make an input or params function: what a method of the plan says of a set."""
    return lambda wildcards: getattr(PLAN, method)(*given, group_of(wildcards))


def of_night(method, *given):
    """Make an input or params function: what a method of the plan says of a night of a set."""
    return lambda wildcards: getattr(PLAN, method)(
        group_of(wildcards), wildcards.night, *given
    )


def of_frame(method, *given):
    """Make an input or params function: what a method of the plan says of a frame."""
    return lambda wildcards: getattr(PLAN, method)(
        group_of(wildcards), wildcards.exposure, *given
    )


def of_target(method, *given):
    """Make an input or params function: what a method of the plan says of a target."""
    return lambda wildcards: getattr(PLAN, method)(wildcards.target, *given)


def of_group_chunks(kind):
    """Make an input function: the tables of one kind of all nights of a set."""
    return lambda wildcards: PLAN.chunks(group_of(wildcards), kind)


def set_params(stage, **others):
    """Compose the params of a stage of a set: its own, and what it takes of the files of target and camera."""
    told = {"told": of_group("told", stage), "target": of_group("target_file")}
    return stage_params(stage, **told, **others)


def frozen_params(stage, params):
    """Leave out the version: what was chosen is kept by a newer version, too, and the end of a run says so."""
    return {name: value for name, value in params.items() if name != "version"}


wildcard_constraints:
    night=r"\d{8}",
