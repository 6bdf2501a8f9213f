"""Telling people: JSON to a webhook, mail, and the sign of life that a dead-man switch waits for.

Addresses of webhooks and dead-man switches are secrets themselves: whoever knows
them can use them. Messages and errors name the host only, and nobody is sent on
to another address.
"""

from __future__ import annotations

import base64
import json
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit

from visql_lib.archives.credentials import Credentials, Login
from visql_lib.archives.errors import PassingError, SourceError
from visql_lib.archives.guard import Guard
from visql_lib.archives.http import LOOPBACK, PORTS, Http, Question, reason
from visql_lib.archives.mailer import Mailer
from visql_lib.archives.pages import gist, short
from visql_lib.archives.tries import again
from visql_lib.archives.web import check_address, is_private
from visql_lib.config.network_settings import ENVIRONMENT
from visql_lib.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

_SMTP = 25
_MASK = "***"
_LONGEST = 2  # timeouts until all must be said
_LONGEST_PAUSE = 60.0  # s
_MEMBER = 6  # letters: shorter parts of an address are no secrets


@dataclass(frozen=True)
class Patience:
    """How somebody is tried: silence [s] that is borne, attempts, first pause [s], doubled each time."""

    silence: float = 15.0
    attempts: int = 3
    pause: float = 2.0


def post_json(
    url: str,
    values: Mapping[str, Any],
    key: str,
    credentials: Credentials,
    patience: Patience,
    proxy: str = ENVIRONMENT,
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
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.

    Raises
    ------
    PassingError
        If the server is silent, overloaded or broken, and stays so.
    SourceError
        If it refuses, or sends on to another address.
    ConfigError
        If the address is none, or a password would travel unencrypted.
    """
    check_address(url, _host)
    login = credentials.own(url)
    if login and not is_private(urlsplit(url)):
        raise ConfigError(f"{_host(url)}: the password would travel unencrypted; use https")
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    body = json.dumps(values, allow_nan=False).encode()
    _tell(Question(url, "POST", data=body, headers=headers), login, patience, proxy)


def sign_of_life(url: str, patience: Patience, proxy: str = ENVIRONMENT) -> None:
    """Ask the address of a dead-man switch: all is well.

    Raises
    ------
    SourceError
        As `post_json`.
    """
    check_address(url, _host)
    _tell(Question(url), None, patience, proxy)


def _tell(question: Question, login: Login | None, patience: Patience, proxy: str) -> None:
    """Send it until it is taken; what is answered then does not matter."""
    http = Http(
        patience.silence,
        _LONGEST * patience.silence,
        proxy,
        hops=0,
        shown=_host,
        hidden=lambda text: _masked(text, question.url, login),
    )

    def once() -> None:
        with http.open(question, lambda _: login.header if login else ""):
            return

    again(once, patience.attempts, patience.pause, _LONGEST_PAUSE)


def _host(url: str) -> str:
    """Return what may be told of a secret address; a part of one that is none could be the secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in PORTS:
        return "the address of a webhook or dead-man switch (not shown)"
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")


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

    def once() -> list[str]:
        return _send(host, port, message, list(recipients), login, patience.silence)

    return again(once, patience.attempts, patience.pause, _LONGEST_PAUSE)


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
    with Guard(_LONGEST * silence) as guard:
        try:
            return _delivered(Mailer(host, port, silence, guard), where, message, recipients, login)
        except smtplib.SMTPRecipientsRefused as error:
            code, answer = next(iter(error.recipients.values()))
            _fail(where, code, answer, login, "accepts none of the recipients")
        except smtplib.SMTPAuthenticationError as error:
            said = _said(error.smtp_code, error.smtp_error, login)
            raise SourceError(f"{where}: does not accept the login of netrc ({said})") from None
        except smtplib.SMTPResponseException as error:
            _fail(where, error.smtp_code, error.smtp_error, login, "refuses the mail")
        except (smtplib.SMTPException, ssl.SSLError, OSError, ValueError) as error:
            raise _broken(error, where, silence, guard) from error


def _delivered(
    mailer: Mailer, where: str, message: EmailMessage, recipients: list[str], login: Login | None
) -> list[str]:
    try:
        mailer.begin()
        _identify(mailer, where, login)
        refused = mailer.send_message(message, to_addrs=recipients)
        with suppress(smtplib.SMTPException, OSError):  # the mail is on its way, whatever is said now
            mailer.quit()
    finally:
        mailer.close()
    return [f"{where}: {r} not accepted ({_said(c, t, login)})" for r, (c, t) in sorted(refused.items())]


def _broken(error: Exception, where: str, silence: float, guard: Guard) -> SourceError:
    """Return what is wrong where the server did not say it."""
    if guard.expired:
        return PassingError(f"{where}: had not taken the mail after {_LONGEST * silence:g} s")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return PassingError(f"{where}: hung up")
    if isinstance(error, smtplib.SMTPException | ValueError):
        return SourceError(f"{where}: {type(error).__name__}")
    if isinstance(error, ssl.SSLError):
        return SourceError(f"{where}: {reason(error)}")
    if isinstance(error, TimeoutError):
        return PassingError(f"{where}: was silent for {silence:g} s")
    return PassingError(f"{where}: cannot be reached ({getattr(error, 'strerror', '') or short(str(error))})")


def _identify(mailer: Mailer, where: str, login: Login | None) -> None:
    """Encrypt and log in, as far as the server offers it."""
    mailer.ehlo_or_helo_if_needed()
    private = mailer.encrypted or where.rpartition(":")[0] in LOOPBACK
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
