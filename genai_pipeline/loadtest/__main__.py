"""Send the requests of a load test for a run elsewhere: the command of the pod that `assets/load_by_pod.py` starts.

It has no rights and no credentials. The plan comes by Dagster Pipes. Lines about the progress and the observations go
back the same way. The run does everything else: it reads the engine's metrics, judges, and writes the record.
"""

import sys

from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes

from genai_pipeline.loadtest.sending import OBSERVATIONS, PLAN, send_from_here


def main() -> int:
    """Return the exit status. The last message holds all observations, so that a part of them is no result."""
    if not PipesEnvVarParamsLoader().is_dagster_pipes_process():
        sys.stderr.write("A step of Dagster starts this command by Dagster Pipes. Materialize m/serving_report.\n")
        return 2
    with open_dagster_pipes() as pipes:
        plan = PLAN.validate_python(pipes.get_extra("plan"))
        seen = send_from_here(plan, lambda text: pipes.report_custom_message({"says": text}))
        pipes.report_custom_message({"observations": OBSERVATIONS.dump_python(seen, mode="json")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
