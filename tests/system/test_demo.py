"""`make demo`'s program: a real picture from a sentence, through three processes of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from stack import ROOT


def test_the_demo_draws_a_transparent_red_apple(tmp_path: Path) -> None:
    result = ROOT / "demo/result.png"
    result.unlink(missing_ok=True)
    env = {key: value for key, value in os.environ.items() if not key.startswith("DIPTYCH_ADDRESS")}
    done = subprocess.run(
        [sys.executable, "demo/demo.py"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("generate", "remove_background", "upscale", "generator", "editor", "GENERATIVE"):
        assert re.search(word, done.stdout, re.IGNORECASE), f"{word} is missing:\n{done.stdout}"

    with Image.open(result) as picture:
        assert picture.mode == "RGBA"
        assert max(picture.size) >= 256
        pixels = np.asarray(picture).astype(int)
    alpha = pixels[..., 3]
    assert 0.05 < (alpha > 200).mean() < 0.95, "neither all nothing nor all picture"
    assert alpha[:8, :8].max() < 32, "the corner belongs to the background"
    red, green, blue = (pixels[..., channel][alpha > 200].mean() for channel in range(3))
    assert red > 1.3 * green, (red, green, blue)
    assert red > 1.3 * blue, (red, green, blue)
