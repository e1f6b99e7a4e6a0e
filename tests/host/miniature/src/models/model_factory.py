"""All models that can be reached, by type."""

import os
from typing import Dict, Optional

from .base_model import BaseModel
from .remote_models import ClaudeModel, GroqModel, OllamaModel, XAIModel


class ModelFactory:
    MODEL_IMPLEMENTATIONS = {"claude": ClaudeModel, "groq": GroqModel, "ollama": OllamaModel, "xai": XAIModel}

    DEFAULT_MODELS = {
        "claude": "claude-3-5-haiku-latest",
        "groq": "mixtral-8x7b-32768",
        "ollama": "llama3.2:latest",
        "xai": "grok-4-fast-reasoning",
    }

    def __init__(self):
        self._models: Dict[str, BaseModel] = {}
        self._initialize_models()

    def _initialize_models(self):
        for model_type, key_name in self._get_api_key_mapping().items():
            if api_key := os.getenv(key_name):
                try:
                    if model_type in self.MODEL_IMPLEMENTATIONS:
                        instance = self.MODEL_IMPLEMENTATIONS[model_type](api_key)
                        if instance.is_available():
                            self._models[model_type] = instance
                except:
                    pass
        try:
            instance = self.MODEL_IMPLEMENTATIONS["ollama"](model_name=self.DEFAULT_MODELS["ollama"])
            if instance.is_available():
                self._models["ollama"] = instance
        except:
            pass

    def get_model(self, model_type: str, model_name: Optional[str] = None) -> Optional[BaseModel]:
        if model_type not in self.MODEL_IMPLEMENTATIONS or model_type not in self._models:
            return None
        model = self._models[model_type]
        if model_name and model.model_name != model_name:
            try:
                if model_type == "ollama":
                    model = self.MODEL_IMPLEMENTATIONS[model_type](model_name=model_name)
                elif api_key := os.getenv(self._get_api_key_mapping()[model_type]):
                    model = self.MODEL_IMPLEMENTATIONS[model_type](api_key, model_name=model_name)
                else:
                    return None
                self._models[model_type] = model
            except:
                return None
        return model

    def _get_api_key_mapping(self) -> Dict[str, str]:
        return {"claude": "ANTHROPIC_KEY", "groq": "GROQ_API_KEY", "xai": "GROK_API_KEY"}

    @property
    def available_models(self) -> Dict[str, list]:
        return {model_type: model.AVAILABLE_MODELS for model_type, model in self._models.items()}

    def is_model_available(self, model_type: str) -> bool:
        return model_type in self._models and self._models[model_type].is_available()

    @staticmethod
    def create_model(model_type: str = "claude", model_name: Optional[str] = None) -> Optional[BaseModel]:
        return model_factory.get_model(model_type, model_name)


model_factory = ModelFactory()
