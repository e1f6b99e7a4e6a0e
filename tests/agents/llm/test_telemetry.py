"""What hosts and GPUs tell; no GPU is a state and a host that does not answer is a report."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from moondev_ibkr.agents.llm.models import Models, log_file
from moondev_ibkr.agents.llm.telemetry import gpu_report, telemetry
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.config.settings import LlmBackend, Settings, load_settings

from .model_server import ModelServer, model_server
from .test_ladder import RULES, question


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as served:
        yield served


class FakeNvml(ModuleType):
    """The driver's library with one GPU that does not tell its energy."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, absent: str | None = None) -> None:
        super().__init__("pynvml")
        self.absent, self.open = absent, 0

    def nvmlInit(self) -> None:
        if self.absent:
            raise self.NVMLError(self.absent)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"H100"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=82, memory=40)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=64, total=80)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 350_500

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 61

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        raise self.NVMLError("not supported")


def test_a_gpu_tells_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    report = gpu_report()
    (gpu,) = report.gpus
    assert report.absent is None
    assert (gpu.name, gpu.load, gpu.memory_used, gpu.memory_total) == ("H100", 0.82, 64, 80)
    assert (gpu.power, gpu.temperature, gpu.energy) == (350.5, 61.0, None)
    assert nvml.open == 0


def test_no_gpu_is_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("NVML Shared Library Not Found"))
    assert gpu_report().absent == "no GPU: NVML Shared Library Not Found"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py" in (gpu_report().absent or "")


def settings(folder: Path, **more: Any) -> Settings:
    return load_settings(state_dir=folder, **more)


async def test_the_settings_make_a_ladder_whose_work_telemetry_shows(server: ModelServer, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{taken.getsockname()[1]}"
        chosen = settings(tmp_path, llm_backends="ollama", ollama_host=f"{server.url}, {down}", ollama_model="small:8b")
        models = Models(chosen)
        ladder = models.ladder(RULES)
        for _ in range(2):
            assert (await ladder.complete_json(question())).host == server.url
        told = await telemetry(models)
        await models.aclose()
    up, lost = told.hosts
    assert (up.trouble, up.models, up.answered, up.slots) == (None, ("small:8b", "large:70b"), 2, 4)
    assert up.loaded is not None
    assert up.loaded[0].vram == 9
    assert "refused" in (lost.trouble or "")
    assert lost.loaded is None
    assert (told.asked, told.cached, told.waiting, told.spent) == (1, 1, 0, 0)
    assert log_file(chosen).exists()
    assert log_file(chosen).parent == tmp_path


async def test_other_models_of_the_same_backends_share_their_pools(server: ModelServer, tmp_path: Path) -> None:
    models = Models(settings(tmp_path, llm_backends="ollama", ollama_host=server.url, ollama_model="small:8b"))
    small = models.ladder(RULES)
    large = models.ladder(RULES, models={LlmBackend.OLLAMA: "large:70b"})
    assert small.targets[0].pool is large.targets[0].pool
    assert (await large.complete_json(question())).model == "large:70b"
    await models.aclose()


async def test_a_key_goes_into_the_header_and_into_nothing_that_is_shown(server: ModelServer, tmp_path: Path) -> None:
    chosen = settings(
        tmp_path,
        llm_backends="openai_compatible",
        openai_url=server.url + "/v1",
        openai_model="small:8b",
        secrets={"OPENAI_KEY": "very-secret-key-1"},
    )
    models = Models(chosen)
    result = await models.ladder(RULES).complete_json(question())
    shown = repr(result) + repr(await telemetry(models)) + repr(chosen)
    await models.aclose()
    assert result.host == server.url
    assert server.headers[-1]["Authorization"] == "Bearer very-secret-key-1"
    assert "very-secret-key-1" not in shown
    assert b"very-secret-key-1" not in log_file(chosen).read_bytes()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"llm_backends": "anthropic"}, "IB_SECRETS__ANTHROPIC_KEY"),
        ({"llm_backends": "openai_compatible"}, "IB_OPENAI_URL"),
        ({"llm_backends": "openai_compatible", "openai_url": "http://gpu:8000"}, "IB_OPENAI_MODEL"),
        ({"llm_backends": "ollama,ollama"}, "twice"),
        ({"llm_backends": "gpt"}, "LLM_BACKENDS"),
        ({"ollama_host": "a,,b"}, "OLLAMA_HOST"),
    ],
)
def test_settings_that_do_not_go_together_say_what_is_missing(tmp_path: Path, more: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Models(settings(tmp_path, **more))


async def test_an_unknown_price_is_not_free(tmp_path: Path) -> None:
    chosen = settings(
        tmp_path, llm_backends="openai_compatible", openai_url="https://llm.example.com", openai_model="who-knows"
    )
    models = Models(chosen)
    result = await models.ladder(RULES).complete_json(question())
    await models.aclose()
    assert [failure.trouble.value for failure in result.failures] == ["price_unknown"]
    assert "IB_LLM_PRICES" in result.failures[0].why
