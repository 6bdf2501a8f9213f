# What only the rules of the reduction share.
MASTERS = f"{GROUP}/masters"
FRAMES = f"{GROUP}/frames"
STACKS = f"{GROUP}/stacks"


def set_log(stage, field):
    """Compose the log of a job of a calibration set or chunk."""
    return log_file(stage).replace("{output}", f"{{{field}}}")


def set_benchmark(stage, field):
    """Compose the benchmark file of a job of a calibration set or chunk."""
    return benchmark_file(stage).replace("{output}", f"{{{field}}}")


def of_set(field, method):
    """Make an input or params function: what a method of the plan says of a set or chunk of a night."""
    return lambda wildcards: getattr(PLAN, method)(
        wildcards.night, getattr(wildcards, field)
    )


def set_sources(field, options):
    """Compose the params of what a set or chunk is made from: raw files, and the options of its masters."""
    return {"raw": of_set(field, "fingerprints"), "masters": of_set(field, options)}


wildcard_constraints:
    bias=r"bias[^/]*",
    dark=r"dark[^/]*",
    flat=r"flat[^/]*",
    pixels=r"bad_pixels[^/]*",
    chunk=r"[^/]+\.\d\d+",
    stack=r"[^/]+?",
