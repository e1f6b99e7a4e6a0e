"""Looks at new tokens; binds the functions by name when it is imported."""

from src.nice_funcs import token_creation_info, token_overview, token_price, token_security_info


class SolanaAnalyzer:
    def analyze_token(self, token_address):
        overview = token_overview(token_address)
        if not overview or overview.get("rug_pull", False):
            return None
        token_security_info(token_address)
        token_creation_info(token_address)
        return {"address": token_address, "price": token_price(token_address)}
