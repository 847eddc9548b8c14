#!/usr/bin/env bash
# Reserves disk, makes a volume of it and has a task write into it, in one ACCEPT; acknowledges what became of the operations; then
# takes volume and reservation back and leaves. Speaks the v1 API with curl and jq alone: bash examples/volume.sh, with TEPUI_MASTERS set
# as `tepui local` prints it, or bash examples/volume.sh HOST:PORT
set -euo pipefail
masters=${1:-${TEPUI_MASTERS:-127.0.0.1:5050}}
stream=
folder=$(mktemp -d)
trap '[ -z "$stream" ] || kill "$stream" 2>/dev/null || true; rm -rf "$folder"' EXIT

json=(-sS -H 'Content-Type: application/json')
master=
for one in ${masters//,/ }; do  # whoever leads, says the first that knows
  master=$(curl -s -o /dev/null -w '%{redirect_url}' "http://$one/redirect") && [ -n "$master" ] && break || master=
done
[ -n "$master" ] || { echo "no master at $masters knows who leads; set TEPUI_MASTERS to what \`tepui local\` printed" >&2; exit 1; }
master=${master%/}
curl "${json[@]}" -N -D "$folder/head" -o "$folder/stream" "$master/api/v1/scheduler" -d '{
  "type": "SUBSCRIBE", "subscribe": {"framework_info": {
    "user": "nobody", "name": "volume", "roles": ["web"], "failover_timeout": 60,
    "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}]}}}' &
stream=$!

# The first event for which a jq expression holds, of all that came so far or come within a minute. Each record is one line of JSON, with the length of the next behind it.
event() {
  for _ in $(seq 600); do
    found=$(sed 's/}[0-9]*$/}/' "$folder/stream" 2>/dev/null | grep '^{' | jq -c "select($1)" 2>/dev/null | head -1) || true
    [ -n "$found" ] && echo "$found" && return
    read -r -t 0.1 < <(:) || true
  done
  echo "no event with $1" >&2; return 1
}
call() {
  local id=$(sed -n 's/^mesos-stream-id: *//Ip' "$folder/head" | tr -d '\r')
  curl "${json[@]}" -H "Mesos-Stream-Id: $id" -D "$folder/answer" "$master/api/v1/scheduler" -d "$(jq -c --arg id "$framework" '.framework_id.value = $id' <<<"$1")"
  grep -E '^(HTTP|tepui-warning)' "$folder/answer"
}

framework=$(event '.type == "SUBSCRIBED"' | jq -r .subscribed.framework_id.value)
offer=$(event '.type == "OFFERS"' | jq -c '.offers.offers[0]')
agent=$(jq -c .agent_id <<<"$offer")
reserved='{"name": "disk", "type": "SCALAR", "scalar": {"value": 64}, "reservations": [{"type": "DYNAMIC", "role": "web"}]}'
volume=$(jq -c '.disk = {"persistence": {"id": "data"}, "volume": {"container_path": "data", "mode": "RW"}}' <<<"$reserved")

echo "== RESERVE, CREATE and LAUNCH on an offer of agent $agent"
call "$(jq -n --argjson offer "$offer" --argjson reserved "$reserved" --argjson volume "$volume" '{
  type: "ACCEPT", accept: {offer_ids: [$offer.id], filters: {refuse_seconds: 0}, operations: [
    {type: "RESERVE", id: {value: "reserve"}, reserve: {resources: [$reserved]}},
    {type: "CREATE", id: {value: "create"}, create: {volumes: [$volume]}},
    {type: "LAUNCH", launch: {task_infos: [{
      name: "writer", task_id: {value: "writer"}, agent_id: $offer.agent_id,
      command: {value: "echo hello from $(hostname) >> data/log && cat data/log"},
      resources: [$volume, {name: "cpus", type: "SCALAR", scalar: {value: 0.1}}, {name: "mem", type: "SCALAR", scalar: {value: 32}}]}]}}]}}')"
for operation in reserve create; do
  status=$(event ".update_operation_status.status.operation_id.value == \"$operation\"" | jq -c .update_operation_status.status)
  echo "$operation: $(jq -r .state <<<"$status")"
  # Until this is said, the status comes again, from whichever master leads.
  call "$(jq -c '{type: "ACKNOWLEDGE_OPERATION_STATUS", acknowledge_operation_status: {agent_id, operation_id, uuid: .uuid.value}}' <<<"$status")"
done
for state in STARTING RUNNING FINISHED; do
  status=$(event ".update.status.state == \"TASK_$state\"" | jq -c .update.status)
  echo "writer: $(jq -r .state <<<"$status")"
  call "$(jq -c '{type: "ACKNOWLEDGE", acknowledge: {agent_id, task_id, uuid}}' <<<"$status")"
done

echo "== The volume is offered again, with what was written into it; now DESTROY and UNRESERVE"
offer=$(event '.type == "OFFERS" and ([.offers.offers[].resources[] | select(.disk.persistence.id == "data")] | length > 0)' |
  jq -c '[.offers.offers[] | select([.resources[] | select(.disk.persistence.id == "data")] | length > 0)][0]')
call "$(jq -n --argjson offer "$offer" --argjson reserved "$reserved" --argjson volume "$volume" '{
  type: "ACCEPT", accept: {offer_ids: [$offer.id], operations: [
    {type: "DESTROY", id: {value: "destroy"}, destroy: {volumes: [$volume]}},
    {type: "UNRESERVE", id: {value: "unreserve"}, unreserve: {resources: [$reserved]}}]}}')"
for operation in destroy unreserve; do
  echo "$operation: $(event ".update_operation_status.status.operation_id.value == \"$operation\"" | jq -r .update_operation_status.status.state)"
done
call '{"type": "TEARDOWN"}'
