// Tests only: how a Deployment replaces push nodes, and where their clients go meanwhile.
// Guarantees: follows the controller's rule: a pod that is terminating counts no more, so the next one may go while it
// still drains.

export interface Rollout {
  readonly nodes: number;
  readonly maxSurge: number;
  readonly maxUnavailable: number;
  readonly minReadySeconds: number;
  readonly preStopSeconds: number;
  readonly drainSeconds: number;
  readonly balancer: "round robin" | "least connections";
}

export interface RolloutResult {
  /** Nodes that drained at the same time, at most. */
  readonly drainedAtOnce: number;
  readonly movesPerClient: number;
  readonly seconds: number;
  /** The fullest node at the end, as a part of the mean. */
  readonly fullest: number;
}

interface Pod {
  readonly isNew: boolean;
  readonly createdAt: number;
  endsAt: number | undefined;
  clients: number;
}

const CLIENTS_PER_NODE = 200;
/** From a pod's creation until it is ready. */
const START_SECONDS = 5;
const NO_END_SECONDS = 50_000;

/** In steps of a second. */
export function modelRollout(rollout: Rollout): RolloutResult {
  const { nodes, maxSurge, maxUnavailable, minReadySeconds, preStopSeconds, drainSeconds, balancer } =
    rollout;
  const pods: Pod[] = Array.from({ length: nodes }, () => ({
    isNew: false,
    createdAt: -NO_END_SECONDS,
    endsAt: undefined,
    clients: CLIENTS_PER_NODE,
  }));
  /** Moments at which a client leaves a pod, by second. */
  const leaving = new Map<number, Pod[]>();
  const runs = ({ endsAt }: Pod): boolean => endsAt === undefined;
  let [moves, turn, drainedAtOnce] = [0, 0, 0];
  for (let now = 0; now < NO_END_SECONDS; now++) {
    const running = (): Pod[] => pods.filter(runs);
    const isReadyFor = (seconds: number, { createdAt }: Pod): boolean =>
      now - createdAt >= START_SECONDS + seconds;
    while (running().length < nodes + maxSurge && running().filter(({ isNew }) => isNew).length < nodes)
      pods.push({ isNew: true, createdAt: now, endsAt: undefined, clients: 0 });
    for (;;) {
      const available = running().filter((pod) => isReadyFor(minReadySeconds, pod)).length;
      const old = running().find(({ isNew }) => !isNew);
      if (old === undefined || available <= nodes - maxUnavailable) break;
      old.endsAt = now + preStopSeconds + drainSeconds;
      for (let i = 0; i < old.clients; i++) {
        const at = now + preStopSeconds + Math.floor(((i + 0.5) / old.clients) * drainSeconds);
        leaving.set(at, [...(leaving.get(at) ?? []), old]);
      }
    }
    const targets = running().filter((pod) => isReadyFor(0, pod));
    for (const from of leaving.get(now) ?? []) {
      const fewest = targets.reduce((least, pod) => (pod.clients < least.clients ? pod : least));
      const to = balancer === "round robin" ? (targets[turn++ % targets.length] ?? fewest) : fewest;
      from.clients--;
      to.clients++;
      moves++;
    }
    const draining = pods.filter(({ endsAt }) => endsAt !== undefined && endsAt > now).length;
    drainedAtOnce = Math.max(drainedAtOnce, draining);
    if (draining === 0 && running().every(({ isNew }) => isNew)) {
      return {
        drainedAtOnce,
        movesPerClient: moves / (nodes * CLIENTS_PER_NODE),
        seconds: now,
        fullest: Math.max(...running().map(({ clients }) => clients)) / CLIENTS_PER_NODE,
      };
    }
  }
  throw new Error("the rollout has no end");
}
