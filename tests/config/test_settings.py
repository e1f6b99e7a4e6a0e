"""Settings from arguments, environment and file; what is refused, and how going live is gated."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError, LiveNotAllowed
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.config.profiles import PROFILES, ProfileName
from moondev_ibkr.config.settings import (
    TWS_PORTS,
    Environment,
    Feature,
    Settings,
    Software,
    default_state_dir,
    environment_secrets,
    load_settings,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """No setting of the machine that runs the tests."""
    import os

    for name in list(os.environ):
        if name.upper().startswith(("IB_", "IBKR_")):
            monkeypatch.delenv(name)


def toml(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(**overrides: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**overrides)  # type: ignore[arg-type]
    return caught.value


def test_defaults_are_the_simulation():
    settings = load_settings()
    assert settings.environment is Environment.SIMULATION
    assert (settings.host, settings.tws_port, settings.client_id) == ("127.0.0.1", 14002, 1)
    assert settings.portal_url == "https://127.0.0.1:15000"
    assert settings.journal_synchronous == "FULL"


@pytest.mark.parametrize("prefix", ["IB_", "IBKR_"])
def test_variables_of_either_prefix(monkeypatch, prefix):
    for name, value in {
        "HOST": "gateway.local",
        "PORT": "4123",
        "CLIENT_ID": "7",
        "ACCOUNT": "DU1234567",
        "ENVIRONMENT": "Paper",
        "READ_ONLY": "true",
        "PROFILE": "LOW_LATENCY",
        "LOG_LEVEL": "debug",
        "ALLOWED_CLIENTS": "10.0.0.0/8, ::1",
        "DISABLED_FEATURES": "history_cache",
        "RISK__MAX_POSITION_VALUE": "2500",
        "SECRETS__OAUTH_TOKEN": "s3cr3t-value",
    }.items():
        monkeypatch.setenv(prefix + name, value)
    settings = load_settings()
    assert (settings.host, settings.tws_port, settings.client_id) == ("gateway.local", 4123, 7)
    assert (settings.account, settings.environment, settings.read_only) == ("DU1234567", Environment.PAPER, True)
    assert settings.profile is ProfileName.LOW_LATENCY
    assert settings.log_level == "DEBUG"
    assert settings.allowed_clients == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert not settings.enabled(Feature.HISTORY_CACHE)
    assert settings.enabled(Feature.CONTRACT_CACHE)
    assert settings.risk == {"max_position_value": "2500"}
    assert settings.secrets["oauth_token"].get_secret_value() == "s3cr3t-value"


def test_precedence_argument_then_ib_then_ibkr_then_file(monkeypatch, tmp_path):
    file = toml(tmp_path, 'host = "file"\nclient_id = 3\naccount = "DU3"\nsoftware = "tws"\n[risk]\nmax_exposure = 1\n')
    monkeypatch.setenv("IBKR_HOST", "ibkr")
    monkeypatch.setenv("IBKR_CLIENT_ID", "4")
    monkeypatch.setenv("IB_HOST", "ib")
    monkeypatch.setenv("IB_RISK__MAX_DAILY_LOSS", "2")
    settings = load_settings(file, host="argument")
    assert (settings.host, settings.client_id, settings.account) == ("argument", 4, "DU3")
    assert settings.software is Software.TWS
    assert settings.risk == {"max_exposure": 1, "max_daily_loss": "2"}
    assert load_settings(file).host == "ib"
    assert load_settings(host=None).host == "ib"  # an option not given leaves the rest alone


def test_a_file_is_never_searched_for(monkeypatch, tmp_path):
    toml(tmp_path, 'host = "found"\n')
    (tmp_path / ".env").write_text("IB_HOST=found\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings().host == "127.0.0.1"


def test_an_empty_variable_is_not_set(monkeypatch):
    monkeypatch.setenv("IB_PORT", "")
    assert load_settings().port is None


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("IB_PORT", "abc", "IB_PORT='abc'"),
        ("IB_PORT", "99999", "less than or equal to 65535"),
        ("IB_CLIENT_ID", "-1", "IB_CLIENT_ID='-1'"),
        ("IB_ENVIRONMENT", "production", "'simulation', 'paper' or 'live'"),
        ("IB_PROFILE", "fast", "IB_PROFILE='fast'"),
        ("IB_HOST", "two words", "white space"),
        ("IB_READ_ONLY", "perhaps", "IB_READ_ONLY='perhaps'"),
        ("IB_JOURNAL_SYNCHRONOUS", "OFF", "'FULL' or 'NORMAL'"),
        ("IB_ALLOWED_CLIENTS", "everyone", "IB_ALLOWED_CLIENTS='everyone'"),
        ("IB_DISABLED_FEATURES", "brakes", "IB_DISABLED_FEATURES"),
        ("IB_CONNECT_TIMEOUT", "0", "greater than 0"),
        ("IB_RISK", "not json", "risk"),
        ("IB_READONLY", "true", "did you mean IB_READ_ONLY?"),
        ("IBKR_CLIENTID", "3", "did you mean IBKR_CLIENT_ID?"),
    ],
)
def test_a_bad_value_is_one_clear_line(monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    text = str(refusal())
    assert says in text
    assert "\n" not in text


def test_variables_of_others_are_none_of_ours(monkeypatch):
    monkeypatch.setenv("IB_INSYNC_SOMETHING", "1")
    monkeypatch.setenv("IBC_INI", "/x")
    load_settings()


def test_all_problems_are_listed():
    error = refusal(client_id=-1, port=0, profile="x")
    assert len(error.data["problems"]) == 3
    assert "and 2 more" in str(error)


def test_a_bad_file_says_so(tmp_path):
    for text, says in {
        'hoost = "x"': "did you mean host?",
        "host = x": "TOML",
        'port = "abc"': "IB_PORT='abc'",
        "[host]\na = 1": "IB_HOST",
    }.items():
        with pytest.raises(ConfigurationError, match=says.replace("?", r"\?")) as caught:
            load_settings(toml(tmp_path, text))
        assert "settings.toml" in str(caught.value)
    with pytest.raises(ConfigurationError, match="no such file"):
        load_settings(tmp_path / "none.toml")


def test_secrets_show_nowhere(monkeypatch):
    monkeypatch.setenv("IB_SECRETS__OAUTH_TOKEN", "s3cr3t-value")
    settings = load_settings()
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.secrets)):
        assert "s3cr3t" not in text
    error = refusal(secrets={"token": ["s3cr3t-value"]})
    assert "s3cr3t" not in str(error)
    assert "s3cr3t" not in repr(error)
    assert "s3cr3t" not in str(error.data)


def test_settings_are_frozen():
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.host = "elsewhere"  # type: ignore[misc]


# Ports


@pytest.mark.parametrize(
    ("environment", "software", "port"),
    [
        ("live", "gateway", 4001),
        ("paper", "gateway", 4002),
        ("live", "tws", 7496),
        ("paper", "tws", 7497),
        ("simulation", "gateway", 14002),
    ],
)
def test_ports_follow_environment_and_software(environment, software, port):
    settings = load_settings(environment=environment, software=software, i_understand_live=True)
    assert settings.tws_port == port


def test_every_environment_and_software_has_a_port():
    assert set(TWS_PORTS) == {(environment, software) for environment in Environment for software in Software}


@pytest.mark.parametrize(
    ("environment", "port"), [("paper", 4001), ("paper", 7496), ("live", 4002), ("simulation", 7497)]
)
def test_the_standard_port_of_another_environment_is_refused(environment, port):
    assert f"port {port}" in str(refusal(environment=environment, port=port, i_understand_live=True))


# Going live


def test_live_takes_two_steps(monkeypatch):
    monkeypatch.setenv("IB_ENVIRONMENT", "live")
    monkeypatch.setenv("IB_I_UNDERSTAND_LIVE", "true")  # the second step is not to be had from the environment
    with pytest.raises(LiveNotAllowed, match="--i-understand-live"):
        load_settings()
    assert load_settings(i_understand_live=True).environment is Environment.LIVE


def test_understanding_alone_is_not_live():
    assert load_settings(i_understand_live=True).environment is Environment.SIMULATION


def test_live_cannot_come_from_a_file_alone(tmp_path):
    with pytest.raises(LiveNotAllowed):
        load_settings(toml(tmp_path, 'environment = "live"\n'))
    with pytest.raises(ConfigurationError):
        load_settings(toml(tmp_path, 'environment = "live"\ni_understand_live = true\n'))


@pytest.mark.parametrize(
    ("environment", "account", "error"),
    [
        ("simulation", "DU0000001", None),
        ("simulation", "DU1234567", ConfigurationError),
        ("simulation", "U1234567", LiveNotAllowed),
        ("paper", "DU1234567", None),
        ("paper", "DF1234567", None),
        ("paper", "U1234567", LiveNotAllowed),
        ("paper", "", LiveNotAllowed),
        ("live", "U1234567", None),
        ("live", "F1234567", None),
        ("live", "DU1234567", LiveNotAllowed),
    ],
)
def test_the_account_must_be_of_the_environment(environment, account, error):
    settings = load_settings(environment=environment, i_understand_live=True)
    if error is None:
        settings.check_account(account)
        return
    with pytest.raises(error) as caught:
        settings.check_account(account)
    assert type(caught.value) is error
    assert "IB_ENVIRONMENT" in str(caught.value)


def test_the_account_asked_for_is_the_one():
    settings = load_settings(environment="paper", account="DU1234567")
    settings.check_account("DU1234567")
    with pytest.raises(ConfigurationError, match="IB_ACCOUNT asks for DU1234567"):
        settings.check_account("DU7654321")


# What settings become


def test_limits_become_the_policy():
    settings = load_settings(
        read_only=True, delayed_data=True, risk={"max_exposure": "20000", "restricted": "gme, BRK.B"}
    )
    policy = RiskPolicy.from_settings(settings.policy_values)
    assert policy == RiskPolicy(
        max_exposure=Decimal(20_000), restricted=frozenset({"GME", "BRK B"}), read_only=True, allow_delayed_quotes=True
    )


def test_profiles_are_one_complete_table():
    assert set(PROFILES) == set(ProfileName)
    assert load_settings(profile="ultra_low_latency").performance == PROFILES[ProfileName.ULTRA_LOW_LATENCY]
    assert PROFILES[ProfileName.ULTRA_LOW_LATENCY].conflation_ms == 0
    assert PROFILES[ProfileName.HIGH_THROUGHPUT].conflation_ms > PROFILES[ProfileName.BALANCED].conflation_ms
    assert load_settings(profile="high_throughput").journal_synchronous == "FULL"


def test_each_environment_has_a_folder_of_its_own(tmp_path):
    folders = {load_settings(state_dir=tmp_path, environment=name).state_folder for name in ("paper", "simulation")}
    assert folders == {tmp_path / "paper", tmp_path / "simulation"}


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_STATE_HOME": "/state"}, "/state/moondev-ibkr"),
        ("linux", {"XDG_STATE_HOME": ""}, "/home/ann/.local/state/moondev-ibkr"),
        ("darwin", {}, "/home/ann/Library/Application Support/moondev-ibkr"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/moondev-ibkr"),
        ("win32", {"LOCALAPPDATA": ""}, "/home/ann/AppData/Local/moondev-ibkr"),
    ],
)
def test_state_lies_where_the_platform_keeps_it(monkeypatch, platform, variables, folder):
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_state_dir() == Path(folder)


def test_a_user_without_home_is_told_what_to_set(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigurationError, match="IB_STATE_DIR"):
        default_state_dir()


def test_secrets_of_the_environment_are_found_by_name(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-abcdefgh")
    monkeypatch.setenv("TWS_PASSWORD", "hunter2hunter2")
    monkeypatch.setenv("MONKEY", "not-a-secret-at-all")
    monkeypatch.setenv("SHORT_KEY", "abc")
    found = environment_secrets()
    assert {"sk-ant-abcdefgh", "hunter2hunter2"} <= set(found)
    assert not {"not-a-secret-at-all", "abc"} & set(found)


def test_importing_reads_nothing(monkeypatch):
    monkeypatch.setenv("IB_PORT", "abc")
    import importlib

    import moondev_ibkr.config.settings as module

    importlib.import_module(module.__name__)
    assert issubclass(module.Settings, Settings)


def test_the_ollama_server_and_its_model_come_from_the_environment(monkeypatch):
    assert (load_settings().ollama_host, load_settings().ollama_timeout) == ("127.0.0.1:11434", 90.0)
    monkeypatch.setenv("IB_OLLAMA_HOST", "https://gpu.lan:8443")
    monkeypatch.setenv("IB_OLLAMA_MODEL", " qwen3:32b ")
    monkeypatch.setenv("IB_OLLAMA_NUM_CTX", "32768")
    monkeypatch.setenv("IB_OLLAMA_TIMEOUT", "45")
    settings = load_settings()
    assert (settings.ollama_host, settings.ollama_model) == ("https://gpu.lan:8443", "qwen3:32b")
    assert (settings.ollama_num_ctx, settings.ollama_timeout) == (32_768, 45.0)
    assert "IB_OLLAMA_MODEL" in refusal(ollama_model=" ").what
    assert "IB_OLLAMA_NUM_CTX" in refusal(ollama_num_ctx=2048).what
