"""The orchestrator as a process: `python -m services.orchestrator --help`.

It is SERVING as soon as its own intent model is warm, whether or not generator and editor are up: planning needs
neither, and a goal that needs one that is down fails within two seconds with UNAVAILABLE naming it. The next goal
tries again. Where they ask for a token, it is the one in the environment's DIPTYCH_TOKEN.
"""

from diptych.serving.config import load_config
from diptych.serving.server import run_service
from services.orchestrator.app import OrchestratorConfig, build

if __name__ == "__main__":
    raise SystemExit(run_service(load_config(OrchestratorConfig), build))
