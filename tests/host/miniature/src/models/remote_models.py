"""Models behind a key: one raises when it fails, one answers None, one answers nothing."""

from src import wire

from .base_model import BaseModel, ModelResponse


class ClaudeModel(BaseModel):
    AVAILABLE_MODELS = {"claude-3-5-haiku-latest": "fast"}

    def __init__(self, api_key, model_name="claude-3-5-haiku-latest", **kwargs):
        self.model_name = model_name
        self.max_tokens = 2000
        super().__init__(api_key, **kwargs)

    def initialize_client(self, **kwargs):
        self.client = wire

    def generate_response(self, system_prompt, user_content, temperature=0.7, max_tokens=None, **kwargs):
        text = wire.ask("llm", self.model_type, model=self.model_name, system=system_prompt, user=user_content)
        return ModelResponse(text, text, self.model_name, None)

    def is_available(self):
        return self.client is not None

    @property
    def model_type(self):
        return "claude"


class XAIModel(ClaudeModel):
    AVAILABLE_MODELS = {"grok-4-fast-reasoning": "fast"}

    def __init__(self, api_key, model_name="grok-4-fast-reasoning", **kwargs):
        super().__init__(api_key, model_name, **kwargs)

    @property
    def model_type(self):
        return "xai"


class GroqModel(ClaudeModel):
    AVAILABLE_MODELS = {"mixtral-8x7b-32768": "fast"}

    def __init__(self, api_key, model_name="mixtral-8x7b-32768", **kwargs):
        super().__init__(api_key, model_name, **kwargs)

    def generate_response(self, system_prompt, user_content, temperature=0.7, max_tokens=None):
        try:
            return super().generate_response(system_prompt, user_content, temperature, max_tokens)
        except Exception as e:
            print(f"model failed: {e}")
            return None

    @property
    def model_type(self):
        return "groq"


class OllamaModel(ClaudeModel):
    AVAILABLE_MODELS = ["llama3.2:latest"]

    def __init__(self, api_key=None, model_name="llama3.2:latest"):
        super().__init__("LOCAL_OLLAMA", model_name)

    def initialize_client(self, **kwargs):
        try:
            self.client = wire.ask("ollama", "tags")
        except ConnectionError:
            self.client = None

    def generate_response(self, system_prompt, user_content, temperature=0.7, max_tokens=None, **kwargs):
        try:
            return super().generate_response(system_prompt, user_content, temperature, max_tokens)
        except Exception as e:
            print(f"model failed: {e}")
            return ModelResponse("", {"error": str(e)}, self.model_name, None)

    @property
    def model_type(self):
        return "ollama"
