"""The Optuna study of a search as it is stored: one record for each cell, and where it is kept."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from interplay.atomic import write_text
from interplay.errors import InterplayError
from interplay.study.search.objectives import Objective

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

CELL, CHANGES, MESSAGE = "cell", "changes", "message"
"""User attributes of a record: the cell's fingerprint, its changes as JSON, why it failed."""

POINT = "point"
"""User attribute: the name of the point that was asked for, if the sampler did not choose it."""

PARENT = "parent"
"""User attribute: the fingerprint of the cell of the generation before that a population's cell starts from."""

PASSWORD = "INTERPLAY_OPTUNA_PASSWORD"
"""Environment variable with the password of a data base; it is never stored."""

_JOURNAL, _ELSEWHERE = "optuna.journal", "optuna.json"


class Records:
    """The stored Optuna study of one search. Only the driver that holds the search's lock writes to it."""

    def __init__(self, directory: Path, objectives: Sequence[Objective], url: str = "") -> None:
        """Opens or begins the study in `directory`, or in the data base at `url` (`sqlite:///...`).

        Raises:
            InterplayError: if the study is kept elsewhere already, or the data base cannot be reached.
        """
        self._storage, name = _begin(directory, url)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            study_name=name, storage=self._storage, directions=directions_of(objectives), load_if_exists=True
        )
        self._id = self._storage.get_study_id_from_name(name)
        self._count = len(self.all())

    def all(self) -> list[FrozenTrial]:
        """Every record, in the order they were made."""
        return self._study.get_trials(deepcopy=False)

    def add(
        self, like: FrozenTrial, attributes: Mapping[str, Any], system_attributes: Mapping[str, Any]
    ) -> FrozenTrial:
        """Adds a running record with the parameters of `like`, in one write."""
        record = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=like.params,
            distributions=like.distributions,
            user_attrs=dict(attributes),
            system_attrs=dict(system_attributes),
        )
        self._study.add_trial(record)
        record.number = self._count
        self._count += 1
        return record

    def end(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None,
        *,
        message: str = "",
        intermediate: Mapping[int, float] | None = None,
    ) -> None:
        """Ends a record that runs: its values, why it has none, or what it reached at each epoch if it was cut."""
        trial = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        if message:
            self._storage.set_trial_user_attr(trial, MESSAGE, message)
        for epoch, value in (intermediate or {}).items():
            self._storage.set_trial_intermediate_value(trial, epoch, value)
        self._study.tell(number, values, state=state)

    def note(self, key: str, default: Any) -> Any:
        """What was noted of the whole study under `key`."""
        return self._study.user_attrs.get(key, default)

    def set_note(self, key: str, value: Any) -> None:
        self._study.set_user_attr(key, value)


def directions_of(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """As Optuna says them."""
    return [StudyDirection.MAXIMIZE if o.maximise else StudyDirection.MINIMIZE for o in objectives]


def is_begun(directory: Path) -> bool:
    """Whether there is an Optuna study of the search in `directory`."""
    return (directory / _ELSEWHERE).is_file() or (directory / _JOURNAL).is_file()


def open_study(directory: Path) -> optuna.Study:
    """The stored Optuna study of a search, for reading.

    Raises:
        InterplayError: if the search has not been started, or its data base cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if (directory / _ELSEWHERE).is_file():
        place = json.loads((directory / _ELSEWHERE).read_text(encoding="utf-8"))
        return optuna.load_study(study_name=place["study"], storage=_data_base(place["url"]))
    journal = directory / _JOURNAL
    if not journal.is_file():
        raise InterplayError(f"study {directory.name!r} has not been started: there is no {journal}")
    try:
        return optuna.load_study(study_name=directory.name, storage=_read_journal(journal))
    except KeyError:
        raise InterplayError(_damaged(journal, "it holds no such study")) from None


def check_storage(directory: Path, url: str) -> None:
    """Refuses a place for the Optuna study that cannot be used; nothing is written, in the data base neither.

    Raises:
        InterplayError: if the study is kept elsewhere already, or the data base cannot be reached.
    """
    if not url:
        return
    wanted = _without_password(url)
    if (directory / _ELSEWHERE).is_file():
        there = json.loads((directory / _ELSEWHERE).read_text(encoding="utf-8"))["url"]
        if there != wanted:
            raise InterplayError(f"study {directory.name!r} is kept in {there}; leave --optuna-storage out")
    elif (directory / _JOURNAL).is_file():
        raise InterplayError(
            f"study {directory.name!r} is kept in {directory / _JOURNAL}; leave --optuna-storage out"
        )
    _check_reachable(url)


def _check_reachable(url: str) -> None:
    """Connects, but for a SQLite file that is not there: that would make it."""
    from sqlalchemy import create_engine

    shown, address = _without_password(url), _address(url)
    if address.drivername.startswith("sqlite") and address.database and not Path(address.database).exists():
        folder = Path(address.database).parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise InterplayError(
                f"--optuna-storage {shown} cannot be reached: nothing can be written to {folder}; name another place"
            )
        return
    with _explained(url):
        engine = create_engine(address)
        try:
            engine.connect().close()
        finally:
            engine.dispose()


def _begin(directory: Path, url: str) -> tuple[BaseStorage, str]:
    check_storage(directory, url)
    directory.mkdir(parents=True, exist_ok=True)
    elsewhere = directory / _ELSEWHERE
    if url and not elsewhere.is_file():
        # a name of its own: two storage roots may share a data base
        place = {"url": _without_password(url), "study": f"{directory.name}-{secrets.token_hex(4)}"}
        write_text(elsewhere, json.dumps(place))
    if elsewhere.is_file():
        place = json.loads(elsewhere.read_text(encoding="utf-8"))
        return _data_base(url or place["url"]), place["study"]
    return _read_journal(directory / _JOURNAL), directory.name


def _read_journal(path: Path) -> JournalStorage:
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, TypeError, AssertionError) as error:  # whatever a line lacks
        raise InterplayError(_damaged(path, f"{type(error).__name__}: {error}")) from None


def _damaged(journal: Path, reason: str) -> str:
    return f"{journal} is damaged ({reason}); remove it and run the search again: its finished cells are kept"


def _data_base(url: str) -> BaseStorage:
    with _explained(url):
        return optuna.storages.RDBStorage(_address(url).render_as_string(hide_password=False))


def _address(url: str) -> URL:
    """With the password, and the whole path of a file."""
    from sqlalchemy.engine import make_url

    address = make_url(url)
    if address.username and not address.password and os.environ.get(PASSWORD):
        address = address.set(password=os.environ[PASSWORD])
    if address.drivername.startswith("sqlite") and address.database:
        address = address.set(database=str(Path(address.database).absolute()))
    return address


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Around whatever reaches for the data base: why it could not."""
    from sqlalchemy.exc import SQLAlchemyError

    shown = _without_password(url)
    try:
        yield
    except ImportError:
        raise InterplayError(
            f"--optuna-storage {shown} needs a driver: pip install {_address(url).get_driver_name()}"
        ) from None
    except (SQLAlchemyError, RuntimeError) as error:
        # not its message: that may quote the whole address
        raise InterplayError(
            f"--optuna-storage {shown} cannot be reached ({type(error).__name__}); check the address, and {PASSWORD}"
        ) from None


def _without_password(url: str) -> str:
    """The address as it may be stored and shown.

    Raises:
        InterplayError: if it is no address of a data base, or holds a password where it cannot be told apart.
    """
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except ArgumentError:
        raise InterplayError("--optuna-storage is the address of a data base, as in sqlite:///search.db") from None
    if any("pass" in key.lower() for key in address.query):
        raise InterplayError(f"give the password of --optuna-storage in the environment variable {PASSWORD}")
    if address.drivername.startswith("sqlite") and address.database:
        address = address.set(database=str(Path(address.database).absolute()))
    bare = URL.create(  # `set(password=None)` leaves it there
        address.drivername, address.username, None, address.host, address.port, address.database, address.query
    )
    return bare.render_as_string(hide_password=False)
