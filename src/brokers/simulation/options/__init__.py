"""Options of the paper market, as data: listed, priced and counted from the underlying's market; never traded."""
