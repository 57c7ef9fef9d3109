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


def test_every_mistake_is_told_at_once_and_by_its_variable():
    with pytest.raises(SettingsError) as error:
        Settings.load(
            {"AGENT_PORT": "http", "MODEL_PROVIDER": "azure", "AGENT_DEADLINE_S": "-1", "WEATHER_URL": "wttr.in"}
        )

    lines = str(error.value).splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "AGENT_PORT",
        "MODEL_PROVIDER",
        "AGENT_DEADLINE_S",
        "WEATHER_URL",
    ]
    assert "openai, bedrock" in lines[1]


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
