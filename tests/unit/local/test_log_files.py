from ast import literal_eval
from dataclasses import replace
from pathlib import Path

import pytest

from genai_pipeline.cli.show_logs import show_logs
from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.core.model_file import read_models
from genai_pipeline.gateways import Gateways
from genai_pipeline.k8s.render import render_chat_ui
from genai_pipeline.local.installation import engines_of
from genai_pipeline.local.log_files import follow, last_lines
from genai_pipeline.local.service_catalog import SERVICES
from genai_pipeline.resources.engines import Engines
from tests.fakes.model_texts import with_tools
from tests.fakes.world import PROFILE, FakeCluster
from tests.unit.k8s.everything import find_in


def test_the_last_lines_are_the_last_lines(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\nthree\n")

    assert last_lines(log, 2) == "two\nthree"


def test_a_log_that_is_not_there_yet_is_said_so(tmp_path):
    assert "no log yet" in last_lines(tmp_path / "a.log", 5)


def test_following_gives_what_is_added_and_nothing_before(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("old\n")

    assert _first_followed(log, lambda: log.write_text("old\nnew\n")) == "new"


def test_a_line_is_given_only_once_it_is_whole(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("")
    writes = iter([lambda: None, lambda: log.write_text("ha"), lambda: log.write_text("half\n")])

    def files():
        next(writes, lambda: None)()
        return [log]

    assert next(follow(files, poll_s=0)) == "half"


def test_a_rotated_log_is_read_from_its_start(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("a long line from before\n")

    assert _first_followed(log, lambda: log.write_text("new\n")) == "new"


def _first_followed(log, act):
    looked = []

    def files():
        looked.append(1)
        if len(looked) == 2:
            act()
        return [log]

    return next(follow(files, poll_s=0))


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "weather.yaml").write_text(with_tools("name: weather\nsource: {hub: owner/model}\n"))

    with pytest.raises(NotFound, match=r"Known: s3, hub.*weather, weather-agent"):
        list(show_logs(PROFILE, lambda: None, tmp_path, "wether", 10, following=False))


def test_the_chat_front_end_has_a_log_whichever_it_is(tmp_path):
    class Cluster(FakeCluster):
        def logs(self, labels, lines=100):
            return str(labels)

    profile = replace(PROFILE, home=tmp_path)
    engines = Engines(profile, Gateways(None, None, Cluster(), None, None, None))
    (shown,) = show_logs(profile, lambda: engines, tmp_path, "chat-ui", 5, False)

    pod = find_in(render_chat_ui(profile, []), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert literal_eval(shown).items() <= pod.items()


def test_a_models_name_is_the_models_even_if_a_service_has_it_too(tmp_path):
    (tmp_path / "hub.yaml").write_text(with_tools("name: hub\nsource: {hub: owner/model}\n"))

    profile = replace(PROFILE, home=tmp_path)
    with pytest.raises(Refused, match=r"no address of its cluster|does not answer"):
        list(show_logs(profile, lambda: engines_of(profile, {}), tmp_path, "hub", 5, False))


def test_no_service_has_the_name_of_a_model_of_ours():
    models = {spec.name for spec in read_models(Path(__file__).parents[3] / "models").specs}

    assert not models & set(SERVICES)
