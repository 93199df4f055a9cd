import subprocess
import sys

from llmbench.runner.protocol import Heartbeat

BEAT = "import sys; from llmbench.runner.protocol import Heartbeat; Heartbeat(int(sys.argv[1])).beat(3, 42)"


def test_another_process_sees_the_last_beat() -> None:
    """The two numbers are shared by descriptor; before the first beat of a request nothing is known of it."""
    heartbeat = Heartbeat.create()
    assert heartbeat.last() is None
    descriptor = heartbeat.descriptor
    subprocess.run([sys.executable, "-c", BEAT, str(descriptor)], check=True, pass_fds=(descriptor,))

    assert (3, 42) == heartbeat.last()
    heartbeat.clear()
    assert heartbeat.last() is None
    heartbeat.close()
