// vitest.config -> here: which test file starts when.
// Guarantees: the projects come in the order given; in each the files that took longest in the last full run come early,
// so that none is left alone at the end. A file that the list does not know only comes later.
import { BaseSequencer, type TestSequencerConstructor, type TestSpecification } from "vitest/node";

/** By the time that they took, most first. */
const longest: readonly string[] = [
  "test/faults/redis/redis-cluster-failover.test.ts",
  "test/faults/archive-away.test.ts",
  "test/faults/rolling-upgrade.test.ts",
  "test/faults/schedules.test.ts",
  "test/faults/redis/redis-restart.test.ts",
  "test/faults/chaos.test.ts",
  "shared/src/redis/connection/cluster.test.ts",
  "test/operations/rebalance.test.ts",
  "test/operations/prometheus.test.ts",
  "bench/src/compare/run-compare.test.ts",
  "shared/src/redis/connection/sentinel.test.ts",
  "test/flows/assembled-services.test.ts",
  "test/edge/slow-handshakes.test.ts",
  "test/browser/shared-tabs.test.ts",
  "test/faults/redis/redis-planned-failover.test.ts",
  "test/flows/tracing.test.ts",
  "test/faults/redis/redis-full.test.ts",
  "test/faults/events.test.ts",
  "clients/cli/src/main.test.ts",
  "test/faults/redis/producer-keys-while-redis-is-away.test.ts",
  "test/phones/apns-crash.test.ts",
  "services/push-node/src/connect/register-connection.test.ts",
  "services/dispatch/src/webhooks/deliver-webhooks.test.ts",
  "test/phones/web-push-flows.test.ts",
  "test/edge/schemathesis.test.ts",
  "test/faults/latency-beside-faults.test.ts",
  "services/collect/src/archive/topic-history.test.ts",
  "test/faults/cut-link.test.ts",
  "test/faults/redis/archive-redrive.test.ts",
  "services/push-node/src/leave/drain-connections.test.ts",
  "test/operations/local-run.test.ts",
  "test/flows/limits/limits.test.ts",
  "services/dispatch/src/schedule/promote-due.test.ts",
  "test/faults/drop-test.test.ts",
  "test/faults/redis/redis-sentinel-failover.test.ts",
  "test/phones/wechat-flows.test.ts",
  "test/phones/apns-flows.test.ts",
  "test/operations/helm-chart.test.ts",
  "services/dispatch/src/archive/archiver.test.ts",
  "services/push-node/src/presence/node-presence.test.ts",
  "test/browser/browser.test.ts",
  "test/operations/prometheus-files.test.ts",
  "test/flows/python-client.test.ts",
  "services/collect/src/users/read-messages.test.ts",
  "deploy/local/src/apns-simulator/apns/apns-connection.test.ts",
  "test/phones/fallback.test.ts",
  "test/phones/apns-burst.test.ts",
  "test/operations/packages.test.ts",
  "bench/src/fan-out/run-fan-out.test.ts",
  "test/browser/visible-ack.test.ts",
  "test/faults/kill-services.test.ts",
  "services/collect/src/accept/survive-faults.test.ts",
  "test/faults/webhooks.test.ts",
  "test/faults/new-generation.test.ts",
  "test/faults/schedules-upgrade.test.ts",
  "test/browser/page-lifecycle.test.ts",
  "test/browser/react.test.ts",
  "shared/src/kernel/tracing/open-tracing.test.ts",
  "services/push-node/src/connect/renew-leases.test.ts",
  "test/rules/public-behaviour.test.ts",
  "test/flows/schedules.test.ts",
  "test/faults/presence-after-kill.test.ts",
  "test/flows/recall-races.test.ts",
  "test/browser/tutorial.test.ts",
  "test/faults/reconnect-storm.test.ts",
  "test/faults/planned-stop.test.ts",
  "services/dispatch/src/wake/follow-time.test.ts",
  "clients/cli/src/redis/redis-failover.test.ts",
  "shared/src/embedded-redis/install/find-redis-server.test.ts",
  "services/collect/src/accept/accept-durably.test.ts",
  "test/edge/tls.test.ts",
  "test/flows/limits/limits-across-processes.test.ts",
  "services/dispatch/src/channels/wechat/wechat-channel.test.ts",
  "shared/src/testing/cluster/simulator-process.test.ts",
  "services/dispatch/src/own/own-partitions.test.ts",
  "shared/src/redis/nodes/node-subscription.test.ts",
  "test/faults/dispatcher-takeover.test.ts",
  "test/faults/paused-node.test.ts",
  "test/flows/sessions/revocation.test.ts",
  "services/dispatch/src/channels/apns/apns-refusals.test.ts",
  "services/push-node/src/deliver/pace-receiving.test.ts",
  "services/dispatch/src/wake/wake-users.test.ts",
  "test/phones/phone-panel.test.ts",
  "services/dispatch/src/channels/apns/connection/apns-pool-broken-connections.test.ts",
  "shared/src/archive/mongo-archive.test.ts",
  "shared/src/redis/inbox/memory.test.ts",
  "test/operations/why-messages.test.ts",
  "shared/src/redis/accept/confirm-writes.test.ts",
  "shared/src/redis/connection/connect.test.ts",
  "test/edge/rotation.test.ts",
  "deploy/local/src/run-local.test.ts",
  "test/rules/log-secrets.test.ts",
  "deploy/local/src/processes/service-groups.test.ts",
  "test/flows/limits/connection-limit.test.ts",
  "services/dispatch/src/hand-over/dispatch-partitions.test.ts",
  "services/collect/src/events/read-events.test.ts",
  "test/flows/collapse.test.ts",
  "test/flows/server-client.test.ts",
  "test/faults/redis/stalled-master.test.ts",
  "services/push-node/src/topics/kept-topics.test.ts",
  "deploy/local/src/apns-simulator/apns/validate-request.test.ts",
  "services/push-node/src/deliver/catch-up.test.ts",
  "deploy/local/src/run-local-settings.test.ts",
  "shared/src/testing/redis/kept-redis.test.ts",
  "services/push-node/src/leave/move-connections.test.ts",
  "clients/browser/src/client-credentials.test.ts",
  "shared/src/kernel/http/http-bounds.test.ts",
  "clients/browser/src/client-reconnect.test.ts",
  "services/push-node/src/frames/collect-acks.test.ts",
  "shared/src/kernel/tls/tls-files.test.ts",
  "services/auth/src/watch-token-sources.test.ts",
  "test/edge/fuzz-frames.test.ts",
  "test/flows/signatures.test.ts",
  "services/push-node/src/presence/report-partition.test.ts",
  "services/push-node/src/connect/connect-route.test.ts",
];

/**
 * The longer half in turn with the shorter one: those that load the machine for a minute would else run beside each
 * other, and those that mostly wait would, too.
 * @param sorted the longest first
 */
export function inTurn(sorted: readonly string[]): string[] {
  const half = Math.ceil(sorted.length / 2);
  return sorted.slice(0, half).flatMap((file, i) => [file, ...sorted.slice(half).slice(i, i + 1)]);
}

const early = inTurn(longest);

/** @param projects by name, in the order in which their files start */
export function longestFirst(projects: readonly string[]): TestSequencerConstructor {
  const placeIn = (list: readonly string[], found: number): number => (found === -1 ? list.length : found);
  const rank = ({ moduleId }: TestSpecification): number =>
    placeIn(
      early,
      early.findIndex((file) => moduleId.endsWith(`/${file}`)),
    );
  const place = ({ project }: TestSpecification): number => placeIn(projects, projects.indexOf(project.name));
  return class extends BaseSequencer {
    override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
      return (await super.sort(files)).sort((a, b) => place(a) - place(b) || rank(a) - rank(b));
    }
  };
}
