"""Logging in and out, the brokerage session, and keeping both alive (client-portal.md sections 1.1 to 1.4)."""

from __future__ import annotations

import html
import zlib
from typing import Any

from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier
from ..session import PortalSession

LOGIN_PAGE = """<!DOCTYPE html>
<html><head><title>Paper gateway login</title></head>
<body><h1>Paper gateway</h1><p>A simulated account: any password will do.</p>
<form method="post" action="/sso/Login"><label>User <input name="user_name" value="{user}"></label>
<label>Password <input name="password" type="password"></label><button>Login</button></form></body></html>
"""
HTML = "text/html; charset=utf-8"


def login_page(session: PortalSession, request: PortalRequest) -> Answer:
    return Answer(LOGIN_PAGE.format(user=html.escape(session.user)), content_type=HTML)


def login(session: PortalSession, request: PortalRequest) -> Answer:
    """The browser's form: the user name must be this door's own, or left out."""
    user = request.text("user_name") or session.user
    if user != session.user:
        return Answer("Invalid username password combination", 401, HTML)
    session.log_in()
    return Answer("Client login succeeds", content_type=HTML)


def validate(session: PortalSession, request: PortalRequest) -> Answer:
    door = session.door
    return Answer(
        {
            "USER_ID": user_id(session),
            "USER_NAME": session.user,
            "RESULT": True,
            "AUTH_TIME": int(session.login_at.timestamp() * 1000),
            "SF_ENABLED": False,
            "IS_FREE_TRIAL": False,
            "CREDENTIAL": session.user,
            "IP": request.peer,
            "EXPIRES": session.milliseconds_left,
            "QUALIFIED_FOR_MOBILE_AUTH": None,
            "LANDING_APP": "UNIVERSAL",
            "IS_MASTER": False,
            "lastAccessed": door.milliseconds,
            "LOGIN_TYPE": 2,
            "PAPER_USER_NAME": session.user,
            "features": {"env": "PAPER", "wlms": True, "realtime": True, "bond": False, "optionChains": True},
            "region": "PAPER",
        }
    )


def auth_status(session: PortalSession, request: PortalRequest) -> Answer:
    status = session.status()
    if session.logged_in:
        status["fail"] = session.fail
    if session.lies:
        session.lies -= 1
        status["authenticated"] = False
    return Answer(status)


def begin(session: PortalSession, request: PortalRequest) -> Answer:
    """ssodh/init. `compete` ends another session of the same user name; without it such a session is left alone, or
    not, as settings.soft_init says."""
    if session.expired:
        raise PortalRefusal("gone", 410)
    if not session.logged_in:
        raise PortalRefusal.access_denied()
    if not request.flag("publish"):
        raise PortalRefusal("unknown", 500)
    session.begin_brokerage(compete=request.flag("compete"))
    return Answer(session.status())


def tickle(session: PortalSession, request: PortalRequest) -> Answer:
    """Keeps both tiers alive. After a logout there is no session to keep."""
    if session.logged_out:
        return Answer({"error": "no session"})
    if not session.logged_in:
        raise PortalRefusal.access_denied()
    body: dict[str, Any] = {"session": session.session_id}
    if session.door.settings.tickle_extras:
        body |= {"ssoExpires": session.milliseconds_left, "collission": False, "userId": user_id(session)}
    body |= {"hmds": {"error": "no bridge"}, "iserver": {"authStatus": session.status()}}
    return Answer(body)


def log_out(session: PortalSession, request: PortalRequest) -> Answer:
    session.log_out()
    session.logged_out = True
    return Answer({"status": True})


def reauthenticate(session: PortalSession, request: PortalRequest) -> Answer:
    """Deprecated at IB: it ends a live session, and ssodh/init has to follow."""
    session.end_brokerage()
    return Answer({"message": "triggered"})


def user_id(session: PortalSession) -> int:
    """A number that belongs to the user name."""
    return 100_000_000 + zlib.crc32(session.user.encode()) % 1_000_000


ROUTES: tuple[Route, ...] = (
    Route(("GET",), "/sso/Login", login_page, Tier.OPEN, "the page that a browser logs in at"),
    Route(("POST",), "/sso/Login", login, Tier.OPEN, "the login itself"),
    Route(("GET",), "/sso/validate", validate, Tier.LOGIN, "who is logged in, and for how long", "sso-validate"),
    Route(("GET", "POST"), "/iserver/auth/status", auth_status, Tier.OPEN, "the state of both tiers"),
    Route(("POST",), "/iserver/auth/ssodh/init", begin, Tier.OPEN, "begins the brokerage session"),
    Route(("GET", "POST"), "/tickle", tickle, Tier.OPEN, "keeps the session alive and tells its id", "tickle"),
    Route(("GET", "POST"), "/logout", log_out, Tier.LOGIN, "ends the login"),
    Route(("GET", "POST"), "/iserver/reauthenticate", reauthenticate, Tier.LOGIN, "ends the brokerage session"),
)
