"""Several models asked at the same time, in a pool of threads."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime

from src.models.model_factory import model_factory

SWARM_MODELS = {
    "claude_haiku": (True, "claude", "claude-haiku-4-5"),
    "groq": (True, "groq", "llama-3.3-70b-versatile"),
    "xai": (True, "xai", "grok-4-fast-reasoning"),
    "ollama_llama": (True, "ollama", "llama3.1:8b"),
}
DEFAULT_TEMPERATURE = 0.7
DEFAULT_MAX_TOKENS = 2048
MODEL_TIMEOUT = 120
SAVE_RESULTS = False


class SwarmAgent:
    def __init__(self, custom_models=None):
        self.models_config = custom_models or SWARM_MODELS
        self.active_models = {}
        for provider, (enabled, model_type, model_name) in self.models_config.items():
            if not enabled:
                continue
            try:
                model = model_factory.get_model(model_type, model_name)
                if model:
                    self.active_models[provider] = {"model": model, "type": model_type, "name": model_name}
            except Exception as e:
                print(f"no {provider}: {e}")

    def _query_single_model(self, provider, model_info, prompt, system_prompt=None):
        try:
            response = model_info["model"].generate_response(
                system_prompt=system_prompt or "Be helpful.",
                user_content=prompt,
                temperature=DEFAULT_TEMPERATURE,
                max_tokens=DEFAULT_MAX_TOKENS,
            )
            return provider, {"response": response, "success": True, "error": None, "response_time": 0}
        except Exception as e:
            return provider, {"response": None, "success": False, "error": str(e), "response_time": 0}

    def query(self, prompt, system_prompt=None):
        responses = {}
        with ThreadPoolExecutor(max_workers=len(self.active_models)) as executor:
            futures = {
                executor.submit(self._query_single_model, provider, info, prompt, system_prompt): provider
                for provider, info in self.active_models.items()
            }
            for future in as_completed(futures, timeout=MODEL_TIMEOUT + 10):
                provider, response = future.result(timeout=5)
                responses[provider] = response

        clean = {}
        for provider, data in responses.items():
            if data["success"]:
                answer = data["response"]
                text = answer.content if hasattr(answer, "content") else str(answer)
                clean[provider] = {"response": text.strip(), "response_time": 0, "success": True}
            else:
                clean[provider] = {"response": None, "error": data["error"], "response_time": 0, "success": False}
        return {"timestamp": datetime.now().isoformat(), "prompt": prompt, "responses": clean}
