"""Language models."""

from .base_model import BaseModel, ModelResponse
from .model_factory import model_factory

__all__ = ["BaseModel", "ModelResponse", "model_factory"]
