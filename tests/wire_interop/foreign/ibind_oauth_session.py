"""A session with ibind 0.2.2 by OAuth: argument 1 the folder of the key set, 2 the port. Prints one JSON object."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

from ibind import IbkrClient
from ibind.client.ibkr_utils import OrderRequest, QuestionType
from ibind.oauth.oauth1a import OAuth1aConfig

AAPL = "265598"
FIELDS = ["31", "84"]


def main(folder: Path, port: str) -> None:
    logging.disable(logging.CRITICAL)
    tokens = json.loads((folder / "client" / "oauth.json").read_text())
    config = OAuth1aConfig(
        oauth_rest_url=f"https://127.0.0.1:{port}/v1/api/",
        access_token=tokens["access_token"],
        access_token_secret=tokens["access_token_secret"],
        consumer_key=tokens["consumer_key"],
        dh_prime=json.loads((folder / "door" / "consumer.json").read_text())["prime"],
        encryption_key_fp=str(folder / "client" / "private_encryption.pem"),
        signature_key_fp=str(folder / "client" / "private_signature.pem"),
    )
    # the ending of the session is this script's own
    config.shutdown_oauth = False
    client = IbkrClient(use_oauth=True, oauth_config=config)
    client.stop_tickler()
    facts = {"tickle": client.tickle().data["iserver"]["authStatus"]["authenticated"]}
    (account,) = client.receive_brokerage_accounts().data["accounts"]
    client.portfolio_accounts()
    client.live_marketdata_snapshot([AAPL, "272093"], FIELDS)
    time.sleep(0.6)
    row = client.live_marketdata_snapshot([AAPL, "272093"], FIELDS).data[0]
    facts["quote"] = [row["conid"], float(row["31"]) > 0]
    far = round(float(row["84"]) * 0.98, 1)
    order = OrderRequest(int(AAPL), "BUY", 10, "LMT", account, price=far, coid="ibind-oauth-1")
    placed = client.place_order([order], dict.fromkeys(QuestionType, True), account).data
    facts["placed"] = placed["order_status"]
    facts["cancel"] = client.cancel_order(placed["order_id"], account).data["msg"]
    facts["account"] = account
    facts["logout"] = client.logout().data
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
