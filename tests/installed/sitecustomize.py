"""What a process of the hub does without: packages that only its tools bring along, as where nothing else is installed.

redis, structlog and dependency_injector import them where they are there, and each start would pay for it.
"""

import os
import sys

TOOLS = ["attr", "psutil", "werkzeug"]
if not any(name.startswith("OTEL_") for name in os.environ):
    TOOLS.append("opentelemetry")
sys.modules.update(dict.fromkeys(TOOLS))  # type: ignore[arg-type]  # None: it cannot be imported
