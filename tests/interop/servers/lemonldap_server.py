"""Debian LemonLDAP::NG, unpacked: JWT and opaque access tokens, by client. Set up by its configuration file.

    python lemonldap_server.py DIRECTORY     where the packages were unpacked
"""

import http.server
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

root = Path(sys.argv[1]).resolve()
temporary = tempfile.TemporaryDirectory(prefix="lemonldap-ng-")
work = Path(temporary.name)
REDIRECT = "http://127.0.0.1:1/callback"

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
issuer = f"http://127.0.0.1:{port}"


def openssl(*arguments, key=None):
    return subprocess.run(["openssl", *arguments], input=key, capture_output=True, text=True, check=True).stdout


def client(name, jwt):
    return {
        "ClientID": name, "ClientSecret": f"{name}-secret", "AccessTokenJWT": jwt, "AccessTokenSignAlg": "RS256",
        "AdditionalAudiences": "billing-api", "AllowClientCredentialsGrant": 1, "BypassConsent": 1, "RefreshToken": 1,
        "IDTokenSignAlg": "RS256", "RequirePKCE": 1, "RedirectUris": REDIRECT,
    }


CLIENTS = {"sync": client("billing-sync", 1), "app": client("billing-app", 0), "gateway": client("gateway", 0)}
files = {"Directory": str(work / "sessions"), "LockDirectory": str(work / "locks")}
number = 0


def configure():
    """Writes the next configuration, with a key of its own. The portal looks for it once a second."""
    global number
    number += 1
    key = openssl("genrsa", "2048")
    key_id = secrets.token_hex(4)
    configuration = json.loads((root / "var/lib/lemonldap-ng/conf/lmConf-1.json").read_text())
    configuration.update({
        "cfgNum": number, "portal": f"{issuer}/", "domain": "127.0.0.1", "securedCookie": 0,
        "locationRules": {"127.0.0.1": {"default": "accept"}},
        "issuerDBOpenIDConnectActivation": 1, "issuerDBOpenIDConnectPath": "^/oauth2/", "oidcServiceMetaDataIssuer": issuer,
        "oidcServicePrivateKeySig": key, "oidcServicePublicKeySig": openssl("rsa", "-pubout", key=key),
        "oidcServiceKeyIdSig": key_id,
        "oidcRPMetaDataOptions": {name: {f"oidcRPMetaDataOptions{option}": value for option, value in options.items()}
                                  for name, options in CLIENTS.items()},
        "oidcRPMetaDataExportedVars": {name: {} for name in CLIENTS},
        # Users register and reset passwords elsewhere: these parts need mail and images.
        "registerDB": "Null", "portalDisplayRegister": 0, "portalDisplayResetPassword": 0, "captcha": "NoCaptcha",
        "requireToken": 0,
        "globalStorageOptions": {**configuration["globalStorageOptions"], **files},
        "persistentStorageOptions": {**configuration["persistentStorageOptions"], **files},
        "localSessionStorageOptions": {**configuration["localSessionStorageOptions"], "cache_root": str(work / "cache")},
    })
    (work / f"conf/lmConf-{number}.json").write_text(json.dumps(configuration))
    return key_id


def published():
    with urllib.request.urlopen(f"{issuer}/oauth2/jwks", timeout=10) as answer:
        return [key["kid"] for key in json.load(answer)["keys"]]


def wait_for(key_id):
    for _ in range(300):
        try:
            if published() == [key_id]:
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)
    raise RuntimeError("LemonLDAP::NG does not publish its key")


def start():
    settings = (root / "etc/lemonldap-ng/lemonldap-ng.ini").read_text()
    settings = settings.replace("/var/lib/lemonldap-ng", str(work)).replace("/usr/share", str(root / "usr/share"))
    (work / "lemonldap-ng.ini").write_text(settings)
    (work / "portal.psgi").write_text("use Lemonldap::NG::Portal; Lemonldap::NG::Portal->run({});\n")
    (work / "NoCaptcha.pm").write_text(
        "package NoCaptcha; use Mouse; extends 'Lemonldap::NG::Portal::Main::Plugin'; sub init { 1 } 1;\n")
    libraries = [work, root / "usr/share/perl5", *root.glob("usr/lib/*-linux-gnu/perl5/*")]
    environment = {**os.environ, "LLNG_DEFAULTCONFFILE": str(work / "lemonldap-ng.ini"),
                   "PERL5LIB": ":".join(str(path) for path in libraries)}
    # It ends with this process, however that ends.
    bound = Path(__file__).parents[2] / "servers/bound-to-parent.sh"
    return subprocess.Popen([bound, "perl", root / "usr/bin/plackup", "--host", "127.0.0.1", "--port", str(port), "--env",
                             "deployment", work / "portal.psgi"],
                            stdin=subprocess.PIPE, stdout=sys.stderr, stderr=sys.stderr, env=environment)


for name in ("conf", "sessions", "locks", "cache", "notifications"):
    (work / name).mkdir()
first = configure()
process = start()
wait_for(first)


class Control(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        wait_for(configure())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Control)
threading.Thread(target=control.serve_forever, daemon=True).start()
print(json.dumps({
    "ready": True, "port": port, "issuer": issuer, "control": control.server_port,
    "token": "/oauth2/token", "jwks": "/oauth2/jwks", "introspection": "/oauth2/introspect", "authorization": "/oauth2/authorize",
    "metadata": "/.well-known/openid-configuration", "pkce": True, "code_scope": "openid billing:read",
    "formats": {"jwt": {}, "opaque": {}}, "clients": {"opaque": "billing-app"}, "methods": ["client_secret_basic"],
    # As its page says.
    "provider": {"required_claims": ["client_id", "jti"]},
    # Its answers name the client and the scopes, and no audience.
    "introspection_keys": {"required_members": ["client_id", "scope"]},
    "cannot": {"revocation": "it has no revocation endpoint (version 2.16)"},
}), flush=True)
sys.stdin.read()
process.terminate()
