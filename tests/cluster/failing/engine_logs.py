"""The last lines that engines print before they exit, each with what the diagnosis has to name.

Source: the texts of vLLM 0.32, runai_model_streamer 0.17, boto3, torch, transformers and Python.
"""

from __future__ import annotations

ENDING = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
CORE = "(EngineCore pid=41) ERROR 11-24 12:06:16 [core.py:1512]"

FATAL: dict[str, tuple[str, str, str]] = {
    "argument": (
        "api_server.py: error: unrecognized arguments: --max-modle-len 2048",
        "does not know an argument: --max-modle-len 2048",
        "serving.args",
    ),
    "value": (
        "api_server.py: error: argument --dtype: invalid choice: 'bf15' (choose from 'auto', 'bfloat16')",
        "refuses the value of an argument: --dtype",
        "serving.args",
    ),
    "parser": (
        "(APIServer pid=1) KeyError: 'invalid tool call parser: mistrall (chose from { hermes,mistral })'",
        "does not know this parser: mistrall",
        "tool-call-parser",
    ),
    "kv-cache": (
        f"{CORE} ValueError: To serve at least one request with the model's max seq len (131072), (16.0 GiB KV cache is"
        " needed, which is larger than the available KV cache memory (9.21 GiB). Based on the available memory, the"
        f" estimated maximum model length is 75440.\n{ENDING}",
        "KV cache is too small",
        "max-model-len",
    ),
    "no-kv-cache": (
        f"{CORE} ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when"
        f" initializing the engine.\n{ENDING}",
        "KV cache is too small",
        "gpu-memory-utilization",
    ),
    "architecture": (
        "(APIServer pid=1) ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported"
        " architectures: dict_keys(['LlamaForCausalLM'])",
        "does not know this model architecture: ['FooForCausalLM']",
        "newer engine image",
    ),
    "module": (
        "ModuleNotFoundError: No module named 'runai_model_streamer'",
        "Python module is missing in the image: No module named 'runai_model_streamer'",
        "image that has it",
    ),
    "no-gpu": (
        "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`",
        "sees no usable GPU",
        "serving.gpu",
    ),
    "world-size": (
        "ValueError: World size (4) is larger than the number of available GPUs (1) in this node.",
        "more GPUs than the pod has: 4",
        "tensor-parallel-size",
    ),
    "read-only": (
        "OSError: [Errno 30] Read-only file system: '/root/.cache/vllm'",
        "may not write",
        "emptyDir",
    ),
    "hub": (
        "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files in the disk cache",
        "looks for the model on the hub",
        "staged_model",
    ),
}
"""No other start mends these: one crash is enough."""

PASSING: dict[str, tuple[str, str, str]] = {
    "gpu-memory": (
        f"{CORE} torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"
        f" 44.39 GiB of which 1.1 GiB is free.\n{ENDING}",
        "GPU memory ran out",
        "gpu-memory-utilization",
    ),
    "s3-403": (
        "botocore.exceptions.ClientError: An error occurred (403) when calling the HeadObject operation: Forbidden",
        "store refuses these credentials",
        "pod identity",
    ),
    "s3-404": (
        "botocore.errorfactory.NoSuchKey: An error occurred (NoSuchKey) when calling the GetObject operation: The"
        " specified key does not exist.",
        "store does not have",
        "staged_model",
    ),
    "no-weights": (
        "RuntimeError: Cannot find any safetensors model weights with `s3://models/tiny/`",
        "store does not have",
        "staged_model",
    ),
    "s3-unreachable": (
        'botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL: "http://s3:8333/models"',
        "store cannot be reached",
        "AWS_ENDPOINT_URL",
    ),
    "port": (
        "OSError: [Errno 98] Address already in use",
        "port is in use",
        "POD_IP",
    ),
}
"""These may pass: several crashes are awaited."""

ORDINARY = """\
(APIServer pid=1) INFO 11-24 12:05:16 [utils.py:299] non-default args: {'enable_auto_tool_choice': True}
INFO 11-24 12:05:10 [__init__.py:43] No plugins for group vllm.platform_plugins found.
WARNING 11-24 12:05:12 [interface.py:222] Failed to import vllm._C: ModuleNotFoundError("No module named 'vllm._C'")
(APIServer pid=1) WARNING 11-24 12:05:15 [config.py:1] Pass --trust-remote-code to run the model's own code.
(EngineCore pid=41) INFO 11-24 12:05:40 [kv_cache_utils.py:2328] GPU KV cache size: 75,440 tokens
(EngineCore pid=41) INFO 11-24 12:05:41 [core.py:1] init engine (profile, create kv cache, warmup model) took 21.43 s
/venv/lib/python3.11/site-packages/torch/cuda/__init__.py:61: FutureWarning: The pynvml package is deprecated.
  warnings.warn("CUDA out of memory handling is experimental")
Loading safetensors using Runai Model Streamer: 100% Completed | 16/16 [00:02<00:00, 7.02it/s]
(APIServer pid=1) INFO:     Started server process [1]
(APIServer pid=1) INFO:     Application startup complete.
(APIServer pid=1) INFO:     10.88.0.1:40312 - "GET /v1/models HTTP/1.1" 200 OK
(APIServer pid=1) INFO:     10.88.0.1:40318 - "GET /v1/models HTTP/1.1" 404 Not Found
"""
"""What a healthy engine prints while it starts; nothing in it is a complaint."""
