"""Settings: from arguments, the environment, a TOML file and defaults, in that order of precedence.

This package is the only reader of the process environment. Every field is read from `IB_<NAME>`, or `IBKR_<NAME>`;
nested ones with two underscores: `IB_RISK__MAX_POSITION_VALUE=5000`. Nothing is read at import.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from ..brokers.errors import ConfigurationError, LiveNotAllowed
from .gateways import MOST_CONNECTIONS, Balance, GatewayMode, GatewayRow, read_rows
from .profiles import PROFILES, Profile, ProfileName

PREFIXES = ("IB_", "IBKR_")


class Environment(StrEnum):
    SIMULATION = "simulation"  #: the paper gateway of this package
    PAPER = "paper"  #: a paper account at IB
    LIVE = "live"


class Software(StrEnum):
    """What listens on the TWS socket."""

    GATEWAY = "gateway"
    TWS = "tws"


class FailoverMode(StrEnum):
    """What the Client Portal does for a session over TWS."""

    OFF = "off"
    ONE_USER = "one_user"
    TWO_USERS = "two_users"


class LlmBackend(StrEnum):
    """Where language models are asked."""

    OLLAMA = "ollama"
    OPENAI_COMPATIBLE = "openai_compatible"
    ANTHROPIC = "anthropic"


class TickDecoder(StrEnum):
    """What decodes the ticks of the TWS socket."""

    AUTO = "auto"  #: the compiled extension where it was built, else pure
    PURE = "pure"
    COMPILED = "compiled"


class Feature(StrEnum):
    """What can be switched on and off."""

    CONTRACT_CACHE = "contract_cache"  #: qualified contracts are kept on disk (ib_contracts)
    HISTORY_CACHE = "history_cache"  #: historical bars are kept and only their end is asked again (ib_data_manager)
    MARGIN_WHAT_IF = "margin_what_if"  #: the broker is asked before an order that margin could refuse (ib_risk_manager)


#: Socket ports: IB's own defaults, and the paper gateway's, which are never IB's.
TWS_PORTS: dict[tuple[Environment, Software], int] = {
    (Environment.LIVE, Software.GATEWAY): 4001,
    (Environment.PAPER, Software.GATEWAY): 4002,
    (Environment.LIVE, Software.TWS): 7496,
    (Environment.PAPER, Software.TWS): 7497,
    (Environment.SIMULATION, Software.GATEWAY): 14002,
    (Environment.SIMULATION, Software.TWS): 14002,
}
PORTAL_PORTS: dict[Environment, int] = {
    Environment.LIVE: 5000,
    Environment.PAPER: 5000,
    Environment.SIMULATION: 15000,
}
#: The paper gateway's socket port, whatever IB_PORT says of another environment.
SIMULATION_PORT = TWS_PORTS[Environment.SIMULATION, Software.GATEWAY]
#: Accounts of the paper gateway begin with this; IB's own paper accounts with D alone.
SIMULATED_ACCOUNT, PAPER_ACCOUNT = "DU000", "D"


class Settings(BaseSettings):
    """Everything that can be set. Frozen; secrets show as asterisks. Use `load_settings` to make one."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
    )

    #: simulation, paper or live; live also takes `i_understand_live`.
    environment: Environment = Environment.SIMULATION
    #: What decodes ticks: auto takes the compiled extension where it was built (docs/fast-path.md).
    tick_decoder: TickDecoder = TickDecoder.AUTO
    #: Where TWS or IB Gateway listens.
    host: str = "127.0.0.1"
    #: None means the standard port of environment and software.
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    #: Port of the Client Portal API; None means the standard one.
    portal_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    #: Host of the Client Portal API; None means the same as `host`.
    portal_host: str | None = None
    #: PEM file of the authority that the portal's certificate is checked against; None means the system's own.
    portal_ca_file: Path | None = None
    #: SHA-256 of the portal's certificate in hex, which is then trusted whatever its name.
    portal_fingerprint: str | None = None
    #: Off trusts any certificate; only for a portal on this machine.
    portal_verify: bool = True
    #: Folder with an OAuth 1.0a consumer's keys; None relies on the login in the gateway's browser window.
    portal_oauth_dir: Path | None = None
    #: Take the brokerage session from another program that is logged in with the same user name.
    portal_compete: bool = False
    #: Broker questions, by message id, that are answered with yes beside the built-in ones; never those that guard
    #: price, size or value.
    portal_confirm: Annotated[frozenset[str], NoDecode] = frozenset()
    #: What takes over when TWS is lost: nothing, the portal with the same user name (its session is taken), or the
    #: portal with a second user name (it stands by).
    failover: FailoverMode = FailoverMode.OFF
    #: Seconds that TWS may be lost before orders go through the portal; market data moves at once.
    failover_after: Annotated[float, Field(ge=0, le=3600)] = 10.0
    #: More gateways for market data, `host:port` with options after it (mode=tls, weight=2, backup, …); see
    #: docs/gateway-pool.md. Orders keep to IB_HOST and IB_PORT; a row with that address sets its options.
    gateways: Annotated[tuple[GatewayRow, ...], NoDecode] = ()
    #: Which of the gateways gets the next question or line.
    gateway_balance: Balance = Balance.LEAST_LOADED
    #: Connect backup gateways at the start; else only when another gateway is lost.
    gateway_prewarm: bool = True
    #: What listens on the socket, which decides the standard port.
    software: Software = Software.GATEWAY
    #: 0 also sees orders placed by hand; 1 to 31 are ordinary.
    client_id: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1
    #: None means the first account that the session tells.
    account: str | None = None
    #: No order leaves, only cancels.
    read_only: bool = False
    #: Seconds until a session must be ready.
    connect_timeout: Annotated[float, Field(gt=0, le=600)] = 15.0
    #: Seconds until a request must be answered.
    request_timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    #: Streaming market-data lines that the account has (IB: 100 unless commissions, equity or boosters give more).
    market_data_lines: Annotated[int, Field(ge=1, le=10_000)] = 100
    #: Lines of them that only symbols of positions and open orders may have; never more than a quarter.
    reserved_lines: Annotated[int, Field(ge=0, le=1_000)] = 10
    #: Ask for delayed data where there is no subscription.
    delayed_data: bool = False
    #: Performance profile; see the table below the settings.
    profile: ProfileName = ProfileName.BALANCED
    #: SQLite's synchronous level of the order journal; NORMAL may forget the last orders when the machine loses power.
    journal_synchronous: Literal["FULL", "NORMAL"] = "FULL"
    #: Where journal, caches and ready-files lie; None means the platform's own place.
    state_dir: Path | None = None
    #: Features that are off; all are on by default.
    disabled_features: Annotated[frozenset[Feature], NoDecode] = frozenset()
    #: Limits by the field names of RiskPolicy; plain values, read by RiskPolicy.from_settings.
    risk: dict[str, Any] = Field(default_factory=dict)
    #: Whether exchanges class the user as professional, for the cost of market data.
    professional: bool = False
    #: IBKR Pro's plan that the paper gateway charges by.
    commission_plan: Literal["fixed", "tiered"] = "fixed"
    #: Models that are asked for an analysis, in this order; rules stand behind them, and answer alone without any.
    llm_backends: Annotated[tuple[LlmBackend, ...], NoDecode] = ()
    #: Seconds for one analysis, all models that are tried and the queue included.
    llm_deadline: Annotated[float, Field(gt=0, le=3600)] = 120.0
    #: Questions that may wait for a free slot; one more is an error at once.
    llm_waiting: Annotated[int, Field(ge=1, le=100_000)] = 256
    #: USD that models may cost in a UTC day; a question that could exceed it is not asked.
    llm_daily_cost: Annotated[Decimal, Field(ge=0, le=100_000)] = Decimal(5)
    #: JSON file of prices, which replace the shipped ones of the same models; see docs/llm.md.
    llm_prices: Path | None = None
    #: Ollama servers, several separated by commas, also behind the host's model type `gpu_ollama`: host, host:port or
    #: URL (without port: 11434, 80 or 443).
    ollama_host: str = "127.0.0.1:11434"
    #: Model asked where the agent names none; pulled on that server beforehand.
    ollama_model: str = "llama3.1:8b"
    #: Tokens of question and answer together; what does not fit is an error, never cut in silence.
    ollama_num_ctx: Annotated[int, Field(ge=4_096, le=2**20)] = 16_384
    #: Seconds until a model's answer must have come, waiting for a free slot included.
    ollama_timeout: Annotated[float, Field(gt=0, le=600)] = 90.0
    #: Questions under way at each server: its OLLAMA_NUM_PARALLEL, or one more to keep it busy between two answers.
    ollama_parallel: Annotated[int, Field(ge=1, le=512)] = 4
    #: How long a server keeps a model in memory after its last answer (30m, 24h, -1 for ever).
    ollama_keep_alive: str = "30m"
    #: Server with OpenAI's chat route, such as vLLM or llama-server: where /v1 begins. Its key: IB_SECRETS__OPENAI_KEY.
    openai_url: str | None = None
    #: Model asked there.
    openai_model: str | None = None
    #: Questions under way there.
    openai_parallel: Annotated[int, Field(ge=1, le=4096)] = 8
    #: Claude's address. Its key: IB_SECRETS__ANTHROPIC_KEY.
    anthropic_url: str = "https://api.anthropic.com"
    #: Claude's model.
    anthropic_model: str = "claude-haiku-5-5"
    #: Questions under way there.
    anthropic_parallel: Annotated[int, Field(ge=1, le=512)] = 4
    #: Least severe records that are logged.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    #: One line for people, or one JSON object a line.
    log_format: Literal["plain", "json"] = "plain"
    #: Account ids keep only their last three characters in logs.
    log_mask_accounts: bool = False
    #: Addresses that the package's own servers answer, beside loopback.
    allowed_clients: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    #: Secrets by name (IB_SECRETS__OAUTH_TOKEN=…); never shown, and masked wherever they turn up in a log.
    secrets: dict[str, SecretStr] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, *(EnvSettingsSource(settings_cls, env_prefix=prefix) for prefix in PREFIXES))

    @field_validator("disabled_features", "portal_confirm", "llm_backends", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("allowed_clients", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return tuple(ip_network(part) if isinstance(part, str) else part for part in cls._split(value))

    @field_validator("gateways", mode="before")
    @classmethod
    def _rows(cls, value: Any) -> Any:
        return read_rows(value)

    @field_validator(
        "environment",
        "tick_decoder",
        "software",
        "failover",
        "gateway_balance",
        "profile",
        "commission_plan",
        "log_format",
        mode="before",
    )
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.strip().lower() if type(value) is str else value

    @field_validator("journal_synchronous", "log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("ollama_host")
    @classmethod
    def _places(cls, value: str) -> str:
        parts = [part.strip() for part in value.split(",")]
        if any(not part or any(letter.isspace() for letter in part) for part in parts):
            raise ValueError("it is blank or holds white space")
        return ",".join(parts)

    @field_validator("llm_backends")
    @classmethod
    def _once_each(cls, value: tuple[LlmBackend, ...]) -> tuple[LlmBackend, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a backend stands in it twice")
        return value

    @field_validator("host", "portal_host", "account", "ollama_model", "openai_url", "openai_model", "anthropic_model")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or any(letter.isspace() for letter in value.strip())):
            raise ValueError("it is blank or holds white space")
        return None if value is None else value.strip()

    @model_validator(mode="after")
    def _port_fits(self) -> Settings:
        for (environment, software), port in TWS_PORTS.items():
            used = {self.port, *(row.port for row in self.gateways if row.mode is not GatewayMode.PORTAL)}
            if port in used and environment is not self.environment:
                raise ValueError(f"port {port} is that of {software} in environment {environment}")
        return self

    @model_validator(mode="after")
    def _gateways_fit(self) -> Settings:
        first = self.order_gateway
        if first.mode not in (GatewayMode.DIRECT, GatewayMode.TLS) or first.backup:
            raise ValueError(f"gateway {first.address} carries the orders: mode direct or tls, and no backup")
        count = 1 + len(self.data_gateways)
        if count > MOST_CONNECTIONS:
            raise ValueError(f"{count} connections, and a pool has at most {MOST_CONNECTIONS}")
        return self

    @property
    def order_gateway(self) -> GatewayRow:
        """The gateway at IB_HOST and IB_PORT, with the options of the first row that has its address."""
        found = (row for row in self.gateways if (row.host, row.port) == (self.host, self.tws_port))
        return next(found, GatewayRow(host=self.host, port=self.tws_port))

    @property
    def data_gateways(self) -> tuple[GatewayRow, ...]:
        """Every other row, in the order given."""
        first = self.order_gateway
        return tuple(row for row in self.gateways if row is not first)

    @property
    def tws_port(self) -> int:
        """The socket port in force."""
        return self.port if self.port is not None else TWS_PORTS[self.environment, self.software]

    @property
    def portal_url(self) -> str:
        """Where the Client Portal API answers."""
        return f"https://{self.portal_host or self.host}:{self.portal_port or PORTAL_PORTS[self.environment]}"

    @property
    def performance(self) -> Profile:
        return PROFILES[self.profile]

    @property
    def state_folder(self) -> Path:
        """The folder of this environment's journal and caches; paper and live never share one."""
        return (self.state_dir or default_state_dir()) / self.environment.value

    @property
    def policy_values(self) -> dict[str, Any]:
        """What RiskPolicy.from_settings takes: the limits, and the settings that the policy shares."""
        return {"read_only": self.read_only, "allow_delayed_quotes": self.delayed_data} | self.risk

    def enabled(self, feature: Feature) -> bool:
        return feature not in self.disabled_features

    def check_account(self, account: str) -> None:
        """Refuse an account that is not of this environment. Raises LiveNotAllowed or ConfigurationError."""
        paper = account.startswith(PAPER_ACCOUNT)
        if self.environment is Environment.LIVE and paper:
            raise LiveNotAllowed(f"account {account}", "it is a paper account, and the environment is live", _CHOOSE)
        if self.environment is not Environment.LIVE and not paper:
            raise LiveNotAllowed(
                f"account {account}", f"it is live, and the environment is {self.environment}", _CHOOSE
            )
        if self.environment is Environment.SIMULATION and not account.startswith(SIMULATED_ACCOUNT):
            raise ConfigurationError(f"account {account}", "it is IB's own, and the environment is simulation", _CHOOSE)
        if self.account is not None and account != self.account:
            raise ConfigurationError(
                f"account {account}", f"IB_ACCOUNT asks for {self.account}", "log in with that user"
            )


_CHOOSE = "set IB_ENVIRONMENT to simulation, paper or live, and the port that goes with it"


def load_settings(file: Path | None = None, *, i_understand_live: bool = False, **overrides: Any) -> Settings:
    """Settings from `overrides`, then the environment, then the TOML `file`, then defaults.

    `i_understand_live` can only come from the command line. Raises ConfigurationError, one line that names the
    setting, its value, why not and what next (`data["problems"]` lists them all), and LiveNotAllowed.
    """
    _refuse_misspelt(os.environ)
    given = {name: value for name, value in overrides.items() if value is not None}
    sources = _with_file(file) if file is not None else Settings
    try:
        settings = sources(**given)
    except ValidationError as error:
        raise _explain(error, file) from None
    except SettingsError as error:
        raise ConfigurationError(
            "settings", f"{error}: {error.__cause__}", "see the README's table of settings"
        ) from None
    if settings.environment is Environment.LIVE and not i_understand_live:
        raise LiveNotAllowed("environment live", "live trading takes a second step", "add --i-understand-live")
    return settings


def _with_file(file: Path) -> type[Settings]:
    """Settings with one more source; the file is given by path and never searched for."""
    if not file.is_file():
        raise ConfigurationError(f"settings file {file}", "there is no such file", "give the path of a TOML file")

    class FileSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            first = super().settings_customise_sources(settings_cls, *sources, **named)
            try:
                return (*first, TomlConfigSettingsSource(settings_cls, toml_file=file))
            except (ValueError, OSError) as error:
                raise ConfigurationError(f"settings file {file}", str(error), "correct it; it is TOML") from None

    return FileSettings


def _explain(error: ValidationError, file: Path | None) -> ConfigurationError:
    """One line for the first problem, all of them in `data`."""
    problems = [_problem(row) for row in error.errors(include_url=False)]
    what, why = problems[0]
    more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
    places = "the argument, the environment" + (f" or {file}" if file else "")
    return ConfigurationError(what, why, f"correct it in {places}{more}", problems=[f"{w}: {y}" for w, y in problems])


def _problem(row: Mapping[str, Any]) -> tuple[str, str]:
    location = [str(part) for part in row["loc"]]
    if not location:
        return "settings", _words(row)
    name = location[0]
    variable = "IB_" + "__".join(part.upper() for part in location[:2])
    if row["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Settings.model_fields, 1, 0.6)
        return f"setting {location[0]!r}", "there is no such setting" + (f"; did you mean {close[0]}?" if close else "")
    if len(location) > 1 and location[1].isdigit():
        variable = f"IB_{name.upper()}, row {int(location[1]) + 1}"
        variable += f", {location[2]}" if len(location) > 2 else ""
    shown = "***" if name == "secrets" else repr(row["input"])
    return f"setting {variable}={shown}", _words(row)


def _words(row: Mapping[str, Any]) -> str:
    text = str(row["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _refuse_misspelt(environ: Mapping[str, str]) -> None:
    """A variable that nearly names a setting is refused: IB_READONLY=true must not pass unread."""
    known = {prefix + name.upper() for prefix in PREFIXES for name in Settings.model_fields}
    for variable in sorted(environ):
        stem = variable.upper().split("__")[0]
        if not stem.startswith(PREFIXES) or stem in known:
            continue
        close = difflib.get_close_matches(stem, sorted(known), 1, 0.85)
        if close:
            raise ConfigurationError(f"setting {variable}", "there is no such setting", f"did you mean {close[0]}?")


def default_state_dir() -> Path:
    """The platform's place for state that outlives a run."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else _home() / "AppData" / "Local") / "moondev-ibkr"
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "moondev-ibkr"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else _home() / ".local" / "state") / "moondev-ibkr"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise ConfigurationError("state folder", "the user has no home", "set IB_STATE_DIR to a folder") from None


_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE")


def environment_secrets() -> tuple[str, ...]:
    """Values of environment variables whose names say that they are secret, for the log filter."""
    return tuple(
        value
        for name, value in os.environ.items()
        if len(value) >= 8 and any(part in _SECRET_NAMES for part in name.upper().split("_"))
    )
