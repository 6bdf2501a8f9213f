"""The list of changes that tests must notice (`make mutants`) fits the code, and its runner tells the truth."""

import pytest
from run_mutants import CAUGHT, ROOT, STALE, SURVIVED, UNPROVED, Mutant, judge, mutants_of

MUTANTS = mutants_of()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_change_can_still_be_made_and_has_its_test(mutant):
    assert mutant.stale(ROOT) == ""


def test_the_list_is_long_enough_and_names_nothing_twice():
    assert len(MUTANTS) >= 30
    assert (
        len({m.name for m in MUTANTS}) == len({(m.file, m.before, m.after) for m in MUTANTS}) == len(MUTANTS)
    )


@pytest.mark.parametrize(
    ("after", "test", "expected"),
    [
        ("x - 1", "test_sum", CAUGHT),
        ("x + 1.0", "test_sum", SURVIVED),
        ("x + nothing", "test_sum", UNPROVED),
        ("x +", "test_sum", UNPROVED),
        ("x - 1", "test_of_others", STALE),
    ],
)
def test_what_the_runner_says(tmp_path, after, test, expected):
    (tmp_path / "sums.py").write_text("def add(x):\n    return x + 1\n")
    (tmp_path / "test_sums.py").write_text(
        "from sums import add\n\ndef test_sum():\n    assert add(1) == 2\n"
    )
    mutant = Mutant("m", "sums.py", "x + 1", after, "", f"test_sums.py::{test}")
    what, _ = judge(tmp_path, mutant)
    assert what == expected
    assert "return x + 1\n" in (tmp_path / "sums.py").read_text()
