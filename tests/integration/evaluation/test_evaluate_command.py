"""`genai evaluate`: against real agents where a release runs, and by what is stored where it does not."""

import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from genai_pipeline.cli import main
from genai_pipeline.cli.context import Context
from genai_pipeline.core.model_spec import NO_AGENT, Serving
from genai_pipeline.core.release import Release
from genai_pipeline.evaluation.results import ResultsStore
from genai_pipeline.evaluation.suite_files import load_agent_suite, load_tool_suite
from genai_pipeline.local.weather_server import WeatherServer
from genai_pipeline.resources.engines import Engines
from tests.fakes.model_texts import model_with_tools, with_tools
from tests.fakes.running_agent import running_agent
from tests.fakes.scripted_model import Say, ScriptedModel, solves
from tests.fakes.tool_model import Said, ToolModel, perfect
from tests.fakes.world import PROFILE, World

SPEC = model_with_tools("name: tiny\nsource: {hub: owner/tiny}\ngates: {agent: {suite: mine.yaml}}\n", "tiny.yaml")
SUITE = """\
name: mine
weather: {Oslo: {sky: snow showers, celsius: -3}}
isolation: {ask: "Weather in {place}?", follow_up: "And now?", places: [Plzeň, Tromsø]}
cases:
  - name: ask-{n}
    for: {n: [1, 2, 3, 4, 5, 6]}
    tags: [weather]
    turns: [{ask: "Question {n}: how is Oslo?", calls: [{get_weather: Oslo}]}]
"""


class Site:
    """An installation with two releases, of which any may run."""

    def __init__(self, tmp_path, monkeypatch, capsys):
        self.suite = tmp_path / "mine.yaml"
        self.suite.write_text(SUITE)
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "tiny.yaml").write_text(
            with_tools(f"name: tiny\nsource: {{hub: owner/tiny}}\ngates: {{agent: {{suite: {self.suite}}}}}\n")
        )
        self.engines = Engines(replace(PROFILE, weather_url=""), World().gateways())
        self.urls = {}
        self.old, self.new = (self._release(digit) for digit in "12")
        self.engines.records().set_live(self.old)
        self.candidates, self.traffic = self.engines.candidates(), self.engines.traffic()
        object.__setattr__(self.engines, "candidates", lambda: self.candidates)
        object.__setattr__(self.engines, "traffic", lambda: self.traffic)
        self.candidates.agent_is_up = lambda release: release.id in self.urls
        self.candidates.agent_url = lambda release: self.urls[release.id]
        self.traffic.url = lambda model, component: self.urls.get(self.old.id)
        self._capsys = capsys
        monkeypatch.setenv("GENAI_MODELS", str(tmp_path / "models"))
        monkeypatch.setenv("GENAI_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(Context, "engines", lambda context: self.engines)

    def _release(self, digit, spec=SPEC):
        release = Release.of(spec, digit * 40)
        self.engines.records().open(spec, release, "made")
        return release

    def genai(self, *args):
        self._capsys.readouterr()
        code = main(["evaluate", *args])
        said = self._capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err, all=said.out + said.err)

    def stored(self, release):
        return ResultsStore(self.engines.gateways.store).read("tiny", release.id, "mine")


@pytest.fixture
def site(tmp_path, monkeypatch, capsys):
    return Site(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def weather():
    server = WeatherServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.stop()


@pytest.fixture
def good(site, weather):
    with (
        ScriptedModel(solves(load_agent_suite(str(site.suite)))) as model,
        running_agent(model.url, weather.url) as agent,
    ):
        yield agent.url


@pytest.fixture
def bad(weather):
    """Knows what to do in sessions side by side, and of nothing else."""
    with ScriptedModel(lambda messages: Say("No idea.")) as model, running_agent(model.url, weather.url) as agent:
        yield agent.url


def test_a_candidate_that_is_worse_than_live_is_reported_case_by_case_and_ends_with_1(site, good, bad):
    site.urls = {site.old.id: good, site.new.id: bad}

    found = site.genai(f"tiny@{site.new.id}")

    assert found.code == 1
    assert "0 of 6 (0.0%)" in found.out
    assert "6 of 6 (100.0%)" in found.out
    assert found.out.count("- lost") == 6
    assert "get_weather(Oslo) not called" in found.out
    assert "failed  not_worse_than_live" in found.out
    assert site.stored(site.old).solved == 6


def test_one_that_is_as_good_as_live_passes_and_live_is_not_asked_twice(site, good):
    site.urls = {site.old.id: good, site.new.id: good}

    first, second = site.genai("tiny@2222", "--json"), site.genai("tiny@2222", "--json")

    assert (first.code, second.code) == (0, 0), first.all
    told = json.loads(second.out)
    assert told["outcome"] == "passed"
    assert told["against"]["source"].startswith("stored")
    assert json.loads(first.out)["against"]["source"] == "asked now"
    assert [v["check"] for v in told["verdicts"]][-1] == "not_worse_than_live"
    assert len(told["release"]["cases"]) == 6


def test_repeated_runs_are_compared_with_as_many(site, good):
    site.urls = {site.old.id: good, site.new.id: good}
    site.genai("tiny@2222")

    found = site.genai("tiny@2222", "--repeat", "2", "--json")

    told = json.loads(found.out)
    assert found.code == 0
    assert told["against"]["source"] == "asked now"
    assert {len(case["runs"]) for side in ("release", "against") for case in told[side]["cases"]} == {2}


def test_what_does_not_run_is_said_and_compared_by_what_is_stored(site, good):
    site.urls = {site.old.id: good, site.new.id: good}
    site.genai("tiny@2222")
    site.urls = {}

    found = site.genai("tiny@2222", "--against", "1111")

    assert found.code == 0, found.all
    assert found.out.count("stored, asked") == 2
    assert "Both solve the same cases." in found.out


def test_nothing_measured_ends_with_2_and_never_with_passed(site, good):
    found = site.genai("tiny@2222")
    assert found.code == 2
    assert "does not run, and it has no stored results for the suite mine" in found.out

    site.urls = {site.new.id: good, site.old.id: "http://127.0.0.1:9"}
    found = site.genai("tiny@2222")
    assert found.code == 2
    assert "could not be reached" in found.out
    assert "inconclusive  not_worse_than_live" in found.out


def test_against_nothing_only_the_gates_count(site, bad, good):
    site.urls = {site.old.id: bad}
    assert site.genai("tiny", "--against", "none").code == 1
    site.urls = {site.old.id: good}
    found = site.genai("tiny")
    assert found.code == 0
    assert "is live itself: it is judged by the gates only" in found.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["tinny"], "Did you mean tiny?"),
        (["tiny@9"], "tiny has no release 9"),
        (["tiny", "--suite", "wether"], "There is no suite 'wether'"),
        (["tiny", "--suite", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["tiny@2222", "--against", "tinny@1"], "Did you mean tiny?"),
    ],
)
def test_what_is_not_there_is_reported_with_what_is(site, args, says):
    found = site.genai(*args)

    assert found.code == 2
    assert says in found.err
    assert "Traceback" not in found.all


def test_a_wrong_suite_is_reported_line_by_line(site, tmp_path):
    (tmp_path / "wrong.yaml").write_text(SUITE.replace("{n}: how", "{m}: how"))

    found = site.genai("tiny", "--suite", str(tmp_path / "wrong.yaml"))

    assert found.code == 2
    assert "wrong.yaml:8: cases.0.turns.0.ask: {m} is not a parameter; allowed: n." in found.err


@pytest.mark.parametrize("repeat", ["0", "x", "101", "-1"])
def test_a_number_of_runs_that_is_none_is_a_wrong_command_line(site, repeat, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "tiny", "--repeat", repeat])

    assert ended.value.code == 2


def test_tool_calls_are_asked_of_the_engine_under_the_releases_own_name(site, tmp_path):
    suite = tmp_path / "calls.yaml"
    suite.write_text(
        "name: calls\nkind: tool_calling\n"
        "tools: {roll: {description: Roll a die, parameters: {type: object, properties: {}}}}\n"
        "cases:\n  - {name: rolls, tags: [simple], tools: [roll], turns: [{ask: Roll a die., calls: [roll]}]}\n"
    )
    with ToolModel(perfect(load_tool_suite(str(suite)))) as model:
        site.candidates.is_up = lambda release: release.id == site.new.id
        site.candidates.engine_url = lambda release: model.url.removesuffix("/v1")
        found = site.genai("tiny@2222", "--suite", str(suite), "--against", "none", "--json")

    told = json.loads(found.out)
    assert told["suite"] == "calls"
    assert (told["release"]["measured"], told["release"]["solved"], found.code) == (1, 1, 0), found.all
    assert {request["model"] for request in model.requests} == {f"tiny@{site.new.id}"}
    stored = ResultsStore(site.engines.gateways.store).read("tiny", site.new.id, "calls")
    assert stored.sampling == {"temperature": 0.0, "seed": 7}
    assert (stored.concurrency, stored.seconds > 0) == (SPEC.gates.serving.at_concurrency, True)


def test_a_judge_named_by_the_environment_judges_by_the_rubric_and_is_recorded_without_its_key(site, good, monkeypatch):
    site.urls = {site.old.id: good}
    site.suite.write_text(SUITE.replace("calls:", "rubric: Rhymes., calls:"))
    said = {"reason": "It does not rhyme.", "unmet": ["Rhymes."], "verdict": "fail"}
    with ToolModel(lambda request: Said(json.dumps(said))) as judge:
        monkeypatch.setenv("JUDGE_MODEL", "critic")
        monkeypatch.setenv("JUDGE_BASE_URL", judge.url)
        monkeypatch.setenv("JUDGE_API_KEY", "judge-secret")
        found = site.genai("tiny", "--against", "none")

    assert found.code == 1
    assert "the judge: It does not rhyme." in found.out
    assert {request["authorization"] for request in judge.requests} == {"Bearer judge-secret"}
    stored = site.stored(site.old)
    assert stored.judge["judge"] == "openai:critic"
    assert b"judge-secret" not in stored.to_jsonl()
    assert "judge-secret" not in found.all


@pytest.mark.parametrize("suite", ["mine", "tool_calling"])
def test_a_release_without_an_agent_goes_through_no_suite_and_the_reason_is_said(site, suite):
    plain = site._release("3", SPEC.model_copy(update={"agent": NO_AGENT, "serving": Serving()}))
    site.urls = {plain.id: "http://127.0.0.1:9"}

    found = site.genai(f"tiny@{plain.id}", "--suite", str(site.suite) if suite == "mine" else suite)

    assert found.code == 2
    assert {"mine": "it has no agent", "tool_calling": "its engine has no tool-call parser"}[suite] in found.all
