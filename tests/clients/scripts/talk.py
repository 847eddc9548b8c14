"""How the drivers in this folder talk with the test that started them: one JSON object a line, events out, commands in.

The scripts decide nothing: they pass on what a library calls back, and call the library when they are told to."""

import getpass
import json
import sys
import threading

user = getpass.getuser()
_lock = threading.Lock()


def tell(event, **details):
    """Tells the test what has happened."""
    with _lock:
        print(json.dumps(dict(details, event=event)), flush=True)


def settings():
    """What the test wants of this run."""
    return json.loads(sys.argv[1])


def obey(commands):
    """Starts carrying out the test's commands, each by the function of that name. What a command raises is told."""

    def listen():
        for line in sys.stdin:
            command = json.loads(line)
            name = command.pop("do")
            try:
                commands[name](**command)
            except Exception as error:
                tell("failed", command=name, error=repr(error))

    threading.Thread(target=listen, daemon=True).start()


def scalar(name, amount):
    return {"name": name, "type": "SCALAR", "scalar": {"value": amount}}


def command_task(id, command):
    """A task of the smallest usual size, without its agent."""
    return {
        "name": id,
        "task_id": {"value": id},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        "command": {"value": command},
    }


class Wanted:
    """Tasks that wait for an offer."""

    def __init__(self):
        self._lock = threading.Lock()
        self._tasks = []

    def add(self, task):
        with self._lock:
            self._tasks.append(task)

    def take(self):
        with self._lock:
            tasks, self._tasks = self._tasks, []
            return tasks
