"""Repositories with more weights than an engine may load: what is staged, what is refused, what was staged before."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from genai_pipeline.cli.staging_view import plan_page
from genai_pipeline.core.errors import AccessDenied, IncompleteModel
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.source_spec import Source
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.hub.sources import source_of
from genai_pipeline.staging.commit import committed
from genai_pipeline.staging.loadable import judge_loadable, require_loadable
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.staging_verdicts import judge_snapshot
from genai_pipeline.staging.transfer_plan import plan_staging
from genai_pipeline.staging.verify import published_by, verify_staged
from tests.fakes.families import FAMILIES
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors
from tests.fakes.world import FakeHub

INDEX = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SHARDED = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    INDEX: json.dumps({"weight_map": {"a": ONE, "b": TWO}}).encode(),
    ONE: safetensors(b"one"),
    TWO: safetensors(b"two"),
}
BOTH = SHARDED | {"consolidated.safetensors": safetensors(b"onetwo"), "params.json": b"{}", "tekken.json": b"{}"}


class Repository:
    """One repository, as the product opens it and as the hub publishes it."""

    def __init__(self, files: dict[str, bytes], **source: object) -> None:
        self.inner, self.store = FakeHub(), MemoryStore()
        self.revision = self.inner.publish("v1", files=files)
        self.source = source_of(Source.model_validate({"hub": "owner/tiny", **source}), self.inner, self.store)
        self.stager = Stager(self.source, self.store)

    @property
    def snapshot(self):
        return self.source.snapshot("owner/tiny", self.revision)

    def verdict(self, check="weights_loadable", **args):
        verdicts = judge_snapshot(self.snapshot, ["apache-2.0"], self.source, args)
        return {v.check: v for v in verdicts}[check]

    def staged(self):
        return {v.check: v for v in self.stager.verify("tiny", self.snapshot)}

    def in_root(self):
        prefix = staged_prefix("tiny", self.revision)
        names = {o.key.removeprefix(prefix) for o in self.store.list(prefix)}
        return {name for name in names if "/" not in name and name.endswith(".safetensors")}


def test_a_second_layout_of_the_same_weights_is_left_out_and_named():
    repository = Repository(BOTH)

    verdict = repository.verdict()
    repository.stager.stage("tiny", repository.snapshot)

    assert verdict.outcome is Outcome.PASSED
    assert verdict.evidence["loaded"] == [ONE, TWO]
    assert [row["path"] for row in verdict.evidence["left_out"]] == ["consolidated.safetensors"]
    assert "consolidated.safetensors" in verdict.summary
    assert repository.in_root() == {ONE, TWO}
    assert {v.outcome for v in repository.staged().values()} == {Outcome.PASSED}


@pytest.mark.parametrize(
    "files",
    [
        {"model-00001-of-00002.safetensors": safetensors(b"w"), "config.json": b"{}"},
        {"model.safetensors": safetensors(b"w"), "model.fp16.safetensors": safetensors(b"w"), "config.json": b"{}"},
        {"vllm/model.safetensors": safetensors(b"w"), "config.json": b"{}"},
        {"adapter_model.safetensors": safetensors(b"w"), "adapter_config.json": b"{}"},
        {"model.safetensors": safetensors(b"w"), INDEX: SHARDED[INDEX], "config.json": b"{}"},
        {"model.safetensors": safetensors(b"w")},
    ],
    ids=["lost shard", "two precisions", "folder", "adapter", "index of the base model", "no config"],
)
def test_what_cannot_be_loaded_fails_before_a_byte_moves(files):
    repository = Repository(files)

    assert repository.verdict().outcome is Outcome.FAILED
    with pytest.raises(IncompleteModel):
        require_loadable(repository.snapshot, repository.source, {})
    assert not list(repository.store.list("models/"))


def test_gguf_alone_is_refused_in_true_words():
    repository = Repository({"m-Q4.gguf": b"GGUF", "README.md": b"x"}, formats=["gguf"])

    assert "only m-Q4.gguf (gguf)" in repository.verdict().summary
    with pytest.raises(IncompleteModel, match="only safetensors from S3"):
        repository.stager.stage("tiny", repository.snapshot)


def test_an_exclude_of_the_model_file_comes_before_the_decision():
    files = {"model.safetensors": safetensors(b"w"), INDEX: SHARDED[INDEX], "config.json": b"{}"}
    repository = Repository(files, exclude=[INDEX])

    repository.stager.stage("tiny", repository.snapshot)

    assert repository.verdict().outcome is Outcome.PASSED
    assert repository.staged()["every_shard_present"].evidence["loaded"] == ["model.safetensors"]


def staged_before(files):
    """A repository whose revision was staged whole, before files were left out."""
    repository = Repository(files)
    raw = repository.inner.snapshot("owner/tiny", repository.revision)
    Stager(repository.inner, repository.store).stage("tiny", raw)
    return repository


def test_a_revision_that_was_staged_with_more_files_is_still_verified_byte_by_byte():
    repository = staged_before(BOTH)
    manifest = committed(repository.store, "tiny", repository.revision)
    assert manifest is not None

    found = verify_staged(repository.store, manifest, published_by(repository.source, manifest))

    assert found.passed
    assert repository.stager.stage("tiny", repository.snapshot) == manifest
    verdicts = repository.staged()
    assert verdicts["digests_equal_hub"].passed
    assert verdicts["nothing_extra"].passed


def test_a_manifest_with_another_digest_of_a_file_that_is_left_out_is_found():
    repository = staged_before(BOTH)
    manifest = committed(repository.store, "tiny", repository.revision)
    assert manifest is not None
    wrong = [replace(f, sha256="0" * 64) if f.path.startswith("consol") else f for f in manifest.files]

    found = verify_staged(
        repository.store, replace(manifest, files=tuple(wrong)), published_by(repository.source, manifest)
    )

    assert {f.path for f in found.differing} == {"consolidated.safetensors"}


def test_a_revision_that_was_staged_with_weights_that_would_be_loaded_too_says_so():
    repository = staged_before(BOTH)
    verdict = repository.staged()["every_shard_present"]
    assert verdict.outcome is Outcome.FAILED
    assert "also load consolidated.safetensors" in verdict.summary

    for found in list(repository.store.list(staged_prefix("tiny", repository.revision))):
        repository.store.delete(found.key)
    repository.stager.stage("tiny", repository.snapshot)

    assert {v.outcome for v in repository.staged().values()} == {Outcome.PASSED}


def test_a_revision_that_was_staged_before_with_one_layout_stays_valid():
    repository = staged_before(SHARDED | {"original/model.safetensors": safetensors(b"w")})

    assert {v.outcome for v in repository.staged().values()} == {Outcome.PASSED}


def test_files_that_disappear_from_the_store_are_missed():
    repository = Repository(SHARDED)
    repository.stager.stage("tiny", repository.snapshot)
    repository.store.delete(staged_prefix("tiny", repository.revision) + TWO)

    assert TWO in repository.staged()["every_shard_present"].summary


def test_a_gated_repository_says_so_in_its_own_check():
    class Gated(FakeHub):
        def read(self, *args, **kwargs):
            raise AccessDenied("owner/tiny is gated.", "Set HF_TOKEN.")
            yield b""

    inner = Gated()
    revision = inner.publish("v1", files=SHARDED)
    hub = source_of(Source(hub="owner/tiny"), inner, MemoryStore())
    snapshot = hub.snapshot("owner/tiny", revision)

    verdicts = {v.check: v for v in judge_snapshot(snapshot, ["apache-2.0"], hub)}

    assert "HF_TOKEN" in verdicts["repository_reachable"].summary
    assert verdicts["licence_allowed"].passed
    assert verdicts["weights_loadable"].outcome is Outcome.FAILED


def test_a_hub_that_is_down_makes_it_inconclusive():
    repository = Repository(SHARDED)
    snapshot = repository.snapshot
    repository.inner.down = True

    verdicts = {v.check: v for v in judge_snapshot(snapshot, ["apache-2.0"], repository.source)}

    assert verdicts["weights_loadable"].outcome is Outcome.INCONCLUSIVE


def loadable(files, task=Task.CHAT, has_agent=True, **args):
    repository = Repository(files)
    return judge_loadable(repository.snapshot, repository.source, args, task, has_agent)


def test_a_model_that_must_chat_and_has_no_template_fails_before_a_gpu_is_asked_for():
    files = {path: body for path, body in BOTH.items() if not path.startswith("chat_template")}

    silent, given = loadable(files), loadable(files, **{"tokenizer-mode": "mistral"})

    assert (silent.outcome, given.outcome) == (Outcome.FAILED, Outcome.PASSED)
    assert "tokenizer-mode: mistral" in silent.summary
    assert loadable(files, task=Task.COMPLETION).outcome is Outcome.PASSED
    assert loadable(files, **{"chat-template": "/t.jinja"}).outcome is Outcome.PASSED


def test_parsers_that_do_not_fit_the_template_are_warnings():
    files = SHARDED | {"chat_template.jinja": b"[TOOL_CALLS]</think>"}
    wrong = {"enable-auto-tool-choice": True, "tool-call-parser": "hermes"}
    right = wrong | {"tool-call-parser": "mistral", "reasoning-parser": "mistral"}

    assert [len(loadable(files, **args).evidence["warnings"]) for args in ({}, wrong, right)] == [2, 2, 0]
    assert len(loadable(files, has_agent=False).evidence["warnings"]) == 1
    assert loadable(files, task=Task.COMPLETION).evidence["warnings"] == []
    assert {loadable(files, **args).outcome for args in ({}, wrong, right)} == {Outcome.PASSED}


def with_config(**config):
    return SHARDED | {"config.json": json.dumps(config).encode()}


@pytest.mark.parametrize(
    "config",
    [
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"quantization_config": {"quant_method": "hqq"}},
        {"text_config": {"quantization_config": {"quant_method": "bitsandbytes"}}},
        {"quantization": {"group_size": 64, "bits": 4}},
        {"quantization_config": {"group_size": 64, "bits": 4, "mode": "affine"}},
    ],
)
def test_weights_that_no_engine_reads_are_refused_before_a_gpu_is_asked_for(config):
    verdict = loadable(with_config(**config))

    assert verdict.outcome is Outcome.FAILED
    assert "AWQ" in verdict.summary
    assert loadable(with_config(**config), quantization="mine").passed


@pytest.mark.parametrize(
    "about",
    [
        {"quant_method": "awq", "bits": 4, "group_size": 128},
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        {"quant_method": "fp8", "activation_scheme": "dynamic"},
        {"quant_method": "compressed-tensors"},
        {"quant_method": "mxfp4"},
        {"quant_method": "auto-round", "bits": 4, "group_size": 128},
        {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}},
    ],
)
def test_quantized_weights_that_engines_read_are_taken(about):
    assert loadable(with_config(quantization_config=about)).passed


def test_code_of_another_repository_is_refused_where_the_engine_would_run_it():
    foreign = {"AutoConfig": "other/code--configuration_x.XConfig", "AutoModel": "modeling_x.X"}
    own = {"AutoConfig": "configuration_x.XConfig"}
    tokenizer = {"tokenizer_config.json": json.dumps({"auto_map": {"AutoTokenizer": ["other/t--t.T", None]}}).encode()}

    assert "other/code" in loadable(with_config(auto_map=foreign), **{"trust-remote-code": True}).summary
    assert "other/t" in loadable(SHARDED | tokenizer, trust_remote_code=True).summary
    assert loadable(with_config(auto_map=own), **{"trust-remote-code": True}).passed
    assert loadable(with_config(auto_map=foreign)).passed


def test_a_reranker_that_generates_is_a_warning_with_the_lines_of_its_classifier():
    qwen, bert = (
        with_config(architectures=["Qwen3ForCausalLM"]),
        with_config(architectures=["BertForSequenceClassification"]),
    )

    (warning,) = loadable(qwen, Task.SCORE).evidence["warnings"]
    lines = yaml.safe_load(warning.partition("\n")[2])

    assert lines["serving"]["args"]["hf-overrides"]["architectures"] == ["Qwen3ForSequenceClassification"]
    assert loadable(qwen, Task.SCORE, **lines["serving"]["args"]).evidence["warnings"] == []
    assert "[Qwen3VLForSequenceClassification]" in "".join(
        loadable(with_config(architectures=["Qwen3VLForConditionalGeneration"]), Task.SCORE).evidence["warnings"]
    )
    assert loadable(qwen, Task.SCORE, convert="classify").evidence["warnings"] == []
    assert loadable(qwen, Task.EMBED).evidence["warnings"] == []
    assert loadable(bert, Task.SCORE).evidence["warnings"] == []


def test_ranks_of_a_sharded_state_need_their_loader():
    ranks = {f"model-rank-{n}-part-0.safetensors": safetensors(b"w") for n in range(2)}
    repository = Repository({"config.json": b"{}", INDEX: SHARDED[INDEX], **ranks})

    assert repository.verdict().outcome is Outcome.FAILED
    assert repository.verdict(**{"load-format": "runai_streamer_sharded"}).outcome is Outcome.PASSED
    repository.stager.stage("tiny", repository.snapshot)
    assert repository.staged()["every_shard_present"].passed


@pytest.mark.parametrize(
    ("licence", "outcome"),
    [("Apache-2.0 OR proprietary", Outcome.PASSED), ("apache-2.0 AND cc-by-nc-4.0", Outcome.FAILED)],
)
def test_every_licence_is_judged_and_named(licence, outcome):
    repository = Repository(SHARDED)
    repository.inner.licence = licence

    verdict = repository.verdict("licence_allowed")

    assert verdict.outcome is outcome
    assert licence in verdict.summary


def test_the_text_of_the_licence_counts_where_the_card_states_none():
    repository = Repository(SHARDED | {"LICENSE": b"\n Apache License\n Version 2.0, January 2004\n"})
    repository.inner.licence = None

    assert repository.verdict("licence_allowed").passed


def test_the_first_model_file_of_the_readme_works_as_it_is_printed():
    (text,) = re.findall(r"```yaml\n(name: .*?)```", Path("README.md").read_text(), re.DOTALL)
    spec = model_with_tools(text, "README.md")
    (family,) = [family for family in FAMILIES if family.like == spec.source.hub]
    inner, store = FakeHub(), MemoryStore()
    revision = inner.publish("v1", files=family.files)
    source = source_of(spec.source, inner, store)
    snapshot = source.snapshot(spec.source.address, revision)

    verdicts = judge_snapshot(snapshot, spec.source.licences, source, spec.serving.args)
    Stager(source, store).stage(spec.name, snapshot)

    assert {v.outcome for v in [*verdicts, *Stager(source, store).verify(spec.name, snapshot)]} == {Outcome.PASSED}
    assert [left.file.path for left in snapshot.left_out] == ["consolidated.safetensors"]


def test_a_plan_shows_what_is_left_out_and_why():
    snapshot = Repository(BOTH).snapshot

    page = [
        part
        for part in plan_page("tiny", snapshot, plan_staging("tiny", snapshot, None), 1000)
        if isinstance(part, str)
    ]

    (line,) = [part for part in page if part.startswith("Left out:")]
    assert "consolidated.safetensors" in line
    assert f"{INDEX} does not name it" in line


def test_an_index_in_a_folder_without_its_shards_can_be_left_out_by_the_lines_that_are_printed():
    files = SHARDED | {f"original/{INDEX}": SHARDED[INDEX]}
    repository = Repository(files)
    with pytest.raises(IncompleteModel) as refused:
        repository.stager.stage("tiny", repository.snapshot)
    exclude = yaml.safe_load(str(refused.value).partition("source:\n")[2])["exclude"]

    repository = Repository(files, exclude=exclude)
    repository.stager.stage("tiny", repository.snapshot)

    assert {v.outcome for v in repository.staged().values()} == {Outcome.PASSED}
