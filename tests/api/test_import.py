"""What `import optdesign` does, seen from a fresh interpreter."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

import optdesign as od

HEAVY = ("pandas", "formulaic", "scipy.stats", "cvxpy", "matplotlib")


def in_a_fresh_interpreter(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_light():
    loaded = in_a_fresh_interpreter(f"import sys, optdesign; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"


def test_covariance_is_the_function_even_after_its_package_is_imported():
    code = "import optdesign as od, types; {}; assert isinstance(od.covariance, types.FunctionType), od.covariance"
    for statement in (
        "import optdesign.covariance",
        "import optdesign.covariance.nested",
        "from optdesign.covariance import covariance",
        "od.AsymptoticCovariance",
        "od.covariance; import optdesign.covariance",
    ):
        in_a_fresh_interpreter(code.format(statement))


@pytest.mark.parametrize("home", sorted({"covariance", *(h for h in od._HOMES if h in od.__all__)}))
def test_a_public_function_is_never_hidden_by_its_module(home):
    if importlib.util.find_spec(f"optdesign.{home}") is not None:
        importlib.import_module(f"optdesign.{home}")
    assert callable(getattr(od, home))


@pytest.mark.parametrize("name", ["Covariance", "nested", "__wrapped__"])
def test_unknown_attribute_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"'optdesign' has no attribute '{name}'"):
        getattr(od, name)


def test_public_names_are_listed():
    assert set(od.__all__) <= set(dir(od))
    assert {"MixedModel", "NominalValues", "Design", "Measure", "covariance", "optimize"} <= set(od.__all__)
