"""The host's ModelFactory learns one more model type, `gpu_ollama`: a model on an Ollama server of the user's own.

The host's own types stay as they are. Nothing is reached until somebody asks for the model, and no environment
variable is read or set. A name override makes another instance instead of replacing the shared one, so that two
members of a swarm may be two models of this type.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias
from weakref import WeakSet

from ...brokers.errors import ConfigurationError
from ..llm.chat_backend import ChatBackend

MODEL_TYPE = "gpu_ollama"
#: The host's module, and the second copy that AEGS discovery makes of it.
FACTORY_MODULES = ("src.models.model_factory", "models.model_factory")

Backend: TypeAlias = ChatBackend
#: Makes the backend of a model by its name, of the default model for None; reaches nothing.
MakeBackend: TypeAlias = Callable[[str | None], Backend]
Report: TypeAlias = Callable[[str], None]

_registrations: list[_Registration] = []
_registering = threading.Lock()


def register(factory_module: object, make_backend: MakeBackend, report: Report) -> None:
    """Teach the ModelFactory of `factory_module` the type, and that of a second copy of the same file if one is loaded.

    `import src.models.model_factory as m` gives the host's factory instance instead of the module; both are taken.
    `report` is told once why a model cannot be had, and again when the reason changes. Registering twice changes
    nothing. Raises ConfigurationError when the host is of another version or has a type of that name itself, and what
    `make_backend(None)` raises; nothing is changed then.
    """
    module = _module(factory_module)
    backend = make_backend(None)
    with _registering:
        wanted = [copy for copy in _copies(module) if not any(row.module is copy for row in _registrations)]
        new = [_Registration(copy, backend, make_backend, report) for copy in wanted]
        for registration in new:
            registration.attach()
            _registrations.append(registration)


def unregister(factory_module: object | None = None) -> None:
    """Take the type back from one factory module, from every one for None. Everything is then as it was before;
    models that an agent holds still answer. A module that is not registered is left alone."""
    module = None if factory_module is None else _module(factory_module)
    with _registering:
        for registration in [row for row in _registrations if module is None or row.module is module]:
            registration.detach()
            _registrations.remove(registration)


def _module(given: object) -> ModuleType:
    module = given if isinstance(given, ModuleType) else sys.modules.get(type(given).__module__)
    if module is None or not isinstance(getattr(module, "ModelFactory", None), type):
        raise ConfigurationError(
            f"model type {MODEL_TYPE}", f"{given!r:.80} has no ModelFactory", "give the host's src.models.model_factory"
        )
    return module


def _copies(module: ModuleType) -> list[ModuleType]:
    """The module, and what else is loaded from its file under another of its names."""
    others = [sys.modules.get(name) for name in FACTORY_MODULES]
    file = getattr(module, "__file__", None)
    found = [other for other in others if other is not None and other is not module and file is not None]
    return [module, *(other for other in found if getattr(other, "__file__", None) == file)]


class _Registration:
    """What was changed in one factory module."""

    def __init__(self, module: ModuleType, backend: Backend, make_backend: MakeBackend, report: Report) -> None:
        self.module = module
        self._make_backend, self._report = make_backend, report
        self._default = backend.model
        self._factory, base, response = _host_classes(module)
        self._class = type(
            "GpuOllamaModel",
            (_Model, base),
            {
                "__module__": __name__,
                "AVAILABLE_MODELS": [self._default],
                "make_backend": self._backend,
                "response": staticmethod(response),
            },
        )
        self._backends: dict[str, Backend] = {self._default: backend}
        self._models: dict[str, Any] = {}
        self._told: dict[str, str] = {}
        self._lock = threading.Lock()
        #: Factories whose table of instances got one of ours.
        self._holders: WeakSet[Any] = WeakSet()
        self._active = False
        self._replaced: list[tuple[str, object, object]] = []

    def attach(self) -> None:
        self._active = True
        self._factory.MODEL_IMPLEMENTATIONS[MODEL_TYPE] = self._class
        self._factory.DEFAULT_MODELS[MODEL_TYPE] = self._default
        for name, wrapped in self._wrappers().items():
            self._replaced.append((name, vars(self._factory)[name], wrapped))
            setattr(self._factory, name, wrapped)

    def detach(self) -> None:
        self._active = False
        for name, original, ours in reversed(self._replaced):
            # What somebody else put over ours stays; ours hands everything on from now on.
            if vars(self._factory).get(name) is ours:
                setattr(self._factory, name, original)
        for table in (self._factory.MODEL_IMPLEMENTATIONS, self._factory.DEFAULT_MODELS):
            table.pop(MODEL_TYPE, None)
        for factory in list(self._holders):
            factory._models.pop(MODEL_TYPE, None)

    def _wrappers(self) -> dict[str, object]:
        get, available, listed = (vars(self._factory)[name] for name in _WRAPPED)

        @functools.wraps(get)
        def get_model(factory: Any, model_type: str, model_name: str | None = None) -> Any:
            if self._active and model_type == MODEL_TYPE:
                return self._get(factory, model_name)
            return get(factory, model_type, model_name)

        @functools.wraps(available)
        def is_model_available(factory: Any, model_type: str) -> bool:
            if self._active and model_type == MODEL_TYPE:
                return self._get(factory, None) is not None
            return bool(available(factory, model_type))

        def available_models(factory: Any) -> Any:
            if self._active:
                self._get(factory, None)
            return listed.fget(factory)

        return dict(zip(_WRAPPED, (get_model, is_model_available, property(available_models)), strict=True))

    def _get(self, factory: Any, model_name: str | None) -> Any:
        """The instance of that model, None when it cannot answer now: the host's own contract for a missing model."""
        name = model_name or self._default
        model = self._model(name)
        trouble = model.backend.trouble()
        self._tell(name, trouble)
        if name == self._default:
            self._show(factory, model if trouble is None else None)
        return model if trouble is None else None

    def _model(self, name: str) -> Any:
        with self._lock:
            if name not in self._models:
                self._models[name] = self._class(model_name=name)
            return self._models[name]

    def _backend(self, name: str | None) -> Backend:
        name = name or self._default
        if name not in self._backends:
            self._backends[name] = self._make_backend(name)
        return self._backends[name]

    def _show(self, factory: Any, model: Any) -> None:
        with self._lock:
            self._holders.add(factory)
            if model is None:
                factory._models.pop(MODEL_TYPE, None)
            else:
                factory._models[MODEL_TYPE] = model

    def _tell(self, name: str, trouble: str | None) -> None:
        with self._lock:
            known = self._told.get(name)
            if trouble is None:
                self._told.pop(name, None)
                if name not in self._class.AVAILABLE_MODELS:  # type: ignore[attr-defined]
                    self._class.AVAILABLE_MODELS.append(name)  # type: ignore[attr-defined]
            else:
                self._told[name] = trouble
        if trouble is not None and trouble != known:
            self._report(f"model type {MODEL_TYPE} is not available: {trouble}")


class _Model:
    """Comes before the host's BaseModel: fills its abstract part, and replaces an answer that swallows errors."""

    make_backend: MakeBackend
    response: Callable[..., Any]

    def __init__(self, api_key: str | None = None, model_name: str | None = None) -> None:
        self.backend: Backend = type(self).make_backend(model_name)
        self.model_name = self.backend.model
        self.max_tokens = self.backend.max_tokens
        super().__init__(api_key or MODEL_TYPE)  # type: ignore[call-arg]

    def initialize_client(self) -> None:
        self.client = self.backend

    def is_available(self) -> bool:
        return self.backend.trouble() is None

    @property
    def model_type(self) -> str:
        return MODEL_TYPE

    def generate_response(
        self,
        system_prompt: str,
        user_content: str,
        temperature: float = 0.7,
        max_tokens: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """The host's ModelResponse. Raises what the backend raises, never answers with nothing: the host's swarm leaves
        a member out that raises, and counts an empty answer as a vote."""
        done = self.backend.chat(system_prompt, user_content, temperature=temperature, max_tokens=max_tokens, **kwargs)
        usage = None
        if done.prompt_tokens is not None and done.completion_tokens is not None:
            usage = {
                "prompt_tokens": done.prompt_tokens,
                "completion_tokens": done.completion_tokens,
                "total_tokens": done.prompt_tokens + done.completion_tokens,
            }
        return type(self).response(
            content=done.content, raw_response=dict(done.raw), model_name=done.model, usage=usage
        )


#: Attributes of the host's factory class that are wrapped.
_WRAPPED = ("get_model", "is_model_available", "available_models")


def _host_classes(module: ModuleType) -> tuple[Any, type, Any]:
    """(ModelFactory, its BaseModel, its ModelResponse). Raises ConfigurationError when one is not as expected."""
    factory: Any = module.ModelFactory
    tables = [getattr(factory, name, None) for name in ("MODEL_IMPLEMENTATIONS", "DEFAULT_MODELS")]
    if not all(isinstance(table, dict) for table in tables):
        raise _other_version(module, "ModelFactory has no tables of implementations and default models")
    if any(MODEL_TYPE in table for table in tables if table is not None):
        raise ConfigurationError(
            f"model type {MODEL_TYPE}", f"{module.__name__} has one of its own", "take one of the two out"
        )
    get, available, listed = (vars(factory).get(name) for name in _WRAPPED)
    if not (_takes(get, 3) and _takes(available, 2) and isinstance(listed, property)):
        raise _other_version(module, "ModelFactory has other methods")
    base = getattr(module, "BaseModel", None)
    response = getattr(sys.modules.get(getattr(base, "__module__", "")), "ModelResponse", None)
    if not isinstance(base, type) or not callable(response):
        raise _other_version(module, "it has no BaseModel with a ModelResponse beside it")
    return factory, base, response


def _takes(function: object, arguments: int) -> bool:
    if not inspect.isfunction(function):
        return False
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError:
        return False
    return True


def _other_version(module: ModuleType, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"model type {MODEL_TYPE} in {module.__name__}",
        why,
        "another version of the host? nothing was changed",
    )
