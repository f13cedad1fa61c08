"""What was found in a picture, as a table."""

from rich.console import Console

from diptych.cli.terminal import show_table
from diptych.findings import AnalyzeResult


def show_findings(out: Console, found: AnalyzeResult) -> None:
    """A table of them."""
    rows = [("size", f"{found.width} x {found.height} px"), ("transparency", "yes" if found.has_transparency else "no")]
    if light := found.lighting:
        rows += [
            ("exposure", f"{light.exposure:+.2f} stops from middle grey, {light.key} key"),
            ("contrast", f"{light.contrast:.1f} (standard deviation of lightness)"),
            ("clipped", f"{light.clipped_shadows:.1%} at black, {light.clipped_highlights:.1%} at white"),
        ]
        if light.color_temperature:
            rows.append(("temperature", f"{light.color_temperature:.0f} K"))
    if quality := found.quality:
        rows += [("sharpness", f"{quality.sharpness:.1f}"), ("noise", f"{quality.noise:.2f} of 255")]
    rows += [("colour", f"{one.color} {one.name} {one.fraction:.0%}") for one in found.palette]
    for kind, things in (("face", found.faces), ("object", found.objects), ("text", found.text)):
        for thing in things:
            box = f"{thing.box.x}/{thing.box.y}/{thing.box.width}/{thing.box.height}"
            rows.append((kind, f"{thing.label or kind} at {box} ({thing.score:.0%})"))
    rows += [("safety", f"{name} {score:.0%}") for name, score in found.safety.items()]
    models = ", ".join(f"{model.name} ({model.kind})" for model in found.record.models)
    if models:
        rows.append(("measured by", models))
    show_table(out, ("what", "value"), rows)
