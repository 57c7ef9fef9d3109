"""Ask a model for tool calls, straight at its OpenAI-compatible endpoint and without an agent.

`suite.py` reads what is asked, `pattern.py` and `scoring.py` say what is right, `endpoint.py` asks, `runner.py` puts
them together, `verdict.py` judges the whole.
"""

from genai_pipeline.evaluation.tool_calling.runner import measure_tool_calls, run_tool_calling
from genai_pipeline.evaluation.tool_calling.suite import ToolSuite, is_tool_suite, load_tool_suite, parse_tool_suite
from genai_pipeline.evaluation.tool_calling.verdict import judge_tool_calling, not_asked, rates_by_tag

__all__ = [
    "ToolSuite",
    "is_tool_suite",
    "judge_tool_calling",
    "load_tool_suite",
    "measure_tool_calls",
    "not_asked",
    "parse_tool_suite",
    "rates_by_tag",
    "run_tool_calling",
]
