"""What was said and made before, by caller and conversation: kept on disk, within limits, for a while.

A turn holds the goal's words, what was read out of them, the pictures that it took and those that it gave, by their
sha256. A conversation belongs to the caller who began it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from diptych.errors import PermissionDenied
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.memory.store import Statement, Store
from services.orchestrator.planning.wanted import Wanted

MOST_TURNS = 50
_TABLES = """
create table if not exists conversation (id text primary key, caller text not null);
create table if not exists turn (
  id integer primary key, conversation text not null references conversation (id) on delete cascade,
  caller text not null, at real not null, goal text not null, operations text not null, undoes integer not null,
  before text not null, takes text not null, gives text not null, plan blob not null
);
create index if not exists turn_by_conversation on turn (conversation, id);
create table if not exists picture (
  caller text not null, sha256 text not null, content blob not null, format integer not null, width integer not null,
  height integer not null, marking integer not null, primary key (caller, sha256)
);
"""


@dataclass(frozen=True)
class Kept:
    """A picture that is kept, and how it is labelled."""

    image: image_pb2.Image
    marking: image_pb2.Marking.ValueType

    @property
    def sha256(self) -> str:
        """Its name."""
        return hashlib.sha256(self.image.content).hexdigest()


@dataclass(frozen=True)
class Turn:
    """One goal of a conversation. `plan`: what ran, or what was asked back.

    `before`, `takes`, `gives`: by sha256, the pictures that it found, that it worked on, and that it made.
    """

    goal: str
    operations: tuple[Wanted, ...]
    plan: v1.Plan
    before: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    undoes: bool = False


@dataclass(frozen=True)
class Conversation:
    """What was said so far, oldest first."""

    turns: tuple[Turn, ...] = ()

    @property
    def standing(self) -> list[Turn]:
        """The turns that gave pictures and were not undone."""
        stack: list[Turn] = []
        for turn in self.turns:
            if turn.undoes and stack:
                stack.pop()
            elif not turn.undoes and turn.gives:
                stack.append(turn)
        return stack

    @property
    def pictures(self) -> tuple[str, ...]:
        """What the conversation is about now."""
        return next((turn.gives for turn in reversed(self.turns) if turn.gives), ())

    @property
    def question(self) -> v1.Clarification | None:
        """What was asked back last, if nothing was said since."""
        last = self.turns[-1].plan if self.turns else v1.Plan()
        return last.clarification if last.HasField("clarification") else None


@dataclass
class Conversations:
    """The kept conversations of all callers. `most_bytes`: of pictures, for each caller; every call on one thread."""

    store: Store
    seconds: float = 86400.0
    most_bytes: int = 256 * 2**20
    clock: Callable[[], float] = field(default=time.time)

    def __post_init__(self) -> None:
        self.store.prepare(_TABLES)

    def recall(self, caller: str, conversation: str) -> Conversation:
        """What was said in a conversation, empty when it is new. PermissionDenied when it is another caller's."""
        self._forget_old()
        owners = self.store.rows("select caller from conversation where id = ?", [conversation])
        if owners and owners[0][0] != caller:
            why = f"conversation {conversation!r} was begun by another caller; choose an id of your own"
            raise PermissionDenied(why, reason="CONVERSATION_OF_ANOTHER")
        rows = self.store.rows(
            "select goal, operations, undoes, before, takes, gives, plan from turn where conversation = ? order by id",
            [conversation],
        )
        turns = (
            Turn(
                goal,
                _operations(read),
                v1.Plan.FromString(plan),
                before=_split(before),
                takes=_split(takes),
                gives=_split(gives),
                undoes=bool(undoes),
            )
            for goal, read, undoes, before, takes, gives, plan in rows
        )
        return Conversation(tuple(turns))

    def keep(self, caller: str, conversation: str, turn: Turn, pictures: Sequence[Kept]) -> None:
        """Adds a turn and its pictures; the caller's oldest turns go where the limits ask for it."""
        self.recall(caller, conversation)
        read = json.dumps([[one.name, dict(one.slots), one.clause] for one in turn.operations])
        said = [*map(" ".join, (turn.before, turn.takes, turn.gives)), turn.plan.SerializeToString()]
        self.store.write(
            [
                ("insert or ignore into conversation values (?, ?)", [conversation, caller]),
                (
                    "insert into turn (conversation, caller, at, goal, operations, undoes, before, takes, gives, plan) "
                    "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [conversation, caller, self.clock(), turn.goal, read, turn.undoes, *said],
                ),
                *(_kept(caller, picture) for picture in pictures),
                (
                    "delete from turn where conversation = ? and id not in "
                    "(select id from turn where conversation = ? order by id desc limit ?)",
                    [conversation, conversation, MOST_TURNS],
                ),
            ]
        )
        self._fit(caller)

    def picture(self, caller: str, sha256: str) -> Kept | None:
        """One of the caller's kept pictures; None when it is not kept, or no more."""
        found = self.store.rows(
            "select content, format, width, height, marking from picture where caller = ? and sha256 = ?",
            [caller, sha256],
        )
        if not found:
            return None
        content, form, width, height, marking = found[0]
        return Kept(image_pb2.Image(content=content, format=form, width=width, height=height), marking)

    def _forget_old(self) -> None:
        before = self.clock() - self.seconds
        if self.store.rows("select 1 from turn where at < ? limit 1", [before]):
            self.store.write([("delete from turn where at < ?", [before]), *_SWEEP])

    def _fit(self, caller: str) -> None:
        """Forgets the caller's oldest turns until the pictures of the others fit."""
        while True:
            self.store.write(_SWEEP)
            total = self.store.rows("select coalesce(sum(length(content)), 0) from picture where caller = ?", [caller])
            oldest = self.store.rows("select id from turn where caller = ? order by id limit 1", [caller])
            if total[0][0] <= self.most_bytes or not oldest:
                return
            self.store.write([("delete from turn where id = ?", oldest[0])])


# Conversations without turns, and pictures that no turn speaks of.
_SWEEP: tuple[Statement, ...] = (
    ("delete from conversation where not exists (select 1 from turn where conversation = conversation.id)", ()),
    (
        "delete from picture where not exists (select 1 from turn where turn.caller = picture.caller "
        "and instr(turn.before || ' ' || turn.takes || ' ' || turn.gives, picture.sha256) > 0)",
        (),
    ),
)


def _kept(caller: str, picture: Kept) -> Statement:
    image = picture.image
    values = [caller, picture.sha256, image.content, image.format, image.width, image.height, picture.marking]
    return "insert or ignore into picture values (?, ?, ?, ?, ?, ?, ?)", values


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _operations(text: str) -> tuple[Wanted, ...]:
    return tuple(Wanted(name, slots, clause) for name, slots, clause in json.loads(text))
