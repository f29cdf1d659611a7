"""Every setting, read from the environment once. `.env.example` explains each in a sentence."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from config import env

BASE_DIR = Path(__file__).resolve().parents[2]
DATA_DIR = Path(env.text("DATA_DIR", str(BASE_DIR / ".data"))).resolve()
JOURNAL_DIR = Path(env.text("JOURNAL_DIR", str(DATA_DIR / "journal"))).resolve()

SERVE = env.choice("SERVE", "all", ("api", "web", "all"))
DEBUG = env.boolean("DEBUG", default=False)
env.failpoints("FAIL", allowed=DEBUG)
SECRET_KEY = env.text("SECRET_KEY")
KEY_PEPPERS = env.peppers("KEY_PEPPERS")
API_PORT = env.integer("API_PORT", 8080, low=1, high=65535)
WEB_PORT = env.integer("WEB_PORT", 8000, low=1, high=65535)
PUBLIC_API_URL = env.url("PUBLIC_API_URL", ("http", "https"), f"http://127.0.0.1:{API_PORT}")
PUBLIC_WEB_URL = env.url("PUBLIC_WEB_URL", ("http", "https"), f"http://127.0.0.1:{WEB_PORT}")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ("127.0.0.1", "localhost", "[::1]"))
CSRF_TRUSTED_ORIGINS = [PUBLIC_WEB_URL]
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))

# --- the data plane -------------------------------------------------------------------------------
MAX_BODY_BYTES = env.integer("MAX_BODY_BYTES", 32 * 2**20, low=1024, high=2**30)
HEAD_TIMEOUT_S = env.integer("HEAD_TIMEOUT_S", 10, low=1, high=300)
BODY_TIMEOUT_S = env.integer("BODY_TIMEOUT_S", 10, low=1, high=300)
MAX_CALLS_IN_FLIGHT = env.integer("MAX_CALLS_IN_FLIGHT", 6000, low=1, high=100_000)
SHED_LAG_MS = env.integer("SHED_LAG_MS", 250, low=10, high=600_000)
MAX_CALL_S = env.integer("MAX_CALL_S", 600, low=1, high=3600)
KEEP_ALIVE_S = env.integer("KEEP_ALIVE_S", 15, low=1, high=300)
UNREAD_S = env.integer("UNREAD_S", 30, low=1, high=3600)
SHUTDOWN_S = env.integer("SHUTDOWN_S", 120, low=1, high=600)
HOLD_WAIT_MS = env.integer("HOLD_WAIT_MS", 1000, low=50, high=10_000)
LIMITS_WAIT_MS = env.integer("LIMITS_WAIT_MS", 50, low=10, high=10_000)
DEFAULT_RPM = env.integer("DEFAULT_RPM", 10_000, low=1, high=10**9)
DEFAULT_TPM = env.integer("DEFAULT_TPM", 10_000_000, low=1, high=10**12)
API_WORKERS = env.integer("API_WORKERS", 1, low=1, high=64)
PROVIDER_NETWORKS = env.networks("PROVIDER_NETWORKS")
MEDIA_LOOKUP = env.choice("MEDIA_LOOKUP", "redirects", ("redirects", "names", "none"))
MEDIA_NAME_SERVERS = env.name_servers("MEDIA_NAME_SERVERS")
CACHE_PRICE_PERCENT = env.integer("CACHE_PRICE_PERCENT", 10, low=0, high=100)
CIRCUIT_FAILURES = env.integer("CIRCUIT_FAILURES", 5, low=1, high=10_000)
SIMULATOR_FIRST_TOKEN_MS = env.integer("SIMULATOR_FIRST_TOKEN_MS", 0, low=0, high=60_000)
SIMULATOR_TOKENS_PER_S = env.integer("SIMULATOR_TOKENS_PER_S", 0, low=0, high=1_000_000)
SIMULATOR_TEST_MODELS = env.boolean("SIMULATOR_TEST_MODELS", default=False)

# --- credit that comes in -------------------------------------------------------------------------
env.check_together("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET")
STRIPE_SECRET_KEY = env.text("STRIPE_SECRET_KEY", "")
STRIPE_WEBHOOK_SECRET = env.text("STRIPE_WEBHOOK_SECRET", "")
# the secret key must not travel in the clear; a fake of the provider for tests may listen so
_STRIPE_SCHEMES = ("https", "http") if DEBUG else ("https",)
STRIPE_API_URL = env.url("STRIPE_API_URL", _STRIPE_SCHEMES, "https://api.stripe.com")
TOPUP_MIN_NANOS = env.usd("TOPUP_MIN_USD", "5")
TOPUP_MAX_NANOS = env.usd("TOPUP_MAX_USD", "10000")
CREDIT_APPROVAL_NANOS = env.usd("CREDIT_APPROVAL_USD", "1000")
PRICE_APPROVAL = env.boolean("PRICE_APPROVAL", default=False)
TRIAL_GRANT_NANOS = env.usd("TRIAL_GRANT_USD", "0")

# --- telling --------------------------------------------------------------------------------------
WEBHOOK_NETWORKS = env.networks("WEBHOOK_NETWORKS")
_MAIL = env.mail("EMAIL_URL", "console:")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _MAIL.host else 'console'}.EmailBackend"
EMAIL_HOST, EMAIL_PORT = _MAIL.host, _MAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _MAIL.user, _MAIL.password
EMAIL_USE_SSL, EMAIL_USE_TLS = _MAIL.is_tls, _MAIL.starts_tls
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", "Tollgate <tollgate@localhost>")
DRIFT_ALARM_PERCENT = env.integer("DRIFT_ALARM_PERCENT", 25, low=1, high=10_000)
EVENTS_KEPT_DAYS = env.integer("EVENTS_KEPT_DAYS", 90, low=7, high=36_500)
RUNS_KEPT_DAYS = env.integer("RUNS_KEPT_DAYS", 400, low=7, high=36_500)

# --- stores ---------------------------------------------------------------------------------------
DATABASE_URL = env.url("DATABASE_URL", ("postgresql", "postgres"))
REDIS_URL = env.url("REDIS_URL", ("redis", "rediss", "unix"))


def _database(address: str) -> dict[str, Any]:
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", parts.hostname or ""),
        "PORT": str(parts.port or options.pop("port", "")),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        # compiling a page's query takes longer than running it
        "OPTIONS": {**options, "options": f"{options.get('options', '')} -c jit=off".strip()},
    }


# Pages and the customers' reports have a role of their own; the owner migrates, works and writes.
CONSOLE_DATABASE = _database(
    env.url("CONSOLE_DATABASE_URL", ("postgresql", "postgres"), DATABASE_URL)
)
DATABASES = {"default": _database(DATABASE_URL) if SERVE == "all" else CONSOLE_DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def broker_address(address: str) -> str:
    """Return Celery's spelling of a Redis address: a socket's database is ``virtual_host``."""
    if not address.startswith("unix://"):
        return address
    parts = urlsplit(address)
    database = dict(parse_qsl(parts.query)).get("db", "0")
    return f"redis+socket://{parts.path}?virtual_host={database}"


CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "tollgate-live"},
    }
}

CELERY_BROKER_URL = broker_address(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 300
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 900}
CELERY_TIMEZONE = "UTC"
# A beat tick says only "look now": due work is rows.
CELERY_BEAT_SCHEDULE = {
    "expire-holds": {"task": "billing.expire_holds", "schedule": timedelta(seconds=10)},
    "adopt-journals": {"task": "billing.adopt_journals", "schedule": timedelta(seconds=5)},
    "purge-answers": {"task": "billing.purge_answers", "schedule": timedelta(minutes=5)},
    "roll-up": {"task": "billing.roll_up", "schedule": timedelta(seconds=5)},
    "expire-grants": {"task": "billing.expire_grants", "schedule": timedelta(minutes=1)},
    "make-partitions": {"task": "billing.make_partitions", "schedule": timedelta(hours=6)},
    "close-due-months": {"task": "billing.close_due_months", "schedule": timedelta(hours=1)},
    # what is missed is looked for again two seconds later: ticks do not pile up
    "tell": {
        "task": "billing.tell",
        "schedule": timedelta(seconds=2),
        "options": {"expires": 10},
    },
    "reconcile": {"task": "billing.reconcile", "schedule": timedelta(hours=1)},
    "forget": {"task": "billing.forget", "schedule": timedelta(hours=1)},
    "prove": {"task": "billing.prove", "schedule": timedelta(hours=1)},
    "top-up": {"task": "billing.top_up", "schedule": timedelta(seconds=30)},
}

# --- Django ---------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "axes",
    "channels",
    "django_celery_beat",
    "django_htmx",
    "pages",
    "accounts",
    "billing",
    "gateway",
]

if SERVE == "api":
    # the data plane needs the models and nothing of the pages: a third of the memory, half the
    # start
    _PAGES = ("daphne", "django.contrib.admin", "allauth", "axes", "django_", "pages")
    INSTALLED_APPS = [app for app in INSTALLED_APPS if not app.startswith(_PAGES)]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "csp.middleware.CSPMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        # not every browser counts a WebSocket of the same host as 'self'
        "connect-src": ["'self'", PUBLIC_WEB_URL.replace("http", "ws", 1)],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}

# Keys instead of people: accounts.api_auth; without users, sessions and cookies.
REST_FRAMEWORK = {
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True
# guessing at one account is stopped by axes, which counts in the database for all processes
ACCOUNT_RATE_LIMITS = {"login_failed": "60/m/ip"}
ACCOUNT_ADAPTER = "accounts.adapter.ClosedAdapter"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "account_login"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_CALLABLE = "accounts.adapter.sign_in_name"
AXES_LOCKOUT_TEMPLATE = "account/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

SESSION_COOKIE_NAME = "tollgate_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = PUBLIC_WEB_URL.startswith("https://")
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from the packages they are in: nothing to collect
WHITENOISE_AUTOREFRESH = DEBUG

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "kernel.log.LineFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
}
