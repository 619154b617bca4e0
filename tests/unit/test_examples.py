"""What tests with random input draw: the same in each ordinary run, and in a slow run what follows from its seed."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, core, given, settings
from hypothesis import strategies as st

from tests.fixtures.examples import ORDINARY, SLOW, examples, of_this_run

PLUGIN = ("-p", "tests.fixtures.examples", "-p", "no:bqemulator")  # bqemulator's plugin needs Docker
SLOW_RUN = (*PLUGIN, "--hypothesis-profile", SLOW)


@pytest.fixture(autouse=True)
def _profile_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what an inner run of pytest sets in this process."""
    profile = settings.get_current_profile_name()
    monkeypatch.setattr(core, "global_force_seed", core.global_force_seed)
    yield
    settings.load_profile(profile)


def _drawn() -> list[tuple[int, str]]:
    drawn = []

    @settings(settings.get_profile(ORDINARY))
    @given(st.integers(), st.text())
    def collect(number: int, text: str) -> None:
        drawn.append((number, text))

    collect()
    return drawn


def test_an_ordinary_run_draws_the_same_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also after more modules were imported, whose constants Hypothesis would draw by itself."""
    before = _drawn()
    (tmp_path / "later.py").write_text("".join(f"{9_876_543 * number}; 'constant {number}'\n" for number in range(500)))
    later = ModuleType("later")
    later.__file__ = str(tmp_path / "later.py")
    monkeypatch.setitem(sys.modules, "later", later)
    assert _drawn() == before


def test_the_two_runs_draw_as_many_examples_as_a_property_says() -> None:
    """The number is that of the active profile; health checks of the profile stay suppressed."""
    for profile, number in ((ORDINARY, 3), (SLOW, 7)):
        settings.load_profile(profile)
        assert of_this_run(ordinary=3, slow=7) == number
        chosen = examples(ordinary=3, slow=7)
        assert chosen.max_examples == number
        assert HealthCheck.too_slow in chosen.suppress_health_check
        assert chosen.derandomize == (profile == ORDINARY)


def test_both_profiles_are_the_same_in_continuous_integration(pytester: pytest.Pytester) -> None:
    """Hypothesis loads a profile of its own where CI is set, whose settings ours must not inherit."""
    root = Path(__file__).parents[2]
    show = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from hypothesis import settings\n"
        "from tests.fixtures.examples import ORDINARY, SLOW\n"
        "print([settings.get_profile(name) for name in (ORDINARY, SLOW)])\n"
    )
    told = []
    for variable, value in (("CI", ""), ("CI", "true")):
        with pytest.MonkeyPatch.context() as environment:
            for other in ("CI", "GITHUB_ACTIONS", "TF_BUILD", "BUILD_BUILDID"):
                environment.delenv(other, raising=False)
            if value:
                environment.setenv(variable, value)
            told.append(pytester.run(sys.executable, "-c", show).outlines)
    assert told[0]
    assert told[0] == told[1]


def test_a_slow_run_has_a_seed_that_it_prints(pytester: pytest.Pytester) -> None:
    """The seed is new each time, and both Hypothesis and other tests with random input take it."""
    seeds: set[str] = set()
    for _ in range(3):
        config = pytester.parseconfigure(*SLOW_RUN)
        seed = config.getoption("hypothesis_seed")
        assert vars(core)["global_force_seed"] == int(seed)
        assert f"make test-slow SEED={seed} " in str(config.hook.pytest_report_header(config=config, start_path=Path()))
        seeds.add(seed)
    assert len(seeds) == 3


def test_a_seed_that_is_given_is_taken(pytester: pytest.Pytester) -> None:
    """Other tests with random input get it as a number; a text is refused before anything runs."""
    pytester.makepyfile("def test_it(run_seed): assert run_seed == 42")
    pytester.runpytest_inprocess(*PLUGIN, "--hypothesis-seed", "42").assert_outcomes(passed=1)
    refused = pytester.runpytest_inprocess(*PLUGIN, "--hypothesis-seed", "x")
    assert "--hypothesis-seed is 'x': expected a whole number" in refused.stdout.str() + refused.stderr.str()
    assert refused.ret


def test_tests_that_take_the_seed_are_marked(pytester: pytest.Pytester) -> None:
    """A slow run selects them by the marker; a fixture between test and seed does not hide it."""
    pytester.makepyfile(
        "import pytest\n"
        "@pytest.fixture\ndef dice(run_seed): return run_seed\n"
        "def test_with(dice): pass\n"
        "def test_without(): pass\n"
    )
    selected = pytester.runpytest_inprocess(*PLUGIN, "-m", "seeded")
    selected.assert_outcomes(passed=1, deselected=1)


@pytest.mark.slow
def test_a_seed_draws_the_same_whatever_was_imported(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """A property draws the same alone and among others, in processes that imported other modules before."""
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    property_ = """
        from hypothesis import given, settings, strategies as st
        {imports}
        @settings(max_examples=200)
        @given(st.integers(), st.text())
        def test_it(number, text): print("drawn", number, ascii(text))
    """
    drawn = []
    for imports in ("", "import pipeline.graph"):
        pytester.makepyfile(property_.replace("{imports}", imports))
        done = pytester.runpytest_subprocess(*SLOW_RUN, "--hypothesis-seed", "7", "-s")
        done.assert_outcomes(passed=1)
        drawn.append([line for line in done.outlines if line.startswith("drawn")])
    assert len(drawn[0]) > 100
    assert drawn[0] == drawn[1]
