"""The client of OpenAI: imported, and never used with the settings as they are."""


class OpenAI:
    def __init__(self, api_key=None, base_url=None):
        self.api_key, self.base_url = api_key, base_url
