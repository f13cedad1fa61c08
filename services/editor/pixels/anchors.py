"""Where in a picture something is laid that is told by a corner, an edge or the middle."""

from diptych.images import Pixels
from diptych.v1 import editor_pb2

# Between what is laid and the edges, as a share of the shorter side.
_MARGIN = 0.03
# How much of the room that is left lies before it, across and down.
_SHARES = {
    editor_pb2.ANCHOR_TOP_LEFT: (0, 0),
    editor_pb2.ANCHOR_TOP: (0.5, 0),
    editor_pb2.ANCHOR_TOP_RIGHT: (1, 0),
    editor_pb2.ANCHOR_LEFT: (0, 0.5),
    editor_pb2.ANCHOR_RIGHT: (1, 0.5),
    editor_pb2.ANCHOR_BOTTOM_LEFT: (0, 1),
    editor_pb2.ANCHOR_BOTTOM: (0.5, 1),
    editor_pb2.ANCHOR_BOTTOM_RIGHT: (1, 1),
}


def anchored(anchor: int, size: tuple[int, int], base: Pixels) -> tuple[int, int]:
    """Left and top of something of `size`, width and height, in the picture; in the middle for other numbers."""
    margin = round(_MARGIN * min(base.shape[:2]))
    shares = _SHARES.get(editor_pb2.Anchor.ValueType(anchor), (0.5, 0.5))
    places = []
    for share, length, side in zip(shares, size, (base.shape[1], base.shape[0]), strict=True):
        room = side - length
        places.append(margin if share == 0 else room - margin if share == 1 else room // 2)
    return places[0], places[1]
