"""What the tests of upkeep do at a desk: ask a schedule's job, evaluate a sensor, run what it asks for."""

import dagster as dg


def run(desk, job, config=None, tags=None):
    return desk.defs.resolve_job_def(job).execute_in_process(
        instance=desk.instance,
        raise_on_error=False,
        run_config=config or {},
        tags=tags or {},
    )


def evaluations(result):
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def tick(desk, sensor):
    """What a sensor asks for, and what it says where it asks for nothing."""
    repository = desk.defs.get_repository_def()
    with dg.build_sensor_context(desk.instance, repository_def=repository, resources=desk.resources) as context:
        result = repository.get_sensor_def(sensor)(context)
    if isinstance(result, dg.SkipReason):
        return [], result.skip_message
    return list(result.run_requests), ""


def redeploy(desk):
    """Tick the sensor, run what it asks for."""
    (request,), _ = tick(desk, "redeploys")
    return run(desk, "redeploy", request.run_config, request.tags)


def publish(desk, *contents):
    for content in contents:
        desk.world.hub.publish(content)
        rolled_out = desk.roll_out()
        assert rolled_out.success, [str(e.event_specific_data) for e in rolled_out.all_events if e.is_failure]
        end_watch(desk)


def end_watch(desk):
    """As its sensor would, once nothing was found."""
    from dataclasses import replace

    from genai_pipeline.core.record import live_key

    live = desk.engines.records().live("tiny")
    if live.watched_until:
        desk.world.store.put(live_key("tiny"), replace(live, watched_until=None).to_bytes())
