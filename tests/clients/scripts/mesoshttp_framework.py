"""A framework on mesoshttp. Settings: masters (URLs, in the order in which the library is to try them), name, failover_timeout."""

import logging

from mesoshttp.client import MesosClient

from talk import Wanted, command_task, obey, settings, tell, user

logging.basicConfig(level=logging.INFO)
wish = settings()
wanted = Wanted()
client = MesosClient(mesos_urls=wish["masters"], frameworkName=wish["name"], frameworkUser=user, max_reconnect=20)
client.set_failover_timeout(wish.get("failover_timeout", 600))
drivers = []


def subscribed(driver):
    drivers.append(driver)
    tell("subscribed", framework=client.frameworkId, master=client.get_master_info())


def offers(offers):
    tell("offers", offers=[offer.get_offer() for offer in offers])
    for offer in offers:
        tasks = wanted.take()
        for task in tasks:
            task["agent_id"] = offer.get_offer()["agent_id"]
        if tasks:
            offer.accept(tasks)
        else:
            offer.decline({"filters": {"refuse_seconds": 3600.0}})


def update(update):
    status = update["status"]
    tell("update", task=status["task_id"]["value"], state=status["state"], status=status)


client.on(MesosClient.SUBSCRIBED, subscribed)
client.on(MesosClient.OFFERS, offers)
client.on(MesosClient.UPDATE, update)
client.on(MesosClient.ERROR, lambda message: tell("error", message=message))
client.on(MesosClient.FAILURE, lambda failure: tell("failure", failure=failure))
client.on(MesosClient.RESCIND, lambda rescind: tell("rescinded", offer=rescind["offer_id"]["value"]))
client.on(MesosClient.HEARTBEAT, lambda heartbeat: tell("heartbeat"))
client.on(MesosClient.DISCONNECTED, lambda message: tell("disconnected"))
client.on(MesosClient.RECONNECTED, lambda message: tell("reconnected"))


def launch(id, command):
    wanted.add(command_task(id, command))
    drivers[-1].revive()


obey({
    "launch": launch,
    "kill": lambda id, agent: drivers[-1].kill(agent, id),
    "reconcile": lambda tasks: drivers[-1].reconcile([{"task_id": {"value": id}} for id in tasks]),
    "tear_down": client.tearDown,
})
tell("ended", result=client.register())
