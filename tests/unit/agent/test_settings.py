import pytest

from genai_pipeline.agent.settings import VARIABLES, Settings, SettingsError


def test_without_any_variable_the_defaults_hold():
    settings = Settings.load({})

    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8080, "weather-agent")
    assert settings.system_prompt == (
        "You are a helpful assistant for the current time and the weather. "
        "Use the tools for every question about time or weather. Politely decline anything else."
    )


def test_bedrock_is_one_setting_away():
    assert Settings.load({"MODEL_PROVIDER": "bedrock"}).model == "us.amazon.nova-pro-v1:0"
    assert Settings.load({"MODEL_PROVIDER": "bedrock", "MODEL_ID": "x"}).model == "x"


def test_the_deployments_variables_are_the_ones_that_are_read():
    named = {"AGENT_HOST", "AGENT_PORT", "MODEL_PROVIDER", "MODEL_BASE_URL", "MODEL_ID", "RELEASE_ID", "WEATHER_URL"}

    assert named < set(VARIABLES.values())


def test_all_mistakes_are_named_at_once_by_their_variables():
    with pytest.raises(SettingsError) as error:
        Settings.load(
            {"AGENT_PORT": "http", "MODEL_PROVIDER": "azure", "AGENT_DEADLINE_S": "-1", "WEATHER_URL": "wttr.in"}
        )

    lines = str(error.value).splitlines()
    wrong = [line.partition("=")[0] for line in lines]
    assert wrong == ["AGENT_PORT", "MODEL_PROVIDER", "WEATHER_URL", "AGENT_DEADLINE_S"]
    assert "'openai' or 'bedrock'" in lines[1]


@pytest.mark.parametrize("number", ["0", "nan", "inf", "", "1.5"])
def test_counts_are_positive_whole_numbers(number: str):
    if not number:
        assert Settings.load({"AGENT_MAX_CONCURRENT": number}).max_concurrent == 256
        return
    with pytest.raises(SettingsError, match="AGENT_MAX_CONCURRENT"):
        Settings.load({"AGENT_MAX_CONCURRENT": number})


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(SettingsError, match="AGENT_MAX_SESSIONS"):
        Settings.load({"AGENT_MAX_SESSIONS": "3", "AGENT_MAX_CONCURRENT": "4"})
    with pytest.raises(SettingsError, match="AGENT_MAX_HISTORY_MESSAGES"):
        Settings.load({"AGENT_MAX_HISTORY_MESSAGES": "4"})


def test_a_wrong_setting_never_shows_the_key():
    with pytest.raises(SettingsError) as error:
        Settings.load({"MODEL_API_KEY": "sk-secret", "AGENT_PORT": "x"})

    assert "sk-secret" not in str(error.value)


@pytest.mark.parametrize("place", ["memory", "file:/var/lib/agent", "file:relative", "s3://bucket", "s3://bucket/a/b/"])
def test_sessions_are_kept_where_the_setting_says(place: str):
    assert Settings.load({"AGENT_SESSIONS": place}).sessions == place


@pytest.mark.parametrize("place", ["disk", "file:", "s3://", "s3:///x", "s3://UPPER/x", "s3://bucket/a b", "/var/lib"])
def test_a_malformed_place_is_refused_with_what_is_allowed(place: str):
    with pytest.raises(SettingsError, match=r"AGENT_SESSIONS=.*memory, file:<folder> or s3://"):
        Settings.load({"AGENT_SESSIONS": place})


def test_keys_are_read_one_by_one_and_never_shown():
    with pytest.raises(SettingsError, match="AGENT_API_KEYS: holds no key"):
        Settings.load({"AGENT_API_KEYS": " , "})
    settings = Settings.load({"AGENT_API_KEYS": " one, two ,,"})

    assert settings.keys == ("one", "two")
    assert Settings.load({}).keys == ()
    assert "one" not in repr(settings)


def test_a_tool_loop_has_a_highest_number_of_cycles():
    with pytest.raises(SettingsError, match="AGENT_MAX_TOOL_CYCLES='101': must be at most 100"):
        Settings.load({"AGENT_MAX_TOOL_CYCLES": "101", "AGENT_MAX_HISTORY_MESSAGES": "1000"})


def test_a_line_end_after_a_key_is_no_part_of_it():
    fallback = "openai:x@http://127.0.0.1:8000/v2"
    settings = Settings.load({"MODEL_API_KEY": "sk-1\n", "MODEL_FALLBACKS": fallback})

    assert [endpoint.api_key for endpoint in settings.endpoints] == ["sk-1", "sk-1"]
    assert Settings.load({"MODEL_API_KEY": "\n"}).endpoints[0].api_key == "none"


@pytest.mark.parametrize("key", ["sk-“1”", "sk-1\nsk-2", "schlüssel"])
@pytest.mark.parametrize("variable", ["MODEL_API_KEY", "MODEL_FALLBACK_API_KEYS"])
def test_a_key_that_no_header_may_hold_is_refused_and_not_shown(variable: str, key: str):
    with pytest.raises(SettingsError, match=f"{variable}: holds a character that a key cannot hold") as refused:
        Settings.load({variable: key, "MODEL_FALLBACKS": "openai:x@http://h/v1"})
    assert key not in str(refused.value)


def test_a_port_beyond_the_highest_is_refused():
    with pytest.raises(SettingsError, match="AGENT_PORT='65536': must be at most 65535"):
        Settings.load({"AGENT_PORT": "65536"})
