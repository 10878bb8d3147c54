import dataclasses
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

import optdesign as od
from optdesign.report import latex, pictures, sketches, tables
from optdesign.report.document import document
from optdesign.study import judging, telling, words

STUDY = """
[model]
formula = "y ~ arm + week + (1 | clinic)"
family = "poisson"
[nominal]
beta = { Intercept = 1.0, "arm[T.b]" = -0.4, week = 0.1 }
covariance = { clinic = 0.3 }
[space]
levels = { arm = "clinic" }
replicates = [2, 6]
[space.candidates]
grid = { arm = ["a", "b"], week = [0, 1, 2] }
[cost]
units = { clinic = "300 + 100*(arm == 'b')" }
observation = 20
[goal]
criterion = "D"
budget = 9000
[test]
coefficient = "arm"
power = 0.8
[report]
title = "Weeks <script>alert('&')</script>"
unit = "clinic"
observation = "count"
currency = "EUR"
seed = 7
"""
FILES = {
    "index.html",
    "report.md",
    "report.json",
    "plan.json",
    "plan.csv",
    "field-sheet.csv",
    "schedule.csv",
    "precision.csv",
    "power.csv",
    "sensitivity.csv",
    "robustness.csv",
    "alternatives.csv",
    "figures",
}


def study_from(text, folder):
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return od.run_study(od.load_study(path))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return study_from(STUDY, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def report(result, tmp_path_factory):
    return od.write_report(result, tmp_path_factory.mktemp("out") / "report")


@pytest.fixture(scope="module")
def html(report):
    return (report / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def one_figure(monkeypatch):
    """Fewer figures, where it is not they that are tested."""
    all_of_them = sketches.sketches
    monkeypatch.setattr("optdesign.report.document.sketches", lambda result: all_of_them(result)[:1])


# What is written


def test_every_file_is_written(report):
    assert {path.name for path in report.iterdir()} == FILES
    names = {"design", "sensitivity", "budget-line", "surface", "power", "robustness"}
    assert {p.name for p in (report / "figures").iterdir()} == {f"{n}.{s}" for n in names for s in ("svg", "png")}
    assert [p.name for p in report.parent.iterdir()] == ["report"]


def test_tables_hold_the_plan(result, report):
    plan = json.loads((report / "plan.json").read_text(encoding="utf-8"))
    assert plan["seed"] == 7
    assert plan["spend"] == pytest.approx(result.best.rounded.spend)
    by_point = pd.read_csv(report / "plan.csv")
    assert by_point["observations"].sum() == pytest.approx(result.best.rounded.design.observations)
    precision = pd.read_csv(report / "precision.csv", index_col="coefficient")
    np.testing.assert_allclose(precision["two-term"], result.precision["two-term"])
    sensitivity = pd.read_csv(report / "sensitivity.csv")
    assert len(sensitivity) == len(result.best.certificate.sensitivities)
    power = pd.read_csv(report / "power.csv")
    planned = power[(power["units"] == result.best.rounded.design.units) & (power["order"] == "two-term")]
    assert planned["power"].tolist() == pytest.approx([result.power["two-term"]])


def test_schedule_is_the_plan_in_random_order(result, report):
    """Same units and observations as the plan; labels in order of enrolment, arms drawn by the seed."""
    schedule = pd.read_csv(report / "schedule.csv")
    exact = result.best.rounded.to_frame()
    assert len(schedule) == len(exact)
    assert schedule["clinic"].is_monotonic_increasing
    counts = [frame.drop_duplicates("clinic")["arm"].value_counts().to_dict() for frame in (schedule, exact)]
    assert counts[0] == counts[1]
    arms = schedule.drop_duplicates("clinic")["arm"]
    assert not arms.is_monotonic_increasing
    points = [sorted(map(tuple, frame[["arm", "week"]].astype(str).to_numpy())) for frame in (schedule, exact)]
    assert points[0] == points[1]
    pd.testing.assert_frame_equal(tables.schedule(result.best.rounded, 7), tables.schedule(result.best.rounded, 7))
    assert not tables.schedule(result.best.rounded, 7).equals(tables.schedule(result.best.rounded, 8))


def test_a_report_is_the_same_every_time(result, report, tmp_path):
    again = od.write_report(result, tmp_path / "again")
    for path in report.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(report)).read_bytes(), path.name


# The page


def test_the_page_needs_no_network(html):
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<(script|link|img|iframe|object)\b", html)
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html


def test_what_the_user_wrote_is_shown_and_not_run(html):
    assert "<script" not in html
    assert "<h1>Weeks &lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;</h1>" in html


class Outline(HTMLParser):
    """Headings, ids and figures of a page."""

    def __init__(self):
        super().__init__()
        self.headings, self.ids, self.images, self.targets = [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in given:
            self.ids.append(given["id"])
        if given.get("role") == "img":
            self.images.append(given["aria-label"])
        self.targets += re.findall(r"#([\w-]+)", given.get("href") or given.get("xlink:href") or "")


def test_headings_ids_and_descriptions(html):
    """Headings descend one step at a time, no id stands twice, links lead somewhere, every figure is described."""
    outline = Outline()
    outline.feed(html)
    assert outline.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.targets) <= set(outline.ids)
    assert len(outline.images) == 6
    assert all(len(text) > 30 for text in outline.images)


def test_figures_take_the_colours_of_the_page(html):
    drawn = html[html.index("<svg") : html.rindex("</svg>")]
    assert not re.search(r":\s*#[0-9a-f]{6}\b", drawn.replace("&#39;", ""))
    defined = set(re.findall(r"(--[\w-]+):", html))
    assert set(re.findall(r"var\((--[\w-]+)\)", html)) <= defined


def luminance(colour):
    share = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first, second):
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_has_enough_contrast_in_light_and_dark(html):
    """4.5 to 1 for text, 3 to 1 for the first three lines of a figure (WCAG AA)."""
    light, dark = (
        dict(re.findall(r"(--[\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{([^}]*--[^}]*)\}", html)
    )
    for theme in (light, dark):
        for ink in ("--ink", "--muted", "--link"):
            assert contrast(theme[ink], theme["--paper"]) >= 4.5
        for lamp in ("--green", "--amber", "--red"):
            assert contrast(theme[lamp], theme["--soft"]) >= 3.0
        assert contrast(theme["--ink"], theme["--notice"]) >= 4.5
        assert contrast(theme["--ink"], theme["--soft"]) >= 4.5
        for line in ("--series-1", "--series-2", "--series-3"):
            assert contrast(theme[line], theme["--paper"]) >= 3.0


def test_the_summary_states_the_plan_and_what_it_rests_on(result):
    text = telling.summary(result)
    design = result.best.rounded.design
    assert text.startswith(f"Enrol {design.groups[0].count:.0f} clinics (arm = a) with")
    assert f": {design.units:.0f} clinics, {design.observations:.0f} counts, " in text
    assert "of 9,000 EUR." in text
    assert "The coefficient arm[T.b] is then estimated with a standard error of" in text
    assert "If the true value is -0.400, the two-sided test of arm = 0 at level 5 % has a power of" in text
    assert "y ~ arm + week + (1 | clinic) will be fitted" in text
    assert text.endswith("% more efficient.")


def test_the_page_shows_nominal_values_assumptions_warnings_and_the_study(html, result):
    for line in telling.assumptions(result):
        assert str(escape(line)) in html
    assert "Random effects of clinic" in html
    assert "covariance = { clinic = 0.3 }" in html
    assert "Kiefer, J. and Wolfowitz, J. (1960)" in html
    assert "Maestrini" in html
    assert "seed 7" in html
    assert all(f"{name} {number}" in html for name, number in result.plan_json()["versions"].items())
    assert ("Read this first" in html) == bool(result.warnings)


def test_without_a_test_there_is_no_power(tmp_path):
    text = re.sub(r"\[test\].*?(?=\[report\])", "", STUDY, flags=re.DOTALL)
    out = od.write_report(study_from(text, tmp_path), tmp_path / "report")
    assert not (out / "power.csv").exists()
    assert not (out / "figures" / "power.svg").exists()
    html = (out / "index.html").read_text(encoding="utf-8")
    assert 'id="power"' not in html
    assert "The standard errors (two-term order) are then" in html


def test_without_units_runs_are_put_in_random_order(one_figure, tmp_path):
    text = """
[model]
formula = "y ~ x"
[nominal]
beta = [0.0, 0.5]
[space.candidates]
grid = { x = [0, 1, 2, 3] }
[cost]
observation = 10
[goal]
criterion = "D"
budget = 400
[test]
coefficient = "x"
power = 0.8
"""
    out = od.write_report(study_from(text, tmp_path), tmp_path / "report")
    runs = pd.read_csv(out / "schedule.csv")
    assert runs["run"].tolist() == list(range(1, 41))
    assert runs["x"].value_counts().to_dict() == {0: 20, 3: 20}
    assert not runs["x"].is_monotonic_increasing
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "Make 40 observations (20 at x = 0, 20 at x = 3)" in html
    assert "<dc" not in html


def test_a_pilot_is_named_with_its_estimates(one_figure, tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 5), "x": np.tile(np.arange(5.0), 12)})
    frame["y"] = 1 + 0.5 * frame["x"] + rng.normal(size=12)[frame["g"]] + rng.normal(size=60)
    frame.to_csv(tmp_path / "pilot.csv", index=False)
    text = """
[model]
formula = "y ~ x + (1 | g)"
[nominal]
from_pilot = "pilot.csv"
[space]
replicates = [2, 8]
[space.candidates]
grid = { x = [0, 1, 2, 3, 4] }
[cost]
units = { g = 50 }
observation = 10
[goal]
criterion = "D"
budget = 2000
"""
    result = study_from(text, tmp_path)
    html = (od.write_report(result, tmp_path / "report") / "index.html").read_text(encoding="utf-8")
    assert "the pilot data pilot.csv: 60 observations, 12 levels of g." in html
    assert "Fixed effects, as fitted to the pilot data" in html
    assert words.number(float(result.fit.beta[1])) in html
    assert "Residual variance" in html


# What is new to the reader


def test_field_sheet_has_a_row_per_unit_that_sums_to_the_plan(result, report):
    sheet, schedule = (pd.read_csv(report / f"{name}.csv") for name in ("field-sheet", "schedule"))
    design = result.best.rounded.design
    assert sheet["clinic"].tolist() == list(range(1, round(design.units) + 1))
    assert sheet["observations"].sum() == design.observations
    for group in design.groups:
        same = sheet[sheet["arm"] == group.at.get("arm")]
        assert (same["observations"] == group.replicates).any()
    own = schedule[schedule["clinic"] == 1]
    assert sheet["arm"][0] == own["arm"].iloc[0]
    times = own["week"].value_counts().sort_index()
    texts = [f"{week}{f' ×{k}' if k > 1 else ''}" for week, k in times.items()]
    assert sheet["at"][0] == f"week = {', '.join(texts)}"


def test_field_sheet_of_a_crossed_plan_says_whom_each_unit_meets(result):
    """Two readings of three images by each of four readers; names that clash are told apart."""
    space = od.DesignSpace(
        od.Crossed("reader", "image"),
        od.Candidates.grid(observations=[0, 1]),
        levels={"observations": "reader"},
        counts={"reader": 4, "image": 3},
        replicates=2,
    )
    guess = od.NominalValues([0.0, 0.5], {"reader": 0.6, "image": 0.35}, 1.1)
    model = od.MixedModel("y ~ observations + (1 | reader) + (1 | image)")
    best = od.optimize(model, guess, space, od.DOptimality(), od.Cost(observation=1), 24, order="exact")
    sheet = tables.field_sheet(SimpleNamespace(best=best, study=result.study))
    assert sheet.columns.tolist() == ["reader", "observations (covariate)", "observations", "at"]
    assert sheet["observations"].tolist() == [6] * 4
    assert sorted(sheet["observations (covariate)"]) == [0, 0, 1, 1]
    assert set(sheet["at"]) == {"image = 1 ×2, 2 ×2, 3 ×2"}


def test_doubts_are_the_covariance_at_other_nominal_values(result):
    """Standard error and power by the covariance itself; efficiency against the optimum found anew."""
    frame, best = result.doubts, result.best
    case = frame[(frame["parameter"] == "covariance of clinic") & (frame["value"] == "× 4")].iloc[0]
    other = od.NominalValues({"Intercept": 1.0, "arm[T.b]": -0.4, "week": 0.1}, {"clinic": 1.2})
    plan = best.rounded.design
    cov = od.covariance(best.model, other.referring_to(best.space.region.frame), plan)
    assert case["standard error"] == pytest.approx(cov.standard_errors[1])
    there = od.optimize(best.model, other, best.space, best.criterion, best.cost, best.budget)
    expected = od.efficiency(best.model, other, plan, best.criterion, there)
    assert case["efficiency"] == pytest.approx(expected, rel=1e-6)
    half = frame[(frame["parameter"] == "arm[T.b]") & frame["value"].str.contains("× 0.5")].iloc[0]
    assert half["power"] < result.power["two-term"] < frame["power"].max()
    assert set(frame["parameter"]) == {"covariance of clinic", "Intercept", "arm[T.b]", "week"}


def test_alternatives_cost_the_budget_and_need_what_they_say(result):
    """Equal arms and weeks, by hand; and with the money it is said to need it has the plan's precision."""
    frame, best = result.alternatives.set_index("design"), result.best
    row, plan = frame.loc["equal allocation"], best.rounded.design
    n = plan.observations / plan.units
    m = 9000 / (0.5 * (300 + 400) + 20 * n)
    assert row["units"] == pytest.approx(m)
    measure = od.Measure.grid(week=[0, 1, 2])
    groups = [od.Group(m / 2, n, measure, {"arm": arm}) for arm in "ab"]
    equal = od.Design(od.Nested("clinic"), groups)
    assert row["efficiency"] == pytest.approx(od.efficiency(best.model, best.nominal, equal, best.criterion, best))
    larger = equal.scaled(row["money for the precision of the plan"] / 9000)
    value = od.covariance(best.model, best.nominal, larger)
    assert np.linalg.slogdet(value.matrix)[1] == pytest.approx(best.rounded.value, abs=1e-6)
    assert frame.loc["this plan", "efficiency"] <= 1.0


@pytest.mark.parametrize(
    ("errors", "units", "colour"),
    [
        ({"leading": 1.0, "two-term": 1.2, "averaged": 1.18}, 40, "green"),
        ({"leading": 1.0, "two-term": 1.2, "averaged": 1.18}, 6, "amber"),
        ({"leading": 1.0, "two-term": 1.2, "averaged": 1.1}, 40, "amber"),
        ({"leading": 1.0, "two-term": 1.2, "averaged": 1.0}, 40, "red"),
        ({"leading": 1.0, "two-term": np.inf, "averaged": 1.0}, 40, "red"),
        ({"leading": 1.0, "two-term": 1.2}, 40, "amber"),
        ({"leading": 1.0, "two-term": 1.2, "exact": 1.2, "averaged": 9.0}, 40, "green"),
    ],
)
def test_light_turns_by_a_tenth_and_a_quarter_of_the_variance(result, errors, units, colour):
    precision = pd.DataFrame(
        {order: [1.0, error, 1.0] for order, error in errors.items()}, index=result.precision.index
    )
    given = dataclasses.replace(result, precision=precision)
    design = od.Design(od.Nested("clinic"), [od.Group(units, 4, od.Measure.grid(week=[0]), {"arm": "a"})])
    given.best.__dict__["rounded"], kept = dataclasses.replace(result.best.rounded, design=design), result.best.rounded
    try:
        light = judging.asymptotics_light(given)
    finally:
        given.best.__dict__["rounded"] = kept
    assert light.colour == colour
    assert ("optdesign simulate" in light.text) == (colour != "green" and units > 10)


def test_a_light_says_its_colour_in_words(html):
    assert re.search(r'<p class="light green">.*<strong>Asymptotics: good\.</strong> By the two-term order', html)


def test_json_holds_everything_the_page_says(report, result):
    found = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert found["plan"] == json.loads((report / "plan.json").read_text(encoding="utf-8"))
    names = [section["name"] for section in found["report"]["sections"]]
    assert names == [section.name for section in document(result).sections]
    assert len(found["data"]["sensitivity"]) == len(result.best.certificate.sensitivities)
    assert len(found["data"]["robustness"]) == len(result.doubts)
    assert found["data"]["alternatives"][0]["design"] == "this plan"
    kinds = {block["kind"] for section in found["report"]["sections"] for block in section["blocks"]}
    assert kinds == {"paragraph", "items", "code", "light", "table", "figure"}


def test_markdown_says_what_the_page_says(report, result):
    text = (report / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Weeks &lt;script&gt;alert('&amp;')&lt;/script&gt;\n")
    outside = re.sub(r"^    .*$", "", text, flags=re.MULTILINE)  # the study file is code
    assert "<script" not in outside
    for section in document(result).sections:
        assert f"\n## {section.title}\n" in text
    shown = re.findall(r"\]\((figures/[\w-]+\.svg)\)", text)
    assert len(shown) == 6
    assert all((report / name).exists() for name in shown)
    for head, rule in re.findall(r"^(\|.*)\n(\| :--.*)$", text, flags=re.MULTILINE):
        assert len(re.findall(r"(?<!\\)\|", head)) == rule.count("|")


def test_latex_is_written_on_request_and_escaped(result, one_figure, tmp_path):
    out = od.write_report(result, tmp_path / "report", also=["latex"])
    text = (out / "tables.tex").read_text(encoding="utf-8")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(document(result).tables)
    assert not re.search(r"(?<!\\)[%#_]", text)
    assert latex.escape("a_b & {50 %} \\") == r"a\_b \& \{50 \%\} \textbackslash{}"


def test_unknown_formats_are_named(result, tmp_path):
    with pytest.raises(od.SpecificationError, match=r"'latex', 'pdf'; got 'docx'"):
        od.write_report(result, tmp_path / "report", also=["docx"])
    assert not (tmp_path / "report").exists()


def test_a_pdf_needs_a_browser(result, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(od.SpecificationError, match="none of 'chromium'"):
        od.write_report(result, tmp_path / "report", also=["pdf"])


def test_a_stated_source_is_shown(one_figure, tmp_path):
    text = STUDY.replace("[nominal]\n", '[nominal]\nsource = "Smith & Co (2020), table 2"\n')
    out = od.write_report(study_from(text, tmp_path), tmp_path / "report")
    assert "Source: Smith &amp; Co (2020), table 2" in (out / "index.html").read_text(encoding="utf-8")


# Whole or not at all


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_earlier_report_is_replaced(result, one_figure, tmp_path):
    out = od.write_report(result, tmp_path / "report")
    (out / "power.csv").unlink()
    (out / "plan.csv").write_text("stale")
    od.write_report(result, out)
    assert (out / "power.csv").exists()
    assert (out / "plan.csv").read_text() != "stale"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_an_empty_folder_and_missing_parents_will_do(result, one_figure, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (od.write_report(result, tmp_path / "empty") / "index.html").exists()
    assert (od.write_report(result, str(tmp_path / "a" / "b" / "c")) / "index.html").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["thesis.docx"], "is not empty and holds no report"),
        (["plan.json"], "is not empty and holds no report"),
        (["plan.json", "index.html", "notes.txt"], r"also 'notes\.txt', which replacing the report would delete"),
    ],
)
def test_what_is_not_a_report_is_left_alone(result, tmp_path, files, message):
    out = tmp_path / "mine"
    out.mkdir()
    for name in files:
        (out / name).write_text("mine")
    with pytest.raises(od.SpecificationError, match=message):
        od.write_report(result, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(files, "mine")


def test_a_file_is_not_a_folder(result, tmp_path):
    (tmp_path / "report").write_text("mine")
    with pytest.raises(od.SpecificationError, match="is a file; a report needs a folder"):
        od.write_report(result, tmp_path / "report")


def test_a_folder_that_cannot_be_written_to_is_named(result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(od.SpecificationError, match="cannot be written to"):
        od.write_report(result, tmp_path / "file" / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("place", ["optdesign.plotting.save", "optdesign.report.page.render", "pathlib.Path.rename"])
def test_an_interruption_leaves_nothing(result, one_figure, tmp_path, monkeypatch, error, place):
    def interrupt(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(place, interrupt)
        with pytest.raises(error):
            od.write_report(result, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_between_the_moves_keeps_the_old_report(result, one_figure, tmp_path, monkeypatch):
    out = od.write_report(result, tmp_path / "report")
    before = snapshot(out)
    rename, calls = type(out).rename, []

    def second_fails(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(out), "rename", second_fails)
        with pytest.raises(KeyboardInterrupt):
            od.write_report(result, out)
    assert snapshot(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


# Words


def test_regime_says_when_the_asymptotics_are_doubtful():
    fine = telling.asymptotics({"leading": 1.0, "two-term": 1.2, "averaged": 1.19, "ratio": 1.2}, "x")
    assert "by a factor of 1.20" in fine
    assert "asymptotics hold" in fine
    assert "doubtful" in telling.asymptotics({"leading": 1.0, "two-term": 1.2, "averaged": 1.4, "ratio": 1.2}, "x")
    assert "exact order differs" in telling.asymptotics({"two-term": 1.2, "exact": 1.2, "ratio": 1.2}, "x")


def test_a_group_of_one_and_a_long_schedule():
    groups = [od.Group(1, 1, od.Measure.grid(t=[0])), od.Group(3, 13, od.Measure.grid(t=range(13)))]
    text = telling.plan(od.Design(od.Nested("g"), groups), "class", "test")
    assert text == "Enrol 1 class with 1 test at t = 0 and 3 with 13 tests each at 13 points"


@pytest.mark.parametrize(
    ("measure", "where"),
    [
        (od.Measure.grid(t=[0, 1, 2, 9]), "(t = 0, 1, 2, 9)"),
        (od.Measure.grid(t=[0, 9]), "(2 at t = 0, 2 at t = 9)"),
        (od.Measure.grid(t=[0, 9], a=["x"]), "(2 at t = 0, a = x; 2 at t = 9, a = x)"),
        (od.Measure.grid(t=[0, 9], a=["x", "y"]), "(t = 0, a = x; t = 0, a = y; t = 9, a = x; t = 9, a = y)"),
    ],
)
def test_points_of_a_unit_in_a_sentence(measure, where):
    text = telling.plan(od.Design(od.Nested("g"), [od.Group(5, 4, measure)]), "class", "test")
    assert text == f"Enrol 5 classes with 4 tests each {where}"


def test_inline_figures_have_ids_of_their_own():
    svg = '<?xml version="1.0"?>\n<svg width="1pt" height="2pt" id="a"><use href="#b" style="fill: #ffffff"/></svg>'
    found = pictures.inline(svg, "name", 'say "x" & <y>')
    assert found == (
        '<svg role="img" aria-label="say &#34;x&#34; &amp; &lt;y&gt;"  id="name-a">'
        '<use href="#name-b" style="fill: var(--paper)"/></svg>'
    )
