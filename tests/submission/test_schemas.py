from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.submission.schemas import MODELS, schema_texts, write_schemas

SCHEMAS = Path(__file__).parents[2] / "schemas"


class TestSchemas:
    @pytest.mark.parametrize("name", sorted(schema_texts()))
    def test_the_committed_schema_is_true(self, name):
        """``schemas/`` is what the models generate; regenerate with ``harness schemas``."""
        assert (SCHEMAS / name).read_text() == schema_texts()[name]

    def test_nothing_else_stands_there(self):
        """A schema without a model is a leftover."""
        assert {path.name for path in SCHEMAS.glob("*.schema.json")} == set(schema_texts())

    def test_every_object_is_closed(self):
        """An unknown field is an error to every reader of the schema, as it is to the models."""
        for text in schema_texts().values():
            schema = json.loads(text)
            for model in (schema, *schema.get("$defs", {}).values()):
                if "properties" in model:
                    assert model["additionalProperties"] is False

    def test_write_schemas_writes_them_all(self, tmp_path):
        """One file for each model."""
        assert {path.name for path in write_schemas(tmp_path)} == {f"{name}.schema.json" for name in MODELS}
