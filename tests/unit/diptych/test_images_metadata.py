"""What a file says of its picture is kept, or not, as the policy has it; and what is kept fits the result."""

import io
import struct
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from diptych.errors import InvalidRequest
from diptych.images import Metadata, decode, encode, facts_of, fitted_metadata
from diptych.v1 import image_pb2

KEEP, PLACELESS = image_pb2.METADATA_POLICY_KEEP, image_pb2.METADATA_POLICY_STRIP_LOCATION
STRIPPED = (image_pb2.METADATA_POLICY_UNSPECIFIED, image_pb2.METADATA_POLICY_STRIP_ALL)
FORMATS = (
    image_pb2.IMAGE_FORMAT_PNG,
    image_pb2.IMAGE_FORMAT_JPEG,
    image_pb2.IMAGE_FORMAT_WEBP,
    image_pb2.IMAGE_FORMAT_AVIF,
)

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:dji="http://www.dji.com/drone-dji/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 exif:GPSLatitude="48,12.5N"
 photoshop:City="Atlantis" photoshop:Credit="Ann Example" tiff:Orientation="6" dji:RelativeAltitude="+12">
<exif:GPSLongitude>16,22.3E</exif:GPSLongitude>
<ext:LocationShown><rdf:Bag><rdf:li ext:City="Atlantis"/></rdf:Bag></ext:LocationShown>
<xmp:Thumbnails><rdf:Alt><rdf:li>OLDPICTURE</rdf:li></rdf:Alt></xmp:Thumbnails>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">Copyright Ann</rdf:li></rdf:Alt></dc:rights>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
PLACES = (b"48,12.5N", b"16,22.3E", b"Atlantis", b"+12", b"GPSLAT", b"HIDDENPLACE")
THUMBNAIL = b"\xff\xd8OLDPICTURE\xff\xd9"


def exif(order: str = "<") -> bytes:
    """A block as cameras write it: artist, orientation, size, maker's note, GPS, thumbnail."""
    at = {"first": 8, "exif": 120, "gps": 240, "second": 320, "data": 400}
    data = bytearray(800)
    data[:8] = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at["first"])
    notes: dict[str, int] = {}
    endian: Literal["little", "big"] = "little" if order == "<" else "big"

    def place(text: bytes) -> int:
        start = notes.setdefault("end", at["data"])
        data[start : start + len(text)] = text
        notes["end"] = start + len(text) + len(text) % 2
        return start

    def directory(name: str, entries: list[tuple[int, int, int, int]], following: int = 0) -> None:
        body = struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            short = kind == 3 and count == 1
            body += struct.pack(order + "HHI", tag, kind, count)
            body += struct.pack(order + ("HH" if short else "I"), *((value, 0) if short else (value,)))
        body += struct.pack(order + "I", following)
        data[at[name] : at[name] + len(body)] = body

    note = place(b"MAKER HIDDENPLACE NOTE")
    directory("first", [
        (0x010E, 2, 8, place(b"Harbour\0")), (0x0112, 3, 1, 6), (0x013B, 2, 4, int.from_bytes(b"Ann\0", endian)),
        (0x8298, 2, 14, place(b"Copyright Ann\0")), (0x8769, 4, 1, at["exif"]), (0x8825, 4, 1, at["gps"]),
    ], at["second"])  # fmt: skip
    directory("exif", [(0x927C, 7, 22, note), (0xA001, 3, 1, 65535), (0xA002, 4, 1, 999), (0xA003, 3, 1, 888)])
    directory(
        "gps",
        [(1, 2, 2, int.from_bytes(b"N\0\0\0", endian)), (2, 5, 3, place(b"GPSLAT" * 4))],
    )
    directory("second", [(0x0201, 4, 1, place(THUMBNAIL)), (0x0202, 4, 1, len(THUMBNAIL))])
    return bytes(data)


def iptc(**texts: str) -> bytes:
    sets = {"city": 90, "country": 101, "caption": 120, "credit": 110}
    return b"".join(struct.pack(">BBBH", 0x1C, 2, sets[key], len(text)) + text.encode() for key, text in texts.items())


WHOLE = Metadata(exif(), XMP, iptc(city="Atlantis", caption="Boats", credit="Ann", country="Nowhere"))


def written(policy: int, format: int, size: tuple[int, int] = (30, 20)) -> bytes:
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    return encode(pixels, format, metadata=fitted_metadata(WHOLE, policy, size))


def read_back(content: bytes) -> Metadata:
    return facts_of(image_pb2.Image(content=content)).metadata


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("policy", STRIPPED)
def test_nothing_is_left_unless_asked_for(policy: int, format: int) -> None:
    content = written(policy, format)
    assert read_back(content) == Metadata()
    assert b"Ann" not in content and b"Exif" not in content[:200]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", FORMATS)
def test_keep_keeps_and_makes_it_fit(format: int, order: str) -> None:
    pixels = np.full((20, 30, 3), 90, np.uint8)
    metadata = fitted_metadata(Metadata(exif(order), XMP, WHOLE.iptc), KEEP, (30, 20))
    content = encode(pixels, format, metadata=metadata)
    tags = PillowImage.open(io.BytesIO(content)).getexif()
    assert (tags[0x013B], tags[0x8298]) == ("Ann", "Copyright Ann")
    assert tags.get(0x0112, 1) == 1
    assert tags.get_ifd(0x8825)[2]
    details = tags.get_ifd(0x8769)
    assert (details[0xA001], details[0xA002], details[0xA003]) == (1, 30, 20)
    assert details[0x927C] == b"MAKER HIDDENPLACE NOTE"
    assert decode(content, field="x").shape == (20, 30, 3)
    kept = read_back(content)
    assert b"Atlantis" in kept.xmp and b"Copyright Ann" in kept.xmp
    # The maker's note is where it was: it holds addresses.
    assert kept.exif.index(b"MAKER") == exif(order).index(b"MAKER")
    assert not any(old in content for old in (b"OLDPICTURE", b"Orientation"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", FORMATS)
def test_strip_location_leaves_no_place_and_keeps_the_rest(format: int, order: str) -> None:
    pixels = np.full((20, 30, 3), 90, np.uint8)
    content = encode(
        pixels, format, metadata=fitted_metadata(Metadata(exif(order), XMP, WHOLE.iptc), PLACELESS, (30, 20))
    )
    assert not any(place in content for place in (*PLACES, b"Nowhere"))
    tags = PillowImage.open(io.BytesIO(content)).getexif()
    assert (tags[0x013B], tags[0x8298], tags[0x010E]) == ("Ann", "Copyright Ann", "Harbour")
    assert not tags.get_ifd(0x8825) and 0x927C not in tags.get_ifd(0x8769)
    kept = read_back(content)
    assert b"Copyright Ann" in kept.xmp and b"Ann Example" in kept.xmp


def test_iptc_stays_in_a_jpeg_without_its_places() -> None:
    assert read_back(written(KEEP, image_pb2.IMAGE_FORMAT_JPEG)).iptc == WHOLE.iptc
    assert read_back(written(PLACELESS, image_pb2.IMAGE_FORMAT_JPEG)).iptc == iptc(caption="Boats", credit="Ann")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_metadata_is_found_in_every_kind_of_file(kind: str) -> None:
    tags = PillowImage.Exif()
    tags[0x013B] = "Ann"
    tags[0x0112] = 6
    options: dict[str, object] = {"exif": tags, "xmp": XMP}
    if kind == "PNG":
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"exif": tags, "pnginfo": texts}
    elif kind == "TIFF":
        options = {"tiffinfo": {0x013B: "Ann", 0x0112: 6, 700: XMP}, "compression": "tiff_lzw"}
    file = io.BytesIO()
    PillowImage.new("RGB", (12, 8), "#336699").save(file, kind, **options)
    pixels = decode(file.getvalue(), field="x")
    assert pixels.shape == (12, 8, 3)
    found = read_back(file.getvalue())
    result = encode(pixels, metadata=fitted_metadata(found, KEEP, (8, 12)))
    after = PillowImage.open(io.BytesIO(result)).getexif()
    assert after[0x013B] == "Ann" and 0x0112 not in after and 0x0111 not in after
    assert b"Copyright Ann" in read_back(result).xmp


@pytest.mark.parametrize(
    "xmp", [b"<a", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"<a>" * 400_000, "<a/>".encode("utf-16"), b"\0\0"]
)
def test_a_packet_that_cannot_be_understood_is_left_out(xmp: bytes) -> None:
    for policy in (KEEP, PLACELESS):
        assert fitted_metadata(Metadata(xmp=xmp), policy, (1, 1)).xmp == b""


def test_a_packet_nested_beyond_reason_is_left_out() -> None:
    assert fitted_metadata(Metadata(xmp=b"<a>" * 5000 + b"</a>" * 5000), KEEP, (1, 1)).xmp == b""


def test_directories_that_lie_over_one_another_keep_the_length() -> None:
    entries = (
        struct.pack("<HHII", 34853, 4, 1, 8),
        struct.pack("<HHII", 271, 2, 4, 0),
        struct.pack("<HHII", 1, 2, 4, 0),
    )
    block = b"II*\0" + struct.pack("<IH", 8, 3) + b"".join(entries) + bytes(40)
    assert len(fitted_metadata(Metadata(block), PLACELESS, (30, 20)).exif) in (0, len(block))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_block_never_breaks_an_edit(data: st.DataObject) -> None:
    block = bytearray(exif(data.draw(st.sampled_from("<>"))))
    for _ in range(data.draw(st.integers(1, 12))):
        block[data.draw(st.integers(0, 360))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(block)))
    for policy in (KEEP, PLACELESS):
        result = fitted_metadata(Metadata(bytes(block[:cut])), policy, (30, 20)).exif
        assert len(result) in (0, cut)
    texts = data.draw(st.binary(max_size=60))
    assert len(fitted_metadata(Metadata(iptc=texts), PLACELESS, (1, 1)).iptc) <= len(texts)


def test_jpeg_says_when_metadata_is_too_long_for_it() -> None:
    long = Metadata(exif=exif() + bytes(70_000))
    with pytest.raises(InvalidRequest, match="64 KiB"):
        encode(np.zeros((2, 2, 3), np.uint8), image_pb2.IMAGE_FORMAT_JPEG, metadata=long)
