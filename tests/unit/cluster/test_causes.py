"""What an engine's last words say, and that an ordinary log says nothing."""

from __future__ import annotations

import pytest

from genai_pipeline.gateways.cluster.diagnosis.known_causes import likely_cause
from tests.cluster.failing.engine_logs import FATAL, ORDINARY, PASSING


@pytest.mark.parametrize("name", FATAL)
def test_last_words_of_what_no_restart_mends_name_cause_and_remedy(name: str) -> None:
    text, what, remedy = FATAL[name]
    cause = likely_cause(ORDINARY + text)

    assert cause is not None
    assert cause.final
    assert what in cause.what
    assert remedy in cause.remedy


@pytest.mark.parametrize("name", PASSING)
def test_last_words_of_what_may_pass_leave_hope(name: str) -> None:
    text, what, remedy = PASSING[name]
    cause = likely_cause(ORDINARY + text)

    assert cause is not None
    assert not cause.final
    assert what in cause.what
    assert remedy in cause.remedy


@pytest.mark.parametrize("line", ORDINARY.splitlines())
def test_a_line_that_a_healthy_engine_prints_is_no_cause(line: str) -> None:
    assert likely_cause(line) is None


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            'KeyError: "invalid reasoning parser: deepseek (chose from { qwen3 })"',
            "does not know this parser: deepseek",
        ),
        ("TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser", "parser: --tool-call-parser"),
        ("ValueError: User-specified max_model_len (9000) is greater than the derived max_model_len", "9000"),
        ("ValueError: Free memory on device cuda:0 (3.2/44.4 GiB) on startup is less than desired", "memory is free"),
        ("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge", "weights are damaged"),
        ("ValueError: Unknown quantization method: fp3. Must be one of", "number format: fp3"),
        ("The checkpoint has model type `foo9` but Transformers does not recognize it", "architecture: foo9"),
        ("OSError: [Errno 28] No space left on device", "volume of the pod is full"),
        ("ImportError: libcuda.so.1: cannot open shared object file", "no usable GPU"),
        ("/bin/sh: 1: vllm: not found", "cannot be started"),
    ],
)
def test_further_texts_of_engines_are_known(line: str, what: str) -> None:
    cause = likely_cause(line)

    assert cause is not None
    assert what in cause.what


def test_the_same_words_as_mere_information_are_no_cause() -> None:
    assert likely_cause("ImportError: No module named 'x'")
    assert likely_cause("(APIServer pid=1) INFO 11-24 12:05:10 [x.py:1] ImportError: No module named 'x'") is None
