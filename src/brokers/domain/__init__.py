"""Frozen types of the trading domain. Standard library only; no broker's words."""
