"""What a model file may say in `serving.args`, and what becomes of it on vLLM's command line."""

import re

import pytest

from genai_pipeline.core.engine_args import command_line, tensor_parallel_size, unjudged
from genai_pipeline.core.engine_flags import tables
from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.gone_args import GONE
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ModelSpec, Serving

OTHER = "registry.example/llm:1"


STAGED = f"s3://genai/models/draft/{'ab' * 20}/"


def parsed(serving):
    return parse_model(f"name: tiny\nsource: {{hub: a/b}}\nserving:\n  {serving}\nagent: none\n", "f").serving


def refusals(serving):
    with pytest.raises(ModelFileError) as caught:
        parsed(serving)
    return caught.value.problems


def rendered(args):
    serving = parsed(f"args: {args}")
    return command_line(serving.args, serving.image)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("{enable-prefix-caching: true}", ["--enable-prefix-caching"]),
        ("{enable-prefix-caching: false}", ["--no-enable-prefix-caching"]),
        ("{enable_prefix_caching: false}", ["--no-enable-prefix-caching"]),
        ("{no-enable-prefix-caching: true}", ["--no-enable-prefix-caching"]),
        ("{disable-prefix-caching: true}", ["--no-enable-prefix-caching"]),
        ("{enable-sliding-window: true}", ["--no-disable-sliding-window"]),
        ("{aggregate-engine-logging: true}", ["--aggregate-engine-logging"]),
        ("{aggregate-engine-logging: false, headless: false}", []),
    ],
)
def test_true_and_false_switch_an_argument_on_and_off(args, line):
    assert rendered(args) == line


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("{cudagraph-capture-sizes: [1, 2, 4]}", ["--cudagraph-capture-sizes", "1", "2", "4"]),
        ("{cudagraph-capture-sizes: 4}", ["--cudagraph-capture-sizes=4"]),
        ("{lora-modules: [sql=/a/sql, chat=/a/chat]}", ["--lora-modules", "sql=/a/sql", "chat=/a/chat"]),
        ("{lora-modules: [{name: sql, path: /a}]}", ["--lora-modules", '{"name": "sql", "path": "/a"}']),
        ("{middleware: [a.B, c.D]}", ["--middleware=a.B", "--middleware=c.D"]),
        ("{middleware: a.B}", ["--middleware=a.B"]),
        ("{allowed-origins: ['https://a.example']}", ['--allowed-origins=["https://a.example"]']),
        ("{hf-overrides: {rope: {factor: 4.0}}}", ['--hf-overrides={"rope": {"factor": 4.0}}']),
        ("{compilation-config.cudagraph_mode: FULL}", ["--compilation-config.cudagraph_mode=FULL"]),
        ("{kernel-config.enable_x: false}", ["--kernel-config.enable_x=false"]),
        ("{max-model-len: 128k, max-num-seqs: '4', seed: 0}", ["--max-model-len=128k", "--max-num-seqs=4", "--seed=0"]),
        ("{max_model_len: auto}", ["--max-model-len=auto"]),
        ("{moe-backend: DEEP-GEMM}", ["--moe-backend=DEEP-GEMM"]),
        ("{optimization-level: 3}", ["--optimization-level=3"]),
        ("{device-memory-utilization: 0.5}", ["--gpu-memory-utilization=0.5"]),
        ("{load-format: false, dtype: false}", []),
    ],
)
def test_values_take_the_form_that_vllms_parser_reads(args, line):
    assert rendered(args) == line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            "{max-modle-len: 4}",
            "max-modle-len: vLLM 0.33.0 has no argument of this name. Did you mean `max-model-len`?",
        ),
        ("{--max-model-len: 4}", "Did you mean `max-model-len`?"),
        ("{task: embed}", "task: vLLM 0.33.0 has no argument of this name any more. Write `task: chat`"),
        ("{rope_scaling: {rope_type: yarn}}", "`hf-overrides: {rope_parameters: {…}}`"),
        ("{enable-reasoning: true}", "`reasoning-parser` alone switches it on."),
        ("{num-scheduler-steps: 8}", "Remove it: the engine has nothing of the kind any more."),
        ("{tp: 2}", "Did you mean `tensor-parallel-size`?"),
        ("{max-model-len: true}", "max-model-len: wants a value: an integer, `auto`, or text as 128k; got true."),
        ("{kv-cache-dtype: false}", "kv-cache-dtype: has a value, so false does not switch it off. Leave it out."),
        ("{enforce-eager: 'yes'}", "enforce-eager: must be true or false; got 'yes'."),
        ("{no-enforce-eager: false}", "no-enforce-eager: is switched off twice. Write `enforce-eager: true`."),
        ("{max-num-seqs: many}", "max-num-seqs: must be an integer, for example 4; got 'many'."),
        ("{max-num-seqs: 1.5}", "max-num-seqs: must be an integer, for example 4; got 1.5."),
        ("{gpu-memory-utilization: high}", "must be a number, for example 0.9; got 'high'."),
        ("{gpu-memory-utilization: [0.9]}", "takes one value: a number, for example 0.9; got [0.9]."),
        ("{scheduling-policy: prioritys}", "scheduling-policy: has no value 'prioritys'. Did you mean `priority`?"),
        ("{max-lora-rank: 17}", "has no value 17. Allowed: 1, 8, 16, 32, 64, 128, 256, 320, 512."),
        ("{cudagraph-capture-sizes: [1, two]}", "must be an integer, for example 4; got 'two'."),
        ("{lora-modules: []}", "needs at least one value. Leave it out, or add one."),
        ("{allowed-media-domains: [--port=1]}", "vLLM would read '--port=1' as another argument."),
        ("{allowed-origins: '*'}", "must be a list, for example [a, b]; got '*'."),
        ("{compilation-config: 3}", "must be a mapping, for example {name: value}; got 3."),
        ("{compilation-config: '{'}", "must be a mapping"),
        ("{seed.x: 1}", "seed has no keys: it takes an integer, for example 4. Leave `.x` out."),
        ("{max-model-len: 4, max_model_len: 8}", "max_model_len: max-model-len is given twice. Keep one."),
        ("{enable-lora: true, no-enable-lora: true}", "no-enable-lora: enable-lora is given twice."),
        ("{compilation-config.mode: 3, compilation-config: {mode: 3}}", "compilation-config is given twice."),
        ("{chat-template: }", "chat-template: needs a value: true, false, a number, text, a list or a mapping"),
    ],
)
def test_a_wrong_argument_is_refused_with_line_field_and_what_is_allowed(args, words):
    (told,) = refusals(f"args: {args}")

    assert told.startswith("f:4: serving.args.")
    assert words in told


@pytest.mark.parametrize(
    ("args", "remedy"),
    [
        ("{model: foo/bar}", "set `source`"),
        ("{served-model-name: [gpt-4o]}", "`serving.served_names`"),
        ("{port: 8080}", "port 8000"),
        ("{host: 127.0.0.1}", "port 8000"),
        ("{uds: /tmp/x}", "port 8000"),
        ("{headless: true}", "port 8000"),
        ("{ssl-keyfile: /k}", "end TLS in front of the Service"),
        ("{no-enable-ssl-refresh: true}", "end TLS in front of the Service"),
        ("{tokenizer_revision: main}", "set `source.ref`"),
        ("{config: /etc/vllm.yaml}", "write its arguments here"),
        ("{nnodes: 2}", "`serving.replicas`"),
        ("{data-parallel-address: 10.0.0.1}", "`serving.replicas`"),
        ("{disable-log-stats: true}", "read the engine's metrics"),
        ("{load-format: mistral}", "must be auto or modelexpress or runai_streamer"),
        ("{api-server-count: 2}", "must be 1."),
    ],
)
@pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.33.0", "vllm/vllm-openai:v0.32.1", OTHER])
def test_what_the_pipeline_owns_is_refused_with_the_remedy_whatever_the_image(args, remedy, image):
    (told,) = refusals(f"{{image: '{image}', args: {args}}}")

    assert told.startswith(f"f:4: serving.args.{args[1:].partition(':')[0]}: ")
    assert remedy in told


@pytest.mark.parametrize(
    ("args", "secret"),
    [
        ("{api-key: [sk-abc]}", "sk-abc"),
        ("{api_key: abc}", "abc;"),
        ("{hf-token: true}", "true"),
        ("{model-loader-extra-config: {aws_secret_access_key: abc123}}", "abc123"),
        ("{hf-overrides: {x: [hf_aaaaaaaaaaaaaaaaaaaaaaaa]}}", "hf_aaa"),
        ("{otlp-traces-endpoint: 'http://user:pa55@x:4317'}", "pa55"),
        ("{kv-transfer-config: {url: 'redis://:pa55@x:6379'}}", "pa55"),
        ("{otlp-traces-endpoint: 'http://x/?key=sk-aaaaaaaaaaaaaaaaaaaaaaaa'}", "sk-aaa"),
    ],
)
def test_a_credential_is_refused_as_in_the_environment_and_not_shown(args, secret):
    (told,) = refusals(f"args: {args}")
    (of_a_variable,) = refusals("env: {HF_TOKEN: abc}")

    words = "looks like a credential, and everyone who may read a Deployment could read it."
    assert words in told
    assert words in of_a_variable
    assert secret not in told


def test_an_argument_that_is_gone_is_in_no_table_and_what_replaced_it_is_in_all():
    for table in tables():
        assert not [name for name in GONE if table.find(name)]
        named = {name for words in GONE.values() for name in re.findall(r"`([a-z]+(?:-[a-z]+)+)", words)}
        assert len(named) > 5
        assert not [name for name in named if not table.find(name)]


REFERENCE = "{secretKeyRef: {name: cache, key: password}}"


def test_a_secret_is_named_and_never_written():
    serving = parsed(f"env: {{LMCACHE_PASSWORD: {REFERENCE}, VLLM_LOGGING_LEVEL: INFO}}")

    assert serving.env["LMCACHE_PASSWORD"] == {"secretKeyRef": {"name": "cache", "key": "password"}}
    assert Serving.model_validate(serving.model_dump(mode="json")) == serving
    (told,) = refusals("env: {LMCACHE_PASSWORD: abc}")
    assert "secretKeyRef" in told


@pytest.mark.parametrize(
    "value",
    [
        "{secretKeyRef: {name: a}}",
        "{secretKeyRef: a}",
        "{valueFrom: {fieldRef: {}}}",
        "{secretKeyRef: {name: a, key: 1}}",
    ],
)
def test_another_form_of_a_variable_is_refused_once_with_the_form_that_works(value):
    (told,) = refusals(f"env: {{A: {value}}}")

    assert told == "f:4: serving.env.A: must be text, or for a secret {secretKeyRef: {name: <Secret>, key: <key>}}."


@pytest.mark.parametrize("value", ["abc", REFERENCE])
def test_a_key_that_would_lock_the_pipeline_out_is_refused_however_it_is_given(value):
    (told,) = refusals(f"env: {{VLLM_API_KEY: {value}}}")

    assert "401" in told


def test_an_address_without_a_password_is_no_credential():
    assert rendered("{otlp-traces-endpoint: 'http://user@x:4317/a:b'}")
    assert rendered("{otlp-traces-endpoint: 'http://x:4317/?mail=a@b'}")


def test_tokens_of_tokenizers_are_no_credentials():
    assert rendered("{hf-overrides: {eos_token: '<s>', pad_token_id: 0}}")


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ("{tokenizer: owner/name}", "tokenizer: 'owner/name'"),
        ("{tokenizer: gpt2}", "tokenizer: 'gpt2'"),
        ("{tokenizer: auto}", "tokenizer: 'auto'"),
        ("{tokenizer: 's3://genai/models/tiny/main/'}", "tokenizer: 's3://genai/models/tiny/main/'"),
        ("{hf-config-path: owner/name}", "hf-config-path: 'owner/name'"),
        ("{generation-config: owner/name}", "generation-config: 'owner/name'"),
        ("{spec-model: owner/draft}", "spec-model: 'owner/draft'"),
        ("{speculative-config: {model: owner/draft}}", "speculative-config.model: 'owner/draft'"),
        ("{speculative-config.model: owner/draft}", "speculative-config.model: 'owner/draft'"),
        ('{speculative-config: \'{"model": "owner/draft"}\'}', "speculative-config.model: 'owner/draft'"),
        ("{lora-modules: [a=/ok, sql=owner/sql]}", "lora-modules: 'owner/sql'"),
        ("{lora-modules: [{name: sql, path: owner/sql}]}", "lora-modules: 'owner/sql'"),
        ("{default-mm-loras: {audio: owner/audio}}", "default-mm-loras.audio: 'owner/audio'"),
        ("{default-mm-loras.audio: owner/audio}", "default-mm-loras.audio: 'owner/audio'"),
        ("{speculative_config: {method: eagle3, model: a.b}}", "speculative_config.model: 'a.b'"),
        ("{speculative-config: {model: 's3://genai/drafts/'}}", "speculative-config.model: 's3://genai/drafts/'"),
        ('{lora-modules: [\'{"name": "sql", "path": "owner/sql"}\']}', "lora-modules: 'owner/sql'"),
        ("{lora-modules: sql=owner/sql}", "lora-modules: 'owner/sql'"),
        (f"{{lora-modules: ['sql={STAGED}']}}", f"lora-modules: '{STAGED[:60]}'"),
        (f"{{hf-config-path: '{STAGED}'}}", f"hf-config-path: '{STAGED[:60]}'"),
        (f"{{generation-config: '{STAGED}'}}", f"generation-config: '{STAGED[:60]}'"),
        (
            "{hf-overrides: {auto_map: {AutoModel: owner/code--m.C}}}",
            "hf-overrides.auto_map.AutoModel: 'owner/code--m.C'",
        ),
        (
            "{hf-overrides: {text_config: {auto_map: {AutoModel: owner/code--m.C}}}}",
            "hf-overrides.text_config.auto_map.AutoModel: 'owner/code--m.C'",
        ),
    ],
)
def test_a_repository_that_is_not_staged_is_refused_because_engines_ask_no_hub(args, field):
    (told,) = refusals(f"args: {args}")

    assert told.startswith(f"f:4: serving.args.{field} is not staged.")
    assert "HF_HUB_OFFLINE" in told


@pytest.mark.parametrize(
    "args",
    [
        "{tokenizer: /opt/tokenizer}",
        f"{{tokenizer: '{STAGED}'}}",
        f"{{spec-model: '{STAGED}'}}",
        f"{{speculative-config: {{model: '{STAGED.rstrip('/')}', num_speculative_tokens: 3}}}}",
        "{spec-model: ngram}",
        "{speculative-config: {model: a.b.Proposer}}",
        "{speculative-config: {method: mtp, num_speculative_tokens: 1}}",
        "{lora-modules: [sql=/adapters/sql]}",
        "{hf-overrides: {auto_map: {AutoModel: modeling.Model}}}",
        "{hf-overrides: {rope_scaling: {type: a--b}}}",
        "{generation-config: vllm}",
        "{speculative-config: {method: ngram, num_speculative_tokens: 3, prompt_lookup_max: 4}}",
        "{speculative-config: {method: custom_class, model: a.b.Proposer}}",
        "{speculative-config: {model: /opt/draft}}",
    ],
)
def test_paths_of_the_image_and_of_the_store_are_taken(args):
    assert rendered(args)


DRAFT = f"speculative-config: {{model: '{STAGED}', num_speculative_tokens: 3}}"


@pytest.mark.parametrize("args", [f"{{{DRAFT}}}", f"{{spec_model: '{STAGED}'}}"])
def test_beside_mounted_weights_no_draft_can_be_streamed(args):
    (told,) = refusals(f"weights: mount\n  args: {args}")

    assert told.startswith(f"f:5: serving.args.{args[1:].partition(':')[0]}: ")
    assert "weights: stream" in told


@pytest.mark.parametrize("args", [f"{{tokenizer: '{STAGED}'}}", "{speculative-config: {model: /opt/draft}}"])
def test_beside_mounted_weights_tokenizers_and_paths_are_taken(args):
    assert parsed(f"weights: mount\n  args: {args}").weights == "mount"


@pytest.mark.parametrize(
    ("serving", "words"),
    [
        (
            "{gpu: {count: 1}, args: {tensor-parallel-size: 4, pipeline-parallel-size: 2}}",
            "serving.args.tensor-parallel-size: tensor-parallel-size 4 × pipeline-parallel-size 2 needs 8 GPUs, "
            "and serving.gpu.count is 1. Set count to 8",
        ),
        ("{gpu: {count: 4}, args: {tensor_parallel_size: 2}}", "needs 2 GPUs, and serving.gpu.count is 4"),
        ("{gpu: {count: 4}, args: {data-parallel-size: 3}}", "serving.args.data-parallel-size: "),
        ("{gpu: {}, args: {data-parallel-size: 2}}", "needs 2 GPUs, and serving.gpu.count is 1"),
    ],
)
def test_parallel_sizes_that_contradict_the_gpus_are_refused(serving, words):
    (told,) = refusals(serving)

    assert words in told


@pytest.mark.parametrize(
    ("serving", "size"),
    [
        ("{gpu: {}}", None),
        ("{args: {tensor-parallel-size: 2}}", None),
        ("{gpu: {count: 4}}", 4),
        ("{gpu: {count: 4}, args: {tensor-parallel-size: 4}}", None),
        ("{gpu: {count: 4}, args: {pipeline-parallel-size: 2}}", 2),
        ("{gpu: {count: 4}, args: {data-parallel-size: 4}}", None),
    ],
)
def test_every_gpu_is_used_where_the_model_file_leaves_it_open(serving, size):
    assert tensor_parallel_size(parsed(serving)) == size


def test_an_image_of_another_version_is_left_to_the_engines_own_parser():
    serving = parsed(f"{{image: '{OTHER}', args: {{new-thing: [1], max-num-seqs: many, old-thing: false}}}}")

    assert unjudged(serving) == ["new-thing", "old-thing"]
    assert command_line(serving.args, serving.image) == ["--max-num-seqs=many", "--new-thing=[1]", "--no-old-thing"]
    assert unjudged(parsed("args: {max-num-seqs: 4}")) == []


@pytest.mark.parametrize("names", ["[tiny]", "[gpt-4o, gpt-4o]", "['tiny@abc']", "[-x]", "['a b']"])
def test_a_served_name_is_a_name_that_no_other_thing_has(names):
    (told,) = refusals(f"served_names: {names}")

    assert told.startswith("f:4: serving.served_names.")


def test_a_served_name_makes_another_release_and_its_absence_does_not():
    before_the_field = "fbe72598f1eaf70e"

    plain = ModelSpec.model_validate({"name": "tiny", "source": {"hub": "a/b"}})
    named = plain.model_copy(update={"serving": Serving(served_names=("gpt-4o",))})

    assert plain.config_hash.startswith(before_the_field)
    assert named.config_hash != plain.config_hash
