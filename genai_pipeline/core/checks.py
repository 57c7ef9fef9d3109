"""Every check of the product: the asset it belongs to, its name, and the question it answers.

The Dagster check specs, the record and the interlock all use this one list.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from genai_pipeline.core.task import Task

CHECKS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "snapshot": {
            "revision_pinned": "Is the revision a full commit sha, not a name that moves?",
            "safe_formats": "Are the weights safetensors only, with no pickle anywhere?",
            "licence_allowed": "Is the licence one that the model file allows?",
            "repository_reachable": "Can every file be read with this token, gated repositories included?",
            "weights_loadable": "Would the engine load one whole model, with its config and, for chats, a template?",
        },
        "staged_model": {
            "digests_equal_hub": "Does every file have the digest that the hub publishes?",
            "every_shard_present": "Is every shard that the index names in the store?",
            "nothing_extra": "Does the prefix hold nothing but the manifest's files?",
        },
        "capacity": {
            "surge_fits": "Is there room for the candidate beside the live release?",
            "reservation_active": "Is the capacity reservation active and not about to expire?",
            "strategy_chosen": "Is it settled how traffic will move: blue_green or recreate?",
        },
        "candidate": {
            "expected_model_answers": "Does a real completion come back from the expected model?",
            "tool_call_parsed": "Does a tool call come back as `tool_calls`?",
            "weights_from_staged_prefix": "Did the engine load the staged model and nothing else?",
        },
        "serving_report": {
            "ttft_p95": "Is the 95th percentile of the time to first token within the gate?",
            "latency_p95": "Is the 95th percentile of the time of a whole request within the gate, if there is one?",
            "tokens_per_second": "Does the engine generate as many tokens per second as the gate asks?",
            "error_rate": "Did as few requests fail as the gate asks?",
            "kv_cache": "Did the KV cache stay below the gate?",
            "queue": "Did the waiting queue stay below the gate?",
            "engine_agrees": "Do the engine's own counters agree with what was sent and received?",
            "gpu_health": "Are the GPUs healthy, where there are any?",
            "cost": "Is the cost per million tokens within the gate: generated ones, or else those of prompts?",
        },
        "agent_candidate": {
            "agent_answers": "Does the agent answer on the candidate, and on no other release?",
        },
        "agent_report": {
            "task_success": "Are enough of the suite's tasks solved?",
            "tool_accuracy": "Are the right tools called with the right arguments?",
            "sessions_isolated": "Does no session see another one's conversation?",
            "latency": "Is the 95th percentile of a turn within the gate?",
            "not_worse_than_live": "On the same cases, is it not significantly worse than what is live?",
            "tool_calling": "Does the model itself make the right tool calls, streamed and not?",
        },
        "live": {
            "serves_this_release": "Does the stable address serve this release?",
            "no_failed_request": "Did no request fail during the switch?",
        },
    }
)

PLATFORM_CHECKS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "model_files": {
            "valid": "Is every file in models/ valid?",
        },
        "node_pools": {
            "accepted": "Did the cluster's API accept the node pools?",
            "requirements_known": "Can some node meet every requirement of the pools and of the pipeline's pods?",
            "gpu_pool_fenced": "Is a pod without the toleration kept off the GPU pool?",
            "selectors_match": "Do the selectors of the pipeline's pods match a pool?",
            "gpu_node_comes": "Does a pod with the toleration get a GPU node (simulated where one would cost money)?",
        },
        "observability": {
            "metrics_readable": "Can the engines' metrics be read?",
            "engines_scraped": "Does Prometheus scrape every pod of each live engine?",
            "samples_arrive": "Do samples arrive where they are read, and written on, within two scrape intervals?",
            "rules_evaluated": "Are the rules of each live model loaded, and evaluated without errors?",
            "panels_have_data": "Has every panel of the dashboards of a live model data?",
            "gpu_series_named": "Do the series of GPUs name the pods that work on them?",
        },
        "chat_ui": {
            "chat_answers": "Does the chat page answer from each live model that writes text?",
        },
    }
)

UPKEEP_CHECKS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "node_pools": {
            "live_requirements_known": "Is each requirement of the NodePools in the cluster known, and are their "
            "instance types restricted?",
        },
        "staged_model": {
            "bytes_unchanged": "Do the staged bytes of the live and last good releases match their manifests?",
        },
        "capacity": {
            "reservation_lasts": "Is the capacity reservation of the live release active for at least another day?",
            "next_surge_fits": "Is there room for a next release beside the live one?",
        },
        "serving_report": {
            "still_within_gates": "Does the live engine stay within the gates while its agent answers the suite?",
        },
        "agent_report": {
            "still_passes": "Does the live agent still pass the suite that it was promoted for?",
        },
        "live": {
            "matches_rendered": "Are the objects of the live release in the cluster as this code renders them?",
            "alerts_quiet": "Does no alert fire that is about the live release?",
        },
    }
)
"""Schedules and sensors ask these long after a rollout, of what is live. No release waits for them."""

GENERATION = 4
ADDED_LATER: Mapping[str, int] = MappingProxyType(
    {
        "agent_report.not_worse_than_live": 2,
        "agent_report.tool_calling": 2,
        "snapshot.weights_loadable": 3,
        "serving_report.latency_p95": 4,
    }
)
"""Checks that earlier releases did not have to pass -> the first generation of records that must pass them."""

REQUIRED_FOR_LIVE: tuple[str, ...] = tuple(
    f"{asset}.{check}" for asset, checks in CHECKS.items() if asset != "live" for check in checks
)
"""Of a release to which every check applies."""

AGENT_ASSETS = ("agent_candidate", "agent_report")
ABOUT_GENERATED_TOKENS = ("ttft_p95", "tokens_per_second", "kv_cache")
"""Checks of the serving report about tokens one after another, which a pooling model does not have."""


def not_applicable(
    task: Task,
    has_agent: bool,
    calls_tools: bool,
    has_tool_gate: bool,
    has_nvidia_gpu: bool = True,
    wants_reservation: bool = True,
) -> Mapping[str, str]:
    """Return the checks that a release is not asked, as `asset.check` -> why. Pure.

    Args:
        task: what the model is for.
        has_agent: whether an agent is served with it.
        calls_tools: whether its engine parses tool calls.
        has_tool_gate: whether a gate asks for tool calls of the model itself.
        has_nvidia_gpu: whether it runs on a GPU that DCGM knows.
        wants_reservation: whether its nodes come from a capacity reservation.
    """
    why: dict[str, str] = {}
    if not has_agent:
        for asset in AGENT_ASSETS:
            why |= {f"{asset}.{check}": "The model file has no agent." for check in CHECKS[asset]}
        if not calls_tools:
            why["candidate.tool_call_parsed"] = "No agent calls tools, and the engine has no tool-call parser."
    elif not has_tool_gate:
        why["agent_report.tool_calling"] = "The model file has no `gates.agent.tool_calling_min`."
    if not task.generates:
        pools = f"A model with the task {task} generates no tokens."
        why |= {f"serving_report.{check}": pools for check in ABOUT_GENERATED_TOKENS}
    if not has_nvidia_gpu:
        why["serving_report.gpu_health"] = "The model file has no NVIDIA GPU, and DCGM knows no others."
    if not wants_reservation:
        why["capacity.reservation_active"] = "The model file asks for no capacity reservation."
    return why
