"""Objects that are created once per process."""

import pickle
import threading
import time

from transforms.process import forget_shared_objects, once_per_process

made: list[str] = []


@once_per_process
def connection(name: str) -> object:
    """Return a new object, slowly, so that other threads call while it is being made."""
    made.append(name)
    time.sleep(0.05)
    return object()


def test_threads_share_one_object_for_the_same_arguments() -> None:
    """Ten threads at once get the same object, which is created once; other arguments give another object."""
    forget_shared_objects()
    made.clear()
    got: list[object] = []
    meeting = threading.Barrier(10, timeout=60)

    def call() -> None:
        meeting.wait()
        got.append(connection("a"))

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len({id(it) for it in got}), made) == (10, 1, ["a"])
    assert connection("b") is not connection("a")


def test_a_new_process_creates_its_own() -> None:
    """After the cache is cleared, the next call creates a new object."""
    first = connection("a")
    forget_shared_objects()
    assert connection("a") is not first


def test_the_function_is_pickled_by_name() -> None:
    """A step may hold the function: it is pickled by reference, without its lock and its objects."""
    assert pickle.loads(pickle.dumps(connection)) is connection  # noqa: S301 - pickled in the line itself
