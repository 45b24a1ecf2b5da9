"""How tests open stores: as users do, but with no long pauses before a request is tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

QUICKLY: dict[str, Any] = {
    "retry_config": {
        "max_retries": 3,
        "backoff": {
            "init_backoff": timedelta(milliseconds=1),
            "max_backoff": timedelta(milliseconds=5),
            "base": 2,
        },
        "retry_timeout": timedelta(seconds=20),
    }
}
