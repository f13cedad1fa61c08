from pathlib import Path

import pytest

from diptych.errors import PermissionDenied
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.memory.conversations import MOST_TURNS, Conversations, Kept, Turn
from services.orchestrator.memory.store import Store


def kept(content: bytes) -> Kept:
    return Kept(image_pb2.Image(content=content, width=3), image_pb2.MARKING_GENERATED)


def say(memory: Conversations, content: bytes, *, caller: str = "ann", conversation: str = "c") -> Kept:
    picture = kept(content)
    memory.keep(caller, conversation, Turn("g", (), v1.Plan(digest="d"), gives=(picture.sha256,)), [picture])
    return picture


def test_a_picture_comes_back_as_it_was() -> None:
    memory = Conversations(Store(None))
    picture = say(memory, b"abc")
    assert memory.picture("ann", picture.sha256) == picture
    assert memory.picture("bob", picture.sha256) is None
    assert memory.recall("ann", "c").turns[0].plan.digest == "d"


def test_it_belongs_to_who_began_it() -> None:
    memory = Conversations(Store(None))
    say(memory, b"abc")
    with pytest.raises(PermissionDenied):
        memory.recall("bob", "c")
    with pytest.raises(PermissionDenied):
        say(memory, b"x", caller="bob")
    assert not memory.recall("bob", "other").turns


def test_it_is_forgotten_after_a_while_and_its_pictures_too() -> None:
    now = [1000.0]
    memory = Conversations(Store(None), seconds=60, clock=lambda: now[0])
    picture = say(memory, b"abc")
    now[0] += 59
    assert memory.recall("ann", "c").turns
    now[0] += 2
    assert not memory.recall("ann", "c").turns and memory.picture("ann", picture.sha256) is None
    assert not memory.recall("bob", "c").turns  # its id is free again


def test_the_oldest_go_where_pictures_take_too_much() -> None:
    memory = Conversations(Store(None), most_bytes=10)
    first, second, third = say(memory, b"aaaa"), say(memory, b"bbbb", conversation="d"), say(memory, b"cccc")
    others = say(memory, b"dddd", caller="bob", conversation="e")
    assert memory.picture("ann", first.sha256) is None
    assert all(memory.picture("ann", one.sha256) for one in (second, third)) and memory.picture("bob", others.sha256)
    say(memory, b"x" * 11)
    assert memory.picture("ann", third.sha256) is None and not memory.recall("ann", "c").turns


def test_turns_are_bounded() -> None:
    memory = Conversations(Store(None))
    for number in range(MOST_TURNS + 3):
        say(memory, bytes([number]))
    assert len(memory.recall("ann", "c").turns) == MOST_TURNS


def test_a_picture_that_two_turns_speak_of_stays_while_one_does() -> None:
    memory = Conversations(Store(None), most_bytes=6)
    shared = say(memory, b"aaa")
    say(memory, b"aaa", conversation="d")
    say(memory, b"bbb")
    assert memory.picture("ann", shared.sha256)


def test_it_is_on_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    picture = say(Conversations(store), b"abc")
    store.close()
    assert Conversations(Store(tmp_path)).picture("ann", picture.sha256) == picture
