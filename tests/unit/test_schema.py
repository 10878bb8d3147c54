"""The JSON schema that editors read is the one the package validates with."""

import json
from pathlib import Path

import pytest

from optdesign.study.tables import StudyFile, json_schema

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "optdesign" / "study.schema.json"
STUDIES = sorted((ROOT / "studies").glob("*/study.toml"))


def test_schema_in_the_package_is_current():
    # After a change of the tables: optdesign check --schema > optdesign/study.schema.json
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema()


def test_schema_has_only_what_json_has():
    json.dumps(json_schema(), allow_nan=False)


def test_every_key_is_described():
    schema = json_schema()
    for table in (schema, *schema["$defs"].values()):
        for name, field in table.get("properties", {}).items():
            assert field.get("description"), name


def test_schema_has_every_table_and_allows_no_other_key():
    schema = json_schema()
    assert set(schema["properties"]) == set(StudyFile.model_fields)
    assert all(table["additionalProperties"] is False for table in (schema, *schema["$defs"].values()))


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.parent.name)
def test_study_files_point_to_the_schema(path):
    directive, _, target = path.read_text(encoding="utf-8").splitlines()[0].partition(" ")
    assert directive == "#:schema"
    assert (path.parent / target).resolve() == SCHEMA
