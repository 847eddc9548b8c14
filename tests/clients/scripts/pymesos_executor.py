"""An executor on pymesos. A task's data is its work: the text is answered as a framework message, then the task ends; a text
`until <file>` keeps it running until that file exists."""

import os
import threading
import time

import pymesos


class Echo(pymesos.Executor):
    def registered(self, driver, executor_info, framework_info, agent_info):
        say(driver, "registered %d" % os.getpid())

    def reregistered(self, driver, agent_info):
        say(driver, "reregistered %d" % os.getpid())

    def launchTask(self, driver, task):
        threading.Thread(target=work, args=(driver, task), daemon=True).start()

    def killTask(self, driver, task_id):
        update(driver, task_id, "TASK_KILLED")

    def frameworkMessage(self, driver, message):
        say(driver, "heard " + pymesos.decode_data(message).decode())

    def shutdown(self, driver):
        os._exit(0)


def say(driver, text):
    driver.sendFrameworkMessage(pymesos.encode_data(text.encode()))


def update(driver, task_id, state):
    """Reports a state, again and again while the agent is away."""
    status = {"task_id": task_id, "state": state, "message": "pid %d" % os.getpid()}
    while True:
        try:
            return driver.sendStatusUpdate(status)
        except Exception:
            time.sleep(0.2)


def work(driver, task):
    update(driver, task["task_id"], "TASK_RUNNING")
    text = pymesos.decode_data(task["data"]).decode()
    if text.startswith("until "):
        while not os.path.exists(text[len("until "):]):
            time.sleep(0.1)
    else:
        say(driver, text)
    update(driver, task["task_id"], "TASK_FINISHED")


pymesos.MesosExecutorDriver(Echo()).run()
