"""The host's ModelFactory and our model type, on a stand-in of the host's models package with a real server behind."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from moondev_ibkr.agents.hooks import model_factory as hook
from moondev_ibkr.agents.llm.ollama_backend import OllamaBackend
from moondev_ibkr.brokers.errors import ConfigurationError, ConnectFailed, RequestFailed

from ..llm.ollama_server import OllamaServer, answer, ollama_server

DEFAULT, OTHER = "llama3.1:8b", "qwen3:32b"

BASE_MODEL = '''
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Optional


@dataclass
class ModelResponse:
    content: str
    raw_response: Any
    model_name: str
    usage: Optional[dict] = None


class BaseModel(ABC):
    def __init__(self, api_key, **kwargs):
        self.api_key = api_key
        self.client = None
        self.initialize_client(**kwargs)

    @abstractmethod
    def initialize_client(self, **kwargs): ...

    @abstractmethod
    def is_available(self): ...

    @property
    @abstractmethod
    def model_type(self): ...

    def generate_response(self, system_prompt, user_content, temperature=0.7, max_tokens=None):
        """Every failure is swallowed, as in the host."""
        try:
            return self.client.create(system_prompt, user_content, temperature, max_tokens or self.max_tokens)
        except Exception:
            return None
'''
FACTORY = """
import os

from .base_model import BaseModel


class KeyedModel(BaseModel):
    AVAILABLE_MODELS = ["keyed-1", "keyed-2"]

    def __init__(self, api_key, model_name="keyed-1"):
        self.model_name, self.max_tokens = model_name, 100
        super().__init__(api_key)

    def initialize_client(self): ...

    def is_available(self):
        return bool(self.api_key)

    @property
    def model_type(self):
        return "keyed"


class ModelFactory:
    MODEL_IMPLEMENTATIONS = {"keyed": KeyedModel}
    DEFAULT_MODELS = {"keyed": "keyed-1"}

    def __init__(self):
        self._models = {}
        for kind, variable in self._get_api_key_mapping().items():
            if os.getenv(variable):
                self._models[kind] = self.MODEL_IMPLEMENTATIONS[kind](os.environ[variable])

    def _get_api_key_mapping(self):
        return {"keyed": "STANDIN_KEY"}

    def get_model(self, model_type, model_name=None):
        if model_type not in self.MODEL_IMPLEMENTATIONS or model_type not in self._models:
            return None
        model = self._models[model_type]
        if model_name and model.model_name != model_name:
            try:
                key = os.environ[self._get_api_key_mapping()[model_type]]
                model = self._models[model_type] = self.MODEL_IMPLEMENTATIONS[model_type](key, model_name=model_name)
            except Exception:
                return None
        return model

    @property
    def available_models(self):
        return {kind: model.AVAILABLE_MODELS for kind, model in self._models.items()}

    def is_model_available(self, model_type):
        return model_type in self._models and self._models[model_type].is_available()

    @staticmethod
    def create_model(model_type="keyed", model_name=None):
        return model_factory.get_model(model_type, model_name)


model_factory = ModelFactory()
"""


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-in, imported as `src.models.model_factory`; importable as `models.model_factory` too."""
    models = tmp_path / "src" / "models"
    models.mkdir(parents=True)
    (tmp_path / "src" / "__init__.py").write_text("")
    (models / "__init__.py").write_text("from .model_factory import model_factory\n")
    (models / "base_model.py").write_text(BASE_MODEL)
    (models / "model_factory.py").write_text(FACTORY)
    monkeypatch.setenv("STANDIN_KEY", "key")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "src"), *sys.path])
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in ("src", "models")}
    importlib.invalidate_caches()
    importlib.import_module("src.models.model_factory")
    yield sys.modules["src.models.model_factory"]
    hook.unregister()
    for name in [name for name in sys.modules if name.split(".")[0] in ("src", "models")]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with ollama_server() as served:
        yield served


@dataclass
class Attached:
    """What was registered with; `now` is the clock of what the backends remember, in seconds."""

    server: OllamaServer
    now: float = 0.0
    reports: list[str] = field(default_factory=list)

    def backend(self, name: str | None) -> OllamaBackend:
        return OllamaBackend(self.server.host, name or DEFAULT, connect_timeout=2, clock=lambda: self.now)


@pytest.fixture
def attached(host: ModuleType, server: OllamaServer) -> Attached:
    made = Attached(server)
    hook.register(host, made.backend, made.reports.append)
    return made


def snapshot(module: ModuleType) -> tuple[Any, ...]:
    factory: Any = module.ModelFactory
    return (
        dict(vars(factory)),
        list(factory.MODEL_IMPLEMENTATIONS.items()),
        list(factory.DEFAULT_MODELS.items()),
        dict(module.model_factory._models),
    )


def test_an_agent_gets_the_model_and_the_hosts_own_response(host, attached, server):
    server.says("**BUY**\nbecause")
    model = host.model_factory.get_model(hook.MODEL_TYPE)
    base = sys.modules["src.models.base_model"]
    assert isinstance(model, base.BaseModel)
    assert (model.model_type, model.model_name, model.max_tokens) == (hook.MODEL_TYPE, DEFAULT, 2048)
    response = model.generate_response("be brief", "AAPL?", 0.1, 64)
    assert type(response) is base.ModelResponse
    assert (response.content, response.model_name) == ("**BUY**\nbecause", DEFAULT)
    assert response.usage == {"prompt_tokens": 120, "completion_tokens": 3, "total_tokens": 123}
    assert response.raw_response["done_reason"] == "stop"
    assert server.chats[0]["options"] == {"temperature": 0.1, "num_predict": 64, "num_ctx": 16_384}
    model.generate_response(system_prompt="", user_content="AAPL?", temperature=0.3, max_tokens=None, seed=5)
    assert (server.chats[1]["options"]["seed"], server.chats[1]["options"]["num_predict"]) == (5, 2048)


def test_registering_reaches_nothing_and_sets_no_variable(host, server):
    environment = dict(os.environ)
    hook.register(host, Attached(server).backend, print)
    assert server.paths == []
    assert dict(os.environ) == environment
    assert hook.MODEL_TYPE in host.ModelFactory.MODEL_IMPLEMENTATIONS
    assert host.ModelFactory.DEFAULT_MODELS[hook.MODEL_TYPE] == DEFAULT


def test_an_answer_that_fails_is_raised_and_not_swallowed(host, attached, server):
    model = host.model_factory.get_model(hook.MODEL_TYPE)
    server.says("")
    with pytest.raises(RequestFailed, match="blank"):
        model.generate_response("", "AAPL?")
    server.fails(503, "busy")
    with pytest.raises(RequestFailed, match="queue is full"):
        model.generate_response("", "AAPL?")


def test_another_name_is_another_instance_beside_the_shared_one(host, attached, server):
    factory = host.model_factory
    shared = factory.get_model(hook.MODEL_TYPE)
    other = factory.get_model(hook.MODEL_TYPE, OTHER)
    assert (shared.model_name, other.model_name) == (DEFAULT, OTHER)
    assert factory.get_model(hook.MODEL_TYPE) is shared
    assert factory.get_model(hook.MODEL_TYPE, DEFAULT) is shared
    assert factory.get_model(hook.MODEL_TYPE, OTHER) is other
    assert factory._models[hook.MODEL_TYPE] is shared
    server.reply = lambda request: (200, answer(f"I am {request['model']}", request["model"]))
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda model: model.generate_response("", "who?").content, (shared, other)))
    assert said == [f"I am {DEFAULT}", f"I am {OTHER}"]


def test_every_way_to_ask_for_a_model_works(host, attached):
    assert host.ModelFactory.create_model(hook.MODEL_TYPE, OTHER).model_name == OTHER
    fresh = host.ModelFactory()
    assert fresh.get_model(hook.MODEL_TYPE).model_name == DEFAULT
    assert fresh.is_model_available(hook.MODEL_TYPE)
    assert fresh.available_models == {"keyed": ["keyed-1", "keyed-2"], hook.MODEL_TYPE: [DEFAULT, OTHER]}
    built = host.ModelFactory.MODEL_IMPLEMENTATIONS[hook.MODEL_TYPE]("any key", model_name=OTHER)
    assert (built.model_name, built.is_available()) == (OTHER, True)


def test_a_model_that_is_not_there_is_none_as_in_the_host_and_is_reported_once(host, attached, server):
    factory = host.model_factory
    assert factory.get_model(hook.MODEL_TYPE, "mixtral:8x7b") is None
    assert factory.get_model(hook.MODEL_TYPE, "mixtral:8x7b") is None
    (report,) = attached.reports
    assert "ollama pull mixtral:8x7b" in report
    assert factory.is_model_available(hook.MODEL_TYPE)
    server.models.append("mixtral:8x7b")
    attached.now += 60
    assert factory.get_model(hook.MODEL_TYPE, "mixtral:8x7b").model_name == "mixtral:8x7b"


def test_availability_follows_the_server(host):
    with ollama_server() as server:
        attached = Attached(server)
        hook.register(host, attached.backend, attached.reports.append)
        assert host.model_factory.is_model_available(hook.MODEL_TYPE)
        held = host.model_factory.get_model(hook.MODEL_TYPE)
    attached.now += 60
    assert not host.model_factory.is_model_available(hook.MODEL_TYPE)
    assert host.model_factory.get_model(hook.MODEL_TYPE) is None
    assert hook.MODEL_TYPE not in host.model_factory._models
    assert host.model_factory.available_models == {"keyed": ["keyed-1", "keyed-2"]}
    assert "ollama serve" in attached.reports[0]
    with pytest.raises(ConnectFailed):
        held.generate_response("", "AAPL?")
    with ollama_server(server.port):
        attached.now += 60
        assert host.model_factory.get_model(hook.MODEL_TYPE) is held


def test_the_hosts_own_types_stay_as_they_are(host, attached, server):
    factory = host.model_factory
    before = factory.get_model("keyed")
    assert factory.get_model("keyed", "keyed-1") is before
    assert factory.get_model("keyed", model_name="keyed-2").model_name == "keyed-2"
    assert factory.get_model("keyed").model_name == "keyed-2"
    assert factory.is_model_available("keyed")
    assert factory.get_model("anthropic") is None
    assert not factory.is_model_available("anthropic")
    assert server.paths == []


def test_unregistering_restores_everything(host, server):
    before = snapshot(host)
    attached = Attached(server)
    hook.register(host, attached.backend, print)
    fresh = host.ModelFactory()
    held = host.model_factory.get_model(hook.MODEL_TYPE)
    assert fresh.get_model(hook.MODEL_TYPE) is held
    hook.unregister(host)
    assert snapshot(host) == before
    assert hook.MODEL_TYPE not in fresh._models
    assert host.model_factory.get_model(hook.MODEL_TYPE) is None
    assert held.generate_response("", "AAPL?").content == "BUY"
    hook.unregister(host)
    hook.register(host, attached.backend, print)
    assert host.model_factory.get_model(hook.MODEL_TYPE) is not None


def test_a_wrapper_that_somebody_puts_over_ours_stays(host, attached):
    ours = host.ModelFactory.get_model
    host.ModelFactory.get_model = theirs = lambda factory, kind, name=None: ours(factory, kind, name)
    hook.unregister(host)
    assert host.ModelFactory.get_model is theirs
    assert host.model_factory.get_model(hook.MODEL_TYPE) is None
    assert host.model_factory.get_model("keyed").model_name == "keyed-1"


def test_registering_twice_changes_nothing(host, attached, server):
    before = snapshot(host)
    hook.register(host, Attached(server).backend, print)
    assert snapshot(host) == before
    hook.unregister(host)
    assert hook.MODEL_TYPE not in host.ModelFactory.MODEL_IMPLEMENTATIONS


def test_the_name_that_gives_an_instance_is_taken_for_its_module(host, server):
    import src.models.model_factory as shadowed

    assert not isinstance(shadowed, ModuleType)
    hook.register(shadowed, Attached(server).backend, print)
    assert host.model_factory.get_model(hook.MODEL_TYPE) is not None


def test_the_second_copy_of_the_hosts_module_learns_the_type_too(host, server):
    copy = importlib.import_module("models.model_factory")
    copy = sys.modules["models.model_factory"]
    assert copy.ModelFactory is not host.ModelFactory
    before = snapshot(host), snapshot(copy)
    hook.register(host, Attached(server).backend, print)
    model = copy.ModelFactory().get_model(hook.MODEL_TYPE)
    assert isinstance(model, sys.modules["models.base_model"].BaseModel)
    assert type(model.generate_response("", "AAPL?")) is sys.modules["models.base_model"].ModelResponse
    hook.unregister()
    assert (snapshot(host), snapshot(copy)) == before


def test_a_stranger_of_the_same_name_is_not_touched(host, server, monkeypatch):
    stranger = ModuleType("models.model_factory")
    stranger.__file__ = "/elsewhere/models/model_factory.py"
    stranger.ModelFactory = type("ModelFactory", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models.model_factory", stranger)
    hook.register(host, Attached(server).backend, print)
    assert list(vars(stranger.ModelFactory)) == list(vars(type("ModelFactory", (), {})))


@pytest.mark.parametrize("spoil", ["DEFAULT_MODELS", "get_model", "available_models", "BaseModel"])
def test_a_host_of_another_version_is_refused_and_left_as_it_was(host, server, spoil):
    owner = host if spoil == "BaseModel" else host.ModelFactory
    setattr(owner, spoil, {"get_model": lambda factory: None}.get(spoil))
    before = snapshot_of_class(host)
    with pytest.raises(ConfigurationError, match="another version"):
        hook.register(host, Attached(server).backend, print)
    assert snapshot_of_class(host) == before


def snapshot_of_class(module: ModuleType) -> tuple[Any, ...]:
    factory: Any = module.ModelFactory
    return dict(vars(factory)), dict(factory.MODEL_IMPLEMENTATIONS)


def test_a_type_that_the_host_has_itself_is_not_replaced(host, server):
    own = host.ModelFactory.MODEL_IMPLEMENTATIONS[hook.MODEL_TYPE] = host.KeyedModel
    with pytest.raises(ConfigurationError, match="one of its own"):
        hook.register(host, Attached(server).backend, print)
    assert host.ModelFactory.MODEL_IMPLEMENTATIONS[hook.MODEL_TYPE] is own


def test_what_is_no_factory_module_is_refused():
    with pytest.raises(ConfigurationError, match="has no ModelFactory"):
        hook.register(object(), lambda name: OllamaBackend("127.0.0.1", DEFAULT), print)


def test_factories_are_not_kept_alive(host, attached):
    import weakref

    fresh = host.ModelFactory()
    fresh.get_model(hook.MODEL_TYPE)
    gone = weakref.ref(fresh)
    del fresh
    gc.collect()
    assert gone() is None
