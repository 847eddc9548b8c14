"""A scheduler on pymesos. Settings: master, name, and as wanted: masters (all of them, watched for a change of leader), principal and
secret, executor (the command line of a custom executor), checkpoint, failover_timeout."""

import json
import threading
import time
from http.client import HTTPConnection

import pymesos

from talk import Wanted, command_task, obey, scalar, settings, tell, user

wish = settings()
wanted = Wanted()


class Echo(pymesos.Scheduler):
    def registered(self, driver, framework_id, master_info):
        tell("registered", framework=framework_id["value"], master=master_info)

    def reregistered(self, driver, master_info):
        tell("reregistered", framework=driver.framework_id, master=master_info)

    def disconnected(self, driver):
        tell("disconnected")

    def processHeartBeat(self, driver):
        tell("heartbeat")

    def resourceOffers(self, driver, offers):
        tell("offers", offers=offers)
        for offer in offers:
            tasks = wanted.take()
            for task in tasks:
                task["agent_id"] = offer["agent_id"]
            if tasks:
                driver.launchTasks(offer["id"], tasks)
            else:
                driver.declineOffer(offer["id"], {"refuse_seconds": 3600})

    def offerRescinded(self, driver, offer_id):
        tell("rescinded", offer=offer_id["value"])

    def statusUpdate(self, driver, status):
        tell("update", task=status["task_id"]["value"], state=status["state"], status=status)

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        text = pymesos.decode_data(message).decode()
        tell("message", executor=executor_id["value"], agent=agent_id["value"], text=text)

    def slaveLost(self, driver, agent_id):
        tell("agent_lost", agent=agent_id["value"])

    def executorLost(self, driver, executor_id, agent_id, status):
        tell("executor_lost", executor=executor_id["value"], agent=agent_id["value"], status=status)

    def error(self, driver, message):
        tell("error", message=message)


framework = {"user": user, "name": wish["name"], "checkpoint": wish.get("checkpoint", True)}
if "failover_timeout" in wish:
    framework["failover_timeout"] = wish["failover_timeout"]
if "principal" in wish:
    framework["principal"] = wish["principal"]
driver = pymesos.MesosSchedulerDriver(
    Echo(), framework, wish["master"], principal=wish.get("principal"), secret=wish.get("secret")
)


def launch(id, command):
    wanted.add(command_task(id, command))
    driver.reviveOffers()


def execute(id, data):
    """Launches a task of the custom executor; `data` is its work."""
    wanted.add({
        "name": id,
        "task_id": {"value": id},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        "data": pymesos.encode_data(data.encode()),
        "executor": {
            "executor_id": {"value": "echo"},
            "type": "CUSTOM",
            "name": "echo",
            "command": {"value": wish["executor"]},
            "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        },
    })
    driver.reviveOffers()


def message(agent, text):
    driver.sendFrameworkMessage({"value": "echo"}, {"value": agent}, pymesos.encode_data(text.encode()))


class Watch(threading.Thread):
    """Stands where the library's own detector does: asks the masters who leads, and tells the driver of a change in the way in which that
    one does. The library's detector asks ZooKeeper, which a Tepui cluster does not have."""

    def run(self):
        while True:
            leader = self.leader()
            if leader != driver.master:
                tell("detected", master=leader)
                if leader is None:
                    driver.onNoMasterDetectedMessage()
                else:
                    host, port = leader.split(":")
                    driver.onNewMasterDetectedMessage(json.dumps({"address": {"ip": host, "port": int(port)}}))
            time.sleep(0.1)

    def leader(self):
        """The master that says of itself that it leads."""
        return next((master for master in wish["masters"] if self.named_by(master) == master), None)

    def named_by(self, master):
        connection = HTTPConnection(*master.split(":"), timeout=2)
        try:
            connection.request("GET", "/redirect")
            return (connection.getresponse().getheader("Location") or "").strip("/")
        except OSError:
            return None
        finally:
            connection.close()


obey({
    "launch": launch,
    "execute": execute,
    "message": message,
    "kill": lambda id: driver.killTask({"value": id}),
    "reconcile": lambda tasks: driver.reconcileTasks([{"task_id": {"value": id}} for id in tasks]),
    "suppress": driver.suppressOffers,
    "watch": Watch(daemon=True).start,
    "stop": driver.stop,
})
try:
    driver.run()
    tell("ended")
except BaseException as error:
    tell("aborted", error=repr(error))
