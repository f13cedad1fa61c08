"""What a file says of its picture: EXIF, XMP and IPTC, read, cleaned of what a policy forbids, made to fit a result.

Private to `diptych.images`. EXIF is mended where it stands, for maker's notes point to places in it. A block that
cannot be understood is left out: nobody could promise what is in it.
"""

import logging
import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from PIL import Image as PillowImage

from diptych.v1 import image_pb2

_LOG = logging.getLogger(__name__)

Policy: TypeAlias = image_pb2.MetadataPolicy.ValueType

_EXIF_PREFIX = b"Exif\0\0"
_IPTC_RESOURCE = 0x0404
_MOST_XMP = 1 << 20

# EXIF 2.32: bytes a value takes, by type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD, _MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x927C
# Orientation (absent means upright), and what is stored besides: XMP, IPTC, Photoshop's block, ICC profile.
_STALE = {274, 700, 33723, 34377, 34675}
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCHES = 282, 283, 296, 2
_WIDTHS, _HEIGHTS, _COLOR_SPACE = {256, 0xA002}, {257, 0xA003}, 0xA001
# What a TIFF says of its own rows and tiles.
_TIFF_LAYOUT = {
    *range(254, 270),
    273,
    *range(277, 282),
    284,
    317,
    320,
    *range(322, 326),
    330,
    338,
    339,
    347,
    *range(529, 533),
}

_XMP_STALE = {
    "Orientation", "ImageWidth", "ImageLength", "PixelXDimension", "PixelYDimension", "ColorSpace", "ICCProfile",
    "Thumbnails", "HasExtendedXMP",
}  # fmt: skip
_XMP_PLACES = {
    "City", "State", "Country", "CountryCode", "CountryName", "ProvinceState", "Sublocation", "Location",
    "LocationCreated", "LocationShown", "LocationName", "LocationId", "WorldRegion",
}  # fmt: skip
_XMP_COORDINATES = re.compile(r"gps|latitude|longitude|altitude", re.IGNORECASE)
# IIM 4.2, record 2: content location, city, sublocation, state, country.
_IPTC_PLACES = {26, 27, 90, 92, 95, 100, 101}


@dataclass(frozen=True)
class Metadata:
    """Raw blocks of a file, empty where it has none: EXIF as a TIFF structure, an XMP packet, IPTC datasets."""

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""


def gather(image: PillowImage.Image) -> Metadata:
    """What an opened file carries."""
    if image.format == "TIFF":
        tags = image.getexif()
        for tag in set(tags) & (_TIFF_LAYOUT | _STALE):
            del tags[tag]
        exif = tags.tobytes() if tags else b""
    else:
        exif = image.info.get("exif") or b""
    xmp = image.info.get("xmp") or b""
    blocks = image.info.get("photoshop")
    iptc = blocks.get(_IPTC_RESOURCE, b"") if isinstance(blocks, dict) else b""
    return Metadata(
        bytes(exif).removeprefix(_EXIF_PREFIX),
        xmp.encode() if isinstance(xmp, str) else bytes(xmp),
        iptc if isinstance(iptc, bytes) else b"",
    )


def fitted(metadata: Metadata, policy: Policy, width: int, height: int) -> Metadata:
    """What may be written to an upright sRGB result of this size."""
    if policy not in (image_pb2.METADATA_POLICY_KEEP, image_pb2.METADATA_POLICY_STRIP_LOCATION):
        return Metadata()
    places = policy == image_pb2.METADATA_POLICY_KEEP
    return Metadata(
        _exif(metadata.exif, places, width, height), _xmp(metadata.xmp, places), _iptc(metadata.iptc, places)
    )


def with_resolution(metadata: Metadata, dpi: int) -> Metadata:
    """The same, saying so many dots per inch in EXIF: what it says already is changed where it stands."""
    if not metadata.exif:
        said = PillowImage.Exif()
        said[_X_RESOLUTION], said[_Y_RESOLUTION], said[_RESOLUTION_UNIT] = float(dpi), float(dpi), _INCHES
        return replace(metadata, exif=said.tobytes().removeprefix(_EXIF_PREFIX))
    tiff = _Tiff(metadata.exif)
    tiff.put_ratio(tiff.first, {_X_RESOLUTION, _Y_RESOLUTION}, dpi)
    tiff.put(tiff.first, {_RESOLUTION_UNIT}, _INCHES)
    return replace(metadata, exif=bytes(tiff.data))


def photoshop_segment(iptc: bytes) -> bytes:
    """The JPEG segment APP13 that holds IPTC datasets; nothing for none."""
    if not iptc:
        return b""
    block = b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    body = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def _exif(exif: bytes, places: bool, width: int, height: int) -> bytes:
    if not exif:
        return b""
    try:
        tiff = _Tiff(exif)
        tiff.drop(tiff.first, _STALE | (set() if places else {_GPS_IFD}))
        tiff.forget_thumbnail()
        parts = [tiff.first, *tiff.pointers(tiff.first, _EXIF_IFD)]
        for part in parts[1:]:
            tiff.drop(part, {_INTEROP_IFD} if places else {_INTEROP_IFD, _GPS_IFD, _MAKER_NOTE})
        for part in parts:
            tiff.put(part, _WIDTHS, width)
            tiff.put(part, _HEIGHTS, height)
            tiff.put(part, {_COLOR_SPACE}, 1)
        return bytes(tiff.data)
    except (struct.error, ValueError) as error:
        _LOG.warning("an EXIF block was left out: %s", error)
        return b""


class _Tiff:
    """An EXIF block that is changed in place; what is dropped is overwritten with zeros."""

    def __init__(self, content: bytes) -> None:
        self.data = bytearray(content)
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
        if order is None:
            raise ValueError("no TIFF header")
        self._order = order
        (self.first,) = struct.unpack_from(order + "I", self.data, 4)

    def entries(self, ifd: int) -> Iterator[tuple[int, int, int, int]]:
        """Where each entry is, its tag, type and count."""
        for at in range(ifd + 2, ifd + 2 + 12 * self._count(ifd), 12):
            yield at, *struct.unpack_from(self._order + "HHI", self.data, at)

    def pointers(self, ifd: int, tag: int) -> list[int]:
        """Where the directories are that an entry points to; at most one."""
        return [self._number(at + 8) for at, known, _, _ in self.entries(ifd) if known == tag][:1]

    def drop(self, ifd: int, tags: Collection[int]) -> None:
        """Takes entries out and wipes what they point to."""
        kept = bytearray()
        # Taken now: in a damaged block a directory below may lie over this one and change its count.
        end = ifd + 2 + 12 * self._count(ifd)
        for at, tag, kind, count in self.entries(ifd):
            if tag not in tags:
                kept += self.data[at : at + 12]
                continue
            if tag in (_GPS_IFD, _INTEROP_IFD):
                below = self._number(at + 8)
                self.drop(below, {one for _, one, _, _ in self.entries(below)} - {_GPS_IFD, _INTEROP_IFD})
            else:
                self._wipe(at, kind, count)
        following = self.data[end : end + 4]
        struct.pack_into(self._order + "H", self.data, ifd, len(kept) // 12)
        self.data[ifd + 2 : end + 4] = (kept + following).ljust(end + 2 - ifd, b"\0")

    def forget_thumbnail(self) -> None:
        """Takes the second directory away, with the small old picture in it."""
        link = self.first + 2 + 12 * self._count(self.first)
        second = self._number(link)
        if not second:
            return
        found = {tag: self._number(at + 8) for at, tag, _, _ in self.entries(second)}
        start, length = found.get(0x201, 0), found.get(0x202, 0)
        self._zero(start, length)
        self.drop(second, set(found))
        struct.pack_into(self._order + "I", self.data, link, 0)

    def put(self, ifd: int, tags: Collection[int], value: int) -> None:
        """Sets single whole numbers."""
        for at, tag, kind, count in self.entries(ifd):
            if tag in tags and count == 1 and kind in (3, 4):
                # A short stands at the start of its four bytes.
                packed = struct.pack(self._order + ("HH" if kind == 3 else "I"), value, *([0] if kind == 3 else []))
                self.data[at + 8 : at + 12] = packed

    def put_ratio(self, ifd: int, tags: Collection[int], value: int) -> None:
        """Sets single fractions to whole numbers."""
        for at, tag, kind, count in self.entries(ifd):
            if tag in tags and count == 1 and kind == 5:
                struct.pack_into(self._order + "II", self.data, self._number(at + 8), value, 1)

    def _wipe(self, at: int, kind: int, count: int) -> None:
        length = _SIZES.get(kind, 1) * count
        if length > 4:
            self._zero(self._number(at + 8), length)

    def _zero(self, start: int, length: int) -> None:
        stop = min(start + length, len(self.data))
        if 8 <= start < stop:
            self.data[start:stop] = bytes(stop - start)

    def _count(self, ifd: int) -> int:
        (count,) = struct.unpack_from(self._order + "H", self.data, ifd)
        if ifd + 2 + 12 * count + 4 > len(self.data):
            raise ValueError("a directory reaches beyond its block")
        return int(count)

    def _number(self, at: int) -> int:
        return int(struct.unpack_from(self._order + "I", self.data, at)[0])


def _xmp(xmp: bytes, places: bool) -> bytes:
    packet = xmp.strip(b"\0 \r\n\t")
    # A document type may define entities that grow without bound; no honest packet has one, nor hides it in UTF-16.
    if not packet or len(packet) > _MOST_XMP or b"<!" in packet or b"\0" in packet:
        return b""
    try:
        document = minidom.parseString(packet)
        elements: list[Any] = [document.documentElement]
        while elements:
            element = elements.pop()
            for name in [name for name, _ in element.attributes.items() if _unwanted(name, places)]:
                element.removeAttribute(name)
            for child in list(element.childNodes):
                if child.nodeType == child.ELEMENT_NODE and _unwanted(child.tagName, places):
                    element.removeChild(child)
                elif child.nodeType == child.ELEMENT_NODE:
                    elements.append(child)
        root = document.documentElement
        body = root.toxml() if root is not None else ""
    except (ExpatError, ValueError, RecursionError) as error:
        _LOG.warning("an XMP packet was left out: %s", error)
        return b""
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{body}<?xpacket end="w"?>'.encode()


def _unwanted(name: str, places: bool) -> bool:
    space, _, local = name.rpartition(":")
    if space == "xmlns":
        return False
    return local in _XMP_STALE or (not places and (local in _XMP_PLACES or bool(_XMP_COORDINATES.search(local))))


def _iptc(iptc: bytes, places: bool) -> bytes:
    """The datasets, without those that name a place."""
    if places:
        return iptc
    kept, at = b"", 0
    while at + 5 <= len(iptc) and iptc[at] == 0x1C:
        record, dataset, length = struct.unpack_from(">BBH", iptc, at + 1)
        if length & 0x8000:  # An extended length: larger than any text.
            break
        if not (record == 2 and dataset in _IPTC_PLACES):
            kept += iptc[at : at + 5 + length]
        at += 5 + length
    return kept
