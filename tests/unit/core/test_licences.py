import pytest

from genai_pipeline.core.licences import names_in, refused_licences, stated_licences

ALLOWED = ("apache-2.0", "mit", "bsd-3-clause", "llama3.1", "gemma")


@pytest.mark.parametrize(
    ("card", "tags", "stated"),
    [
        ("mit", (), "mit"),
        (["mit", "cc-by-nc-4.0"], (), "mit AND cc-by-nc-4.0"),
        (["cc-by-nc-4.0", "mit"], ["license:cc-by-nc-4.0", "license:mit"], "cc-by-nc-4.0 AND mit"),
        (["MIT", "mit"], ["license:mit"], "MIT"),
        (None, ["safetensors", "license:mit", "license:cc-by-nc-4.0"], "mit AND cc-by-nc-4.0"),
        ("mit", ["license:cc-by-nc-4.0"], "mit AND cc-by-nc-4.0"),
        ("Apache-2.0 OR MIT", ["license:apache-2.0 or mit"], "Apache-2.0 OR MIT"),
        (["Apache-2.0 OR MIT", "gemma"], (), "(Apache-2.0 OR MIT) AND gemma"),
        ([], (), None),
        ({"a": 1}, ["safetensors"], None),
        (False, (), None),
        (" ", (), None),
    ],
)
def test_everything_that_is_stated_becomes_one_expression(card, tags, stated):
    assert stated_licences(card, tags) == stated


@pytest.mark.parametrize(
    ("expression", "refused"),
    [
        ("mit", []),
        ("Apache-2.0", []),
        ("APACHE-2.0 or proprietary", []),
        ("proprietary OR MIT", []),
        ("mit AND cc-by-nc-4.0", ["cc-by-nc-4.0"]),
        ("cc-by-nc-4.0 AND mit", ["cc-by-nc-4.0"]),
        ("(Apache-2.0 OR GPL-3.0) AND MIT", []),
        ("Apache-2.0 OR (GPL-3.0 AND AGPL-3.0)", []),
        ("GPL-3.0 OR AGPL-3.0", ["GPL-3.0", "AGPL-3.0"]),
        ("mit OR apache-2.0 AND gpl-3.0", []),
        ("Apache-2.0 WITH LLVM-exception", []),
        ("gpl-3.0 WITH Classpath-exception-2.0", ["gpl-3.0 WITH Classpath-exception-2.0"]),
        ("other", ["other"]),
        ("MIT License with extra terms", ["MIT License with extra terms"]),
        ("mit OR", ["mit OR"]),
        ("(mit", ["(mit"]),
        ("mit) OR (x", ["mit) OR (x"]),
        ("mit apache-2.0", ["mit apache-2.0"]),
        ("", [""]),
    ],
)
def test_or_needs_one_allowed_licence_and_needs_all(expression, refused):
    assert refused_licences(expression, ALLOWED) == refused


def test_a_text_that_is_no_expression_can_be_allowed_as_it_is():
    assert refused_licences("My own licence", ["my own LICENCE"]) == []
    assert names_in("My own licence") == ["My own licence"]


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        (
            "                                 Apache License\n                           Version 2.0, January 2004\n",
            "apache-2.0",
        ),
        ("MIT License\n\nCopyright (c) 2025\n\nPermission is hereby granted", "mit"),
        ("# The MIT License\n", "mit"),
        ("Modified MIT License\n\nPermission is hereby granted", None),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n", "llama3.1"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT\n", "llama3"),
        ("SPDX-License-Identifier: Apache-2.0 OR MIT\n", "Apache-2.0 OR MIT"),
        ("MIT License\n" + "and terms of its own. " * 100, None),
        ("All rights reserved.", None),
        ("", None),
    ],
)
def test_the_text_of_a_licence_counts_where_the_card_states_none(text, stated):
    assert stated_licences(None, (), text) == stated
    assert stated_licences("gemma", (), text) == "gemma"
