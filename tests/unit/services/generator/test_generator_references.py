"""Reference pictures as they are asked for."""

import numpy as np
import pytest

from diptych.errors import FieldViolation
from diptych.images import ImageLimits, to_message
from diptych.v1 import generator_pb2 as v1
from services.generator.references import read_reference

PIXELS = np.full((6, 9, 3), 80, np.uint8)
STYLE = v1.ReferenceImage(image=to_message(PIXELS), role=v1.REFERENCE_ROLE_STYLE, scale=0.6)


def test_a_reference_is_read_in_its_own_size() -> None:
    faults: list[FieldViolation] = []
    reference = read_reference(v1.GenerationSpec(references=[STYLE]), ImageLimits(), faults)
    assert reference is not None
    assert not faults
    assert np.array_equal(reference.pixels, PIXELS)
    assert (reference.scale, reference.style) == (0.6, True)
    assert read_reference(v1.GenerationSpec(), ImageLimits(), faults) is None


@pytest.mark.parametrize(
    ("references", "fields"),
    [
        ([STYLE, STYLE], ["spec.references"]),
        ([v1.ReferenceImage(image=STYLE.image)], ["spec.references[0].role"]),
        (
            [v1.ReferenceImage(image=STYLE.image, role=7, scale=9)],
            ["spec.references[0].role", "spec.references[0].scale"],
        ),
        ([v1.ReferenceImage(role=v1.REFERENCE_ROLE_SUBJECT)], ["spec.references[0].image.content"]),
    ],
)
def test_every_fault_is_named(references: list[v1.ReferenceImage], fields: list[str]) -> None:
    faults: list[FieldViolation] = []
    read_reference(v1.GenerationSpec(references=references), ImageLimits(), faults)
    assert [fault.field for fault in faults] == fields
