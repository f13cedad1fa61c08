"""`python -m services.editor`: the editor as a process."""

from diptych.serving.config import load_config
from diptych.serving.server import run_service
from services.editor.app import EditorConfig, build

if __name__ == "__main__":
    raise SystemExit(run_service(load_config(EditorConfig), build))
