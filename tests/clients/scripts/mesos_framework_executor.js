// An executor on mesos-framework. A task runs until its kill, or ends at once if its data says `end`. The library wants a handler for every
// event, or it fails on the first one without.
"use strict";

const crypto = require("crypto");
const { Executor } = require("mesos-framework");

const report = (taskId, state) =>
    executor.update({
        task_id: taskId,
        executor_id: executor.executorId,
        state,
        source: "SOURCE_EXECUTOR",
        timestamp: Date.now() / 1000,
        uuid: crypto.randomBytes(16).toString("base64"),
        message: `pid ${process.pid}`,
    });

const executor = new Executor({
    handlers: {
        SUBSCRIBED: (subscribed) => executor.message(`subscribed ${subscribed.executor_info.executor_id.value}`),
        LAUNCH: ({ task }) => {
            report(task.task_id, "TASK_RUNNING");
            if (Buffer.from(task.data || "", "base64").toString() === "end") report(task.task_id, "TASK_FINISHED");
        },
        KILL: ({ task_id }) => report(task_id, "TASK_KILLED"),
        ACKNOWLEDGED: (acknowledged) => {},
        MESSAGE: ({ data }) => executor.message(`heard ${Buffer.from(data, "base64")}`),
        ERROR: (error) => console.error(error),
        SHUTDOWN: (shutdown) => process.exit(0),
    },
});
executor.on("error", (error) => console.error(error));
executor.subscribe();
