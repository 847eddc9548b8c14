"""An operator on pymesos: calls of a master's or an agent's operator API by the library's names, and the events of a master's stream.
Settings: master, and agent if one is to be asked."""

import time

import pymesos

from talk import obey, settings, tell

wish = settings()


class Ear(pymesos.OperatorMaster):
    def taskAdded(self, task_info):
        tell("task_added", task=task_info)

    def taskUpdated(self, task_info):
        tell("task_updated", update=task_info)

    def frameworkAdded(self, framework_info):
        tell("framework_added", framework=framework_info)

    def frameworkUpdated(self, framework_info):
        tell("framework_updated", framework=framework_info)

    def frameworkRemoved(self, framework_info):
        tell("framework_removed", framework=framework_info)

    def agentAdded(self, agent_info):
        tell("agent_added", agent=agent_info)

    def agentRemoved(self, agent_id):
        tell("agent_removed", agent=agent_id)


class Listener(pymesos.MesosOperatorMasterDriver):
    """The library calls nobody when a stream begins."""

    def on_subscribed(self, info):
        super().on_subscribed(info)
        tell("subscribed")


listener = Listener(wish["master"], Ear())
master = pymesos.MesosOperatorMasterDriver(wish["master"])
agent = pymesos.MesosOperatorAgentDriver(wish["agent"]) if "agent" in wish else None


def call(method, arguments=(), of="master"):
    target = agent if of == "agent" else master
    tell("answer", method=method, of=of, answer=getattr(target, method)(*arguments))


obey({"call": call, "subscribe": listener.start, "stop": listener.stop})
tell("ready")
try:
    # Ends with the process, or with what the library's own thread died of, which it raises here.
    while True:
        time.sleep(0.2)
except BaseException as error:
    tell("aborted", error=repr(error))
