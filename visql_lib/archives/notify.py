"""Telling people: JSON to a webhook, mail, and the sign of life that a dead-man switch waits for.

Addresses of webhooks and dead-man switches are secrets themselves: whoever knows
them can use them. Messages and errors name the host only, and nobody is sent on
to another address.
"""

from __future__ import annotations

import base64
import json
import logging
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from visql_lib import __version__
from visql_lib.archives.credentials import LOOPBACK, Credentials, Login
from visql_lib.archives.errors import PassingError, SourceError
from visql_lib.archives.services import _reason
from visql_lib.archives.web import check_address
from visql_lib.archives.wire import gist
from visql_lib.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    import requests

log = logging.getLogger(__name__)

_AGENT = f"VISQL/{__version__} (alerts)"
_PAGE = 2000  # bytes of an answer that are read
_SMTPS = 465  # port that is encrypted from the first byte
_SMTP = 25
_MASK = "***"
_PASSING = (408, 425, 429)
_LONGEST_PAUSE = 60.0  # s
_MEMBER = 6  # letters: shorter parts of an address are no secrets

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How somebody is tried: silence [s] that is borne, attempts, first pause [s], doubled each time."""

    silence: float = 15.0
    attempts: int = 3
    pause: float = 2.0


def post_json(
    url: str, values: Mapping[str, Any], key: str, credentials: Credentials, patience: Patience
) -> None:
    """Post values as JSON.

    Parameters
    ----------
    url : str
        Address of the webhook.
    values : mapping
        What it gets.
    key : str
        Sent as ``Idempotency-Key``: the same where the same message comes twice.
    credentials : Credentials
        A login is sent if the user has one for just this host.
    patience : Patience
        How often, and how long.

    Raises
    ------
    PassingError
        If the server is silent, overloaded or broken, and stays so.
    SourceError
        If it refuses, or sends on to another address.
    ConfigError
        If the address is none, or a password would travel unencrypted.
    """
    check_address(url)
    login = credentials.own(url)
    if login and urlsplit(url).scheme != "https" and urlsplit(url).hostname not in LOOPBACK:
        raise ConfigError(f"{_host(url)}: the password would travel unencrypted; use https")
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if login:
        headers["Authorization"] = login.header
    body = json.dumps(values, allow_nan=False).encode()
    _again(lambda: _request("POST", url, headers, body, login, patience.silence), patience)


def sign_of_life(url: str, patience: Patience) -> None:
    """Ask the address of a dead-man switch: all is well.

    Raises
    ------
    SourceError
        As `post_json`.
    """
    check_address(url)
    _again(lambda: _request("GET", url, {}, None, None, patience.silence), patience)


def _request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, login: Login | None, silence: float
) -> None:
    import requests
    import urllib3

    where = _host(url)
    try:
        with requests.Session() as session:
            session.auth = _unchanged  # else requests reads netrc by itself
            session.headers.update({"User-Agent": _AGENT, "Accept-Encoding": "identity"})
            with session.request(
                method, url, headers=headers, data=body, timeout=silence, stream=True, allow_redirects=False
            ) as response:
                _judge(response, url, login)
    except (requests.Timeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise PassingError(f"{where}: was silent for {silence:g} s") from error
    except requests.exceptions.SSLError as error:
        raise SourceError(f"{where}: {_masked(_reason(error), url, login)}") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        raise PassingError(f"{where}: {_masked(_reason(error), url, login)}") from error
    except requests.RequestException as error:
        raise SourceError(f"{where}: {_masked(_reason(error), url, login)}") from error


def _judge(response: requests.Response, url: str, login: Login | None) -> None:
    status, where = response.status_code, _host(url)
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise SourceError(f"{where}: sends on to another address (status {status}), which is not followed")
    page = response.raw.read(_PAGE, decode_content=True) or b""
    said = gist(_masked(page.decode("utf-8", "replace"), url, login).encode())
    if status in _PASSING or status >= 500:
        wanted = response.headers.get("Retry-After", "")
        pause = float(wanted) if wanted.isdigit() else 0.0
        raise PassingError(f"{where}: status {status} ({said})", pause)
    raise SourceError(f"{where}: refused with status {status} ({said})")


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _again(call: Callable[[], T], patience: Patience) -> T:
    """Call until it succeeds, or fails in a way that does not pass."""
    attempt = 1
    while True:
        try:
            return call()
        except PassingError as error:
            if attempt >= patience.attempts:
                raise
            log.info("attempt %d of %d: %s", attempt, patience.attempts, error)
            wanted = max(patience.pause * 2.0 ** (attempt - 1), error.pause)
            time.sleep(min(wanted, _LONGEST_PAUSE))
            attempt += 1


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _masked(text: str, url: str, login: Login | None) -> str:
    """Return a text without password, and without what makes the address a secret."""
    text = login.masked(text) if login else text
    parts = urlsplit(url)
    secrets = {
        url,
        parts.path,
        parts.query,
        *parts.path.split("/"),
        *parts.query.replace("&", "=").split("="),
    }
    for secret in sorted(secrets | {unquote(s) for s in secrets}, key=len, reverse=True):
        text = text.replace(secret, _MASK) if len(secret) >= _MEMBER else text
    return text


def send_mail(
    server: str,
    sender: str,
    recipients: Sequence[str],
    subject: str,
    text: str,
    when: datetime,
    credentials: Credentials,
    patience: Patience,
) -> list[str]:
    """Send a mail; encrypted where the server can, with the user's login where it wants one.

    Parameters
    ----------
    server : str
        HOST:PORT; port 465 is encrypted from the start.
    sender, recipients : str, sequence of str
        Addresses.
    subject, text : str
        What it says.
    when : datetime
        Its date.
    credentials : Credentials
        A login is used if the server offers to take one and the user has one for just this host.
    patience : Patience
        How often, and how long.

    Returns
    -------
    list of str
        What is wrong with recipients the server did not accept; the others got it.

    Raises
    ------
    PassingError
        If the server is silent, not there or busy, and stays so.
    SourceError
        If it refuses the mail, the login or all recipients.
    ConfigError
        If an address is none, or a password would travel unencrypted.
    """
    host, port = _server(server)
    message = _message(sender, recipients, subject, text, when)
    login = credentials.own(f"smtp://[{host}]" if ":" in host else f"smtp://{host}")
    return _again(lambda: _send(host, port, message, list(recipients), login, patience.silence), patience)


def _server(server: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT."""
    if "@" in server or "://" in server:  # not to be shown: it may hold a password
        raise ConfigError("alerts.mail_server: HOST:PORT is wanted, without user; passwords belong in netrc")
    try:
        parts = urlsplit(f"//{server}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path:
        raise ConfigError(f"alerts.mail_server {server!r}: HOST:PORT is wanted")
    return host, port or _SMTP


def _message(sender: str, recipients: Sequence[str], subject: str, text: str, when: datetime) -> EmailMessage:
    message = EmailMessage()
    try:
        message["From"] = Address(addr_spec=sender)
        message["To"] = tuple(Address(addr_spec=r) for r in recipients)
    except (ValueError, IndexError, MessageError) as error:  # the parser's own ways to say so
        raise ConfigError(f"alerts: no mail address among {sender}, {', '.join(recipients)}") from error
    message["Subject"] = " ".join("".join(c if c.isprintable() else " " for c in subject).split())
    message["Date"] = format_datetime(when)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2] or "localhost")
    message["Auto-Submitted"] = "auto-generated"  # nobody's absence assistant shall answer
    message.set_content(text.encode("utf-8", "replace").decode(), cte="quoted-printable")
    return message


def _send(
    host: str, port: int, message: EmailMessage, recipients: list[str], login: Login | None, silence: float
) -> list[str]:
    where = f"{host}:{port}"
    try:
        mailer = _connection(host, port, silence)
        try:
            _identify(mailer, where, login)
            refused = mailer.send_message(message, to_addrs=recipients)
            with suppress(smtplib.SMTPException, OSError):  # the mail is on its way, whatever is said now
                mailer.quit()
        finally:
            mailer.close()
        return [f"{where}: {r} not accepted ({_said(c, t, login)})" for r, (c, t) in sorted(refused.items())]
    except smtplib.SMTPRecipientsRefused as error:
        code, answer = next(iter(error.recipients.values()))
        _fail(where, code, answer, login, "accepts none of the recipients")
    except smtplib.SMTPAuthenticationError as error:
        raise SourceError(
            f"{where}: does not accept the login of netrc ({_said(error.smtp_code, error.smtp_error, login)})"
        ) from None
    except smtplib.SMTPResponseException as error:
        _fail(where, error.smtp_code, error.smtp_error, login, "refuses the mail")
    except smtplib.SMTPServerDisconnected as error:
        raise PassingError(f"{where}: hung up") from error
    except smtplib.SMTPException as error:
        raise SourceError(f"{where}: {type(error).__name__}") from error
    except ssl.SSLError as error:
        raise SourceError(f"{where}: {_reason(error)}") from error
    except TimeoutError as error:
        raise PassingError(f"{where}: was silent for {silence:g} s") from error
    except OSError as error:
        raise PassingError(f"{where}: cannot be reached ({error.strerror or error})") from error


def _connection(host: str, port: int, silence: float) -> smtplib.SMTP:
    if port == _SMTPS:
        return smtplib.SMTP_SSL(host, port, timeout=silence, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=silence)


def _identify(mailer: smtplib.SMTP, where: str, login: Login | None) -> None:
    """Encrypt and log in, as far as the server offers it."""
    mailer.ehlo_or_helo_if_needed()
    private = isinstance(mailer, smtplib.SMTP_SSL) or where.rpartition(":")[0] in LOOPBACK
    if not private and mailer.has_extn("starttls"):
        mailer.starttls(context=ssl.create_default_context())
        mailer.ehlo()
        private = True
    if login is None or not mailer.has_extn("auth"):
        return
    if not private:
        raise ConfigError(f"{where}: the password would travel unencrypted; this server cannot encrypt")
    mailer.login(login.user, login.password)


def _fail(where: str, code: int, answer: bytes | str, login: Login | None, what: str) -> NoReturn:
    said = _said(code, answer, login)
    if code == 530 and login is None:
        raise SourceError(f"{where}: wants a login ({said}); add `machine HOST login USER ...` to netrc")
    if 400 <= code < 500 or code == -1:
        raise PassingError(f"{where}: {what} for now ({said})")
    raise SourceError(f"{where}: {what} ({said})")


def _said(code: int, answer: bytes | str, login: Login | None) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    for secret in _forms(login) if login else ():
        text = text.replace(secret, _MASK)
    return f"{code} {gist((login.masked(text) if login else text).encode())}"


def _forms(login: Login) -> list[str]:
    """Return how a login looks on the wire of a mail server."""
    plain = (f"\0{login.user}\0{login.password}", login.password)
    return [base64.b64encode(text.encode()).decode() for text in plain if text]
