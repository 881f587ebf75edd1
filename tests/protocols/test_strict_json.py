"""JSON that says two things, or goes deeper than anything here, is not read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.strict_json import DEEPEST, NotJson, read_json


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "the key a is given twice in one object, on line 1 and first on line 1"),
        ('{"a": 1,\n "b": {"x": [1, {"c": 1,\n\n "c": "}{:"}]}}', "the key c is given twice in one object, on line 4 and first on line 2"),
        ('{"rows": [{"a": "\\"a\\": 1", "b": 2}, {"b": 3,\n"\\u0062": 4}]}', "the key b is given twice in one object, on line 2"),
        ("[" * 100_000, "nested more than 32 deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested more than 32 deep"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested more than 32 deep"),
        ("{", "line 1 column 2"),
        ("nonsense", "line 1 column 1"),
        ("1" * 5_000, "4300 digits"),
    ],
)
def test_what_is_not_read_says_where(text: str, says: str) -> None:
    with pytest.raises(NotJson) as refused:
        read_json(text)
    assert says in str(refused.value)


def test_the_same_key_in_two_objects_and_as_deep_as_allowed_is_read() -> None:
    assert read_json('[{"a": 1}, {"a": {"a": "a:a"}}]') == [{"a": 1}, {"a": {"a": "a:a"}}]
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert read_json(deep) == json.loads(deep)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_any_json_reads_back_as_it_was(value: object) -> None:
    assert read_json(json.dumps(value)) == value


@given(st.text(max_size=3), st.lists(st.text(max_size=2), max_size=3, unique=True))
def test_a_key_given_twice_is_always_found(key: str, others: list[str]) -> None:
    pairs = [*others, key, key] if key not in others else [*others, key]
    text = "{" + ",".join(f"{json.dumps(name)}: []" for name in pairs) + "}"
    with pytest.raises(NotJson, match="given twice"):
        read_json(text)
