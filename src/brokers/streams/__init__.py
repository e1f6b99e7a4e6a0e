"""Streams of market data, the same for every broker: each consumer's queue, and the hub that fills them."""
