"""Settings: declared once, typed, refused in one clear line."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from visql_lib.cli.schema import generated
from visql_lib.config.load import digest, find_data_file, read_yaml
from visql_lib.config.units import unit_of
from visql_lib.errors import ConfigError
from visql_lib.frames import load_instrument
from visql_lib.pipelines import load_settings, settings_from_mapping
from visql_lib.pipelines.vis.settings import VisSettings

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mnths": "202407"}, "unknown key 'mnths'; did you mean 'months'?"),
        ({"catalog": {"tresh": 2}}, "unknown key 'catalog.tresh'; did you mean 'threshold'?"),
        ({"months": "2024-07"}, "months: '2024-07' is not a month"),
        ({"months": "202413"}, "is not a month"),
        ({"catalog": {"mesh": 4}}, "catalog.mesh: Input should be greater than or equal to 8 (found 4)"),
        ({"index": {"growing_age": "5 px"}}, "growing_age: '5 px' is not a value in s"),
        ({"index": {"growing_age": "soon"}}, "growing_age: 'soon' is not a value in s"),
        ({"moments": {"stamp": 28}}, "moments.stamp: the side of a stamp must be odd"),
        ({"stars": 3}, "stars: "),
        ({"stars": {"radius_min": 20}}, "stars: radius_min must be smaller than radius_max"),
        ({"catalog": {"engine": "faster"}}, "catalog.engine: "),
        ({"months": []}, "months: name at least one month, or auto"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(values, message):
    with pytest.raises(ConfigError) as caught:
        settings_from_mapping(values, "config.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("config.yaml: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_wrong_key_has_its_own_line():
    with pytest.raises(ConfigError) as caught:
        settings_from_mapping({"a": 1, "b": 2})
    assert len(str(caught.value).splitlines()) == 2


def test_values_may_carry_a_unit():
    assert settings_from_mapping({"index": {"growing_age": "2 min"}}).index.growing_age == 120


@pytest.mark.parametrize(
    ("months", "expected"),
    [
        ("202407", ("202407",)),
        (202407, ("202407",)),
        ("202407, 202408", ("202407", "202408")),
        ([202407], ("202407",)),
    ],
)
def test_months_are_read_as_people_write_them(months, expected):
    assert settings_from_mapping({"months": months}).months == expected


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    for text, message in (("- 1\n", "not a list"), ("a: [1\n", "not valid YAML at line 2")):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=re.escape(message)):
            load_settings(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "missing.yaml")


@pytest.mark.parametrize("text", ["A,B", " A , B ", ["A", "B"]], ids=str)
def test_names_may_stand_in_one_text(text):
    assert settings_from_mapping({"known_bad": " "}).known_bad == ()
    with pytest.raises(ConfigError, match="'' is not a month"):
        settings_from_mapping({"months": "202407,"})
    with pytest.raises(ConfigError, match="name at least one month"):
        settings_from_mapping({"months": ""})
    assert settings_from_mapping({"known_bad": text}).known_bad == ("A", "B")
    assert settings_from_mapping({"parts": "gaia,movies"}).parts == ("gaia", "movies")
    assert settings_from_mapping({"raw": "a,b"}).raw == ("a,b",)  # a folder may be called that


def test_defaults_and_shipped_files_are_valid():
    assert load_settings(ROOT / "config" / "config.yaml") == VisSettings()
    assert load_settings(ROOT / "config" / "demo.yaml").months == ("202407",)


def sections(model: type[BaseModel] = VisSettings):
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from sections(field.annotation)


@pytest.mark.parametrize("model", list(sections()), ids=lambda m: m.__name__)
def test_every_setting_says_what_it_means(model):
    for name, field in model.model_fields.items():
        assert field.description, name
        if field.annotation is float:
            has_unit = unit_of(model, name) is not None
            assert has_unit or re.search(
                "factor|ratio|fraction|decades|sigma|units of|parameter|contrast", field.description.lower()
            ), name


def test_schema_and_documentation_are_in_sync():
    for name, text in generated().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: run `visql schema`"


def test_the_hash_of_settings_follows_their_values():
    one = VisSettings()
    two = settings_from_mapping({"catalog": {"threshold": 2.0}})
    assert digest(one) == digest(VisSettings())
    assert digest(one.catalog) != digest(two.catalog)
    assert digest(one.stars) == digest(two.stars)


def test_unknown_data_file_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"there are: .*euclid_vis"):
        find_data_file("instruments", "euclid")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_scale": {"value": 0.1, "unit": "deg/px", "source": "x"}}, "must be given in 'arcsec/px'"),
        ({"pixel_scale": 0.1}, "must be written {value: ..., unit: 'arcsec/px', source: ...}"),
        ({"pixel_scale": {"value": 0.1, "unit": "arcsec/px", "source": ""}}, "needs a source"),
        ({"pixel_scala": {"value": 0.1, "unit": "arcsec/px", "source": "x"}}, "unknown key"),
    ],
)
def test_facts_without_unit_or_source_are_refused(tmp_path, change, message):
    facts = read_yaml(find_data_file("instruments", "euclid_vis"))
    facts["geometry"] |= change
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump(facts))
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_instrument(str(path))
