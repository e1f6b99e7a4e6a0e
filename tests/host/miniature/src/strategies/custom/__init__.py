"""Own strategies; one of them is private and not here."""

from .example_strategy import ExampleStrategy
from .private_my_strategy import MyStrategy

__all__ = ["ExampleStrategy", "MyStrategy"]
