"""The tables of a study file, key by key; the JSON schema that editors read is made from them.

Each description is a noun phrase that says what is needed, because it ends the message about a wrong value.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Number = Annotated[float, Field(allow_inf_nan=False)]
Bound = Annotated[float, Field(ge=0)]


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if low > high:
        raise ValueError(f"got [{low:g}, {high:g}], needed the lowest first: exchange them.")
    return bounds


Bounds = Annotated[tuple[Bound, Bound], Field(strict=False), AfterValidator(_in_order)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)] | str
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
Value = bool | int | Number | str
Row = Annotated[tuple[Number, ...], Field(strict=False)]


class Table(BaseModel):
    """A table of the study file: unknown keys are errors, and text is not taken for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _given(table: Table) -> list[str]:
    return [f"'{key}'" for key in type(table).model_fields if key in table.model_fields_set]


class Model(Table):
    """What will be fitted."""

    formula: Name = Field(
        description="a formula as in lme4, with random terms in parentheses: 'y ~ x + (1 + x | group)'"
    )
    family: Name = Field(
        default="gaussian",
        description="one of 'gaussian', 'bernoulli', 'binomial', 'poisson', 'gamma', 'inverse-gaussian', "
        "'negative-binomial'",
    )
    link: Name | None = Field(
        default=None, description="the name of a link, such as 'log'; the family's usual link by default"
    )
    size: Annotated[float, Field(gt=0)] | Name | None = Field(
        default=None,
        description="trials per observation of a binomial response, a number or the name of a column; the known size "
        "k of a negative binomial",
    )
    offset: Name | None = Field(default=None, description="the name of a column added to the linear predictor")


class Nominal(Table):
    """What is believed today: fitted from a pilot file, or stated."""

    from_pilot: Name | None = Field(
        default=None,
        description="the name of a CSV file beside the study file, a row per observation, to fit the model to",
    )
    beta: dict[str, Number] | Annotated[tuple[Number, ...], Field(strict=False)] | None = Field(
        default=None,
        description="a table of coefficients, { Intercept = 1.5, x = -0.3 }, or a list in the order of the model, "
        "of finite numbers on the scale of the linear predictor",
    )
    covariance: dict[str, Number | Annotated[tuple[Row, ...], Field(strict=False)]] = Field(
        default={},
        description="a table with a finite covariance matrix for each grouping factor, { group = [[0.3, 0.0], "
        "[0.0, 0.1]] }; a number will do for a random intercept",
    )
    dispersion: Amount = Field(
        default=1.0, description="a positive number, the residual variance of a Gaussian response"
    )

    source: Name | None = Field(
        default=None, description="where the values come from, text for the report such as 'Thall and Vail (1990)'"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Nominal:
        if self.from_pilot is None and self.beta is None:
            raise ValueError("give either from_pilot = 'file.csv', or beta = … (with covariance and dispersion).")
        if self.from_pilot is not None and self.model_fields_set - {"from_pilot", "source"}:
            raise ValueError(
                f"from_pilot fits all values, so nothing else may be stated; got {', '.join(_given(self))}."
            )
        return self


class Span(Table):
    """Evenly spaced values."""

    start: Number = Field(description="the first value, a finite number")
    stop: Number = Field(description="the last value, a finite number")
    num: Annotated[int, Field(ge=2)] = Field(description="how many values, a whole number of at least 2")


Grid = dict[str, Annotated[tuple[Value, ...], Field(strict=False, min_length=1)] | Span]


class Candidates(Table):
    """The covariate points that may be chosen."""

    grid: Grid | None = Field(
        default=None,
        description="a table with finite values for each covariate, { arm = ['a', 'b'], dose = { start = 0, stop = 1, "
        "num = 101 } }, all combinations of which may be used",
    )
    from_frame: Name | None = Field(
        default=None, description="the name of a CSV file beside the study file, a row per point that may be used"
    )
    columns: Names | None = Field(default=None, description="a list of columns of that file; all by default")

    @model_validator(mode="after")
    def _one_source(self) -> Candidates:
        if (self.grid is None) == (self.from_frame is None):
            raise ValueError("give either grid = { … } or from_frame = 'file.csv'.")
        return self


class Observed(Table):
    """The law of covariates that are observed, not chosen."""

    from_frame: Name | None = Field(
        default=None, description="the name of a CSV file beside the study file, whose rows are the law"
    )
    columns: Names | None = Field(default=None, description="a list of columns of that file; all others by default")
    by: Name | None = Field(
        default=None, description="a column that names units: each of its values then counts as one row of the law"
    )
    grid: Grid | None = Field(
        default=None, description="a table with finite values for each covariate, whose combinations are the law"
    )
    weights: Name | Row | None = Field(
        default=None,
        description="a column of the file, or a list of numbers, one per combination of the grid; equal by default",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Observed:
        if (self.grid is None) == (self.from_frame is None):
            raise ValueError("give either from_frame = 'file.csv' or grid = { … }.")
        if self.grid is not None and (self.columns or self.by or isinstance(self.weights, str)):
            raise ValueError("columns, by and a weights column belong to from_frame, not to grid.")
        if self.from_frame is not None and isinstance(self.weights, tuple):
            raise ValueError("weights of from_frame is the name of a column of the file.")
        return self


class Layout(Table):
    """How the units of the grouping factors lie to each other."""

    nested: Names | None = Field(
        default=None, description="a list of grouping factors, outermost first, as in { nested = ['clinic'] }"
    )
    crossed: Annotated[tuple[Name, Name], Field(strict=False)] | None = Field(
        default=None,
        description="a list of two grouping factors whose units meet, as in { crossed = ['subject', 'item'] }",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Layout:
        if (self.nested is None) == (self.crossed is None):
            raise ValueError("give either nested = ['outer', 'inner'] or crossed = ['row', 'column'].")
        if len(set(self.factors)) < len(self.factors):
            raise ValueError(f"names a factor twice; got {list(self.factors)}, needed different grouping factors.")
        return self

    @property
    def factors(self) -> tuple[str, ...]:
        """The grouping factors, outermost or rows first."""
        return self.nested or self.crossed or ()


class Constraint(Table):
    """A bound on the share of units or observations at which a condition holds, on a total, or on distinct values."""

    condition: Name | None = Field(
        default=None, description="an expression in the candidate columns, such as \"arm == 'control'\""
    )
    total: Name | None = Field(
        default=None, description='an expression in the candidate columns that is added up, such as "dose > 5"'
    )
    distinct: Name | None = Field(default=None, description="a candidate column: how many of its values may be used")
    of: Name = Field(
        default="observations", description="'observations', 'units' or a grouping factor: what a total is over"
    )
    at_least: Number | None = Field(
        default=None, description="the smallest share, between 0 and 1, or the smallest total"
    )
    at_most: Number | None = Field(
        default=None, description="the largest share, between 0 and 1, the largest total, or the most distinct values"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Constraint:
        if sum(kind is not None for kind in (self.condition, self.total, self.distinct)) != 1:
            raise ValueError("give one of condition = '…', for a share, total = '…' and distinct = '…'.")
        if self.at_least is None and self.at_most is None:
            raise ValueError("bounds nothing: give at_least or at_most.")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least = {self.at_least:g} is above at_most = {self.at_most:g}: exchange them.")
        return self

    @model_validator(mode="after")
    def _share(self) -> Constraint:
        for key, bound in self.bounds.items() if self.condition is not None else ():
            if not 0 <= bound <= 1:
                raise ValueError(f"{key} = {bound:g} is not a share: needed a number between 0 and 1.")
        if self.total is None and "of" in self.model_fields_set:
            raise ValueError("of belongs to a total; a share is of units where its condition is constant within one.")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> Constraint:
        whole = self.at_most is not None and self.at_most >= 1 and self.at_most % 1 == 0
        if self.distinct is not None and (self.at_least is not None or not whole):
            raise ValueError("distinct takes at_most alone, a whole number of at least 1: the most values to use.")
        return self

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are given."""
        return {
            key: bound for key, bound in (("at_least", self.at_least), ("at_most", self.at_most)) if bound is not None
        }


class Space(Table):
    """What may be chosen."""

    layout: Layout | None = Field(
        default=None,
        description="a table { nested = ['group'] }, by default with the grouping factor of the formula; of two "
        "factors { nested = ['outer', 'inner'] } or { crossed = ['row', 'column'] }",
    )
    crossing: Literal["complete", "biregular"] = Field(
        default="complete",
        description="'complete', every row meets every column, or 'biregular', as many in every row and as many in "
        "every column as is best",
    )
    cells: Bound | Bounds | None = Field(
        default=None, description="a number or a pair [lowest, highest] of cells observed in a biregular crossing"
    )
    candidates: Candidates | None = Field(
        default=None, description="a table with grid = { … } or from_frame = 'file.csv', the points that may be used"
    )
    observed: Observed | None = Field(
        default=None, description="a table with from_frame = 'file.csv' or grid = { … }, the law of what is not chosen"
    )
    levels: dict[str, Name] = Field(
        default={}, description="a table { covariate = 'factor' } of the covariates that are constant within a unit"
    )
    counts: dict[str, Bound | Bounds] = Field(
        default={},
        description="a table { factor = [lowest, highest] } or { factor = number } of units in all, of an inner "
        "nested factor in each unit of the factor before it",
    )
    replicates: Bound | Bounds | None = Field(
        default=None,
        description="a number or a pair [lowest, highest], not negative: observations per unit, of two factors per "
        "innermost unit or per cell; at least 1 by default",
    )
    common_replicates: bool = Field(
        default=False, description="true or false: whether all kinds of unit must have the same number of observations"
    )
    at_most: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="a whole number of at least 1: how often one point may be used within a unit"
    )
    constraints: Annotated[tuple[Constraint, ...], Field(strict=False)] = Field(
        default=(),
        description='a list of tables { condition = "arm == \'control\'", at_least = 0.3 } or { total = "dose > 5", '
        'at_most = 200 } or { distinct = "dose", at_most = 3 }',
    )


class Cost(Table):
    """What units and observations cost, all in one currency."""

    units: dict[str, Price] = Field(
        default={},
        description="a table { factor = price } with the price of one unit: a number, or an expression in unit-level "
        "covariates such as \"900 + 400*(arm == 'active')\"; not negative",
    )
    observation: Price = Field(
        default=0.0, description="the price of one observation, a number or an expression; not negative"
    )
    cell: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="the price of one pair of units of two factors that meet, a number; not negative"
    )
    fixed: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="the price of having the study at all, a number; not negative"
    )


class Limit(Cost):
    """A further budget, with prices in a currency of its own."""

    amount: Amount = Field(description="a positive finite number: what there is of it")


#: The options that each kind of criterion takes.
OPTIONS = {"D": {"of"}, "A": {"weights"}, "c": {"combination"}, "E": {"of"}, "I": {"over"}, "compound": {"criteria"}}


class Options(Table):
    """What criteria of several kinds may be about."""

    of: Names | None = Field(default=None, description="a list of the coefficients that a D- or E-criterion is about")
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = Field(
        default=None, description="a table { coefficient = weight } of an A-criterion, not negative"
    )
    combination: dict[str, Number] | None = Field(
        default=None, description="a table { coefficient = number } of a c-criterion"
    )
    over: Observed | None = Field(
        default=None,
        description="a table with grid = { … } or from_frame = 'file.csv', the law over which an I-criterion averages; "
        "the candidates, at the observed law, by default",
    )


def _check_options(kind: str, table: Table, own: set[str]) -> None:
    odd = table.model_fields_set - own - OPTIONS[kind]
    if odd:
        (allowed,) = OPTIONS[kind]
        raise ValueError(f"kind = '{kind}' takes the option '{allowed}', not {', '.join(sorted(odd))}.")


class Component(Options):
    """One of the criteria of a compound one."""

    kind: Literal["D", "A", "c", "E", "I"] = Field(description="'D', 'A', 'c', 'E' or 'I'")
    weight: Amount = Field(default=1.0, description="a positive number; weights are scaled to sum to one")

    @model_validator(mode="after")
    def _own_options(self) -> Component:
        _check_options(self.kind, self, {"kind", "weight"})
        return self


class Criterion(Options):
    """The criterion with its options."""

    kind: Literal["D", "A", "c", "E", "I", "compound"] = Field(description="'D', 'A', 'c', 'E', 'I' or 'compound'")
    criteria: Annotated[tuple[Component, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="a list of tables such as { kind = 'D', weight = 2.0 } of a compound criterion"
    )

    @model_validator(mode="after")
    def _own_options(self) -> Criterion:
        _check_options(self.kind, self, {"kind"})
        if self.kind == "compound" and not self.criteria:
            raise ValueError("kind = 'compound' needs criteria = [ … ], a list of tables with kind and weight.")
        return self

    @property
    def about_the_test(self) -> bool:
        """Whether it is about the tested coefficient, or one of its criteria is."""
        each = self.criteria or (self,)
        return any(criterion.kind == "c" and not criterion.combination for criterion in each)


class Goal(Table):
    """What is wanted, and the money there is."""

    criterion: Literal["D", "A", "c", "E", "I"] | Criterion = Field(
        description="'D', 'A', 'c', 'E' or 'I', or a table such as { kind = 'c', combination = { treat = 1.0 } }; 'c' "
        "alone is the coefficient of [test]"
    )
    budget: Amount = Field(description="a positive finite number, in the currency of [cost]")
    order: Literal["leading", "two-term", "averaged", "exact"] = Field(
        default="two-term",
        description="the approximation of the covariance: 'leading', 'two-term', 'averaged' or 'exact'",
    )
    limits: dict[str, Limit] = Field(
        default={},
        description="a table of further budgets, { hours = { amount = 300, observation = 0.5 } }, priced as in [cost]",
    )
    already: Name | None = Field(
        default=None,
        description="the name of a CSV file beside the study file with what has been run, a row per observation",
    )

    @property
    def stated(self) -> Criterion:
        """The criterion as a table."""
        return self.criterion if isinstance(self.criterion, Criterion) else Criterion(kind=self.criterion)


class Test(Table):
    """The test that the study is planned for."""

    coefficient: Name = Field(description="the name of a coefficient, or of its one-column term")
    null: Number = Field(default=0.0, description="the coefficient's value under the null hypothesis, a finite number")
    alternative: Literal["two-sided", "greater", "less"] = Field(
        default="two-sided", description="'two-sided', 'greater' or 'less'"
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="the level of the test, between 0 and 1"
    )
    df: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        default="auto",
        description="'auto', or a positive number of degrees of freedom; inf for the normal distribution",
    )
    power: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="the power wanted, between 0 and 1"
    )


class Compare(Table):
    """The layouts of two crossed factors side by side: which of them, for which money, and where each is best."""

    layouts: Names | None = Field(
        default=None,
        description="a list of layouts, such as 'complete crossing', 'incomplete crossing', 'item in subject', "
        "'subject in item' and 'repeated measures'; all by default",
    )
    budgets: Annotated[tuple[Amount, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="a list of positive finite numbers, budgets to compare at beside that of [goal]"
    )
    cost_ratios: Annotated[tuple[Amount, ...], Field(strict=False, min_length=2)] | None = Field(
        default=None,
        description="a list of two or more positive numbers, prices of a column over that of a row, for the map of "
        "layouts",
    )
    variance_ratios: Annotated[tuple[Amount, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None,
        description="a list of positive numbers, variances of columns over that of rows, for the map of layouts",
    )
    break_even: Annotated[tuple[Name, Name], Field(strict=False)] | None = Field(
        default=None,
        description="a list of two of the layouts, to find the prices on the map at which one overtakes the other",
    )

    @model_validator(mode="after")
    def _whole_map(self) -> Compare:
        if (self.cost_ratios is None) != (self.variance_ratios is None):
            raise ValueError("a map takes both cost_ratios = [ … ] and variance_ratios = [ … ]; got one of them.")
        if self.break_even is not None and self.cost_ratios is None:
            raise ValueError(
                "break_even is looked for on the map: give cost_ratios = [ … ] and variance_ratios = [ … ]."
            )
        return self


class Report(Table):
    """How results are worded."""

    title: Name | None = Field(
        default=None, description="the title of the report, text; the name of the folder by default"
    )
    unit: Name | None = Field(default=None, description="the word for a unit, such as 'patient'; the factor by default")
    observation: Name = Field(default="observation", description="the word for an observation, such as 'visit'")
    currency: str = Field(default="", description="the currency, such as 'EUR'")
    seed: int = Field(default=0, description="a whole number: the seed of everything random, kept with the plan")


class StudyFile(Table):
    """A study: what will be fitted, what is believed, what may be chosen, what it costs, what is wanted."""

    model: Model = Field(description="the table [model]")
    nominal: Nominal = Field(description="the table [nominal]")
    space: Space = Field(default=Space(), description="the table [space]")
    cost: Cost = Field(description="the table [cost]")
    goal: Goal = Field(description="the table [goal]")
    test: Test | None = Field(default=None, description="the table [test]")
    compare: Compare = Field(default=Compare(), description="the table [compare]")
    report: Report = Field(default=Report(), description="the table [report]")

    @model_validator(mode="after")
    def _c_of_something(self) -> StudyFile:
        if self.goal.stated.about_the_test and self.test is None:
            raise ValueError(
                "[goal] criterion = 'c' is about the coefficient of [test], which is missing: add the table, or write "
                "criterion = { kind = 'c', combination = { coefficient = 1.0 } }."
            )
        return self

    @model_validator(mode="after")
    def _new_and_old(self) -> StudyFile:
        if self.goal.already is not None and self.test is not None:
            raise ValueError(
                "[test] and [goal] already do not go together: the power of new and old observations together is not "
                "worked out. Leave [test] out, and state the coefficient in the criterion."
            )
        return self


def json_schema() -> dict[str, Any]:
    """The JSON schema of study files, for editors."""
    schema = StudyFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "optdesign study file"}
