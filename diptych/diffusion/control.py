"""ControlNets (Zhang et al. 2023): networks that hold the denoiser to the structure of a given picture."""

from collections.abc import Mapping, Sequence

import numpy as np

from diptych.diffusion.denoiser import SampleGraph
from diptych.diffusion.latents import Autoencoder
from diptych.diffusion.row import Control, Row, Seen
from diptych.engines.base import Array

_PICTURE, _COLOURS = "controlnet_cond", 3


class ControlNets:
    """The ControlNets of one model by what they look at: `edges`, `depth`, `pose`."""

    def __init__(self, graphs: Mapping[str, SampleGraph]) -> None:
        self._graphs = graphs
        self.kinds = tuple(sorted(graphs))

    def see(self, controls: Sequence[Control], autoencoder: Autoencoder) -> tuple[Seen, ...]:
        """The pictures as the ControlNets of their kinds take them: colours, or latents (Stable Diffusion 3)."""
        seen = []
        for control in controls:
            if (graph := self._graphs.get(control.kind)) is None:
                continue
            if graph.inputs[_PICTURE].shape[1] == _COLOURS:
                picture = control.pixels.astype(np.float32).transpose(2, 0, 1) / np.float32(255)
            else:
                picture = autoencoder.encode(control.pixels)
            seen.append(Seen(control.kind, picture, control.scale))
        return tuple(seen)

    def add_residuals(
        self, rows: Sequence[Row], conditions: Sequence[Mapping[str, Array]]
    ) -> list[Mapping[str, Array]]:
        """The conditions of one denoiser call, `rows` saying whose each is, with what the ControlNets add to it.

        One call for every kind that is asked for; a row with several kinds gets their sum.
        """
        added: list[dict[str, Array]] = [{} for _ in conditions]
        for kind, graph in self._graphs.items():
            asked = [
                (number, control) for number, row in enumerate(rows) for control in row.controls if control.kind == kind
            ]
            if not asked:
                continue
            outputs = graph.run([_inputs(graph, rows[n], conditions[n], control) for n, control in asked])
            for index, (number, control) in enumerate(asked):
                for name, values in zip(graph.outputs, outputs, strict=True):
                    residual = np.float32(control.scale) * values[index]
                    known = added[number].get(name)
                    added[number][name] = residual if known is None else known + residual
        return [{**condition, **more} for condition, more in zip(conditions, added, strict=True)]

    def close(self) -> None:
        """Frees the graphs."""
        for graph in self._graphs.values():
            graph.close()


def _inputs(graph: SampleGraph, row: Row, condition: Mapping[str, Array], control: Seen) -> Mapping[str, Array | float]:
    # Without the channels of an inpainting model: a ControlNet sees the latents alone.
    sample = row.sample[: row.latents.shape[0]]
    known: dict[str, Array | float] = {
        **condition,
        "sample": sample,
        "hidden_states": sample,
        "timestep": row.timestep,
        _PICTURE: control.picture,
    }
    return {name: known[name] for name in graph.inputs}
