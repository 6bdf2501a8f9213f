# What only the rules of the light curves share.
from snakemake.io import IOFile

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


def keyed_params(stage, **others):
    """Compose the params of a stage that does not wait for all frames: a hash of all that changes its result."""
    config = {"config": stage_params(stage)["config"], "target": of_target_file}
    return config | {"key": lambda wildcards: key_of(stage, wildcards)} | others


def of_target_file(wildcards):
    """Find the file of the target of a set or of a target."""
    return PLAN.target_file(first_set(wildcards))


def first_set(wildcards):
    """Return the set that a rule's wildcards name, the first one where they name a target."""
    if "set" in wildcards.keys():
        return group_of(wildcards)
    return PLAN.sets_of(wildcards.target)[0]


def key_of(stage, wildcards):
    """Hash all that changes the result of a job but for the frames."""
    return PLAN.key(stage, first_set(wildcards), getattr(wildcards, "night", ""))


def unless_changed(stage, output, *paths):
    """Make an input function: ancient files, so that frames that came do not make a job anew.

    Where anything else changed that its result depends on, they are ordinary inputs: Snakemake does not
    look at the params of a job that has an input which is being made again, ancient or not.
    """

    def inputs(wildcards):
        fields = dict(wildcards.items())
        made = IOFile(output.format(**fields), rule=None)
        known = workflow.persistence.params(made)
        changed = known is not None and repr(key_of(stage, wildcards)) not in known
        found = [path.format(**fields) for path in paths]
        return found if changed else [ancient(path) for path in found]

    return inputs


def unless_target_changed(stage, output, method, *kinds):
    """Make an input function as `unless_changed`, of the tables of all sets of a target."""
    return lambda wildcards: unless_changed(
        stage, output, *getattr(PLAN, method)(wildcards.target, *kinds)
    )(wildcards)


wildcard_constraints:
    night=r"\d{8}",
