"""Lays a picture over this one."""

from dataclasses import dataclass

from diptych.images import Pixels
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.filling.placing import Look, lay_over
from services.editor.pixels.anchors import anchored
from services.editor.pixels.resampling import resample
from services.editor.second_picture import open_picture, read_picture

_MOST_SCALE = 8.0
_MOST_FEATHER = 200.0


@dataclass(frozen=True)
class Parameters:
    """`position` of the top left corner, else `anchor`. `relative_width`: of the picture's own, else `scale`."""

    overlay: image_pb2.Image
    position: tuple[int, int] | None
    scale: float
    look: Look
    anchor: int = editor_pb2.ANCHOR_CENTER
    relative_width: float | None = None
    stretch: bool = False

    def size(self, overlay: Pixels, base: Pixels) -> tuple[int, int]:
        """Width and height of the overlay as it is laid on `base`."""
        if self.stretch:
            return base.shape[1], base.shape[0]
        scale = self.scale
        if self.relative_width is not None:
            scale = self.relative_width * base.shape[1] / overlay.shape[1]
        return max(1, round(overlay.shape[1] * scale)), max(1, round(overlay.shape[0] * scale))

    def place(self, size: tuple[int, int], base: Pixels) -> tuple[int, int]:
        """Left and top of an overlay of `size`."""
        if self.position is not None:
            return self.position
        return anchored(self.anchor, size, base)


def read(message: editor_pb2.Composite, faults: Faults) -> Parameters:
    """The parameters; an overlay is required."""
    look = Look(
        opacity=faults.number(message, "opacity", 0, 1, 1),
        feather=faults.number(message, "feather", 0, _MOST_FEATHER, 0),
        harmonize=faults.number(message, "harmonize", 0, 1, 0),
        shadow=faults.number(message, "shadow", 0, 1, 0),
    )
    position = (message.position.x, message.position.y) if message.HasField("position") else None
    scale = faults.number(message, "scale", 0, _MOST_SCALE, 1, open_low=True)
    width = faults.number(message, "relative_width", 0, 1, 1, open_low=True)
    sizing = [name for name in ("scale", "relative_width") if message.HasField(name)]
    if len(sizing) > 1:
        (faults / "relative_width").add("is given together with scale; give only one")
    placing = [name for name in ("position", "anchor") if name in {field.name for field, _ in message.ListFields()}]
    if message.stretch and (sizing or placing):
        (faults / "stretch").add(f"goes without {' and '.join(placing + sizing)}; leave one out")
    return Parameters(
        read_picture(message, "overlay", faults),
        position,
        scale,
        look,
        faults.choice(message, "anchor", editor_pb2.Anchor.values()),
        width if message.HasField("relative_width") else None,
        message.stretch,
    )


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with the overlay on it; what reaches over the edges is cut off."""
    height, width = image.shape[:2]
    overlay = await open_picture(parameters.overlay, "overlay", context)
    new_width, new_height = parameters.size(overlay, image)
    context.check_size(new_width, new_height, "scale")
    left, top = parameters.place((new_width, new_height), image)
    if left >= width or top >= height:
        raise context.fault("position", f"is {left}, {top}, outside of the picture of {width} x {height}")
    look = parameters.look
    context.note(position=f"{left},{top}", scale=new_width / overlay.shape[1])
    context.note(opacity=look.opacity, feather=look.feather)
    context.note(harmonize=look.harmonize, shadow=look.shadow)
    context.method("over", "numpy")
    if look.harmonize > 0:
        context.method("harmonize", "numpy")
    sized = await context.compute(resample, overlay, new_width, new_height)
    result = await context.compute(lay_over, image, sized, left, top, look)
    return result if context.selection is None else await context.compute(blend, image, result, context.selection)
