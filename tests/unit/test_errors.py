"""Errors carry what a program needs, and messages help with spelling."""

import math

import pytest

from optdesign import errors
from optdesign.errors import listed, nearest


@pytest.mark.parametrize(
    "kind", ["SpecificationError", "InfeasibleBudgetError", "NotEstimableError", "ConvergenceError"]
)
def test_every_error_has_one_root(kind):
    assert issubclass(getattr(errors, kind), errors.OptDesignError)


def test_a_specification_error_is_a_value_error():
    with pytest.raises(ValueError, match="no such"):
        raise errors.SpecificationError("no such thing")


def test_the_regime_warning_is_a_user_warning():
    assert issubclass(errors.AsymptoticRegimeWarning, UserWarning)


def test_errors_carry_their_facts():
    assert errors.InfeasibleBudgetError("too little", price=12.5).price == 12.5
    assert errors.NotEstimableError("not", ("x",)).coefficients == ("x",)
    stopped = errors.ConvergenceError("stopped", best="design", bound=0.9)
    assert (stopped.best, stopped.bound, str(stopped)) == ("design", 0.9, "stopped")


def test_facts_that_do_not_exist_are_empty():
    assert math.isnan(errors.InfeasibleBudgetError("none").price)
    assert errors.NotEstimableError("none").coefficients == ()
    assert errors.ConvergenceError("none").best is None


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("two-terms", ["leading", "two-term"], " Did you mean 'two-term'?"),
        ("zzz", ["leading"], ""),
        ("x", [], ""),
        ("bugdet", ["budget", "order"], " Did you mean 'budget'?"),
    ],
)
def test_nearest_known_name(name, known, hint):
    assert nearest(name, known) == hint


def test_listed_names():
    assert listed(["a", 1]) == "'a', '1'"
    assert listed([]) == "(none)"
