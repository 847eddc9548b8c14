// A scheduler on mesos-framework. Settings: host, port, name, tasks (name → { command, instances }), restartStates, watch (milliseconds
// without a heartbeat after which it subscribes anew). Talks with the test as the Python scripts do: one JSON object a line.
"use strict";

const os = require("os");
const readline = require("readline");
const { Scheduler, Mesos } = require("mesos-framework");

const wish = JSON.parse(process.argv[2]);
const tell = (event, details) => process.stdout.write(JSON.stringify({ ...details, event }) + "\n");

const { CommandInfo } = Mesos.getMesos();
const tasks = {};
for (const [name, { command, instances }] of Object.entries(wish.tasks)) {
    tasks[name] = {
        priority: 1,
        instances,
        commandInfo: new CommandInfo(null, null, true, command, null, null),
        resources: { cpus: 0.1, mem: 32, ports: 1, disk: 0 },
    };
}
const options = {
    masterUrl: wish.host,
    port: wish.port,
    frameworkName: wish.name,
    user: os.userInfo().username,
    logging: { path: ".", fileName: "mesos-framework.log", level: "debug" },
    tasks,
};
if (wish.restartStates) options.restartStates = wish.restartStates;
const scheduler = new Scheduler(options);

scheduler.on("ready", () => scheduler.subscribe());
scheduler.on("sent_subscribe", () => tell("sent_subscribe"));
scheduler.on("subscribed", ({ frameworkId }) =>
    tell("subscribed", { framework: frameworkId, master: `${scheduler.options.masterUrl}:${scheduler.options.port}` }));
scheduler.on("heartbeat", () => tell("heartbeat"));
scheduler.on("offers", (offers) => tell("offers", offers));
scheduler.on("rescind", (rescind) => tell("rescinded", { offer: rescind.offer_id.value }));
scheduler.on("update", ({ status }) => tell("update", { task: status.task_id.value, state: status.state, status }));
scheduler.on("failure", (failure) => tell("failure", { failure }));
scheduler.on("error", (error) => tell("error", { message: error.message || String(error) }));
for (const call of ["accept", "decline", "acknowledge", "kill", "revive", "reconcile", "teardown"]) {
    scheduler.on(`sent_${call}`, () => tell(`sent_${call}`));
}

// On a current Node the library does not hear of a connection that breaks without an end: its owner watches the heartbeats.
function subscribeAnew() {
    tell("resubscribes");
    scheduler.mesosStreamId = undefined;
    scheduler.generateRequestTemplate();
    scheduler.lastHeartbeat = Date.now();
    scheduler.subscribe();
}
if (wish.watch) {
    setInterval(() => {
        if (scheduler.lastHeartbeat && Date.now() - scheduler.lastHeartbeat > wish.watch) subscribeAnew();
    }, 250);
}

const commands = {
    kill: ({ id, agent }) => scheduler.kill(id, agent),
    revive: () => scheduler.revive(),
    reconcile: () => scheduler.reconcile(),
    tear_down: () => scheduler.teardown(),
};
readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
});
