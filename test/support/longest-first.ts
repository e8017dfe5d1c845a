// vitest.config -> here: which test file starts when.
// Guarantees: the projects come in the order given; of each the files that work longest start first, so that none is left
// alone at the end, and those that mostly wait start all along. A file that the lists do not know comes later.
import { BaseSequencer, type TestSequencerConstructor, type TestSpecification } from "vitest/node";

/** A core is busy with them for more than a sixth of the time that they take; the longest first. */
const working: readonly string[] = [
  "test/faults/redis/redis-cluster-failover.test.ts",
  "test/flows/assembled-services.test.ts",
  "test/faults/rolling-upgrade.test.ts",
  "test/faults/redis/redis-planned-failover.test.ts",
  "test/operations/prometheus.test.ts",
  "test/faults/chaos.test.ts",
  "test/edge/schemathesis.test.ts",
  "test/operations/helm-chart.test.ts",
  "test/faults/redis/archive-redrive.test.ts",
  "bench/src/compare/run-compare.test.ts",
  "test/operations/prometheus-files.test.ts",
  "test/faults/redis/redis-full.test.ts",
  "test/faults/events.test.ts",
  "test/phones/apns-crash.test.ts",
  "test/operations/local-run.test.ts",
  "deploy/local/src/run-local.test.ts",
  "test/faults/redis/producer-keys-while-redis-is-away.test.ts",
  "test/browser/shared-tabs.test.ts",
  "test/phones/wechat-flows.test.ts",
  "test/flows/python-client.test.ts",
  "test/flows/recall-races.test.ts",
  "services/collect/src/archive/topic-history.test.ts",
  "test/browser/shared-tabs-model.test.ts",
  "test/phones/apns-flows.test.ts",
  "test/browser/react.test.ts",
  "test/faults/drop-test.test.ts",
  "test/operations/packages.test.ts",
  "test/flows/limits/limits.test.ts",
  "test/browser/page-lifecycle.test.ts",
  "test/browser/browser.test.ts",
  "services/dispatch/src/channels/wechat/wechat-channel.test.ts",
  "shared/src/redis/wake/offer-invariant.test.ts",
  "test/flows/server-client.test.ts",
  "test/faults/planned-stop.test.ts",
  "test/faults/latency-beside-faults.test.ts",
  "services/push-node/src/deliver/catch-up.test.ts",
  "test/phones/web-push-flows.test.ts",
  "shared/src/redis/inbox/memory.test.ts",
  "test/faults/redis/stalled-master.test.ts",
  "services/dispatch/src/fallback/fallback-workers.test.ts",
  "test/browser/visible-ack.test.ts",
  "services/collect/src/contract/refuse-bad-input.test.ts",
  "test/faults/webhooks.test.ts",
  "shared/src/redis/accept/accept-plain.test.ts",
  "test/faults/dispatcher-takeover.test.ts",
  "services/auth/src/routes/devices.test.ts",
  "shared/src/redis/limits/limits-under-latency.test.ts",
  "shared/src/kernel/logging/line-writer.test.ts",
  "shared/src/redis/schedules/schedules-model.test.ts",
  "test/faults/kill-services.test.ts",
  "test/faults/presence-after-kill.test.ts",
  "test/edge/rotation.test.ts",
  "shared/src/redis/erasure/erase-user.test.ts",
  "test/edge/fuzz-frames.test.ts",
  "test/faults/reconnect-storm.test.ts",
  "test/browser/tutorial.test.ts",
  "shared/src/embedded-redis/install/find-redis-server.test.ts",
  "services/push-node/src/deliver/slow-device.test.ts",
  "test/faults/paused-node.test.ts",
  "services/push-node/src/fan-out/crowd.test.ts",
  "test/flows/list-cursors.test.ts",
  "deploy/local/src/run-local-settings.test.ts",
  "services/dispatch/src/fallback/fallback-chain.test.ts",
  "shared/src/redis/inbox/erased-history.test.ts",
];

/** These mostly wait: for a lease, a restart, a deadline; the longest first. */
const waiting: readonly string[] = [
  "test/faults/archive-away.test.ts",
  "test/faults/redis/redis-restart.test.ts",
  "test/faults/schedules.test.ts",
  "test/edge/slow-handshakes.test.ts",
  "services/push-node/src/connect/renew-leases.test.ts",
  "test/flows/tracing.test.ts",
  "test/operations/rebalance.test.ts",
  "services/dispatch/src/archive/archiver.test.ts",
  "clients/cli/src/main.test.ts",
  "shared/src/redis/connection/sentinel.test.ts",
  "test/faults/redis/redis-sentinel-failover.test.ts",
  "shared/src/redis/connection/cluster.test.ts",
  "services/push-node/src/connect/register-connection.test.ts",
  "services/dispatch/src/webhooks/deliver-webhooks.test.ts",
  "services/dispatch/src/schedule/promote-due.test.ts",
  "services/push-node/src/presence/node-presence.test.ts",
  "services/push-node/src/leave/drain-connections.test.ts",
  "test/faults/cut-link.test.ts",
  "services/collect/src/users/read-messages.test.ts",
  "services/collect/src/accept/survive-faults.test.ts",
  "test/flows/schedules.test.ts",
  "shared/src/kernel/tracing/open-tracing.test.ts",
  "test/phones/fallback.test.ts",
  "shared/src/testing/cluster/simulator-process.test.ts",
  "deploy/local/src/apns-simulator/apns/apns-connection.test.ts",
  "shared/src/redis/devices/devices-moving.test.ts",
  "shared/src/redis/limits/sliding-window-limiter.test.ts",
  "bench/src/fan-out/run-fan-out.test.ts",
  "test/faults/new-generation.test.ts",
  "services/dispatch/src/channels/apns/apns-refusals.test.ts",
  "services/push-node/src/topics/archive-publications.test.ts",
  "services/dispatch/src/wake/wake-users.test.ts",
  "test/phones/apns-burst.test.ts",
  "test/faults/schedules-upgrade.test.ts",
  "services/collect/src/accept/accept-durably.test.ts",
  "services/dispatch/src/own/own-partitions.test.ts",
  "services/auth/src/routes/keep-producer-keys.test.ts",
  "services/push-node/src/frames/collect-acks.test.ts",
  "services/dispatch/src/wake/follow-time.test.ts",
  "services/dispatch/src/channels/apns/connection/apns-pool-broken-connections.test.ts",
  "shared/src/archive/mongo-archive.test.ts",
  "services/push-node/src/deliver/pace-receiving.test.ts",
  "services/collect/src/events/read-events.test.ts",
  "shared/src/redis/nodes/node-subscription.test.ts",
  "shared/src/kernel/tls/tls-files.test.ts",
  "shared/src/redis/connection/connect.test.ts",
  "test/rules/log-secrets.test.ts",
  "test/flows/sessions/revocation.test.ts",
  "deploy/local/src/processes/service-groups.test.ts",
  "deploy/local/src/apns-simulator/apns/validate-request.test.ts",
  "services/push-node/src/connect/connect-route.test.ts",
  "test/edge/tls.test.ts",
  "services/collect/src/archive/archive-messages.test.ts",
  "shared/src/redis/connection/redis-access.test.ts",
];

/** Of those that work this many start for one that waits; of the others, which are short, that many. */
const WORKING_PER_WAITING = 2;
const OTHERS_PER_WAITING = 8;

/**
 * One of the others after each `step` of some; what is left of them comes last.
 * @param step at least 1
 */
export function weave<One>(some: readonly One[], others: readonly One[], step: number): One[] {
  const woven = some.flatMap((one, i) => {
    const turn = (i + 1) / step;
    return Number.isInteger(turn) ? [one, ...others.slice(turn - 1, turn)] : [one];
  });
  return [...woven, ...others.slice(Math.floor(some.length / step))];
}

/** Neither kind runs beside itself only, from the first to the last minute. */
function inTurn(files: readonly TestSpecification[]): TestSpecification[] {
  const find = (list: readonly string[]): TestSpecification[] =>
    list.flatMap((path) => files.filter(({ moduleId }) => moduleId.endsWith(`/${path}`)));
  const [atWork, inWait] = [find(working), find(waiting)];
  const known = new Set([...atWork, ...inWait]);
  const others = files.filter((file) => !known.has(file));
  const soon = Math.floor(atWork.length / WORKING_PER_WAITING);
  return [
    ...weave(atWork, inWait.slice(0, soon), WORKING_PER_WAITING),
    ...weave(others, inWait.slice(soon), OTHERS_PER_WAITING),
  ];
}

/** @param projects by name, in the order in which their files start */
export function longestFirst(projects: readonly string[]): TestSequencerConstructor {
  const place = ({ project }: TestSpecification): number => {
    const found = projects.indexOf(project.name);
    return found === -1 ? projects.length : found;
  };
  return class extends BaseSequencer {
    override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
      return inTurn(await super.sort(files)).sort((a, b) => place(a) - place(b));
    }
  };
}
