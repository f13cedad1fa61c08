"""`python -m services.generator`: the generator as a process."""

from diptych.serving.config import load_config
from diptych.serving.server import run_service
from services.generator.app import GeneratorConfig, build

if __name__ == "__main__":
    raise SystemExit(run_service(load_config(GeneratorConfig), build))
