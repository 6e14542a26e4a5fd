"""Configurations and JSON from strangers: bounded, and nothing in them passed over."""

from __future__ import annotations

import os
import resource

import numpy as np
import pytest

from pycellbox.common.texts import read_json, read_yaml
from pycellbox.errors import PycellboxError
from pycellbox.interop.run import run_config

MULTIPLYING = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(8)
)

YAML = {
    "aliases that multiply": (MULTIPLYING, "line 2: .a repeats"),
    "an alias of itself": ("&a [*a]", "repeats"),
    "a merge": ("a: &a {x: 1}\nb:\n  <<: *a", "repeats"),
    "deep lists": ("[" * 5000, "nested"),
    "deep mappings": ("\n".join(" " * i + "a:" for i in range(200)), "nested"),
    "many digits": ("a: " + "9" * 5000, "characters"),
    "many hexadecimal digits": ("a: 0x" + "f" * 5000, "characters"),
    "a float of many digits": ("a: 0." + "9" * 5000 + "e1", "characters"),
    "a number in base 60": ("a: 1" + ":59" * 3000, "characters"),
    "a repeated key": ("a: 1\nb: 2\na: 3", "line 3: the key 'a'"),
    "a repeated key below": ("a: {b: 1, b: 1}", "the key 'b'"),
    "Python": ("a: !!python/object/apply:os.getcwd []", "no YAML"),
    "a module": ("a: !!python/name:os.system", "no YAML"),
    "another file": ("a: !include /etc/passwd", "no YAML"),
    "a date that is none": ("a: 2024-13-45", "month"),
    "a tag that lies": ("a: !!timestamp x", "no YAML"),
    "an integer that is none": ("a: !!int x", "invalid literal"),
    "two documents": ("a: 1\n---\nb: 2", "no YAML"),
    "a NUL": ("a: \0", "no YAML"),
    "length": ("a: " + "x" * 200_000, "characters"),
    "many keys": ("{" + ",".join(f"k{i}: 1" for i in range(20_000)) + "}", "characters"),
}
JSON = {
    "deep lists": ("[" * 100_000, "nested"),
    "lists too deep for us": ("[" * 50 + "]" * 50, "nested"),
    "deep mappings": ('{"a":' * 50 + "1" + "}" * 50, "nested"),
    "many digits": ('{"a": ' + "9" * 5000 + "}", "characters"),
    "a float of many digits": ('{"a": 0.' + "9" * 5000 + "}", "characters"),
    "a repeated key": ('{"a": 1, "a": 1}', "the key 'a'"),
    "a repeated key below": ('{"a": [{"b": 1, "b": 2}]}', "the key 'b'"),
    "NaN": ('{"a": NaN}', "NaN"),
    "Infinity": ('{"a": -Infinity}', "Infinity"),
    "a NUL": ('{"a": "\0"}', "no JSON"),
    "length": ('{"a": "' + "x" * 2_000_000 + '"}', "characters"),
    "two documents": ("{} {}", "no JSON"),
    "nothing": ("", "no JSON"),
}
BOTH = [
    *((read_yaml, ".yaml", *case) for case in YAML.values()),
    *((read_json, ".json", *case) for case in JSON.values()),
]


@pytest.mark.parametrize(
    ("read", "ending", "text", "match"), BOTH, ids=[*(f"yaml-{k}" for k in YAML), *JSON]
)
def test_a_text_that_is_refused(read, ending, text, match, tmp_path):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=match):
        read(text)
    path = tmp_path / f"config{ending}"
    path.write_text(text)
    with pytest.raises(PycellboxError, match=f"config{ending}"):
        run_config(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100_000  # kB
    assert os.listdir(tmp_path) == [path.name]


def test_honest_texts_are_read():
    assert read_yaml("a: &a 1e-8\nb: *a\nc: [1, .inf, yes, 'x']\n") == {
        "a": 1e-8, "b": 1e-8, "c": [1, np.inf, True, "x"],
    }  # fmt: skip
    assert read_json('{"a": [1, 0.5, null, true], "b": {"a": 1}}') == {
        "a": [1, 0.5, None, True], "b": {"a": 1},
    }  # fmt: skip
    assert np.isnan(read_json("NaN", constants=True))


@pytest.mark.parametrize("content", ["{}".encode("utf-16"), b"\xef\xbb\xbf\xef\xbb\xbf{}", b"\xff"])
@pytest.mark.parametrize("ending", [".json", ".yaml"])
def test_other_encodings_are_refused(content, ending, tmp_path):
    path = tmp_path / f"config{ending}"
    path.write_bytes(content)
    with pytest.raises(PycellboxError, match="config"):
        run_config(path)
