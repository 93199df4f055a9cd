import os

from llmbench.heartbeat import Heartbeat


def test_another_process_sees_the_last_beat() -> None:
    """The two numbers are shared by descriptor; before the first beat of a request nothing is known of it."""
    heartbeat = Heartbeat.create()
    assert heartbeat.last() is None
    pid = os.fork()
    if pid == 0:
        Heartbeat(heartbeat.descriptor).beat(3, 42)
        os._exit(0)
    os.waitpid(pid, 0)

    assert (3, 42) == heartbeat.last()
    heartbeat.clear()
    assert heartbeat.last() is None
    heartbeat.close()
