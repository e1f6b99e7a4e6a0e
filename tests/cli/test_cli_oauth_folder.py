"""`moondev-ibkr gateway --oauth-folder`: the keys of a consumer that logs in to the portal without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth_credentials import OAuthCredentials
from moondev_ibkr.brokers.simulation.portal.oauth_consumers import Consumer
from moondev_ibkr.cli.portal_options import oauth_consumers


def test_a_new_folder_gets_a_key_set_of_the_portals_user(tmp_path: Path) -> None:
    assert oauth_consumers(None, "somebody") == ()
    (folder,) = oauth_consumers(tmp_path / "keys", "somebody")
    consumer = Consumer.read(Path(folder))
    credentials = OAuthCredentials.from_folder(tmp_path / "keys" / "client")
    assert consumer.user == "somebody"
    assert (credentials.consumer_key, credentials.secret) == (consumer.consumer_key, consumer.secret)


def test_the_folder_is_kept_the_next_time(tmp_path: Path) -> None:
    oauth_consumers(tmp_path, "somebody")
    before = (tmp_path / "client" / "oauth.json").read_bytes()
    assert oauth_consumers(tmp_path, "somebody") == (str(tmp_path),)
    assert (tmp_path / "client" / "oauth.json").read_bytes() == before


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="--oauth-folder"):
        oauth_consumers(tmp_path / "file" / "keys", "somebody")
