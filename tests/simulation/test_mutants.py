"""The simulator is tested by services that break a rule: each must be found out (docs/simulation.md)."""

from __future__ import annotations

from simulation.children import MUTANT_SEEDS, simulate


def test_every_broken_rule_is_found_out() -> None:
    done = simulate("--known-mutants", str(MUTANT_SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_as_they_are_pass_the_same_stories() -> None:
    done = simulate("--known-mutants", str(MUTANT_SEEDS), "--unmutated")
    assert done.returncode == 0, done.stdout + done.stderr
